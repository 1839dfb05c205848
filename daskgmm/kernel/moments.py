"""Moments: weight, mean and scatter of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskgmm.kernel import loops
from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.linalg import from_lower
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = ["FeatureMoments", "Moments", "moments_and_extremes", "moments_with_gaps"]


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


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """Moments of each feature by itself, of the rows that have it. Additive, as :class:`Moments`.

    Attributes
    ----------
    row_weight : float
        Sum of the weights of the rows.
    weight, mean, scatter : arrays of shape (D,)
        Of the rows that have the feature: sum of weights, mean, ``sum w (x - mean)^2``. Without
        such rows they are 0.
    """

    row_weight: float
    weight: Float64Array
    mean: Float64Array
    scatter: Float64Array

    def __add__(self, other: Self) -> Self:
        weight = self.weight + other.weight
        share = other.weight / np.where(weight > 0, weight, 1.0)
        delta = other.mean - self.mean
        return type(self)(
            self.row_weight + other.row_weight,
            weight,
            self.mean + share * delta,
            self.scatter + other.scatter + self.weight * share * np.square(delta),
        )

    @classmethod
    def of(cls, moments: Moments) -> Self:
        """Of complete rows."""
        weight = np.full(len(moments.mean), moments.weight)
        return cls(moments.weight, weight, moments.mean, np.diagonal(moments.scatter))

    @property
    def variances(self) -> Float64Array:
        """Maximum-likelihood variance of each feature, shape (D,)."""
        variances: Float64Array = self.scatter / np.where(self.weight > 0, self.weight, 1.0)
        return variances

    def with_correlations(self, covariance: Float64Array) -> Moments:
        """Moments as of complete rows: these means and variances, a covariance's correlations."""
        root = np.sqrt(self.variances / np.diagonal(covariance))
        scatter = self.row_weight * covariance * root[:, None] * root
        return Moments(self.row_weight, self.mean, scatter)


def moments_with_gaps(block: Block) -> tuple[FeatureMoments, Float64Array, Float64Array]:
    """Moments and extremes of rows of weight above 0, in which NaN stands for a missing value.

    Extremes of a feature that no row has are infinite, the minimum above the maximum.
    """
    d = block.n_features
    total = FeatureMoments.of(Moments.zero(d))
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    weights = block.weights
    for span, x_t in sub_blocks(block.x, 1):
        there = ~np.isnan(x_t)
        low = np.minimum(low, np.where(there, x_t, np.inf).min(axis=1))
        high = np.maximum(high, np.where(there, x_t, -np.inf).max(axis=1))
        of_values = there * weights[span]
        weight = of_values.sum(axis=1)
        x_t = np.where(there, x_t, 0.0)
        mean = (x_t * of_values).sum(axis=1) / np.where(weight > 0, weight, 1.0)
        scatter = (of_values * np.square(x_t - mean[:, None])).sum(axis=1)
        total = total + FeatureMoments(float(weights[span].sum()), weight, mean, scatter)
    return total, low, high


def moments_and_extremes(block: Block) -> tuple[Moments, Float64Array, Float64Array]:
    """Moments and extremes of a block of at least one row, all of weight above 0.

    If a value is NaN or infinite, the mean or an extreme is not finite, and the scatter means nothing.

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
    scatter = from_lower(found.scatter)  # all that the loop fills
    moments = Moments(block.total_weight, found.mean, scatter)
    return moments, found.minimum, found.maximum


def _by_sub_blocks(block: Block) -> tuple[Moments, Float64Array, Float64Array]:
    """In NumPy: the reference for the compiled loop, and used where there is none."""
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
