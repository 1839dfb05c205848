"""Diag: each component has a variance for each feature, (K, D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import RidgeLike
from daskgmm.kernel.components.variances import UncorrelatedGaussians
from daskgmm.kernel.linalg import positive_roots

__all__ = ["DiagGaussians"]


@dataclass(frozen=True, eq=False)
class DiagGaussians(UncorrelatedGaussians):
    """K Gaussians, each with a variance for each feature."""

    kind: ClassVar[str] = "diag"
    dimensions: ClassVar[dict[str, tuple[str, ...]]] = {
        "means": ("component", "feature"),
        "covariances": ("component", "feature"),
    }
    long_names: ClassVar[dict[str, str]] = {
        "means": "mean of the component",
        "covariances": "variance of the component",
    }

    @classmethod
    def covariance_shape(cls, k: int, d: int) -> tuple[int, ...]:
        """(K, D)."""
        return (k, d)

    @classmethod
    def count_covariance_parameters(cls, k: int, d: int) -> int:
        """K D variances."""
        return k * d

    @classmethod
    def factored(cls, covariances: Float64Array) -> Float64Array:
        """``1 / sqrt(variance)``."""
        return np.stack([1.0 / positive_roots(c, k) for k, c in enumerate(covariances)])

    def _covariances_of(self, features: NDArray[np.intp]) -> Float64Array:
        return self.covariances[:, features]

    def _log_det(self) -> Float64Array:
        total: Float64Array = np.log(self.factors).sum(axis=1)
        return total

    @classmethod
    def placed(cls, second: Float64Array, observed: NDArray[np.intp], d: int) -> Float64Array:
        """Each at its feature."""
        found = np.zeros((len(second), d))
        found[:, observed] = second
        return found

    @classmethod
    def add_variances(cls, second: Float64Array, k: int, moments: Float64Array) -> None:
        """They are those of the variances."""
        second[k] += moments

    @classmethod
    def _add_scatter(
        cls, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        second[k] += np.square(deviations) @ r

    @classmethod
    def _recentred_second(
        cls, second: Float64Array, n_k: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        moved: Float64Array = second - (2.0 * first - n_k[:, None] * shift) * shift
        return moved

    @classmethod
    def _covariances(
        cls, second: Float64Array, n_k: Float64Array, ridge: RidgeLike, d: int
    ) -> Float64Array:
        variances: Float64Array = second / n_k[:, None] + ridge
        return variances

    @classmethod
    def _ridge_moments(cls, n_k: Float64Array, ridge: RidgeLike, d: int) -> Float64Array:
        moments: Float64Array = n_k[:, None] * np.broadcast_to(ridge, (d,))
        return moments

    @classmethod
    def prior_scatter(cls, scale: Float64Array, k: int) -> Float64Array:
        """The diagonal of the scatter, for each component."""
        return np.broadcast_to(np.diagonal(scale), (k, len(scale)))

    @classmethod
    def prior_rows(cls, dof: float, k: int, d: int) -> float:
        """``dof + 2``."""
        return dof + 2

    def moments_of(self, n_k: Float64Array) -> Float64Array:
        """``n_k`` times each variance."""
        moments: Float64Array = n_k[:, None] * self.covariances
        return moments

    @classmethod
    def _from_products(cls, sums: Float64Array, d: int) -> Float64Array:
        return sums

    def _quadratic(self, precisions: Float64Array) -> Float64Array:
        coefficients: Float64Array = -0.5 * precisions
        return coefficients

    def covariance_slopes(
        self, roots: Float64Array, t: Float64Array, second: Float64Array, n_k: Float64Array
    ) -> Float64Array:
        """``second / variance - n_k``."""
        slopes: Float64Array = second / self.moved(roots, t) - n_k[:, None]
        return slopes

    @classmethod
    def covariance_widths(cls, shares: Float64Array) -> Float64Array:
        """Each variance is informed by its component's rows."""
        widths: Float64Array = np.sqrt(shares)[:, None]
        return widths
