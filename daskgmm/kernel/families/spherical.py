"""Spherical: each component has one variance for all features, shape (K,)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daskgmm.kernel.families.base import Family, Float64Array, Run, shrink_to_mean
from daskgmm.kernel.linalg import positive_roots

__all__ = ["SPHERICAL"]


@dataclass(frozen=True)
class _Spherical:
    name: str = "spherical"
    scale_equivariant: bool = False
    shared: bool = False

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        return (k,)

    def n_parameters(self, k: int, d: int) -> int:
        return k

    def factor(self, covariances: Float64Array) -> Float64Array:
        return np.array([1.0 / positive_roots(c[None], k)[0] for k, c in enumerate(covariances)])

    def precisions(self, factors: Float64Array) -> Float64Array:
        precisions: Float64Array = np.square(factors)
        return precisions

    def invert(self, precisions: Float64Array) -> Float64Array:
        return self.precisions(self.factor(precisions))

    def log_det(self, factors: Float64Array, k: int, d: int) -> Float64Array:
        total: Float64Array = d * np.log(factors)
        return total

    def whiten(
        self, factors: Float64Array, k: int, deviations: Float64Array, out: Float64Array
    ) -> Float64Array:
        np.multiply(factors[k], deviations, out=out)
        return out

    def add_scatter(
        self, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        second[k] += (np.square(deviations) @ r).sum()

    def recentre(
        self, second: Float64Array, n_k: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        moved = (2.0 * first - n_k[:, None] * shift) * shift
        recentred: Float64Array = second - moved.sum(axis=1)
        return recentred

    def covariances(
        self, second: Float64Array, n_k: Float64Array, reg_covar: float, d: int
    ) -> Float64Array:
        variances: Float64Array = second / (n_k * d) + reg_covar
        return variances

    def ridge(self, n_k: Float64Array, reg_covar: float, d: int) -> Float64Array:
        ridge: Float64Array = reg_covar * d * n_k
        return ridge

    def variances(self, covariances: Float64Array, k: int, d: int) -> Float64Array:
        return np.broadcast_to(covariances[:, None], (k, d))

    def rescale(self, matrices: Float64Array, scale: Float64Array) -> Float64Array:
        rescaled: Float64Array = matrices * np.square(scale)
        return rescaled

    def multiply(self, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
        products: Float64Array = matrices[:, None] * vectors
        return products

    def runs(self, d: int) -> tuple[Run, ...]:
        return ((slice(0, d), slice(0, d)),)

    def quadratic(self, precisions: Float64Array, k: int, d: int) -> Float64Array:
        return np.repeat(-0.5 * precisions[:, None], d, axis=1)

    def from_products(self, sums: Float64Array, d: int) -> Float64Array:
        second: Float64Array = sums.sum(axis=1)
        return second

    def shrink(
        self, covariances: Float64Array, weights: Float64Array, share: Float64Array
    ) -> Float64Array:
        return shrink_to_mean(covariances, weights, share)

    def dense(self, covariances: Float64Array, k: int, d: int) -> Float64Array:
        matrices: Float64Array = covariances[:, None, None] * np.eye(d)
        return matrices

    def roots(self, covariances: Float64Array) -> Float64Array:
        roots: Float64Array = np.sqrt(covariances)
        return roots

    def move(self, roots: Float64Array, t: Float64Array) -> Float64Array:
        variances: Float64Array = np.square(roots * np.exp(t))
        return variances

    def between(self, roots: Float64Array, covariances: Float64Array) -> Float64Array:
        t: Float64Array = np.log(np.sqrt(covariances) / roots)
        return t

    def slopes(
        self, roots: Float64Array, t: Float64Array, second: Float64Array, n_k: Float64Array, d: int
    ) -> Float64Array:
        slopes: Float64Array = second / self.move(roots, t) - d * n_k
        return slopes

    def widths(self, weights: Float64Array) -> Float64Array:
        widths: Float64Array = np.sqrt(weights)
        return widths

    def sample(
        self, rng: np.random.Generator, covariances: Float64Array, k: int, size: tuple[int, int]
    ) -> Float64Array:
        deviations: Float64Array = rng.standard_normal(size) * np.sqrt(covariances[k])
        return deviations


SPHERICAL: Family = _Spherical()
