"""Scan: the first read of all rows, which learns of the rows what every start and check needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.missing import Gaps, check_some_complete
from daskgmm.em.rows import Rows
from daskgmm.em.tail import PassWithTail, Tail
from daskgmm.errors import ColumnError, DamagedDataError, NonFiniteError
from daskgmm.history import ScanDone
from daskgmm.kernel import (
    Affine,
    Block,
    Float64Array,
    Mixture,
    Moments,
    Pass,
    Precision,
    Statistics,
    moments_and_extremes,
)
from daskgmm.kernel.blas import single_thread

__all__ = [
    "EarlyStart",
    "NonFinite",
    "Scan",
    "check_finite",
    "hash_rows",
    "sample_threshold",
    "scan_in_pass",
    "scan_of_pieces",
    "scan_rows",
]


_LARGEST = 1e150
"""Values beyond have squares that float64 cannot sum."""
_WAY_ON = "remove or impute these rows"
_WAYS_WITH_NAN = f'{_WAY_ON}, or leave those with NaN out with missing="drop" (--missing drop)'


@dataclass(frozen=True)
class NonFinite:
    """Number and first place of values that cannot be used: NaN, infinite or beyond 1e150."""

    count: int
    row: int
    column: int
    value: float

    def error(self, note: str = "") -> NonFiniteError:
        """The exception to raise; ``note`` is what the rows' store says of NaN, if anything."""
        if np.isfinite(self.value):
            return NonFiniteError(
                f"the data contain values beyond {_LARGEST:g} in size, whose squares overflow: "
                f"{self.count}, the first at row {self.row}, column ",
                self.column,
                f" ({self.value:g}); rescale the data, or remove these rows",
            )
        return NonFiniteError(
            f"the data contain NaN or infinity: {self.count} value{'s' * (self.count > 1)}, "
            f"the first at row {self.row}, column ",
            self.column,
            f" ({self.value}); " + (f"{note}; " if note else "") + (_WAYS_WITH_NAN if np.isnan(self.value) else _WAY_ON),
        )


def find_non_finite(block: Block) -> NonFinite | None:
    """Values that cannot be used in a block's rows of weight above 0; None if there are none."""
    x = block.x
    # Extremes carry NaN and infinity, and need no mask of the block.
    if len(x) == 0 or -_LARGEST <= float(x.min()) <= float(x.max()) <= _LARGEST:
        return None
    with np.errstate(over="ignore"):  # as float32 the bound is infinite, which nothing exceeds
        bad = ~np.isfinite(x) | (np.abs(x) > _LARGEST)
    if block.weight is not None:
        bad &= block.weight[:, None] > 0
    if not bad.any():
        return None
    non_finite = bad & ~np.isfinite(x)
    bad = non_finite if non_finite.any() else bad
    row, column = (int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
    return NonFinite(int(bad.sum()), block.start + row, column, float(x[row, column]))


def check_finite(block: Block) -> None:
    """Raise NonFiniteError if a row of weight above 0 has a value that cannot be used."""
    if (bad := find_non_finite(block)) is not None:
        raise bad.error()


@dataclass(frozen=True, eq=False)
class EarlyStart:
    """A start from runs of rows, of which the read that makes the scan is the first pass as well.

    Attributes
    ----------
    mixture : Mixture
    weight : float
        Sum of the weights of the rows that it was fitted to.
    is_found_often : bool
        Whether several starts of every way led to it.
    tail : Tail or None
        The worst-fitting of all rows under it; None before they were read.
    """

    mixture: Mixture
    weight: float
    is_found_often: bool
    tail: Tail | None = None


@dataclass(frozen=True, eq=False)
class Scan:
    """Moments, extremes and a uniform sample of all rows. Additive, later rows on the right.

    Parameters
    ----------
    n_rows : int
        Rows that were read, of whatever weight.
    moments : Moments
        Weight, mean and scatter of all rows.
    minimum, maximum : arrays of shape (D,)
        Extremes of each feature over rows of weight above 0.
    sample : Block
        The rows of weight above 0 whose hash is below the threshold, in their order among all
        rows, float64, with their weights.
    non_finite : NonFinite or None
        Set if a value cannot be used; the other fields are then meaningless.
    early : EarlyStart or None
        The start of the pass that was made in the same read, if there was one.
    affine : Affine or None
        The map that all of the above were put through since, and rows of later passes are.
    gaps : Gaps
        Rows in which values are missing.
    """

    n_rows: int
    moments: Moments
    minimum: Float64Array
    maximum: Float64Array
    sample: Block
    non_finite: NonFinite | None = None
    early: EarlyStart | None = None
    affine: Affine | None = None
    gaps: Gaps = Gaps()

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.n_rows + other.n_rows,
            self.moments + other.moments,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            self.sample.followed_by(other.sample),
            _first_of(self.non_finite, other.non_finite),
            gaps=self.gaps + other.gaps,
        )

    @property
    def is_pass(self) -> bool:
        """Whether the read that made the scan was a fit's first pass as well."""
        return self.early is not None

    @property
    def weight(self) -> float:
        """Sum of the weights of all rows."""
        return self.moments.weight

    @property
    def is_whole(self) -> bool:
        """Whether the sample holds every row of weight above 0."""
        return self.sample.total_weight >= self.weight * (1.0 - 1e-9)


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


def _scan_block(block: Block, threshold: int, seed: int) -> Scan:
    n, d = len(block), block.n_features
    none = Block(np.empty((0, d)), weight=None if block.weight is None else np.empty(0))
    nothing = Scan(n, Moments.zero(d), np.full(d, np.inf), np.full(d, -np.inf), none)
    nothing = replace(nothing, gaps=Gaps.of(block))
    if (bad := find_non_finite(block)) is not None:
        return replace(nothing, non_finite=bad)
    sample = block
    if threshold < 2**64:
        sample = block.take(hash_rows(block.start, n, seed) < np.uint64(threshold))
    block, sample = block.present(), sample.present()
    if len(block) == 0:
        return nothing
    moments, minimum, maximum = moments_and_extremes(block)
    sampled = Block(sample.x.astype(np.float64), weight=sample.weight)
    return Scan(n, moments, minimum, maximum, sampled, gaps=nothing.gaps)


def scan_of_pieces(block: Block, n_rows: int, weight: float) -> Scan | None:
    """Scan of all rows, estimated from some of them, which are its sample.

    Parameters
    ----------
    block : Block
    n_rows : int
        Rows of all.
    weight : float
        Sum of the weights of all rows.

    Returns
    -------
    Scan or None
        None if a value cannot be used, or a feature is constant in these rows.
    """
    scan = _scan_block(replace(block, x=np.ascontiguousarray(block.x)), 2**64, 0)
    if scan.non_finite is not None or not (scan.minimum < scan.maximum).all():
        return None
    moments, share = scan.moments, weight / scan.weight
    moments = replace(moments, weight=weight, scatter=share * moments.scatter)
    return replace(scan, n_rows=n_rows, moments=moments)


@dataclass(frozen=True, eq=False)
class _ScanAndPass:
    """A scan, and a pass over the same rows; no pass where a value cannot be used. Additive."""

    scan: Scan
    term: Any

    def __add__(self, other: Self) -> Self:
        is_missing = self.term is None or other.term is None
        return type(self)(self.scan + other.scan, None if is_missing else self.term + other.term)


def _scan_and_pass(block: Block, threshold: int, seed: int, one: PassWithTail) -> _ScanAndPass:
    scan = _scan_block(block, threshold, seed)
    return _ScanAndPass(scan, None if scan.non_finite is not None else one.of(block))


def scan_in_pass(
    rows: Rows,
    n_sampled: int,
    seed: int,
    early: EarlyStart,
    precision: Precision,
    *,
    is_fit: bool = True,
) -> tuple[Scan, Statistics]:
    """Scan all rows in the same read as the pass of an early start.

    Parameters
    ----------
    rows : Rows
    n_sampled, seed : int
        As of :func:`scan_rows`.
    early : EarlyStart
    precision : {"auto", "float32", "float64"}
        Precision of the pass.
    is_fit : bool
        Whether these rows alone are to be fitted, so that none of their features may be constant.

    Returns
    -------
    scan : Scan
    statistics : Statistics
        About the means of the early start.

    Raises
    ------
    NonFiniteError, ColumnError, DamagedDataError
        As :func:`scan_rows`.
    """
    one = PassWithTail(Pass(early.mixture, precision))
    threshold = sample_threshold(rows.n_rows, n_sampled)
    with single_thread():
        found = rows.fold(_scan_and_pass, threshold, seed, one)
        _check(found.scan, rows, is_fit=is_fit)
        statistics, tail = one.complete(found.term)
    return replace(found.scan, early=replace(early, tail=tail)), statistics


def scan_rows(
    rows: Rows,
    n_sampled: int,
    seed: int,
    tell: Callable[[ScanDone], None] = lambda event: None,
    *,
    may_be_constant: bool = False,
) -> Scan:
    """Scan all rows in one pass.

    Parameters
    ----------
    rows : Rows
    n_sampled : int
        Rows that the sample is to hold, about; all rows if there are not more.
    seed : int
        Seed of the hash that draws the sample.
    tell : callable
        Called with :class:`ScanDone` at the end.
    may_be_constant : bool
        Whether features may be constant, but for one.

    Raises
    ------
    NonFiniteError
        If a value is NaN, infinite or beyond 1e150; names the first place and the number.
    ColumnError
        If a feature is constant.
    DataError
        If each row has a gap.
    DamagedDataError
        If the pass read another number of rows than ``rows.n_rows``.
    """
    began = time.perf_counter()
    scan = rows.fold(_scan_block, sample_threshold(rows.n_rows, n_sampled), seed)
    _check(scan, rows, may_be_constant=may_be_constant)
    tell(ScanDone(scan.n_rows, len(scan.sample), time.perf_counter() - began))
    return scan


def _check(scan: Scan, rows: Rows, *, is_fit: bool = True, may_be_constant: bool = False) -> None:
    """Raise an error for rows that cannot be fitted: see :func:`scan_rows`."""
    if scan.non_finite is not None:
        raise scan.non_finite.error(getattr(rows, "gaps", ""))
    if scan.n_rows != rows.n_rows:
        raise DamagedDataError(
            f"the scan read {scan.n_rows} rows where {rows.n_rows} were expected; "
            "is the data being written?"
        )
    check_some_complete(scan.weight, scan.n_rows)
    constant = np.flatnonzero(scan.minimum == scan.maximum).tolist()
    if may_be_constant and len(constant) < len(scan.minimum):
        return
    if is_fit and scan.weight > 1 and len(constant) > 0:
        first, *more = constant[:5]
        raise ColumnError(
            f"column{'s' * (len(constant) > 1)} ",
            first,
            *(part for column in more for part in (", ", column)),
            ", ..." * (len(constant) > 5)
            + f" of the data {'are' if len(constant) > 1 else 'is'} constant (column ",
            first,
            f" is {scan.minimum[first]:g} in each of {scan.n_rows} rows): a Gaussian has no "
            "density along it; drop it, or leave such columns out of the fit by constant='drop' "
            "(--constant drop)",
        )
