"""Subject: what pictures show of a fitted model, and what of it where there is too much to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError
from daskgmm.fitted import FittedMixture
from daskgmm.kernel import Elliptical, Float64Array, Gaussians, Mixture, Students, marginal_mixture
from daskgmm.tables import known_name

__all__ = ["Subject", "largest_components", "telling_features"]

Feature = str | int
"""Name of a feature, where the model has names, or its index."""

_MOST_COMPARED = 64
"""Features among which those are looked for that tell most together: the most telling alone."""
_RIDGE = 1e-9
"""Added to unit variances, so that features that are sums of others have an inverse."""
_DIGITS = 9
"""To which gains are compared, so that features that tell the same come in their order."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The mixture of a fitted model, and what its features are called.

    Attributes
    ----------
    mixture : Mixture
    names : tuple of str
        Of the features that the mixture is of: those of the data, or else axes.
    units : tuple of str
        Empty for features without.
    """

    mixture: Mixture
    names: tuple[str, ...]
    units: tuple[str, ...]

    @classmethod
    def of(cls, model: FittedMixture) -> Self:
        """The subject of a fitted model.

        Raises
        ------
        NotFittedError
            If it is not fitted.
        """
        mixture, projection, names = model._mixture, model._projection, model._names_of_mixture
        n_in = len(names) if projection is None else projection.n_in
        units = [""] * n_in if model._units is None else [str(unit) for unit in model._units]
        if projection is not None:
            kept = projection.selected
            units = [""] * len(names) if kept is None else [units[j] for j in kept]
        return cls(mixture, names, tuple(units))

    @property
    def gaussians(self) -> Gaussians:
        """The components as Gaussians: of t components, of their scale matrices."""
        components = self.mixture.components
        assert isinstance(components, Elliptical)
        return components.gaussians

    @property
    def degrees_of_freedom(self) -> Float64Array:
        """Of each component, (K,); infinite for Gaussians."""
        components = self.mixture.components
        if isinstance(components, Students):
            return components.degrees_of_freedom
        return np.full(self.mixture.n_components, np.inf)

    def label(self, feature: int) -> str:
        """Name of a feature with its unit, for an axis."""
        unit = self.units[feature].strip()
        return f"{self.names[feature]} ({unit})" if unit else self.names[feature]

    def features(self, chosen: Sequence[Feature]) -> tuple[int, ...]:
        """Indices of features that are chosen by name or index.

        Raises
        ------
        ParameterError
            If one is not there, or is named twice.
        """
        found = tuple(self._feature(one) for one in chosen)
        if len(set(found)) < len(found):
            raise ParameterError(
                f"features are named twice in {', '.join(map(str, chosen))}; name each once"
            )
        return found

    def _feature(self, one: Feature) -> int:
        if isinstance(one, int | np.integer):
            if 0 <= one < len(self.names):
                return int(one)
            raise ParameterError(
                f"there is no feature {one}; the model has {len(self.names)}, from 0 to "
                f"{len(self.names) - 1}"
            )
        try:
            return self.names.index(str(known_name(one, self.names, "features of the model")))
        except ValueError as error:
            raise ParameterError(str(error)) from None

    def telling(self, n: int) -> tuple[int, ...]:
        """See :func:`telling_features`."""
        return telling_features(Mixture(self.mixture.shares, self.gaussians), n)

    @property
    def centre(self) -> Float64Array:
        """Mean of the components, (D,)."""
        mean: Float64Array = self.mixture.shares @ self.gaussians.means
        return mean

    @property
    def deviations(self) -> Float64Array:
        """Standard deviation of each feature within and between components, (D,)."""
        shares, law = self.mixture.shares, self.gaussians
        between = shares @ np.square(law.means - self.centre)
        deviations: Float64Array = np.sqrt(shares @ law.variances() + between)
        return deviations


def largest_components(mixture: Mixture, n: int) -> tuple[int, ...]:
    """Indices of the n components of largest weight, in the order of the components."""
    heaviest = np.argsort(-mixture.weights, kind="stable")[:n]
    return tuple(int(k) for k in np.sort(heaviest))


def telling_features(mixture: Mixture, n: int) -> tuple[int, ...]:
    """The features in which components lie furthest apart, the most telling first.

    Each next one is that with which Pillai's trace ``tr(T^-1 B)`` is largest, of the covariances
    T = W + B within and between the components: a feature that says what another one says gains
    nothing.

    Parameters
    ----------
    mixture : Mixture
        Of Gaussians.
    n : int
        As many, or all where there are fewer.

    References
    ----------
    Rencher (2002), Methods of Multivariate Analysis (stepwise selection of variables).
    """
    shares, law = mixture.shares, mixture.components
    assert isinstance(law, Gaussians)
    apart = law.means - shares @ law.means
    between = shares @ np.square(apart)
    within = shares @ law.variances()
    alone = np.round(between / (between + within), _DIGITS)
    candidates = np.sort(np.argsort(-alone, kind="stable")[:_MOST_COMPARED])
    deviations = np.sqrt(between + within)[candidates]
    shrunk = apart[:, candidates] / deviations
    b = (shares * shrunk.T) @ shrunk
    t = b + _within(mixture, candidates) / np.multiply.outer(deviations, deviations)
    t[np.diag_indices_from(t)] += _RIDGE
    chosen: list[int] = []
    while len(chosen) < min(n, len(candidates)):
        left = np.setdiff1d(np.arange(len(candidates)), chosen)
        sets = np.array([[*chosen, j] for j in left])
        block = sets[:, :, None], sets[:, None, :]
        traces = np.trace(np.linalg.solve(t[block], b[block]), axis1=1, axis2=2)
        chosen.append(int(left[np.argmax(np.round(traces, _DIGITS))]))
    return tuple(int(candidates[j]) for j in chosen)


def _within(mixture: Mixture, features: NDArray[np.intp]) -> Float64Array:
    """Mean of the covariances of some features, component by component to bound the memory."""
    law = marginal_mixture(mixture, features).components
    assert isinstance(law, Gaussians)
    found = np.zeros((len(features), len(features)))
    for k, share in enumerate(mixture.shares):
        found += share * law.take([k]).dense()[0]
    return found
