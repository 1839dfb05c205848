"""Full: each component has its own covariance matrix, (K, D, D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import RidgeLike, WhitensEach
from daskgmm.kernel.components.matrices import MatrixGaussians, outer, symmetric
from daskgmm.kernel.linalg import precision_factors, scatter_matrix

__all__ = ["FullGaussians"]


@dataclass(frozen=True, eq=False)
class FullGaussians(MatrixGaussians, WhitensEach):
    """K Gaussians, each with its own covariance matrix."""

    kind: ClassVar[str] = "full"
    dimensions: ClassVar[dict[str, tuple[str, ...]]] = {
        "means": ("component", "feature"),
        "covariances": ("component", "feature", "other_feature"),
    }
    long_names: ClassVar[dict[str, str]] = {
        "means": "mean of the component",
        "covariances": "covariance of the component",
    }

    @classmethod
    def covariance_shape(cls, k: int, d: int) -> tuple[int, ...]:
        """(K, D, D)."""
        return (k, d, d)

    @classmethod
    def count_covariance_parameters(cls, k: int, d: int) -> int:
        """D (D + 1) / 2 for each of K symmetric matrices."""
        return k * d * (d + 1) // 2

    @classmethod
    def fewest_rows(cls, d: int) -> int:
        """D + 1: the scatter of fewer about their mean is singular."""
        return d + 1

    @classmethod
    def factored(cls, covariances: Float64Array) -> Float64Array:
        """Upper triangular P_k with ``inv(Sigma_k) = P_k P_k^T``."""
        return precision_factors(covariances)

    def whitening(self) -> Float64Array:
        """The factors, (K, D, D)."""
        return self.factors

    def _log_det(self) -> Float64Array:
        total: Float64Array = np.log(np.diagonal(self.factors, axis1=1, axis2=2)).sum(axis=1)
        return total

    def _whiten(self, k: int, deviations: Float64Array, out: Float64Array) -> None:
        np.matmul(self.factors[k].T, deviations, out=out)

    @classmethod
    def matrix_of(cls, second: Float64Array, k: int) -> Float64Array:
        """That of the component."""
        matrix: Float64Array = second[k]
        return matrix

    @classmethod
    def _add_scatter(
        cls, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        second[k] += scatter_matrix(deviations, r)

    @classmethod
    def _recentred_second(
        cls, second: Float64Array, n_k: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        # As the symmetric part: with few temporaries, which cost most for wide components.
        moved = outer(n_k[:, None] * shift - 2.0 * first, shift)
        moved += second
        return symmetric(moved)

    @classmethod
    def _covariances(
        cls, second: Float64Array, n_k: Float64Array, ridge: RidgeLike, d: int
    ) -> Float64Array:
        covariances: Float64Array = second / n_k[:, None, None] + ridge * np.eye(d)
        return covariances

    @classmethod
    def _ridge_moments(cls, n_k: Float64Array, ridge: RidgeLike, d: int) -> Float64Array:
        moments: Float64Array = n_k[:, None, None] * (ridge * np.eye(d))
        return moments

    @classmethod
    def prior_scatter(cls, scale: Float64Array, k: int) -> Float64Array:
        """The scatter, for each component."""
        return np.broadcast_to(scale, (k, *scale.shape))

    @classmethod
    def prior_rows(cls, dof: float, k: int, d: int) -> float:
        """``dof + D + 1``."""
        return dof + d + 1

    def _multiplied(self, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
        products: Float64Array = (matrices @ vectors[:, :, None])[:, :, 0]
        return products

    @classmethod
    def _rows_of_each(cls, n_k: Float64Array) -> Float64Array:
        return n_k

    @classmethod
    def covariance_widths(cls, shares: Float64Array) -> Float64Array:
        """Each covariance is informed by its component's rows."""
        return np.sqrt(shares)[:, None, None]
