"""Moments: count, mean and scatter of rows, without weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.families.base import Float64Array
from daskgmm.kernel.sub_blocks import sub_blocks

try:
    from daskgmm.kernel import fused
except ImportError:  # Numba is an optional extra
    fused = None  # type: ignore[assignment]

__all__ = ["Moments", "moments_and_extremes"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean (D,) and scatter ``sum (x - mean)(x - mean)^T`` (D, D) of rows.

    Additive by the pairwise update of Chan, Golub and LeVeque (1983), which keeps
    each scatter about its own mean and so cancels nothing.
    """

    n_rows: int
    mean: Float64Array
    scatter: Float64Array

    def __add__(self, other: Self) -> Self:
        n_rows = self.n_rows + other.n_rows
        if n_rows == 0:
            return self
        delta = other.mean - self.mean
        share = other.n_rows / n_rows
        cross = (self.n_rows * share) * np.multiply.outer(delta, delta)
        return type(self)(n_rows, self.mean + share * delta, self.scatter + other.scatter + cross)

    @property
    def variances(self) -> Float64Array:
        """Maximum-likelihood variance of each feature, shape (D,)."""
        diagonal: Float64Array = np.diagonal(self.scatter) / max(self.n_rows, 1)
        return diagonal


def moments_and_extremes(x: NDArray[Any]) -> tuple[Moments, Float64Array, Float64Array]:
    """Of one block of at least one row, shape (n_rows, D), all finite.

    Returns
    -------
    moments : Moments
        In float64.
    minimum, maximum : arrays of shape (D,)
        Of each feature.
    """
    return _by_sub_blocks(x) if fused is None else _by_compiled_loop(x)


def _by_compiled_loop(x: NDArray[Any]) -> tuple[Moments, Float64Array, Float64Array]:
    x = fused.rows_as_compiled(x)
    n, d = x.shape
    mean, minimum, maximum, scatter = np.empty(d), np.empty(d), np.empty(d), np.zeros((d, d))
    fused.scan_moments(x, x[0].astype(np.float64), mean, scatter, minimum, maximum)
    lower = np.tril(scatter)
    return Moments(n, mean, lower + np.tril(lower, -1).T), minimum, maximum


def _by_sub_blocks(x: NDArray[Any]) -> tuple[Moments, Float64Array, Float64Array]:
    """The reference, and what is used without Numba."""
    d = x.shape[1]
    total = Moments(0, np.zeros(d), np.zeros((d, d)))
    low, high = [], []
    for _, x_t in sub_blocks(x, 1):  # feature-major: extremes of a narrow block are slow
        low.append(x_t.min(axis=1))
        high.append(x_t.max(axis=1))
        mean = x_t.mean(axis=1)
        x_t -= mean[:, None]
        total = total + Moments(x_t.shape[1], mean, x_t @ x_t.T)
    return total, np.min(low, axis=0), np.max(high, axis=0)
