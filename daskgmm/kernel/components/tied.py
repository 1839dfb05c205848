"""Tied: all components share one covariance matrix, (D, D)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import RidgeLike, SharesWhitening, Sums
from daskgmm.kernel.components.matrices import MatrixGaussians, symmetric
from daskgmm.kernel.linalg import precision_factors, scatter_matrix

__all__ = ["TiedGaussians"]


@dataclass(frozen=True, eq=False)
class TiedGaussians(MatrixGaussians, SharesWhitening):
    """K Gaussians of one covariance matrix."""

    kind: ClassVar[str] = "tied"
    dimensions: ClassVar[dict[str, tuple[str, ...]]] = {
        "means": ("component", "feature"),
        "covariances": ("feature", "other_feature"),
    }
    long_names: ClassVar[dict[str, str]] = {
        "means": "mean of the component",
        "covariances": "covariance of all components",
    }
    couples_covariances: ClassVar[bool] = True

    @classmethod
    def covariance_shape(cls, k: int, d: int) -> tuple[int, ...]:
        """(D, D)."""
        return (d, d)

    @classmethod
    def count_covariance_parameters(cls, k: int, d: int) -> int:
        """D (D + 1) / 2 for one symmetric matrix."""
        return d * (d + 1) // 2

    @classmethod
    def factored(cls, covariances: Float64Array) -> Float64Array:
        """Upper triangular P with ``inv(Sigma) = P P^T``."""
        factor: Float64Array = precision_factors(covariances[None], shared=True)[0]
        return factor

    def common_whitening(self) -> Float64Array:
        """The factor, (D, D)."""
        return self.factors

    def common_precision(self) -> Float64Array:
        """The inverse covariance, (D, D)."""
        return self.precisions

    def _log_det(self) -> Float64Array:
        return np.full(self.n_components, np.log(np.diagonal(self.factors)).sum())

    def _whiten(self, k: int, deviations: Float64Array, out: Float64Array) -> None:
        np.matmul(self.factors.T, deviations, out=out)

    @classmethod
    def matrix_of(cls, second: Float64Array, k: int) -> Float64Array:
        """The one of all components."""
        return second

    @classmethod
    def _add_scatter(
        cls, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        second += scatter_matrix(deviations, r)

    @classmethod
    def add_at(cls, sums: Sums, chosen: Any, part: Sums) -> None:
        """Add the sums of the ``chosen`` components, in place; all share one scatter."""
        sums["n_k"][chosen] += part["n_k"]
        sums["first"][chosen] += part["first"]
        sums["second"][...] += part["second"]

    @classmethod
    def _recentred_second(
        cls, second: Float64Array, n_k: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        crossed = first.T @ shift
        return symmetric(second - crossed - crossed.T + (n_k * shift.T) @ shift)

    @classmethod
    def _covariances(
        cls, second: Float64Array, n_k: Float64Array, ridge: RidgeLike, d: int
    ) -> Float64Array:
        covariance: Float64Array = second / n_k.sum() + ridge * np.eye(d)
        return covariance

    @classmethod
    def _ridge_moments(cls, n_k: Float64Array, ridge: RidgeLike, d: int) -> Float64Array:
        moments: Float64Array = n_k.sum() * (ridge * np.eye(d))
        return moments

    @classmethod
    def prior_scatter(cls, scale: Float64Array, k: int) -> Float64Array:
        """The scatter, once for the one covariance."""
        return scale

    @classmethod
    def prior_rows(cls, dof: float, k: int, d: int) -> float:
        """``dof + D + 1`` for all components together."""
        return (dof + d + 1) / k

    def shrunk(self, weights: Float64Array, share: Float64Array) -> Self:
        """The components themselves: their covariance is its own mean."""
        return self

    def take(self, chosen: Any) -> Self:
        """Some of the components, of the same covariance."""
        return type(self)(self.means[chosen], self.covariances)

    def _multiplied(self, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
        products: Float64Array = vectors @ matrices
        return products

    @classmethod
    def _from_products(cls, sums: Float64Array, d: int) -> Float64Array:
        return super()._from_products(sums.sum(axis=0), d)

    @classmethod
    def _rows_of_each(cls, n_k: Float64Array) -> Float64Array:
        return np.asarray(n_k.sum())

    @classmethod
    def covariance_widths(cls, shares: Float64Array) -> Float64Array:
        """The one covariance is informed by all rows."""
        return np.ones((1, 1))
