"""Weighted: mean and variance of one value for each row, where rows have weights.

Values and weights have shape (n,) and are float64; None as weights counts each row once.
"""

from __future__ import annotations

import numpy as np

from daskgmm.kernel import Float64Array

__all__ = ["error_of_mean", "mean", "variance"]


def mean(values: Float64Array, weight: Float64Array | None) -> float:
    """Weighted mean, ``sum w v / sum w``."""
    if weight is None:
        return float(values.mean())
    return float(weight @ values / weight.sum())


def variance(values: Float64Array, weight: Float64Array | None) -> float:
    """Weighted variance about the weighted mean, ``sum w (v - mean)^2 / sum w``."""
    if weight is None:
        return float(values.var())
    return float(weight @ np.square(values - mean(values, weight)) / weight.sum())


def error_of_mean(values: Float64Array, weight: Float64Array | None) -> float:
    """Standard error of the weighted mean, where a weight counts repetitions of its row."""
    if weight is None:
        return float(values.std() / np.sqrt(len(values)))
    return float(np.sqrt(variance(values, weight) / weight.sum()))
