"""Tied: all components share one covariance matrix, shape (D, D)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daskgmm.kernel.families.base import (
    Family,
    Float64Array,
    Run,
    logs_of_lower,
    lower_of_logs,
    lower_slopes,
)
from daskgmm.kernel.families.full import FULL, symmetric, triangle, triangle_runs
from daskgmm.kernel.linalg import precision_factors, scatter_matrix

__all__ = ["TIED"]


@dataclass(frozen=True)
class _Tied:
    name: str = "tied"
    scale_equivariant: bool = True
    shared: bool = True

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (d, d)

    def n_parameters(self, k: int, d: int) -> int:
        return d * (d + 1) // 2

    def factor(self, covariances: Float64Array) -> Float64Array:
        factor: Float64Array = precision_factors(covariances[None], shared=True)[0]
        return factor

    def precisions(self, factors: Float64Array) -> Float64Array:
        product: Float64Array = factors @ factors.T
        return product

    def invert(self, precisions: Float64Array) -> Float64Array:
        return self.precisions(self.factor(precisions))

    def log_det(self, factors: Float64Array, k: int, d: int) -> Float64Array:
        return np.full(k, np.log(np.diagonal(factors)).sum())

    def whiten(
        self, factors: Float64Array, k: int, deviations: Float64Array, out: Float64Array
    ) -> Float64Array:
        return np.matmul(factors.T, deviations, out=out)

    def add_scatter(
        self, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        second += scatter_matrix(deviations, r)

    def recentre(
        self, second: Float64Array, n_k: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        crossed = first.T @ shift
        return symmetric(second - crossed - crossed.T + (n_k * shift.T) @ shift)

    def covariances(
        self, second: Float64Array, n_k: Float64Array, reg_covar: float, d: int
    ) -> Float64Array:
        covariance: Float64Array = second / n_k.sum() + reg_covar * np.eye(d)
        return covariance

    def ridge(self, n_k: Float64Array, reg_covar: float, d: int) -> Float64Array:
        ridge: Float64Array = reg_covar * n_k.sum() * np.eye(d)
        return ridge

    def variances(self, covariances: Float64Array, k: int, d: int) -> Float64Array:
        return np.broadcast_to(np.diagonal(covariances), (k, d))

    def rescale(self, matrices: Float64Array, scale: Float64Array) -> Float64Array:
        rescaled: Float64Array = matrices * scale[:, None] * scale
        return rescaled

    def multiply(self, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
        products: Float64Array = vectors @ matrices
        return products

    def runs(self, d: int) -> tuple[Run, ...]:
        return triangle_runs(d)

    def quadratic(self, precisions: Float64Array, k: int, d: int) -> Float64Array:
        return np.repeat(triangle(precisions[None]), k, axis=0)

    def from_products(self, sums: Float64Array, d: int) -> Float64Array:
        second: Float64Array = FULL.from_products(sums.sum(axis=0, keepdims=True), d)[0]
        return second

    def shrink(
        self, covariances: Float64Array, weights: Float64Array, share: Float64Array
    ) -> Float64Array:
        return covariances

    def dense(self, covariances: Float64Array, k: int, d: int) -> Float64Array:
        return np.broadcast_to(covariances, (k, d, d))

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
        return lower_slopes(roots, t, second, n_k.sum())

    def widths(self, weights: Float64Array) -> Float64Array:
        return np.ones((1, 1))

    def sample(
        self, rng: np.random.Generator, covariances: Float64Array, k: int, size: tuple[int, int]
    ) -> Float64Array:
        deviations: Float64Array = rng.standard_normal(size) @ np.linalg.cholesky(covariances).T
        return deviations


TIED: Family = _Tied()
