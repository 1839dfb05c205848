"""Shortest half: where most values of a feature are, however far away the others are.

One row that is a million times as far as all others has nearly all of the variance of a feature. A
ridge that is a share of that variance is wider than the clusters; and in units of it, the rows fall
into two groups, the far ones and all others. So the ridge is a share of a variance that counts for at
most a hundred times that of the shortest half of the values, and some starts are made of rows whose
values are winsorized: those far beyond the shortest half are put at the ends of a wide range.

Where no value is that far, nothing is winsorized; where no variance is above its bound either, no bit
differs. The bound can also apply without far rows, if one narrow cluster holds more than half of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.quantiles import quantiles
from daskgmm.kernel import Block, Float64Array

__all__ = ["ShortestHalf"]

_STEPS = 50
"""Steps between the quantiles among which the shortest half is looked for; even."""
_DEVIATIONS = 1.349
"""Length of the shortest half of a Gaussian, in standard deviations."""
_TIMES_VARIANCE = 100.0
"""Variances count for at most this many times that of a Gaussian with the same shortest half."""
_TIMES_LENGTH = 20.0
"""Values are winsorized beyond the shortest half by this many times its length: some 28 standard
deviations of a Gaussian."""
_ROWS = 1 << 13
"""Rows of the sample that are looked at, about."""


@dataclass(frozen=True, eq=False)
class ShortestHalf:
    """The shortest interval that holds half of the values of each feature.

    Attributes
    ----------
    low, high : arrays of shape (D,)
        Its ends; NaN for a feature of which no value is known.

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
        at = np.stack(quantiles(some, tuple(np.linspace(0.0, 1.0, _STEPS + 1).tolist())))
        half = _STEPS // 2
        shortest = np.argmin(at[half:] - at[:-half], axis=0)
        each = np.arange(some.n_features)
        return cls(at[shortest, each], at[shortest + half, each])

    @property
    def largest_variances(self) -> Float64Array:
        """The largest variance that counts, of each feature, (D,).

        It is infinite for a feature of which more than half of the values are equal, or none is known.
        """
        largest = _TIMES_VARIANCE * np.square((self.high - self.low) / _DEVIATIONS)
        return np.where(self._has_length, largest, np.inf)

    @property
    def _has_length(self) -> NDArray[np.bool_]:
        return self.low < self.high

    def winsorized(self, x: Float64Array) -> Float64Array:
        """Rows (n, D) with values beyond a wide range put at its ends; as given if there are none."""
        beyond = _TIMES_LENGTH * (self.high - self.low)
        low = np.where(self._has_length, self.low - beyond, -np.inf)
        high = np.where(self._has_length, self.high + beyond, np.inf)
        return x if ((x >= low) & (x <= high)).all() else np.clip(x, low, high)
