"""Fixed: parts of a mixture that a fit leaves as they are.

They restrict the M-step alone, whose maximum has a closed form still. Weights that are free share
what the fixed ones leave of 1, by their counts. A covariance is estimated about its component's
mean, wherever that is, and means are estimated as ever, because their maximum does not depend on
covariances. So EM climbs the same objective within what is free.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import Elliptical, gaussians_named
from daskgmm.kernel.mixture import Mixture

__all__ = ["NOTHING_FIXED", "Fixed", "FixedParts"]


@dataclass(frozen=True, eq=False)
class Fixed:
    """The values of the fixed parts, with NaN in place of all that is free.

    Attributes
    ----------
    weights : array of shape (K,) or None
    means : array of shape (K, D) or None
    covariances : array of the kind's shape or None
        Each is None where all of it is free.
    """

    weights: Float64Array | None = None
    means: Float64Array | None = None
    covariances: Float64Array | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether all is free."""
        return self.weights is None and self.means is None and self.covariances is None

    def free_weights(self, mixture: Mixture) -> NDArray[np.bool_]:
        """Which weights are free: of the components and, where there is noise, of noise last."""
        free = np.ones(mixture.n_components + (mixture.noise is not None), bool)
        if self.weights is not None:
            free[: mixture.n_components] = np.isnan(self.weights)
        return free

    def free_components(self, mixture: Mixture) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which means (K, D) are free, and which covariances."""
        covariances = mixture.covariances
        return (
            np.ones(mixture.means.shape, bool) if self.means is None else np.isnan(self.means),
            np.ones(covariances.shape, bool)
            if self.covariances is None
            else np.isnan(self.covariances),
        )

    def put_into(self, mixture: Mixture) -> Mixture:
        """The mixture with the fixed parts in place of its own.

        Free weights, and that of noise, are scaled to what the fixed ones leave of 1.
        """
        if self.is_nothing:
            return mixture
        weights, noise, components = mixture.weights, mixture.noise, mixture.components
        if self.weights is not None:
            free = np.isnan(self.weights)
            total = weights[free].sum() + mixture.noise_weight
            share = (1.0 - self.weights[~free].sum()) / total if total > 0 else 0.0
            weights = np.where(free, share * weights, self.weights)
            if noise is not None:
                noise = replace(noise, weight=max(float(share * noise.weight), 0.0))
        if self.means is not None or self.covariances is not None:
            assert isinstance(components, Elliptical)
            means = _filled(self.means, mixture.means)
            covariances = _filled(self.covariances, mixture.covariances)
            components = components.with_gaussians(components.family()(means, covariances))
        return Mixture(weights, components, noise)

    def holds_in(self, mixture: Mixture) -> bool:
        """Whether the mixture has the values of the fixed parts, to the bit."""
        pairs = (
            (self.weights, mixture.weights),
            (self.means, mixture.means),
            (self.covariances, None if self.covariances is None else mixture.covariances),
        )
        return all(
            fixed is None or bool((np.isnan(fixed) | (fixed == own)).all()) for fixed, own in pairs
        )


NOTHING_FIXED = Fixed()
"""All is free."""


def _filled(fixed: Float64Array | None, own: Float64Array) -> Float64Array:
    return own if fixed is None else np.where(np.isnan(fixed), own, fixed)


@dataclass(frozen=True)
class FixedParts:
    """Which components keep their weights, means and covariances, by number.

    Covariances that depend on each other are all fixed if any component is named.
    """

    weights: tuple[int, ...] = ()
    means: tuple[int, ...] = ()
    covariances: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.weights or self.means or self.covariances)

    def of(
        self,
        weights: Float64Array | None,
        means: Float64Array | None,
        covariances: Float64Array | None,
        kind: str,
    ) -> Fixed:
        """The fixed parts, with values from whole arrays; None where nothing of one is fixed."""
        if not self:
            return NOTHING_FIXED
        if self.covariances and gaussians_named(kind).couples_covariances:
            of_all = covariances
        else:
            of_all = _only(covariances, self.covariances)
        return Fixed(_only(weights, self.weights), _only(means, self.means), of_all)

    def in_mixture(self, mixture: Mixture) -> Fixed:
        """The fixed parts, with a mixture's values."""
        covariances = mixture.covariances if self.covariances else None
        return self.of(mixture.weights, mixture.means, covariances, mixture.kind)

    def count(self, kind: str, shape: tuple[int, int], has_noise: bool = False) -> int:
        """How many parameters of a mixture of shape (K, D) are fixed, of those it has."""
        if not self:
            return 0
        (k, d), law = shape, gaussians_named(kind)
        of_covariances = 0
        if self.covariances:
            each = len(self.covariances) / k
            of_covariances = round(each * law.count_covariance_parameters(k, d))
        return min(len(self.weights), k - 1 + has_noise) + d * len(self.means) + of_covariances


def _only(values: Float64Array | None, chosen: tuple[int, ...]) -> Float64Array | None:
    """The values of the chosen components, and NaN for others; None where none is chosen."""
    if not chosen or values is None:
        return None
    found, which = np.full(values.shape, np.nan), list(chosen)
    found[which] = values[which]
    return found
