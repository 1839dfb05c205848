"""Tangent coordinates of t components: those of Gaussians, and logarithms of degrees of freedom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import Sums

if TYPE_CHECKING:
    from daskgmm.kernel.components.students import Students

__all__ = ["StudentTangent"]


class StudentTangent:
    """Coordinates of t components about an origin, which lies at 0.

    Parameters
    ----------
    origin : Students
    shares : array of shape (K,)
        Weights of the components, above 0.
    """

    def __init__(self, origin: Students, shares: Float64Array) -> None:
        self._origin = origin
        self._gaussian = origin.gaussians.tangent(shares)
        groups = {"shared": np.ones(1), "each": np.sqrt(shares)}
        of_degrees = groups.get(str(origin.degrees), np.empty(0))
        self._n_gaussian = len(self._gaussian.widths)
        self.widths: Float64Array = np.concatenate([self._gaussian.widths, of_degrees])

    def _split(self, t: Float64Array) -> tuple[Float64Array, Float64Array]:
        of_gaussian, of_degrees = np.split(t, [self._n_gaussian])
        return of_gaussian, of_degrees

    def components(self, t: Float64Array) -> Students:
        """The components at a vector of shape (size,)."""
        of_gaussian, of_degrees = self._split(t)
        gaussians = self._gaussian.components(of_gaussian)
        nu = self._origin.degrees_of_freedom
        if len(of_degrees) > 0:
            nu = nu * np.exp(of_degrees)
        return type(self._origin)(gaussians.means, gaussians.covariances, nu)

    def vector(self, components: Students) -> Float64Array:
        """Inverse of :meth:`components`."""
        n = len(self.widths) - self._n_gaussian
        moved = np.log(components.degrees_of_freedom / self._origin.degrees_of_freedom)
        return np.concatenate([self._gaussian.vector(components.gaussians), moved[:n]])

    def moving(self, means: NDArray[np.bool_], covariances: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Those of the Gaussians, and degrees of freedom."""
        of_degrees = np.ones(len(self.widths) - self._n_gaussian, bool)
        return np.concatenate([self._gaussian.moving(means, covariances), of_degrees])

    def slopes(self, t: Float64Array, components: Students, sums: Sums) -> Float64Array:
        """Gradient by t of the expected log-likelihood, from sums about the components' means.

        By a logarithm of nu it is ``nu / 2 (n (log(nu / 2) + 1 - psi(nu / 2)) + tails)``.
        """
        of_gaussian, of_degrees = self._split(t)
        slopes = self._gaussian.slopes(of_gaussian, components.gaussians, sums)
        half = 0.5 * components.degrees_of_freedom
        by_nu = half * (sums["n_k"] * (np.log(half) + 1 - special.digamma(half)) + sums["tails"])
        if len(of_degrees) == 1:
            by_nu = by_nu.sum(keepdims=True)
        return np.concatenate([slopes, by_nu[: len(of_degrees)]])
