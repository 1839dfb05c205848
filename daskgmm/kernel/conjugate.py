"""Conjugate: the prior of Fraley and Raftery (2007), whose M-step has a closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import (
    Components,
    HasConjugatePrior,
    PriorOfComponents,
    PriorTerms,
    components_named,
    name_of_kind,
)
from daskgmm.kernel.fixed import NOTHING_FIXED, Fixed
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.moments import Moments
from daskgmm.kernel.prior import least_count, mixture_of_counts
from daskgmm.kernel.statistics import Statistics, added

__all__ = ["Conjugate", "RelativeConjugate"]

_SHARE_OF_VARIANCE = 1e-6
"""Share of each variance that is added to a scale that follows the rows, because columns may be sums
of others. It is the share that :class:`~daskgmm.kernel.prior.RelativeRidge` adds."""


@dataclass(frozen=True, eq=False)
class Conjugate:
    """Conjugate priors of weights, means and covariances: an M-step gives the maximum a posteriori.

    Their log density is measured from its mode, so that it is 0 or below, and nothing depends on
    units. It counts as rows do: the more rows there are, the less it says.

    Parameters
    ----------
    terms : PriorTerms
        The prior of means and covariances.
    concentration : float
        Parameter of the symmetric Dirichlet prior of the weights, at least 1. The prior adds
        ``concentration - 1`` rows to each component.
    power : float
        The scale of the terms is divided by ``K ** power``: 2 / D for the covariance of all rows,
        so that K components fill the volume of the rows; 0 for the scale itself.
    fixed : Fixed
        Parts that stay as they are.

    References
    ----------
    Fraley and Raftery (2007), Bayesian regularization for normal mixture estimation and
    model-based clustering.
    """

    terms: PriorTerms
    concentration: float = 1.0
    power: float = 0.0
    fixed: Fixed = NOTHING_FIXED

    has_density: ClassVar[bool] = True

    @property
    def keeps_variance(self) -> bool:
        """Whether variances stay above 0, whatever the rows."""
        return bool(self.terms.scale.any())

    def m_step(self, statistics: Statistics) -> Mixture:
        """The mixture of highest posterior density, with the responsibilities of the statistics."""
        n_k = statistics.n_k + least_count(statistics)
        counts = n_k + self._given
        prior = _prior_of(self, statistics.kind, len(n_k))
        components = prior.estimated(statistics.sums, statistics.centres, n_k, self.fixed.means)
        return self.fixed.put_into(mixture_of_counts(counts, components, statistics))

    def objective(self, mixture: Mixture, statistics: Statistics) -> float:
        """Log-likelihood per row, less :meth:`penalty`."""
        penalty = self.penalty(mixture, statistics.weight)
        return statistics.log_likelihood_per_row - penalty

    def penalty(self, mixture: Mixture, weight: float) -> float:
        """How far the log density of the prior is below that of its mode, per row."""
        k = mixture.n_components
        below = 0.0 - _prior_of(self, mixture.kind, k).log_density(mixture.components)
        if self._given > 0:
            with np.errstate(divide="ignore"):
                below -= self._given * float(np.log(k * mixture.weights).sum())
        return below / weight

    def with_pseudo_rows(self, statistics: Statistics, mixture: Mixture) -> Statistics:
        """The statistics about the mixture's means, plus sums with the prior's gradient there.

        The weight of all rows stays the same: what the prior gives to one component, the others and
        noise lose.
        """
        k = mixture.n_components
        of_weights = self._given * (1.0 - k * mixture.weights)
        pulls = _prior_of(self, mixture.kind, k).pulls(mixture.components, of_weights)
        about = statistics.recentre(mixture.means)
        return replace(about, sums=added(about.sums, pulls))

    def fixing(self, fixed: Fixed) -> Self:
        """The same prior, with other parts fixed."""
        return replace(self, fixed=fixed)

    def of_parts(self, n_components: int) -> Self:
        """The same prior for each of a few of these components."""
        terms = replace(self.terms, scale=self._scale(n_components))
        return replace(self, terms=terms, power=0.0)

    @property
    def _given(self) -> float:
        """Rows that the prior of the weights adds to each component."""
        return self.terms.row * (self.concentration - 1.0)

    def _scale(self, k: int) -> Float64Array:
        scale: Float64Array = self.terms.scale / k**self.power
        return scale


@lru_cache(maxsize=8)  # asked for with every mixture; a selection has some numbers of components
def _prior_of(conjugate: Conjugate, kind: str, k: int) -> PriorOfComponents:
    law: type[Components] = components_named(kind)
    assert issubclass(law, HasConjugatePrior)
    return law.prior(k, conjugate.of_parts(k).terms)


@dataclass(frozen=True, eq=False)
class RelativeConjugate:
    """A conjugate prior whose mean and scale follow the rows: known once their moments are.

    Parameters
    ----------
    shrinkage : float, default=0.01
        Number of rows at the prior's mean that the prior adds to each component.
    dof : float, optional
        Degrees of freedom of the prior of the covariances, above 0; D + 2 by default.
    scale : number, or array of shape (D,) or (D, D), optional
        Scatter that the prior adds to each component: 0 for none, or positive definite. By default
        it is the covariance of all rows, divided by ``K ** (2 / D)``.
    mean : array of shape (D,) or number, optional
        Prior mean of each mean; the mean of all rows by default.
    concentration : float, default=1.0
        Parameter of the symmetric Dirichlet prior of the weights, at least 1; with 1, the prior is
        flat.
    row : float
        Weight of one row, where weights are not counts.

    Raises
    ------
    ParameterError
        If no prior can have one of the values.
    """

    shrinkage: float = 0.01
    dof: float | None = None
    scale: Any = None
    mean: Any = None
    concentration: float = 1.0
    row: float = 1.0

    def __post_init__(self) -> None:
        wrong = next((name for name, is_wrong in self._wrong() if is_wrong), None)
        if wrong is not None:
            raise ParameterError(
                f"prior: {wrong}; leave it out, or set prior='auto', which follows the data",
                "prior",
            )

    def _wrong(self) -> Sequence[tuple[str, bool]]:
        scale = np.ones(1) if self.scale is None else np.asarray(self.scale)
        is_none = not scale.any()
        return (
            (f"shrinkage={self.shrinkage} must be 0 or more", self.shrinkage < 0),
            (f"dof={self.dof} must be above 0", self.dof is not None and self.dof <= 0),
            (
                f"concentration={self.concentration} must be 1 or more: below, a weight of 0 has "
                "infinite density",
                self.concentration < 1,
            ),
            (
                f"scale={self.scale!r:.100} must be 0, a number or D numbers above 0, or a "
                "symmetric positive definite matrix",
                not is_none and not _is_positive(scale),
            ),
            (
                "scale=0 leaves covariances free to shrink to 0 about the prior's mean; set "
                "shrinkage=0 as well, or a scale above 0, or",
                is_none and self.shrinkage > 0,
            ),
        )

    def check(self, kind: str, d: int) -> None:
        """Raise ParameterError if components of a kind in ``d`` features cannot have this prior."""
        if not issubclass(components_named(kind), HasConjugatePrior):
            raise ParameterError(
                f"{name_of_kind(kind)} components have no prior; leave out prior, or tails", "prior"
            )
        for name in ("mean", "scale"):
            shape = np.shape(getattr(self, name))
            allowed = ((), (d,), (d, d))[: 3 if name == "scale" else 2]
            if shape not in allowed:
                raise ParameterError(
                    f"prior: {name} has shape {shape}, but the data have {d} features; give one "
                    f"number for all, or an array of shape {allowed[-1]}",
                    "prior",
                )

    @property
    def is_of_units(self) -> bool:
        """Whether mean or scale are given, in units of the data."""
        has_scale = self.scale is not None and np.asarray(self.scale).any()
        return self.mean is not None or bool(has_scale)

    def of(self, moments: Moments) -> Conjugate:
        """The prior for rows of such moments."""
        d = len(moments.mean)
        dof = d + 2.0 if self.dof is None else float(self.dof)
        mean = moments.mean if self.mean is None else np.broadcast_to(self.mean, (d,))
        power = 2.0 / d if self.scale is None else 0.0
        scale = _covariance(moments) if self.scale is None else _matrix(self.scale, d)
        terms = PriorTerms(
            np.asarray(mean, np.float64), float(self.shrinkage), dof, scale, self.row
        )
        return Conjugate(terms, float(self.concentration), power)


def _is_positive(scale: np.ndarray[Any, np.dtype[Any]]) -> bool:
    if scale.ndim < 2:
        return bool((scale > 0).all())
    if scale.ndim > 2 or scale.shape[0] != scale.shape[1] or not np.array_equal(scale, scale.T):
        return False
    return bool(np.linalg.eigvalsh(scale)[0] > 0)


def _matrix(scale: Any, d: int) -> Float64Array:
    given = np.asarray(scale, np.float64)
    return given if given.ndim == 2 else np.diag(np.broadcast_to(given, (d,)))


def _covariance(moments: Moments) -> Float64Array:
    """The covariance of the rows, and a little more, so that it is positive definite."""
    variances = moments.variances
    least = _SHARE_OF_VARIANCE * np.where(variances > 0, variances, 1.0)
    covariance: Float64Array = moments.scatter / (moments.weight or 1.0) + np.diag(least)
    return covariance
