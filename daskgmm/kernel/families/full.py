"""Full: each component has its own covariance matrix, shape (K, D, D)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.families.base import (
    Family,
    Float64Array,
    Run,
    logs_of_lower,
    lower_of_logs,
    lower_slopes,
    shrink_to_mean,
)
from daskgmm.kernel.linalg import precision_factors, scatter_matrix

__all__ = ["FULL", "outer", "symmetric", "triangle", "triangle_runs"]


def outer(a: Float64Array, b: Float64Array) -> Float64Array:
    """``a_k b_k^T`` of every component, shape (K, D, D)."""
    product: Float64Array = a[:, :, None] * b[:, None, :]
    return product


def symmetric(matrices: Float64Array) -> Float64Array:
    """The symmetric part, over the last two axes."""
    mean: Float64Array = 0.5 * (matrices + np.swapaxes(matrices, -1, -2))
    return mean


def triangle(precisions: Float64Array) -> Float64Array:
    """``-A_ii / 2`` and ``-A_ij`` for i < j, row by row of the upper triangle, shape (K, P)."""
    i, j, scale = _upper(precisions.shape[1])
    coefficients: Float64Array = precisions[:, i, j] * scale
    return coefficients


def triangle_runs(d: int) -> tuple[Run, ...]:
    """The products ``z_i z_j``, i <= j, row by row of the upper triangle."""
    return tuple((slice(i, i + 1), slice(i, d)) for i in range(d))


@lru_cache(maxsize=4)  # asked for with every mixture
def _upper(d: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Float64Array]:
    """Rows and columns of the upper triangle, and what :func:`triangle` multiplies by."""
    i, j = np.triu_indices(d)
    return i, j, np.where(i == j, -0.5, -1.0)


@lru_cache(maxsize=4)  # asked for with every grain
def _places(d: int) -> NDArray[np.intp]:
    """Where in the row-by-row upper triangle each entry of a symmetric (D, D) matrix is."""
    i, j = np.triu_indices(d)
    places = np.empty((d, d), np.intp)
    places[i, j] = places[j, i] = np.arange(len(i))
    return places


@dataclass(frozen=True)
class _Full:
    name: str = "full"
    scale_equivariant: bool = True
    shared: bool = False

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (k, d, d)

    def n_parameters(self, k: int, d: int) -> int:
        return k * d * (d + 1) // 2

    def factor(self, covariances: Float64Array) -> Float64Array:
        return precision_factors(covariances)

    def precisions(self, factors: Float64Array) -> Float64Array:
        product: Float64Array = factors @ np.swapaxes(factors, 1, 2)
        return product

    def invert(self, precisions: Float64Array) -> Float64Array:
        return self.precisions(self.factor(precisions))

    def log_det(self, factors: Float64Array, k: int, d: int) -> Float64Array:
        total: Float64Array = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        return total

    def whiten(
        self, factors: Float64Array, k: int, deviations: Float64Array, out: Float64Array
    ) -> Float64Array:
        return np.matmul(factors[k].T, deviations, out=out)

    def add_scatter(
        self, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        second[k] += scatter_matrix(deviations, r)

    def recentre(
        self, second: Float64Array, n_k: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        crossed = outer(first, shift)
        moved = second - crossed - np.swapaxes(crossed, 1, 2)
        return symmetric(moved + n_k[:, None, None] * outer(shift, shift))

    def covariances(
        self, second: Float64Array, n_k: Float64Array, reg_covar: float, d: int
    ) -> Float64Array:
        covariances: Float64Array = second / n_k[:, None, None] + reg_covar * np.eye(d)
        return covariances

    def ridge(self, n_k: Float64Array, reg_covar: float, d: int) -> Float64Array:
        ridge: Float64Array = (reg_covar * n_k)[:, None, None] * np.eye(d)
        return ridge

    def variances(self, covariances: Float64Array, k: int, d: int) -> Float64Array:
        return np.diagonal(covariances, axis1=1, axis2=2)

    def rescale(self, matrices: Float64Array, scale: Float64Array) -> Float64Array:
        rescaled: Float64Array = matrices * scale[:, None] * scale
        return rescaled

    def multiply(self, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
        products: Float64Array = (matrices @ vectors[:, :, None])[:, :, 0]
        return products

    def runs(self, d: int) -> tuple[Run, ...]:
        return triangle_runs(d)

    def quadratic(self, precisions: Float64Array, k: int, d: int) -> Float64Array:
        return triangle(precisions)

    def from_products(self, sums: Float64Array, d: int) -> Float64Array:
        second: Float64Array = sums[:, _places(d)]
        return second

    def shrink(
        self, covariances: Float64Array, weights: Float64Array, share: Float64Array
    ) -> Float64Array:
        return shrink_to_mean(covariances, weights, share)

    def dense(self, covariances: Float64Array, k: int, d: int) -> Float64Array:
        return covariances

    def roots(self, covariances: Float64Array) -> Float64Array:
        return np.asarray(np.linalg.cholesky(covariances), np.float64)

    def move(self, roots: Float64Array, t: Float64Array) -> Float64Array:
        moved = roots @ lower_of_logs(t)
        covariances: Float64Array = moved @ np.swapaxes(moved, -1, -2)
        return covariances

    def between(self, roots: Float64Array, covariances: Float64Array) -> Float64Array:
        return logs_of_lower(np.linalg.solve(roots, np.linalg.cholesky(covariances)))

    def slopes(
        self, roots: Float64Array, t: Float64Array, second: Float64Array, n_k: Float64Array, d: int
    ) -> Float64Array:
        return lower_slopes(roots, t, second, n_k)

    def widths(self, weights: Float64Array) -> Float64Array:
        return np.sqrt(weights)[:, None, None]

    def sample(
        self, rng: np.random.Generator, covariances: Float64Array, k: int, size: tuple[int, int]
    ) -> Float64Array:
        lower = np.linalg.cholesky(covariances[k])
        deviations: Float64Array = rng.standard_normal(size) @ lower.T
        return deviations


FULL: Family = _Full()
