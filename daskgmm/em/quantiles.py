"""Quantiles of weighted rows."""

from __future__ import annotations

import math

import numpy as np

from daskgmm.kernel import Block, Float64Array

__all__ = ["quantiles"]


def quantiles(block: Block, which: tuple[float, ...]) -> list[Float64Array]:
    """Quantiles of each feature, as of rows that are repeated by their weights, interpolated.

    Of a feature that has no value, they are NaN.
    """
    found = [np.full(block.n_features, np.nan) for _ in which]
    for j in range(block.n_features):
        order = np.argsort(block.x[:, j], kind="stable")
        order = order[: len(order) - int(np.isnan(block.x[:, j]).sum())]  # missing values are last
        if len(order) == 0:
            continue
        values, below = block.x[order, j], np.cumsum(block.weights[order])
        for q, of_q in zip(which, found, strict=True):
            place = q * max(below[-1] - 1.0, 0.0)
            ends = np.searchsorted(below, [math.floor(place), math.floor(place) + 1.0], "right")
            low, high = values[np.minimum(ends, len(values) - 1)]
            of_q[j] = low + (place - math.floor(place)) * (high - low)
    return found
