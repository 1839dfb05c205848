"""Ended: the result of a fit, from which the next fit of a warm start may go on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from daskgmm.em.contradicted import ContradictedLabels
from daskgmm.em.course import Course
from daskgmm.em.far_values import FarValues
from daskgmm.em.missing import NO_GAPS, Gaps
from daskgmm.em.scan import Scan
from daskgmm.em.steppers import AnyStepper
from daskgmm.em.stopping import MAX_ITER
from daskgmm.kernel import Affine, Moments, Prior, Uniform

__all__ = ["Fit"]


@dataclass(frozen=True, eq=False)
class Fit:
    """How a fit ended.

    Attributes
    ----------
    course : Course
        Its best candidate.
    n_passes : int
        Reads of all rows, the scan included.
    moments : Moments
        Moments of all rows as the fit saw them. If another fit sees equal moments, its rows are
        taken for the same.
    prior : Prior
        The regularisation of the fit, in the units of the rows as the fit saw them.
    affine : Affine or None
        The map that was applied to the rows before the fit; None if there was none.
    gaps : Gaps
        Rows in which values are missing.
    contradicted : tuple of ContradictedLabels
    far : tuple of FarValues
        In the data's own units.
    """

    course: Course
    n_passes: int
    moments: Moments
    prior: Prior
    affine: Affine | None = None
    gaps: Gaps = NO_GAPS
    contradicted: tuple[ContradictedLabels, ...] = ()
    far: tuple[FarValues, ...] = ()

    @property
    def result(self) -> Course:
        """The best candidate in the data's own units, unless it is of projected features."""
        return self.course.in_units_of_data(self.affine)

    def goes_on(
        self, scan: Scan, stepper: AnyStepper, tol: float, uniform: Uniform | None
    ) -> Course | None:
        """The course for another fit, of a history of its own; None if the rows are others.

        ``uniform`` is the density of noise in that fit, which must be the same as well.
        """
        is_same = np.array_equal(self.moments.mean, scan.moments.mean) and np.array_equal(
            self.moments.scatter, scan.moments.scatter
        )
        last = self.course.kept.uniform
        densities = [None if one is None else one.log_density for one in (last, uniform)]
        is_same = is_same and densities[0] == densities[1]
        if not is_same or type(self.course.state) is not type(stepper.init(self.course.kept)):
            return None
        return replace(
            self.course,
            tol=tol,
            history=(),
            stop_reason=MAX_ITER,
            is_active=True,
            n_branched=0,
            goes_on=False,
            rare=(),
            collapses=tuple(replace(one, n_iter=0) for one in self.course.collapses),
        )
