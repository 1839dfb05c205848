"""Shortest half: where most values of a feature are, however far away the others are.

One row that is a million times as far as all others has nearly all of the variance of a feature. A
ridge that is a share of that variance is wider than the clusters; and in units of it, the rows fall
into two groups, the far ones and all others. So the ridge is a share of a variance that counts for at
most a hundred times that of the shortest half of the values, and some starts are made of rows whose
values are winsorized: those far beyond the shortest half are put at the ends of a wide range.

Where no value is that far, nothing is winsorized and no variance is bounded, and no bit differs. Nor is
it where more than a third of the values are far: then they are no few rows, as where most values are
rounded to nearly the same.
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
_MOST_BEYOND = 1 / 3
"""Share of the values up to which those beyond are few."""
_ROUNDING = 6e-6
"""Least deviation that counts, as a share of the values: with it a ridge adds as much as rounding to
float32 does."""
_ROWS = 1 << 13
"""Rows of the sample that are looked at, about."""


@dataclass(frozen=True, eq=False)
class ShortestHalf:
    """The shortest interval that holds half of the values of each feature.

    Attributes
    ----------
    low, high : arrays of shape (D,)
        Its ends; NaN for a feature of which no value is known.
    has_few_beyond : array of shape (D,), bool
        Whether there are values far beyond it, and they are few.

    References
    ----------
    Rousseeuw and Leroy (1988), A robust scale estimator based on the shortest half.
    """

    low: Float64Array
    high: Float64Array
    has_few_beyond: NDArray[np.bool_]

    @classmethod
    def of(cls, sample: Block, minimum: Float64Array, maximum: Float64Array) -> Self:
        """Of a sample of the rows, in which values may be missing, and the extremes of all, (D,)."""
        # Of weighted rows, one that is left out or not may be most of all.
        step = max(1, len(sample) // _ROWS) if sample.weight is None else 1
        some = sample.thinned(step)
        at = np.stack(quantiles(some, tuple(np.linspace(0.0, 1.0, _STEPS + 1).tolist())))
        half = _STEPS // 2
        shortest = np.argmin(at[half:] - at[:-half], axis=0)
        each = np.arange(some.n_features)
        low, high = at[shortest, each], at[shortest + half, each]
        far = _TIMES_LENGTH * (high - low)
        is_known, is_beyond = ~np.isnan(some.x), (some.x < low - far) | (some.x > high + far)
        n_known = np.maximum(some.weights @ is_known, np.finfo(np.float64).tiny)
        is_few = some.weights @ is_beyond <= _MOST_BEYOND * n_known
        has_some = (minimum < low - far) | (maximum > high + far)
        return cls(low, high, (low < high) & has_some & is_few)

    @property
    def largest_variances(self) -> Float64Array:
        """The largest variance that counts, of each feature, (D,).

        It is infinite for a feature that has no few values far away.
        """
        # Digits beyond those of float32 can be those of rounding.
        largest_value = np.maximum(np.abs(self.low), np.abs(self.high))
        deviations = np.maximum((self.high - self.low) / _DEVIATIONS, _ROUNDING * largest_value)
        return np.where(self.has_few_beyond, _TIMES_VARIANCE * np.square(deviations), np.inf)

    def winsorized(self, x: Float64Array) -> Float64Array:
        """Rows (n, D) with values beyond a wide range put at its ends; as given if there are none."""
        beyond = _TIMES_LENGTH * (self.high - self.low)
        low = np.where(self.has_few_beyond, self.low - beyond, -np.inf)
        high = np.where(self.has_few_beyond, self.high + beyond, np.inf)
        return x if ((x >= low) & (x <= high)).all() else np.clip(x, low, high)
