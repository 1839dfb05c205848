"""Family: what a covariance family must know of itself.

Symbols, here and in the families: K components, D features, n rows of a
sub-block. Deviations are feature-major, shape (D, n), because n is long: sums over
features and over components then run along contiguous memory. ``r`` are the
responsibilities of one component, shape (n,).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Family",
    "Float64Array",
    "Run",
    "logs_of_lower",
    "lower_of_logs",
    "lower_slopes",
    "shrink_to_mean",
]

Float64Array = NDArray[np.float64]


Run = tuple[slice, slice]
"""Some products of features z (D, n): ``z[first] * z[second]``, one of length 1 or both equal."""


class Family(Protocol):
    """One way to constrain the covariances of K components.

    *Covariances*, *precisions*, *factors* and *second moments* all have the
    family's shape. *Factors*
    are scikit-learn's ``precisions_cholesky_``: upper triangular P with
    ``inv(Sigma) = P @ P.T`` (full, tied), or ``1 / sqrt(variance)``.
    """

    @property
    def name(self) -> str:
        """Key in the table, and scikit-learn's ``covariance_type``."""
        ...

    @property
    def scale_equivariant(self) -> bool:
        """Whether rescaling single features maps the family onto itself."""
        ...

    @property
    def shared(self) -> bool:
        """Whether all components have one covariance."""
        ...

    def shape(self, k: int, d: int) -> tuple[int, ...]:
        """Shape of the covariances."""
        ...

    def n_parameters(self, k: int, d: int) -> int:
        """Free parameters of the covariances."""
        ...

    def factor(self, covariances: Float64Array) -> Float64Array:
        """Factors of the precisions.

        Raises
        ------
        SingularComponentError
            ``error.component`` is the first that is not positive definite.
        """
        ...

    def precisions(self, factors: Float64Array) -> Float64Array:
        """Inverse covariances, from the factors."""
        ...

    def invert(self, precisions: Float64Array) -> Float64Array:
        """Covariances with these precisions; raises as :meth:`factor`."""
        ...

    def log_det(self, factors: Float64Array, k: int, d: int) -> Float64Array:
        """``log |Sigma_k|^(-1/2)`` of every component, shape (K,)."""
        ...

    def whiten(
        self, factors: Float64Array, k: int, deviations: Float64Array, out: Float64Array
    ) -> Float64Array:
        """``P_k^T (x - mu_k)``, shape (D, n): unit covariance under component k."""
        ...

    def add_scatter(
        self, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        """Add ``sum_i r_i d_i d_i^T`` of component k to ``second``, in place."""
        ...

    def recentre(
        self,
        second: Float64Array,
        n_k: Float64Array,
        first: Float64Array,
        shift: Float64Array,
    ) -> Float64Array:
        """Second moments about centres moved by ``shift`` (K, D).

        ``sum r (d - s)(d - s)^T = second - first s^T - s first^T + n_k s s^T``,
        where ``first`` (K, D) is about the old centres.
        """
        ...

    def covariances(
        self, second: Float64Array, n_k: Float64Array, reg_covar: float, d: int
    ) -> Float64Array:
        """Maximum-likelihood covariances, plus ``reg_covar``, from moments about the means."""
        ...

    def ridge(self, n_k: Float64Array, reg_covar: float, d: int) -> Float64Array:
        """Second moments that add ``reg_covar`` to maximum-likelihood variances."""
        ...

    def variances(self, covariances: Float64Array, k: int, d: int) -> Float64Array:
        """Variance of each feature in each component, shape (K, D)."""
        ...

    def rescale(self, matrices: Float64Array, scale: Float64Array) -> Float64Array:
        """``S A S`` with S = diag(scale): precisions of x / scale from those of x.

        And second moments of x from those of x / scale. ``scale`` has shape (D,), or
        (1,) where the family is not ``scale_equivariant``.
        """
        ...

    def multiply(self, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
        """``A_k v_k`` for vectors (K, D)."""
        ...

    def runs(self, d: int) -> tuple[Run, ...]:
        """The products of features that the second moments need, P of them in all."""
        ...

    def quadratic(self, precisions: Float64Array, k: int, d: int) -> Float64Array:
        """Coefficients (K, P) such that ``-z^T A_k z / 2 = quadratic_k . products(z)``."""
        ...

    def from_products(self, sums: Float64Array, d: int) -> Float64Array:
        """Second moments from sums of the products, shape (K, P)."""
        ...

    def shrink(
        self, covariances: Float64Array, weights: Float64Array, share: Float64Array
    ) -> Float64Array:
        """Covariances moved by ``share`` (K,) of the way to their weighted mean."""
        ...

    def dense(self, covariances: Float64Array, k: int, d: int) -> Float64Array:
        """The same covariances as K full matrices, shape (K, D, D)."""
        ...

    def roots(self, covariances: Float64Array) -> Float64Array:
        """Lower Cholesky factors, or standard deviations, of the covariances; of their shape."""
        ...

    def move(self, roots: Float64Array, t: Float64Array) -> Float64Array:
        """Covariances at coordinates ``t`` about those with these roots; of their shape.

        ``R T (R T)^T`` with T lower triangular, the logarithm of its diagonal in t: any t
        is a positive definite covariance, and 0 is the origin.
        """
        ...

    def between(self, roots: Float64Array, covariances: Float64Array) -> Float64Array:
        """Inverse of :meth:`move`."""
        ...

    def slopes(
        self, roots: Float64Array, t: Float64Array, second: Float64Array, n_k: Float64Array, d: int
    ) -> Float64Array:
        """Derivatives by t of ``sum_k -(n_k log|S_k| + tr(S_k^-1 second_k)) / 2``, of t's shape."""
        ...

    def widths(self, weights: Float64Array) -> Float64Array:
        """Square root of the share of rows that tells of each covariance, to divide t by."""
        ...

    def sample(
        self, rng: np.random.Generator, covariances: Float64Array, k: int, size: tuple[int, int]
    ) -> Float64Array:
        """Draw ``size`` = (n, D) deviations from component k."""
        ...


def lower_of_logs(t: Float64Array) -> Float64Array:
    """Lower triangular matrices whose diagonals' logarithms are given, over the last two axes."""
    lower: Float64Array = np.tril(t, -1)
    i = np.arange(t.shape[-1])
    lower[..., i, i] = np.exp(t[..., i, i])
    return lower


def logs_of_lower(lower: Float64Array) -> Float64Array:
    """Inverse of :func:`lower_of_logs`."""
    t: Float64Array = np.tril(lower, -1)
    i = np.arange(t.shape[-1])
    t[..., i, i] = np.log(lower[..., i, i])
    return t


def lower_slopes(
    roots: Float64Array, t: Float64Array, second: Float64Array, n: Float64Array
) -> Float64Array:
    """:meth:`Family.slopes` of matrices: ``T^-T (C^-1 S C^-T - n I)``, C = R T, by log diagonals."""
    lower = lower_of_logs(t)
    inverse = np.linalg.inv(roots @ lower)
    whitened = inverse @ second @ np.swapaxes(inverse, -1, -2)
    i = np.arange(t.shape[-1])
    whitened[..., i, i] -= np.asarray(n)[..., None]
    slopes: Float64Array = np.tril(np.swapaxes(np.linalg.inv(lower), -1, -2) @ whitened)
    slopes[..., i, i] *= lower[..., i, i]
    return slopes


def shrink_to_mean(
    covariances: Float64Array, weights: Float64Array, share: Float64Array
) -> Float64Array:
    """:meth:`Family.shrink` where the first axis is the component."""
    mean = np.tensordot(weights, covariances, 1)
    share = share.reshape(-1, *(1,) * (covariances.ndim - 1))
    moved: Float64Array = covariances + share * (mean - covariances)
    return moved
