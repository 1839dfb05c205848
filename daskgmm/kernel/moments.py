"""Moments: weight, mean and scatter of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskgmm.kernel import loops
from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = ["Moments", "moments_and_extremes"]


@dataclass(frozen=True, eq=False)
class Moments:
    """Sum of weights, mean (D,) and scatter ``sum w (x - mean)(x - mean)^T`` (D, D) of rows.

    Additive by the pairwise update of Chan, Golub and LeVeque (1983), which keeps
    each scatter about its own mean and so cancels nothing.
    """

    weight: float
    mean: Float64Array
    scatter: Float64Array

    @classmethod
    def zero(cls, d: int) -> Self:
        """Moments of no rows in d features, the neutral element of ``+``."""
        return cls(0.0, np.zeros(d), np.zeros((d, d)))

    def __add__(self, other: Self) -> Self:
        weight = self.weight + other.weight
        if weight == 0:
            return self
        delta = other.mean - self.mean
        share = other.weight / weight
        cross = (self.weight * share) * np.multiply.outer(delta, delta)
        return type(self)(weight, self.mean + share * delta, self.scatter + other.scatter + cross)

    @property
    def variances(self) -> Float64Array:
        """Maximum-likelihood variance of each feature, shape (D,)."""
        diagonal: Float64Array = np.diagonal(self.scatter) / (self.weight or 1.0)
        return diagonal


def moments_and_extremes(block: Block) -> tuple[Moments, Float64Array, Float64Array]:
    """Moments and extremes of a block of at least one row, all finite and of weight above 0.

    Returns
    -------
    moments : Moments
        In float64.
    minimum, maximum : arrays of shape (D,)
        Extremes of each feature.
    """
    return _by_sub_blocks(block) if loops.VARIANT is None else _by_compiled_loop(block)


def _by_compiled_loop(block: Block) -> tuple[Moments, Float64Array, Float64Array]:
    x = loops.rows_as_compiled(block.x)
    d = x.shape[1]
    root_weight = np.empty(0) if block.weight is None else np.sqrt(block.weight)
    found = loops.MomentArrays(np.empty(d), np.zeros((d, d)), np.empty(d), np.empty(d))
    loops.scan_moments(x, root_weight, x[0].astype(np.float64), found)
    lower = np.tril(found.scatter)
    moments = Moments(block.total_weight, found.mean, lower + np.tril(lower, -1).T)
    return moments, found.minimum, found.maximum


def _by_sub_blocks(block: Block) -> tuple[Moments, Float64Array, Float64Array]:
    """The reference, and what is used without loops."""
    total = Moments.zero(block.n_features)
    weights = block.weights
    low, high = [], []
    for span, x_t in sub_blocks(block.x, 1):  # feature-major: extremes of a narrow block are slow
        low.append(x_t.min(axis=1))
        high.append(x_t.max(axis=1))
        weight = weights[span]
        mean = x_t @ weight / weight.sum()
        x_t -= mean[:, None]
        total = total + Moments(float(weight.sum()), mean, (x_t * weight) @ x_t.T)
    return total, np.min(low, axis=0), np.max(high, axis=0)
