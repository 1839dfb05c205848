"""Outcome: what a fit came to, and what is warned of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from daskgmm.em import (
    NO_GAPS,
    READS,
    Blur,
    ContradictedLabels,
    Course,
    FarValues,
    Gaps,
    ThinComponent,
    deviations_of,
    said_of_collapses,
    said_of_contradicted,
    said_of_thin,
)
from daskgmm.errors import warn
from daskgmm.execution import StagingReport
from daskgmm.fitting.options import FitOptions
from daskgmm.kernel import Affine, Float64Array, Prior, Ridge, Statistics
from daskgmm.record import facts_of_fit
from daskgmm.tables import OpenedRows

__all__ = [
    "Outcome",
    "warn_of_collapses",
    "warn_of_contradicted",
    "warn_of_end",
    "warn_of_scales",
    "warn_of_thin",
]


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a fit, a selection or an update ended.

    Attributes
    ----------
    course : Course
        In the data's own units, unless it is of projected features.
    affine : Affine or None
        The map that rows were put through.
    prior : Prior
        The regularisation of the fit, in the units of the mapped rows.
    n_passes : int
        Reads of all rows, the scan included.
    opened : OpenedRows
        The rows that it was fitted to.
    seconds : float
    staged : StagingReport
    gaps : Gaps
        Rows in which values are missing.
    contradicted : tuple of ContradictedLabels
    far : tuple of FarValues
    is_noisy : bool
        Whether the rows have measurement noise.
    """

    course: Course
    affine: Affine | None
    prior: Prior
    n_passes: int
    opened: OpenedRows
    seconds: float
    staged: StagingReport
    gaps: Gaps = NO_GAPS
    contradicted: tuple[ContradictedLabels, ...] = ()
    far: tuple[FarValues, ...] = ()
    is_noisy: bool = False

    @property
    def projection(self) -> Affine | None:
        """The map onto the features that the mixture is of; None where they are the data's."""
        return self.affine if self.affine is not None and self.affine.projects else None

    @property
    def mapped_back(self) -> Affine | None:
        """The map from which the mixture was brought back to the data's own units."""
        return self.affine if self.projection is None else None

    @property
    def prior_in_units_of_data(self) -> Prior:
        """The prior of the fit, with a ridge brought to the data's own units.

        A conjugate prior is returned as it is, in units of the mapped rows.
        """
        affine, prior = self.mapped_back, self.prior
        if affine is None or not isinstance(prior, Ridge):
            return prior
        return replace(prior, reg_covar=prior.reg_covar * np.square(affine.scale))

    @property
    def ridge(self) -> list[float] | None:
        """What is added to the variance of each feature; None under a prior of another kind."""
        prior = self.prior_in_units_of_data
        if not isinstance(prior, Ridge):
            return None
        d = self.course.kept.n_features
        return np.broadcast_to(prior.reg_covar, (d,)).astype(float).tolist()

    def units_of(self, options: FitOptions) -> Float64Array | None:
        """Units of the features (D,) in which ``reg_covar`` is; None for their own."""
        if not options.standardize or options.n_projected is not None:
            return None
        if self.mapped_back is None:  # nothing else depends on units
            return deviations_of(self.course.kept)
        return self.mapped_back.scale

    @property
    def statistics(self) -> Statistics | None:
        """Statistics of all rows, if there are, and if they are of the rows and no noise's."""
        found = self.course.statistics
        is_of_part = found is not None and found.n_rows < self.opened.rows.n_rows
        return None if is_of_part or self.is_noisy else found

    @property
    def n_rows(self) -> int:
        """Rows of the data, without those that are left out for their gaps."""
        return self.opened.rows.n_rows - self.gaps.n_left_out

    @property
    def n_counted(self) -> float:
        """Number of rows, or the sum of weights that count them."""
        of = self.statistics
        opened = self.opened
        weight, n_rows = opened.rows.total_weight, opened.rows.n_rows
        if of is not None:
            weight, n_rows = of.weight, of.n_rows
        if opened.weight_counts_rows:  # those of n_rows that are left out count for nothing
            return weight
        # Weights that sum to less than the rows there are count shares, not rows.
        return max(weight, n_rows)

    @property
    def facts(self) -> dict[str, Any]:
        """Fitted attributes, other than of parameters."""
        opened = self.opened
        n_passes = opened.passes + self.n_passes
        rows_read = n_passes * opened.rows.n_rows  # those with gaps, too
        return {
            "tol_": self.course.tol,
            "n_missing_": opened.n_cut + self.gaps.n_rows,
            "n_left_out_": opened.n_cut + self.gaps.n_left_out,
            "contradicted_labels_": self.contradicted,
            **facts_of_fit(self.course, n_passes, self.n_rows, rows_read, self.seconds),
            "staged_bytes_memory_": self.staged.memory_bytes,
            "staged_bytes_disk_": self.staged.disk_bytes,
        }


def warn_of_collapses(course: Course) -> None:
    """Warn of components that were pruned, as there are fewer than were asked for.

    Warns
    -----
    DaskGMMWarning
    """
    if course.n_pruned > 0:
        said = said_of_collapses(course.collapses, course.kept.n_components)
        warn(said)


def warn_of_thin(thin: Sequence[ThinComponent], n_components: int, missing: str) -> None:
    """Warn of components that hold next to no rows; ``missing`` says what NaN was in the fit.

    Warns
    -----
    DaskGMMWarning
    """
    if thin:
        way_out = "leave outliers out" if missing == "em" else "set noise=True for outliers"
        warn(
            f"{said_of_thin(thin, n_components)}; such components come from chance or from outliers "
            f"rather than clusters; lower n_components, or {way_out}"
        )


def warn_of_scales(far: str, blur: Blur | None, names: Sequence[str]) -> None:
    """Warn of fill values, and of components that ``reg_covar`` makes wider than their rows are.

    Parameters
    ----------
    far : str
        What is said of far values; empty if nothing is.
    blur : Blur or None
    names : sequence of str
        Of the features that the mixture is of.

    Warns
    -----
    DaskGMMWarning
    """
    said = [text for text in (far, "" if blur is None else blur.text(names)) if text]
    if said:
        warn("; ".join(said))


def warn_of_contradicted(contradicted: Sequence[ContradictedLabels]) -> None:
    """Warn of components of which most labelled rows are more likely under others.

    Warns
    -----
    DaskGMMWarning
    """
    if contradicted:
        warn(
            f"{said_of_contradicted(contradicted)}: the fit has ended at a poor optimum, or labels "
            "are wrong; set noise=True if there are outliers, or raise n_components or n_init"
        )


def warn_of_end(course: Course, options: FitOptions) -> None:
    """Warn if the stop rule did not hold within ``max_iter`` or ``reads``.

    Warns
    -----
    ConvergenceWarning
    """
    if course.stop_reason == READS:
        warn(
            f"not converged: reads={options.reads} allows no more reads; {_left_after(course)}; "
            f"raise reads to reach tol={course.tol:.2g}",
            ConvergenceWarning,
        )
    elif not course.converged and options.max_iter > 0:
        warn(
            f"not converged: {options.max_iter} iterations did not bring the "
            f"{options.stopping!r} rule to tol={course.tol:g} (estimated remaining gain per row "
            f"{course.history[-1].remaining_gain:.3g}); raise max_iter or tol",
            ConvergenceWarning,
        )


def _left_after(result: Course) -> str:
    """What the last read left to gain, in words."""
    left = result.history[-1].remaining_gain
    if not np.isfinite(left):
        return "nobody can tell from so few how much was left to gain"
    return (
        f"at the last one, about {left:.2g} per row was left to gain, most of which the step after "
        "it should have, if no component was missed"
    )
