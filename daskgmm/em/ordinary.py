"""Ordinary values: where most values of a feature are, however far away the others are.

One row that is a million times as far as all others has nearly all of the variance of a feature. A
ridge that is a share of that variance is wider than the clusters, and groups of near rows, in units of
it, are the far rows and all others. So both use a variance that counts no more than a hundred times
what most values have, and distances that are cut at the ends of a wide range around these. Where no
value is that far, nothing is cut, and no bit differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import Block, Float64Array

__all__ = ["Ordinary", "quantiles"]

_PLACES = 50
"""Quantiles, at equal distances, between which the shortest half is looked for: an even number."""
_DEVIATIONS = 1.349
"""Standard deviations of a Gaussian from one end of its shortest half to the other."""
_TIMES_VARIANCE = 100.0
"""How many times as large as that of most values a variance may be."""
_TIMES_RANGE = 20.0
"""How many times the length of the shortest half beyond it values are cut: at 28 deviations."""
_ROWS = 1 << 13


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


@dataclass(frozen=True, eq=False)
class Ordinary:
    """Where most values of each feature are.

    Attributes
    ----------
    low, high : arrays of shape (D,)
        Ends of the shortest interval that holds half of the values, of all that is known of them.

    References
    ----------
    Rousseeuw and Leroy (1988), A robust scale estimator based on the shortest half.
    """

    low: Float64Array
    high: Float64Array

    @classmethod
    def of(cls, sample: Block) -> Self:
        """Of a sample of the rows, in which values may be missing."""
        some = sample.thinned(max(1, len(sample) // _ROWS))
        at = np.stack(quantiles(some, tuple(np.linspace(0.0, 1.0, _PLACES + 1).tolist())))
        lengths = at[_PLACES // 2 :] - at[: -(_PLACES // 2)]
        shortest = np.argmin(lengths, axis=0)
        each = np.arange(some.n_features)
        return cls(at[shortest, each], at[shortest + _PLACES // 2, each])

    @property
    def most_variances(self) -> Float64Array:
        """Most that variances of all rows may count for, (D,): infinite where nothing is told."""
        most = _TIMES_VARIANCE * np.square((self.high - self.low) / _DEVIATIONS)
        return np.where(self._is_known, most, np.inf)

    @property
    def _is_known(self) -> NDArray[np.bool_]:
        """Of which features most values differ at all; of others nothing is told."""
        return self.low < self.high

    def cut(self, x: Float64Array) -> Float64Array:
        """Rows (n, D) whose values beyond a wide range are at its ends; as given if none is."""
        beyond = _TIMES_RANGE * (self.high - self.low)
        low = np.where(self._is_known, self.low - beyond, -np.inf)
        high = np.where(self._is_known, self.high + beyond, np.inf)
        return x if ((x >= low) & (x <= high)).all() else np.clip(x, low, high)
