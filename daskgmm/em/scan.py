"""Scan: the first pass, which learns of the rows what every start and check needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.history import ScanDone
from daskgmm.em.rows import Rows
from daskgmm.errors import DamagedDataError, DataError, NonFiniteError
from daskgmm.kernel import Moments, moments_and_extremes
from daskgmm.kernel.families.base import Float64Array

__all__ = ["NonFinite", "Scan", "check_finite", "hash_rows", "sample_threshold", "scan_rows"]


_LARGEST = 1e150
"""Values beyond have squares that float64 cannot sum."""


@dataclass(frozen=True)
class NonFinite:
    """Where values are that cannot be used, NaN, infinite or huge: how many, and the first."""

    count: int
    row: int
    column: int
    value: float

    def error(self) -> NonFiniteError:
        """What to raise."""
        if np.isfinite(self.value):
            return NonFiniteError(
                f"the data contain values beyond {_LARGEST:g} in size, whose squares overflow: "
                f"{self.count}, the first at row {self.row}, column {self.column} "
                f"({self.value:g}); rescale the data, or remove these rows"
            )
        return NonFiniteError(
            f"the data contain NaN or infinity: {self.count} value{'s' * (self.count > 1)}, "
            f"the first at row {self.row}, column {self.column} ({self.value}); "
            "remove or impute these rows"
        )


def find_non_finite(x: NDArray[Any], start: int) -> NonFinite | None:
    """What cannot be used of a block that begins at row ``start``; None if all can."""
    # Extremes carry NaN and infinity, and need no mask of the block.
    if len(x) == 0 or -_LARGEST <= float(x.min()) <= float(x.max()) <= _LARGEST:
        return None
    bad = ~np.isfinite(x)
    if not bad.any():
        bad = np.abs(x) > _LARGEST
    row, column = (int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
    return NonFinite(int(bad.sum()), start + row, column, float(x[row, column]))


def check_finite(x: NDArray[Any], start: int) -> None:
    """Raise NonFiniteError where a block that begins at row ``start`` is not finite."""
    if (bad := find_non_finite(x, start)) is not None:
        raise bad.error()


@dataclass(frozen=True, eq=False)
class Scan:
    """What one pass over all rows finds. Additive, later rows on the right.

    Parameters
    ----------
    moments : Moments
        Count, mean and scatter of all rows.
    minimum, maximum : arrays of shape (D,)
        Extremes of each feature.
    sample : array of shape (n_sampled, D)
        The rows whose hash is below the threshold, in their order among all rows.
    non_finite : record or None
        Set where a value is NaN or infinite; the other fields are then unusable.
    """

    moments: Moments
    minimum: Float64Array
    maximum: Float64Array
    sample: Float64Array
    non_finite: NonFinite | None = None

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.moments + other.moments,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            np.concatenate([self.sample, other.sample]),
            _first_of(self.non_finite, other.non_finite),
        )

    @property
    def n_rows(self) -> int:
        """N."""
        return self.moments.n_rows


def _first_of(left: NonFinite | None, right: NonFinite | None) -> NonFinite | None:
    if left is None or right is None:
        return left or right
    return NonFinite(left.count + right.count, left.row, left.column, left.value)


def hash_rows(start: int, n_rows: int, seed: int) -> NDArray[np.uint64]:
    """Hash of each row index ``start .. start + n_rows``, uniform over 64 bits.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) applied to the index
    and the seed. A row is in the sample if its hash is below a threshold: the sample
    is uniform, the same for any chunking, and grows by raising the threshold.
    """
    with np.errstate(over="ignore"):
        z = np.arange(start, start + n_rows, dtype=np.uint64)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64((seed * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z ^= z >> np.uint64(shift)
            z *= np.uint64(factor)
        z ^= z >> np.uint64(31)
    return z


def sample_threshold(n_rows: int, n_sampled: int) -> int:
    """Threshold of :func:`hash_rows` that takes about ``n_sampled`` of ``n_rows``."""
    return 2**64 if n_sampled >= n_rows else n_sampled * 2**64 // n_rows


def _scan_block(x: NDArray[Any], start: int, threshold: int, seed: int) -> Scan:
    d = x.shape[1]
    if len(x) == 0:
        nothing = Moments(0, np.zeros(d), np.zeros((d, d)))
        return Scan(nothing, np.full(d, np.inf), np.full(d, -np.inf), np.empty((0, d)))
    if (bad := find_non_finite(x, start)) is not None:
        return replace(_scan_block(x[:0], start, threshold, seed), non_finite=bad)
    moments, minimum, maximum = moments_and_extremes(x)
    everything = threshold >= 2**64
    sample = x if everything else x[hash_rows(start, len(x), seed) < np.uint64(threshold)]
    return Scan(moments, minimum, maximum, sample.astype(np.float64))


def scan_rows(
    rows: Rows,
    n_sampled: int,
    seed: int,
    tell: Callable[[ScanDone], None] = lambda event: None,
) -> Scan:
    """Scan all rows in one pass.

    Parameters
    ----------
    rows : Rows
    n_sampled : int
        About how many rows the sample is to hold; all if there are not more.
    seed : int
        Of the sample.
    tell : callable
        Told when it is done.

    Raises
    ------
    NonFiniteError
        If a value is NaN or infinite: which is the first, and how many.
    DataError
        If a feature is constant.
    DamagedDataError
        If other than ``rows.n_rows`` rows came.
    """
    began = time.perf_counter()
    scan = rows.fold(_scan_block, sample_threshold(rows.n_rows, n_sampled), seed)
    if scan.non_finite is not None:
        raise scan.non_finite.error()
    if scan.n_rows != rows.n_rows:
        raise DamagedDataError(
            f"the scan read {scan.n_rows} rows where {rows.n_rows} were expected; "
            "is the data being written?"
        )
    constant = np.flatnonzero(scan.minimum == scan.maximum)
    if scan.n_rows > 1 and len(constant) > 0:
        which = ", ".join(str(c) for c in constant[:5]) + ", ..." * (len(constant) > 5)
        raise DataError(
            f"column{'s' * (len(constant) > 1)} {which} of the data "
            f"{'are' if len(constant) > 1 else 'is'} constant (column {constant[0]} is "
            f"{scan.minimum[constant[0]]:g} in each of {scan.n_rows} rows): a Gaussian has no "
            "density along it; drop it"
        )
    tell(ScanDone(scan.n_rows, len(scan.sample), time.perf_counter() - began))
    return scan
