"""Update: what a model keeps of its rows goes on with new ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from daskgmm.em import Problem, Tell, Update, statistical_tol, update
from daskgmm.errors import DataError, ParameterError
from daskgmm.fitting.fixed import fixed_of
from daskgmm.fitting.options import FitOptions
from daskgmm.fitting.outcome import Outcome
from daskgmm.fitting.prior import check_ridge_is_known, prior_of
from daskgmm.fitting.problem import of_passes
from daskgmm.kernel import Affine, Mixture, RelativeRidge, Ridge, Statistics, Students
from daskgmm.tables import OpenedRows, columns_named

__all__ = ["Kept", "remembered", "updated"]

_MOST_REMEMBERED = 100
"""Updates that a model remembers: each has a number or two for each component."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What a model keeps of the rows that it was fitted to, from which an update goes on.

    Attributes
    ----------
    mixture : Mixture
    statistics : Statistics
        Of the rows, under the mixture that led to this one.
    projection : Affine or None
        The map onto the features that these are of; None where they are the data's.
    unit : float
        What weights were multiplied by in the fit.
    ridge : sequence of float or None
        What ``reg_covar="auto"`` added to the variance of each feature, which an update goes on to add.
    """

    mixture: Mixture
    statistics: Statistics
    projection: Affine | None
    unit: float
    ridge: Sequence[float] | None = None

    @classmethod
    def checked(
        cls,
        options: FitOptions,
        mixture: Mixture,
        statistics: Statistics | None,
        projection: Affine | None,
        unit: float,
        ridge: Sequence[float] | None,
    ) -> Self:
        """What is kept, if an update can go on from it.

        Raises
        ------
        ParameterError
            If there are no statistics, or units that cannot be found again.
        """
        if statistics is None:
            raise ParameterError(
                "the model keeps no statistics of its rows, which an update goes on from: its "
                "parameters are from elsewhere, from an older version, from a fit that reads cut "
                "off, from one of rows with measurement noise, or from one of spherical components of "
                "standardised features; fit it again, without reads, to values without noise, and "
                "with covariance_type='diag' for the last"
            )
        if options.missing == "em":
            raise ParameterError(
                "an update estimates the log-likelihood of the old rows from their statistics, "
                "which it can for complete rows alone; fit all rows anew, or in Python call "
                "set_params(missing='drop') first, which leaves new rows with gaps out",
                "missing",
            )
        if isinstance(mixture.components, Students):
            raise ParameterError(
                "an update estimates the log-likelihood of the old rows from their statistics, "
                "which it can for Gaussians alone; fit t components to all rows",
                "tails",
            )
        check_ridge_is_known(options, projection)
        return cls(mixture, statistics, projection, unit, ridge)


def updated(
    kept: Kept,
    opened: OpenedRows,
    options: FitOptions,
    half_life: float | None,
    tell: Tell,
    began: float,
) -> tuple[Outcome, Update]:
    """A model's rows go on with new ones.

    Parameters
    ----------
    kept : Kept
    opened : OpenedRows
        The new rows, as they are.
    options : FitOptions
    half_life : float or None
        Number of new rows after which an old one counts half as much.
    tell : callable
        Called with each event.
    began : float
        When the update began, by ``time.perf_counter()``.

    Raises
    ------
    DataError
        If there are no new rows, and as :func:`daskgmm.em.update`.
    """
    if opened.rows.n_rows < 1:
        raise DataError(f"{opened.name} has no rows to update the model with")
    if half_life is not None:
        opened = opened.weighed()
    weight, unit, statistics = opened.rows.total_weight, kept.unit, kept.statistics
    share = 1.0 if half_life is None else float(np.exp2(-weight / half_life))
    problem = _problem_of(options, kept, share * statistics.weight + unit * weight)
    problem.check_features(kept.mixture.n_features)
    last = kept.mixture, statistics.scaled(1.0 / unit)
    with columns_named(opened.feature_names), opened.staging() as staged:
        rows = opened.mapped(kept.projection).rows
        found = update(rows, problem, last, share, opened.n_sampled, tell)
    assert found.course.statistics is not None
    opened = opened.weighing(found.report.weight)
    outcome = Outcome(
        replace(found.course, statistics=found.course.statistics.scaled(unit)),
        affine=kept.projection,
        prior=found.prior,
        n_passes=found.report.n_passes,
        opened=opened,
        seconds=time.perf_counter() - began,
        staged=staged,
        gaps=found.gaps,
        far=found.far if kept.projection is None else (),  # those of mapped rows have other units
    )
    return outcome, replace(found.report, n_rows=outcome.n_rows)


def _problem_of(options: FitOptions, kept: Kept, weight: float) -> Problem:
    """What an update does, so that the rows count ``weight`` in all, on the scale of counts."""
    mixture, tol = kept.mixture, options.tol
    fixed = fixed_of(options, mixture)
    if tol == "auto":
        n_fixed = fixed.count(mixture.kind, mixture.means.shape, mixture.noise is not None)
        tol = statistical_tol(max(1, mixture.n_parameters - n_fixed), weight)
    prior = prior_of(options, row=1.0 / kept.unit)
    is_auto = isinstance(prior, RelativeRidge) and options.reg_covar == "auto"
    if is_auto and kept.ridge is not None and len(kept.ridge) == mixture.n_features:
        prior = Ridge(np.asarray(kept.ridge, np.float64))
    return Problem(
        mixture.n_components,
        mixture.kind,
        prior=prior,
        tol=tol,
        fixed=fixed,
        **of_passes(options),
    )


def remembered(before: Sequence[Update] | None, report: Update) -> tuple[Update, ...]:
    """The updates that a model remembers, the newest last."""
    return (*(before or ()), report)[-_MOST_REMEMBERED:]
