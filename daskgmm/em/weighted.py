"""Weighted: means and spreads of values, one for each row, where rows count differently."""

from __future__ import annotations

import numpy as np

from daskgmm.kernel import Float64Array

__all__ = ["error_of_mean", "mean", "variance"]


def mean(values: Float64Array, weight: Float64Array | None) -> float:
    """Mean of values of shape (n,), of these weights."""
    if weight is None:
        return float(values.mean())
    return float(weight @ values / weight.sum())


def variance(values: Float64Array, weight: Float64Array | None) -> float:
    """Variance of values of shape (n,), of these weights, about their mean."""
    if weight is None:
        return float(values.var())
    return float(weight @ np.square(values - mean(values, weight)) / weight.sum())


def error_of_mean(values: Float64Array, weight: Float64Array | None) -> float:
    """Standard error of the mean, of rows drawn as often as their weights say."""
    if weight is None:
        return float(values.std() / np.sqrt(len(values)))
    return float(np.sqrt(variance(values, weight) / weight.sum()))
