"""Uncertainty: how sure the parameters of a fitted mixture are, by replicates of its fit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import (
    Problem,
    ReplicatePlan,
    Replicates,
    Tell,
    replicated,
    tol_of_replicates,
)
from daskgmm.errors import DataError, ParameterError
from daskgmm.execution import MixtureSize, in_force
from daskgmm.fitting.fixed import fixed_of
from daskgmm.fitting.options import FitOptions
from daskgmm.fitting.prior import check_ridge_is_known, prior_of
from daskgmm.kernel import Affine, Float64Array, HasCovariances, Mixture, gaussians_named
from daskgmm.storage import AXES
from daskgmm.tables import OpenedRows, columns_named, data_frame_of

__all__ = ["Spread", "Uncertainty", "at_once", "check_replicable", "uncertainty_of"]

LEVEL = 0.95
"""Share of the replicates between ``low`` and ``high``."""
_HEIGHT = "log_likelihood_per_row"
_BYTES_AT_ONCE = 1 << 26
"""Statistics of the replicates that share reads; what steppers remember is some times as much."""
_ROWS_PER_PARAMETER, _FEWEST = 100, 10_000
"""Sample of rows that are more than it can hold: its information is theirs to a tenth."""
_FAR = 1.0
"""Standard errors from the maximum beyond which it is said that a model is not there."""


@dataclass(frozen=True, eq=False)
class Spread:
    """A parameter, or what follows from some, and how far replicates of the fit spread it.

    Attributes
    ----------
    dims : tuple of str
        What the dimensions of the arrays are: ``component``, ``feature``, ``other_feature``; in
        place of the latter two ``axis`` and ``other_axis`` where the mixture is of projected
        features. None of them for a single number.
    estimate : ndarray
        What the model has.
    standard_error : ndarray
        Standard deviation over the replicates.
    low, high : ndarray
        Quantiles 0.025 and 0.975 of the replicates: the percentile interval (Efron 1979).
    """

    dims: tuple[str, ...]
    estimate: Float64Array
    standard_error: Float64Array
    low: Float64Array
    high: Float64Array

    @classmethod
    def of(cls, dims: tuple[str, ...], estimate: Any, replicates: Float64Array) -> Self:
        """Of an estimate, and its replicates along the first axis."""
        low, high = np.quantile(replicates, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
        error = np.asarray(replicates.std(axis=0, ddof=1))
        return cls(dims, np.asarray(estimate, np.float64), error, np.asarray(low), np.asarray(high))

    @property
    def arrays(self) -> dict[str, Float64Array]:
        """The four arrays, by name."""
        names = ("estimate", "standard_error", "low", "high")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False, repr=False)
class Uncertainty(Mapping[str, Spread]):
    """What :meth:`GaussianMixture.uncertainty` found: a mapping from names to :class:`Spread`.

    The names are ``weights``, ``means``, ``covariances``, ``deviations`` (square roots of the
    covariances' diagonals) and ``log_likelihood_per_row``; with noise ``noise_weight``, and of t
    components ``degrees_of_freedom``.

    Attributes
    ----------
    spreads : mapping of str to Spread
    replicates : mapping of str to ndarray
        The same of each replicate, (B, ...), for whatever else follows from parameters.
    n_rows : int
        Rows, without those that are left out for their gaps.
    n_lost : int
        Replicates that came to nothing, because a component was left without rows.
    n_passes, rows_read : int
        Reads of all rows, and rows that these read.
    seconds : float
    note : str
        What should be known before the errors are relied upon; empty if nothing.
    """

    spreads: Mapping[str, Spread]
    replicates: Mapping[str, Float64Array]
    n_rows: int
    n_lost: int
    n_passes: int
    rows_read: int
    seconds: float
    note: str

    def __getitem__(self, name: str) -> Spread:
        return self.spreads[name]

    def __iter__(self) -> Any:
        return iter(self.spreads)

    def __len__(self) -> int:
        return len(self.spreads)

    def __repr__(self) -> str:
        of = ", ".join(self.spreads)
        return f"Uncertainty of {of}: {self.n_replicates} replicates of {self.n_rows:,} rows"

    @property
    def n_replicates(self) -> int:
        """Replicates that were not lost."""
        return len(self.replicates[_HEIGHT])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without the replicates.

        Returns
        -------
        dict
            Ready for JSON.
        """
        facts = ("n_rows", "n_replicates", "n_lost", "n_passes", "rows_read", "seconds")
        return {
            **{name: getattr(self, name) for name in facts},
            "level": LEVEL,
            **{name: _plain(spread) for name, spread in self.spreads.items()},
            "note": self.note or None,
        }

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for each number that has an error.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        MissingDependencyError
            If pandas is not installed.
        """
        return data_frame_of(
            {"parameter": name, **dict(zip(spread.dims, at, strict=True))}
            | {column: float(values[at]) for column, values in spread.arrays.items()}
            for name, spread in self.spreads.items()
            for at in np.ndindex(spread.estimate.shape)
        )


def _plain(spread: Spread) -> dict[str, Any]:
    return {name: values.tolist() for name, values in spread.arrays.items()}


def at_once(mixture: Mixture, n_replicates: int) -> int:
    """How many replicates go on the same reads, that of the rows as they are among them."""
    of_each = MixtureSize.of(mixture).statistics_bytes(mixture.n_features)
    return max(1, min(n_replicates + 1, _BYTES_AT_ONCE // of_each))


def check_replicable(options: FitOptions, projection: Affine | None, fitted_as: str | None) -> None:
    """Refuse models whose fit cannot be made again from what they keep.

    Raises
    ------
    ParameterError
        If covariances were of a kind that depends on units, such as spherical, in units that the
        model does not keep, or the ridge is in such units.
    """
    if fitted_as is not None and not gaussians_named(fitted_as).is_scale_equivariant():
        wider = gaussians_named(fitted_as).scaled_family().kind
        raise ParameterError(
            f"the covariances were {fitted_as} in standardised features, whose scale replicates do "
            f"not have; fit with covariance_type={wider!r}, or without standardize",
            "standardize",
        )
    check_ridge_is_known(options, projection)


def uncertainty_of(
    opened: OpenedRows,
    mixture: Mixture,
    projection: Affine | None,
    options: FitOptions,
    asked: tuple[int, int, float | None],
    tell: Tell,
) -> Uncertainty:
    """How sure a mixture is, by replicates of its fit to some rows.

    Parameters
    ----------
    opened : OpenedRows
        The rows, as they are.
    mixture : Mixture
    projection : Affine or None
        Map onto the features that it is of.
    options : FitOptions
        Those of its fit.
    asked : tuple of int, int and float or None
        Number of replicates; seed; and effective number of rows, where they have weights.
    tell : callable
        Called with each event.

    Raises
    ------
    DataError
        If there are no rows, and as :func:`daskgmm.em.replicated`.
    SingularComponentError
        As :func:`daskgmm.em.replicated`.
    """
    began = time.perf_counter()
    n, seed, n_effective = asked
    if opened.rows.n_rows < 2:
        raise DataError(
            f"{opened.name} has {opened.rows.n_rows} rows; errors need 2 or more, drawn anew"
        )
    problem = _problem_of(options, mixture, n_effective or opened.rows.total_weight)
    plan = ReplicatePlan(n, at_once(mixture, n), _n_sampled(opened, mixture), seed)
    values_of = partial(_values_of, projection=projection)
    with columns_named(opened.feature_names), opened.staging():
        rows = opened.mapped(projection).rows
        found = replicated(rows, problem, mixture, plan, values_of, tell)
    model = {**values_of(mixture), _HEIGHT: np.array(found.at_model)}
    replicates = {**found.values, _HEIGHT: found.log_likelihoods}
    dims = _dims_of(mixture, projection)
    spreads = {
        name: Spread.of(dims.get(name, ()), estimate, replicates[name])
        for name, estimate in model.items()
    }
    n_passes = opened.passes + found.n_passes
    kept = opened.rows.n_rows - found.gaps.n_left_out
    return Uncertainty(
        spreads,
        replicates,
        n_rows=round(found.weight) if opened.weight_counts_rows else kept,
        n_lost=found.n_lost,
        n_passes=n_passes,
        rows_read=n_passes * opened.rows.n_rows,
        seconds=time.perf_counter() - began,
        note="; ".join(_notes(found, spreads)),
    )


def _problem_of(options: FitOptions, mixture: Mixture, weight: float) -> Problem:
    """What each replicate is fitted by: the likelihood and the prior of the fit."""
    return Problem(
        mixture.n_components,
        mixture.kind,
        prior=prior_of(options),
        tol=tol_of_replicates(weight),
        precision=options.precision,
        n_threads=in_force().local_threads,
        last=mixture,
        fixed=fixed_of(options, mixture),
    )


def _n_sampled(opened: OpenedRows, mixture: Mixture) -> int:
    """Rows to sample: all, or so many that the surrogate has the curvature of all."""
    if opened.rows.n_rows <= opened.n_sampled:
        return opened.n_sampled
    return min(opened.n_sampled, max(_FEWEST, _ROWS_PER_PARAMETER * mixture.n_parameters))


def _values_of(mixture: Mixture, projection: Affine | None) -> dict[str, Float64Array]:
    """What replicates are kept as: parameters, and deviations, in the units that a model has."""
    components = mixture.components
    found: dict[str, NDArray[Any]] = {"weights": mixture.weights, **components.arrays}
    if projection is not None:
        found["means"] = projection.back(mixture.means)
    assert isinstance(components, HasCovariances)
    found["deviations"] = np.sqrt(components.variances())
    if mixture.noise is not None:
        found["noise_weight"] = np.array(mixture.noise.weight)
    return found


def _dims_of(mixture: Mixture, projection: Affine | None) -> dict[str, tuple[str, ...]]:
    """Dimensions of what :func:`_values_of` gives; those that are left out are single numbers."""
    each = ("component",)
    dims = {"weights": each, "deviations": (*each, "feature"), **mixture.components.dimensions}
    if projection is not None:
        dims = {name: tuple(AXES.get(dim, dim) for dim in of) for name, of in dims.items()}
        dims["means"] = (*each, "feature")
    return dims


def _notes(found: Replicates, spreads: Mapping[str, Spread]) -> list[str]:
    """What should be known of the errors."""
    notes = []
    n = len(found.log_likelihoods)
    if found.n_lost:
        notes.append(
            f"{found.n_lost} of {n + found.n_lost} replicates were left without rows for a component, "
            "so that its errors are too small"
        )
    if found.n_climbing:
        notes.append(
            f"{found.n_climbing} of {n} replicates had not come to their end, so that errors are too "
            "small"
        )
    off = _farthest(found.at_maximum, spreads)
    if off > _FAR:
        notes.append(
            f"the model is up to {off:.2g} standard errors from the maximum for these rows, which "
            "intervals are about: they are not the rows of the fit, or it ended early; fit them with a "
            "smaller tol"
        )
    return notes


def _farthest(at_maximum: Mapping[str, Float64Array], spreads: Mapping[str, Spread]) -> float:
    """The most that a parameter of the model is off the maximum, in standard errors."""
    farthest = 0.0
    for name, best in at_maximum.items():
        spread = spreads[name]
        varies = spread.standard_error > 0  # what is fixed does not
        off = np.abs(best - spread.estimate)[varies] / spread.standard_error[varies]
        farthest = max(farthest, float(off.max(initial=0.0)))
    return farthest
