"""Tangent coordinates of Gaussians: vectors about an origin, any of which is Gaussians."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import Sums

if TYPE_CHECKING:
    from daskgmm.kernel.components.gaussian import Gaussians

__all__ = ["GaussianTangent"]


class GaussianTangent:
    """Coordinates of Gaussians about an origin, which lies at 0.

    Means move in units of their component's standard deviations, ``mu_k + L_k m_k``; covariances
    move by a triangular factor with a logarithmic diagonal (see :meth:`Gaussians.moved`). So
    coordinates do not depend on units and no step leaves the positive definite matrices. A
    vector holds K x D numbers for means, then as many as the covariances have; those in the
    upper triangle of a matrix have no effect.

    Parameters
    ----------
    origin : Gaussians
    shares : array of shape (K,)
        Weights of the components, above 0.
    """

    def __init__(self, origin: Gaussians, shares: Float64Array) -> None:
        self._origin = origin
        self._roots = origin.roots()
        roots_of_shares = np.sqrt(shares)
        of_covariances = np.broadcast_to(origin.covariance_widths(shares), origin.covariances.shape)
        self.widths: Float64Array = np.concatenate(
            [np.repeat(roots_of_shares, origin.n_features), of_covariances.ravel()]
        )

    def _split(self, t: Float64Array) -> tuple[Float64Array, Float64Array]:
        means, covariances = np.split(t, [self._origin.means.size])
        return (
            means.reshape(self._origin.means.shape),
            covariances.reshape(self._origin.covariances.shape),
        )

    def components(self, t: Float64Array) -> Gaussians:
        """The Gaussians at a vector of shape (size,)."""
        origin = self._origin
        m, of_covariances = self._split(t)
        return type(origin)(
            origin.means + origin.times(self._roots, m),
            origin.moved(self._roots, of_covariances),
        )

    def vector(self, components: Gaussians) -> Float64Array:
        """Inverse of :meth:`components`."""
        origin = self._origin
        m = origin.solved(self._roots, components.means - origin.means)
        of_covariances = origin.between(self._roots, components.covariances)
        return np.concatenate([m.ravel(), of_covariances.ravel()])

    def moving(self, means: NDArray[np.bool_], covariances: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Each mean and each covariance has as many coordinates as numbers."""
        return np.concatenate([means.ravel(), covariances.ravel()])

    def slopes(self, t: Float64Array, components: Gaussians, sums: Sums) -> Float64Array:
        """Gradient by t of the expected log-likelihood, from sums about the components' means."""
        origin = self._origin
        _, of_covariances = self._split(t)
        pulls = components._multiplied(components.precisions, sums["first"])
        return np.concatenate(
            [
                origin.times_transposed(self._roots, pulls).ravel(),
                origin.covariance_slopes(
                    self._roots, of_covariances, sums["second"], sums["n_k"]
                ).ravel(),
            ]
        )
