"""Thin components: those that hold next to no rows, and are chance rather than clusters.

A Gaussian that closes in on a few rows that lie on a line, or on a plane, has any likelihood
that is asked for, up to what ``reg_covar`` leaves. Such optima are called spurious.

References
----------
Day (1969), Estimating the components of a mixture of normal distributions.
McLachlan and Peel (2000), Finite Mixture Models (spurious local maximisers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from daskgmm.kernel import (
    Elliptical,
    Float64Array,
    HasCovariances,
    Mixture,
    Prior,
    Ridge,
    labels,
    squared_distances,
)

__all__ = [
    "Blur",
    "ThinComponent",
    "are_far",
    "are_spurious",
    "blurred_by_ridge",
    "deviations_of",
    "said_of_thin",
    "thin_components",
]

_FEW, _OF_FEW = 3, 0.05
"""A component is thin, whatever its shape, below 3 times the rows that make a covariance regular
and below 5% of an even share n / K."""
_FEW_OF_FLAT, _OF_FLAT = 10, 0.5
"""A flat component, or one at the floor, is thin below 10 times these rows and below half of an even
share."""
_FLAT = 0.01
"""Flat: the least variance is below 1% of the largest, relative to the within-component covariance."""
_AT_FLOOR = 10.0
"""At the floor: the least variance is at most 10 times what ``reg_covar`` adds."""
_IN_RIDGES, _ALL_RIDGE = 10.0, 0.999
"""Blurred: the least variance is at most 10 times what ``reg_covar`` adds; if that is 99.9% of it or
more, there is no other: rows are alike, or nearly."""
_FAR = 100.0
"""A component is far from the others if its rows would raise a variance of the nearest one by more than
this many times."""
_SMALLER = 1e-3
"""Of the least variance: a ridge that blurs nothing."""
_MOST_WORK = 1e8
"""K D^3 up to which the least variances of all components are found, in a second or so."""


@dataclass(frozen=True)
class ThinComponent:
    """A component that holds next to no rows.

    Attributes
    ----------
    component : int
    n_rows : float
        Sum of responsibilities, times how often rows count.
    at_floor : bool
        Whether its least variance is what ``reg_covar`` adds, to a factor of ten.
    """

    component: int
    n_rows: float
    at_floor: bool


def thin_components(mixture: Mixture, n_rows: float, prior: Prior) -> tuple[ThinComponent, ...]:
    """The components of a fit that hold next to no rows.

    A small but ordinary-shaped group is not thin: the three farthest of the 82 galaxies are not.

    Parameters
    ----------
    mixture : Mixture
        The fit.
    n_rows : float
        Number of rows, or the sum of their weights.
    prior : Prior
        The regularisation of the fit.
    """
    held = n_rows * mixture.weights
    thin = np.flatnonzero(_are_thin(mixture, held, prior))
    at_floor = _are_at_floor(mixture, thin, prior)
    return tuple(
        ThinComponent(int(k), float(held[k]), bool(floor))
        for k, floor in zip(thin, at_floor, strict=True)
    )


def are_far(mixture: Mixture, few: Sequence[int] | NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether components of few rows are so far from all others that these rows need one.

    Without component k, the nearest other one, j, would take its rows, which would raise a variance of
    j by about ``w_k d^2 / w_j`` times, d being the Mahalanobis distance of k's mean. Where that is far
    above 1, j would become the component of these rows, its own rows would go to the next one, and so
    on: one row a million standard deviations away would take all components, one after the other.

    Parameters
    ----------
    mixture : Mixture
    few : sequence of int
        Components of few rows.
    """
    others = np.setdiff1d(np.arange(mixture.n_components), few)
    if len(few) == 0 or len(others) == 0:
        return np.zeros(len(few), bool)
    rest, means = mixture.take(others).with_noise(None, 0.0), mixture.means[few]
    nearest = rest.weights[labels(means, rest)]
    raised = mixture.weights[few] * squared_distances(means, rest) / nearest
    return np.asarray(raised > _FAR)


def are_spurious(mixture: Mixture, held: Float64Array, prior: Prior) -> NDArray[np.bool_]:
    """Which components are thin or, of however many rows, at the floor, (K,).

    Rows that are rounded, to a tenth say, have many that are alike in a column: a component of
    those alone is as likely as ``reg_covar`` is small, and says nothing of the data.

    Parameters
    ----------
    mixture : Mixture
    held : array of shape (K,)
        Distinct rows of each component: rows that are repeated are no better spread.
    prior : Prior
    """
    everyone = np.arange(mixture.n_components)
    return _are_thin(mixture, held, prior) | _are_at_floor(mixture, everyone, prior)


def said_of_thin(thin: Sequence[ThinComponent], n_components: int) -> str:
    """For people, such as ``2 of 12 components hold 27 rows or fewer``; empty if there are none."""
    if not thin:
        return ""
    floor = sum(one.at_floor for one in thin)
    most = max(one.n_rows for one in thin)
    text = f"{len(thin)} of {n_components} components hold{'s' * (len(thin) == 1)} "
    text += f"{most:.3g} rows" + (" or fewer" if len(thin) > 1 else "")
    if floor:
        text += "; variance at the floor" + (f" in {floor}" if floor < len(thin) else "")
    return text


@dataclass(frozen=True)
class Blur:
    """Components whose least variance is to a large part what ``reg_covar`` adds.

    Attributes
    ----------
    components : tuple of int
    share : float
        The largest such part, at least a tenth.
    smaller : float
        A ``reg_covar`` that is a thousandth of their least variance, in the units of the option.
    feature : int
        The feature in which a component has the largest such part.
    """

    components: tuple[int, ...]
    share: float
    smaller: float
    feature: int = 0

    @property
    def hides_scatter(self) -> bool:
        """Whether there is variance beside what is added: rows that are alike have none."""
        return self.share < _ALL_RIDGE

    def text(self, names: Sequence[str]) -> str:
        """For people, which components they are, and what to do; ``names`` are of the features."""
        many = len(self.components) > 1
        which = ", ".join(map(str, self.components[:5])) + ", ..." * (len(self.components) > 5)
        if not self.hides_scatter:
            name, one = names[self.feature], f"component{'s' * many} {which}"
            return (
                f"{one} {'have' if many else 'has'} no variance but what reg_covar adds, as where "
                f"all rows have one value of {name}: leave {name} out if it has few distinct values"
            )
        return (
            f"reg_covar is {'up to ' * many}{min(self.share, 0.99):.0%} of the least variance of "
            f"component{'s' * many} {which}; set reg_covar={self.smaller:.1g} to see how narrow "
            f"{'they are' if many else 'it is'}"
        )


def blurred_by_ridge(
    mixture: Mixture, thin: Sequence[ThinComponent], prior: Prior, units: Float64Array | None
) -> Blur | None:
    """Components that the ridge blurs, other than thin ones; None if there are none.

    It is not looked for where that would take more than a second.

    Parameters
    ----------
    mixture : Mixture
    thin : sequence of ThinComponent
    prior : Prior
    units : array of shape (D,), optional
        Units of the features in which the option is, if not their own.
    """
    if mixture.n_components * mixture.n_features**3 > _MOST_WORK:
        return None
    others = np.setdiff1d(np.flatnonzero(mixture.weights > 0), [one.component for one in thin])
    in_ridges = _in_ridges(mixture, others, prior)
    is_blurred = in_ridges <= _IN_RIDGES
    if not is_blurred.any():
        return None
    blurred = others[is_blurred]
    units = np.ones(mixture.n_features) if units is None else units
    least = min(np.linalg.eigvalsh(_in_units(mixture, int(k), units))[0] for k in blurred)
    share = float(1.0 / max(1.0, in_ridges.min()))
    root = np.sqrt(_ridge_of(mixture, prior))
    flattest = _in_units(mixture, int(others[np.argmin(in_ridges)]), root)
    feature = int(np.argmax(np.abs(np.linalg.eigh(flattest)[1][:, 0])))
    smaller = _SMALLER * max(float(least), 1e-300)
    return Blur(tuple(blurred.tolist()), share, smaller, feature)


def _are_thin(mixture: Mixture, held: Float64Array, prior: Prior) -> NDArray[np.bool_]:
    regular = mixture.components.fewest_rows(mixture.n_features)
    share = held.sum() / mixture.n_components
    thin: NDArray[np.bool_] = (held < _FEW * regular) & (held < _OF_FEW * share)
    doubtful = np.flatnonzero(~thin & (held < _FEW_OF_FLAT * regular) & (held < _OF_FLAT * share))
    if len(doubtful) > 0 and isinstance(mixture.components, HasCovariances):
        within = sum(w * _dense(mixture, k) for k, w in enumerate(mixture.shares))
        thin[doubtful] = _are_at_floor(mixture, doubtful, prior)
        for k in doubtful:
            wide = linalg.eigh(_dense(mixture, int(k)), within, eigvals_only=True)
            thin[k] |= wide[0] < _FLAT * wide[-1]
    return thin


def _are_at_floor(mixture: Mixture, which: NDArray[np.intp], prior: Prior) -> NDArray[np.bool_]:
    """Of some components, whether their least variance is about what the prior adds."""
    return _in_ridges(mixture, which, prior) <= _AT_FLOOR


def _in_ridges(mixture: Mixture, which: NDArray[np.intp], prior: Prior) -> Float64Array:
    """Least variance of some components, in units of what the prior adds; infinite if nothing."""
    without = np.full(len(which), np.inf)
    if len(which) == 0 or not isinstance(mixture.components, HasCovariances):
        return without
    ridge = _ridge_of(mixture, prior)
    if not (ridge > 0).all():
        return without
    root = np.sqrt(ridge)
    in_ridges = (_in_units(mixture, int(k), root) for k in which)
    return np.array([np.linalg.eigvalsh(one)[0] for one in in_ridges])


def _dense(mixture: Mixture, k: int) -> Float64Array:
    one = mixture.components.take([k])
    assert isinstance(one, HasCovariances)
    dense: Float64Array = one.dense()[0]
    return dense


def _in_units(mixture: Mixture, k: int, units: Float64Array) -> Float64Array:
    """Covariance of a component where features have units (D,)."""
    return np.asarray(_dense(mixture, k) / units[:, None] / units)


def deviations_of(mixture: Mixture) -> Float64Array:
    """Standard deviation of each feature under a mixture without its noise, (D,)."""
    means, w, components = mixture.means, mixture.shares, mixture.components
    assert isinstance(components, HasCovariances)
    variances = w @ components.variances() + w @ np.square(means - w @ means)
    return np.asarray(np.sqrt(variances))


def _ridge_of(mixture: Mixture, prior: Prior) -> Float64Array:
    components, d = mixture.components, mixture.n_features
    assert isinstance(components, Elliptical)
    if not isinstance(prior, Ridge):
        return np.zeros(d)
    return components.family().variances_of_ridge(prior.reg_covar, d)
