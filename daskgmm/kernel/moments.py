"""Moments: count, mean and scatter of rows, without weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.families.base import Float64Array
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = ["Moments", "extremes", "moments"]


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


def moments(x: NDArray[Any]) -> Moments:
    """Moments of one block of rows, shape (n_rows, D), in float64."""
    d = x.shape[1]
    total = Moments(0, np.zeros(d), np.zeros((d, d)))
    for _, x_t in sub_blocks(x, 1):
        mean = x_t.mean(axis=1)
        x_t -= mean[:, None]
        total = total + Moments(x_t.shape[1], mean, x_t @ x_t.T)
    return total


def extremes(x: NDArray[Any]) -> tuple[Float64Array, Float64Array]:
    """Smallest and largest value of each feature of a block of at least one row, (D,) each.

    NaN wherever a feature has one. Feature-major: NumPy's minimum over the rows of a
    narrow block takes several times as long.
    """
    low, high = [], []
    for _, x_t in sub_blocks(x, 1):
        low.append(x_t.min(axis=1))
        high.append(x_t.max(axis=1))
    return np.min(low, axis=0), np.max(high, axis=0)
