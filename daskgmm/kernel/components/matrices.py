"""Matrices: Gaussians whose covariances are matrices, the base of full and tied."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from daskgmm.errors import SingularComponentError
from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import Run
from daskgmm.kernel.components.completed import Expected, Filler, Lift
from daskgmm.kernel.components.completed_matrices import (
    MatrixLift,
    matrix_fillers,
    may_use_precisions,
)
from daskgmm.kernel.components.deconvolved_matrices import DeconvolvedMatrices, bytes_of_matrices
from daskgmm.kernel.components.gap_loops import CorrelatedLoop, GapLoop
from daskgmm.kernel.components.gaussian import Gaussians
from daskgmm.kernel.components.noise_loops import CorrelatedNoiseLoop, NoiseLoop

__all__ = ["MatrixGaussians", "outer", "symmetric"]

_LARGEST_INFLATION_OF_NOISE = 1e3
"""Up to which inverses are taken of rows with noise: as they are multiplied by the covariances
afterwards, they lose up to twice as many digits."""


def outer(a: Float64Array, b: Float64Array) -> Float64Array:
    """``a_k b_k^T`` of every component, (K, D, D)."""
    product: Float64Array = a[:, :, None] * b[:, None, :]
    return product


def symmetric(matrices: Float64Array) -> Float64Array:
    """The symmetric part, over the last two axes."""
    total: Float64Array = matrices + np.swapaxes(matrices, -1, -2)
    total *= 0.5
    return total


@lru_cache(maxsize=4)  # asked for with every mixture
def _upper(d: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Float64Array]:
    """Rows and columns of the upper triangle, and the factors of their quadratic coefficients."""
    i, j = np.triu_indices(d)
    return i, j, np.where(i == j, -0.5, -1.0)


@lru_cache(maxsize=4)  # asked for with every grain
def _places(d: int) -> NDArray[np.intp]:
    """Index (D, D) of each entry of a symmetric matrix in its upper triangle, row by row."""
    i, j = np.triu_indices(d)
    places = np.empty((d, d), np.intp)
    places[i, j] = places[j, i] = np.arange(len(i))
    return places


@dataclass(frozen=True, eq=False)
class MatrixGaussians(Gaussians):
    """Gaussians whose covariances have shape (K, D, D) or, for one common to all, (D, D)."""

    @classmethod
    def precisions_of(cls, factors: Float64Array) -> Float64Array:
        """``P P^T``."""
        product: Float64Array = factors @ np.swapaxes(factors, -1, -2)
        return product

    def dense(self) -> Float64Array:
        """The covariances as K full matrices, (K, D, D)."""
        return np.broadcast_to(self.covariances, (self.n_components, *self.covariances.shape[-2:]))

    def _diagonals(self, matrices: Float64Array) -> Float64Array:
        diagonals: Float64Array = np.diagonal(matrices, axis1=-2, axis2=-1)
        # Broadcasting matrices that are one for each component would take longer than all else here.
        return diagonals if matrices.ndim == 3 else np.broadcast_to(diagonals, self.means.shape)

    def _covariances_of(self, features: NDArray[np.intp]) -> Float64Array:
        return self.covariances[..., features[:, None], features]

    def regressed(
        self, observed: NDArray[np.intp], missing: NDArray[np.intp]
    ) -> tuple[Float64Array, Self]:
        """Coefficients ``S_mo S_oo^-1``, and what is left of the missing features.

        With the observed features first, the precision is ``P P^T``, P = [[P_o, P_om], [0, P_m]].
        Then the coefficients are ``-(P_om P_m^-1)^T``, and the covariance that is left is
        ``(P_m P_m^T)^-1``: no difference of covariances is taken, which could be negative.
        """
        order, n = np.concatenate([observed, missing]), len(observed)
        factors = self.factored(self._covariances_of(order))
        inverse = np.linalg.inv(factors[..., n:, n:])
        coefficients = -np.swapaxes(factors[..., :n, n:] @ inverse, -1, -2)
        left = symmetric(np.swapaxes(inverse, -1, -2) @ inverse)
        shape = self.n_components, *coefficients.shape[-2:]
        return np.broadcast_to(coefficients, shape), type(self)(self.means[:, missing], left)

    def fillers(self, gaps: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], Filler]]:
        """Patterns that are common by themselves, and others together where digits allow it."""
        return matrix_fillers(self, gaps)

    def gap_loop(self, log_weights: Float64Array) -> GapLoop | None:
        """By the precisions, where digits allow it."""
        return CorrelatedLoop(self, log_weights) if may_use_precisions(self) else None

    def lift(self, observed: NDArray[np.intp], missing: NDArray[np.intp]) -> Lift:
        """By the regression of the missing features on the observed ones."""
        return MatrixLift(self, observed, missing)

    def deconvolved(
        self,
        x_t: Float64Array,
        variances_t: Float64Array,
        covariances_t: Float64Array | None = None,
    ) -> Expected:
        """Value after value, of which each tells of all features."""
        return DeconvolvedMatrices(self, self.covariances, x_t, variances_t, covariances_t)

    def noise_loop(self, log_weights: Float64Array) -> NoiseLoop | None:
        """By inverses, where digits allow it."""
        try:
            may = may_use_precisions(self, _LARGEST_INFLATION_OF_NOISE)
        except SingularComponentError:  # with noise a row has a density all the same
            may = False
        return CorrelatedNoiseLoop(self, log_weights) if may else None

    @classmethod
    def deconvolved_bytes(cls, k: int, d: int, *, is_correlated: bool) -> int:
        """The matrices of each row."""
        n_matrices = 1 if len(cls.covariance_shape(k, d)) == 2 else k
        return bytes_of_matrices(n_matrices, k, d, is_correlated=is_correlated)

    @classmethod
    def add_covariance(cls, second: Float64Array, k: int, matrix: Float64Array) -> None:
        """Add it, in place."""
        cls.matrix_of(second, k)[...] += matrix

    @classmethod
    @abstractmethod
    def matrix_of(cls, second: Float64Array, k: int) -> Float64Array:
        """The matrix of second moments (D, D) to which component k adds, a view."""

    def _coloured(self, k: int, white: Float64Array) -> Float64Array:
        coloured: Float64Array = white @ np.linalg.cholesky(self.dense()[k]).T
        return coloured

    def moments_of(self, n_k: Float64Array) -> Float64Array:
        """``n_k Sigma_k``, summed where there is one covariance."""
        rows = np.asarray(self._rows_of_each(n_k))
        moments: Float64Array = rows[..., None, None] * self.covariances
        return moments

    # -- the natural form: products of the upper triangle, row by row --------------

    @classmethod
    def product_runs(cls, d: int) -> tuple[Run, ...]:
        """The products ``z_i z_j``, i <= j, row by row of the upper triangle."""
        return tuple((slice(i, i + 1), slice(i, d)) for i in range(d))

    @classmethod
    def _rescaled(cls, matrices: Float64Array, scale: Float64Array) -> Float64Array:
        rescaled: Float64Array = matrices * scale[:, None] * scale
        return rescaled

    def _quadratic(self, precisions: Float64Array) -> Float64Array:
        i, j, scale = _upper(precisions.shape[-1])
        coefficients = precisions[..., i, j] * scale
        return np.broadcast_to(coefficients, (self.n_components, len(i)))

    @classmethod
    def _from_products(cls, sums: Float64Array, d: int) -> Float64Array:
        second: Float64Array = sums[..., _places(d)]
        return second

    # -- tangent coordinates ---------------------------------------------------------

    def roots(self) -> Float64Array:
        """Lower Cholesky factors."""
        return np.asarray(np.linalg.cholesky(self.covariances), np.float64)

    def _each(self, roots: Float64Array) -> Float64Array:
        return np.broadcast_to(roots, (self.n_components, *roots.shape[-2:]))

    def times(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k v_k``."""
        product: Float64Array = np.einsum("kij,kj->ki", self._each(roots), vectors)
        return product

    def solved(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k^-1 v_k``."""
        each = zip(self._each(roots), vectors, strict=True)
        return np.stack([linalg.solve_triangular(a, b, lower=True) for a, b in each])

    def times_transposed(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k^T v_k``."""
        product: Float64Array = np.einsum("kji,kj->ki", self._each(roots), vectors)
        return product

    @classmethod
    def moved(cls, roots: Float64Array, t: Float64Array) -> Float64Array:
        """``R T (R T)^T``, where t holds T with the logarithm of its diagonal."""
        moved = roots @ _lower_of_logs(t)
        covariances: Float64Array = moved @ np.swapaxes(moved, -1, -2)
        return covariances

    @classmethod
    def between(cls, roots: Float64Array, covariances: Float64Array) -> Float64Array:
        """Inverse of :meth:`moved`."""
        lower = np.linalg.solve(roots, np.linalg.cholesky(covariances))
        t: Float64Array = np.tril(lower, -1)
        i = np.arange(t.shape[-1])
        t[..., i, i] = np.log(lower[..., i, i])
        return t

    def covariance_slopes(
        self, roots: Float64Array, t: Float64Array, second: Float64Array, n_k: Float64Array
    ) -> Float64Array:
        """``T^-T (C^-1 S C^-T - n I)`` with C = R T; times T's diagonal for its logarithms."""
        lower = _lower_of_logs(t)
        inverse = np.linalg.inv(roots @ lower)
        whitened = inverse @ second @ np.swapaxes(inverse, -1, -2)
        i = np.arange(t.shape[-1])
        whitened[..., i, i] -= np.asarray(self._rows_of_each(n_k))[..., None]
        slopes: Float64Array = np.tril(np.swapaxes(np.linalg.inv(lower), -1, -2) @ whitened)
        slopes[..., i, i] *= lower[..., i, i]
        return slopes

    @classmethod
    @abstractmethod
    def _rows_of_each(cls, n_k: Float64Array) -> Float64Array:
        """Number of rows that inform each covariance, from ``n_k``."""


def _lower_of_logs(t: Float64Array) -> Float64Array:
    """Lower triangular matrices from ones with logarithmic diagonals, over the last two axes."""
    lower: Float64Array = np.tril(t, -1)
    i = np.arange(t.shape[-1])
    lower[..., i, i] = np.exp(t[..., i, i])
    return lower
