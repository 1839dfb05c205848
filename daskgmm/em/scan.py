"""Scan: the first read of all rows, which learns of the rows what every start and check needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from daskgmm.em.behind import moments_behind, values_behind
from daskgmm.em.drawn import covariance_with_gaps, drawn_by_moments
from daskgmm.em.finite import NonFinite, are_usable, find_non_finite
from daskgmm.em.missing import NO_GAPS, Gaps, check_some_complete
from daskgmm.em.rows import Rows
from daskgmm.em.shortest_half import ShortestHalf
from daskgmm.em.tail import PassWithTail, Tail
from daskgmm.errors import ColumnError, DamagedDataError
from daskgmm.history import ScanDone
from daskgmm.kernel import (
    Affine,
    Block,
    FeatureMoments,
    Float64Array,
    Mixture,
    Moments,
    Pass,
    Precision,
    Statistics,
    drawn_rows,
    moments_and_extremes,
    moments_with_gaps,
)
from daskgmm.kernel.blas import single_thread

__all__ = [
    "MOST_FOR_STARTS",
    "EarlyStart",
    "Scan",
    "sample_threshold",
    "scan_in_pass",
    "scan_of_pieces",
    "scan_rows",
]


MOST_FOR_STARTS = 110_000
"""Rows; a usual sample is of about 100,000, since a hash draws it."""


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
        rows, float64, with their weights; and those whose component is known, which count less.
    non_finite : NonFinite or None
        Set if a value cannot be used; the other fields are then meaningless.
    early : EarlyStart or None
        The start of the pass that was made in the same read, if there was one.
    affine : Affine or None
        The map that all of the above were put through since, and rows of later passes are.
    gaps : Gaps
        Rows in which values are missing.
    partial : FeatureMoments or None
        Of the rows with gaps that count, where there are any, until the read has ended.
    is_estimated : bool
        Whether moments are estimated: where rows with gaps count, the variances are of the values
        that are there, and the correlations those of one Gaussian that is fitted to the sample; where
        values have noise, they are of such a Gaussian.
    shares : array of shape (D,) or None
        Share of the rows, by weight, that have each feature, when the read has ended; None where no
        row that counts has a gap.
    """

    n_rows: int
    moments: Moments
    minimum: Float64Array
    maximum: Float64Array
    sample: Block
    non_finite: NonFinite | None = None
    early: EarlyStart | None = None
    affine: Affine | None = None
    gaps: Gaps = NO_GAPS
    partial: FeatureMoments | None = None
    is_estimated: bool = False
    shares: Float64Array | None = None

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.n_rows + other.n_rows,
            self.moments + other.moments,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            self.sample.followed_by(other.sample),
            _first_of(self.non_finite, other.non_finite),
            gaps=self.gaps + other.gaps,
            partial=_sum_of(self.partial, other.partial),
        )

    @property
    def is_pass(self) -> bool:
        """Whether the read that made the scan was a fit's first pass as well."""
        return self.early is not None

    @property
    def weight(self) -> float:
        """Sum of the weights of all rows."""
        return self.moments.weight

    def ended(self) -> Scan:
        """The scan when all rows were read, with moments of all that is known of them.

        They are of rows with gaps and others together, or of the values behind noisy ones.
        """
        if self.non_finite is not None:
            return self
        found = self._with_partial()
        if not self.is_noisy or not (self.minimum < self.maximum).all():
            return found
        moments = moments_behind(self.sample, found.weight)
        return replace(found, moments=moments, is_estimated=True)

    def _with_partial(self) -> Scan:
        if self.partial is None:
            return self
        both = FeatureMoments.of(self.moments) + self.partial
        ended = replace(self, partial=None, is_estimated=True, shares=both.weight / both.row_weight)
        if not (self.minimum < self.maximum).all():  # which is refused
            return replace(ended, moments=replace(self.moments, weight=both.row_weight))
        covariance = covariance_with_gaps(self.sample, both.mean, both.variances)
        return replace(ended, moments=both.with_correlations(covariance))

    @cached_property
    def completed(self) -> Scan:
        """The scan with a sample of plain values, for what works on these.

        By one Gaussian, missing ones are drawn given what is there, and those behind noisy ones are
        what it expects. Fits go on with the sample as it is.
        """
        if self.sample_is_plain:
            return self
        behind = values_behind if self.is_noisy else drawn_by_moments
        return replace(self, sample=behind(self.sample, self.moments))

    @cached_property
    def for_starts(self) -> Scan:
        """The scan with no more of its sample than it takes to make starts and to tell them apart."""
        step = -(-len(self.sample) // MOST_FOR_STARTS)
        return self if step <= 1 else replace(self, sample=self.sample.thinned(step))

    @cached_property
    def without_gaps(self) -> Scan:
        """The scan with those rows of the sample that have no gap, whatever noise their values have."""
        is_complete = ~np.isnan(self.sample.x).any(axis=1)
        rows = self.sample.take(is_complete)
        return replace(self, sample=replace(rows, has_gaps=False, measurement_noise=None))

    @cached_property
    def shortest_half(self) -> ShortestHalf:
        """Where most values of each feature are."""
        return ShortestHalf.of(self.sample, self.minimum, self.maximum)

    @property
    def sample_is_plain(self) -> bool:
        """Whether the sample has neither gaps nor measurement noise."""
        return not self.sample.has_gaps and not self.is_noisy

    @property
    def is_noisy(self) -> bool:
        """Whether values have measurement noise, which extremes are of as well."""
        return self.sample.measurement_noise is not None

    @property
    def is_whole(self) -> bool:
        """Whether the sample holds every row of weight above 0."""
        return self.sample.total_weight >= self.weight * (1.0 - 1e-9)


def _sum_of(left: FeatureMoments | None, right: FeatureMoments | None) -> FeatureMoments | None:
    return left or right if left is None or right is None else left + right


def _first_of(left: NonFinite | None, right: NonFinite | None) -> NonFinite | None:
    if left is None or right is None:
        return left or right
    return NonFinite(left.count + right.count, left.row, left.column, left.value)


def sample_threshold(n_rows: int, n_sampled: int) -> int:
    """Threshold of :func:`hash_rows` that takes about ``n_sampled`` of ``n_rows``."""
    return 2**64 if n_sampled >= n_rows else n_sampled * 2**64 // n_rows


def _scan_block(block: Block, threshold: int, seed: int) -> Scan:
    n, d = len(block), block.n_features
    sample = block
    if threshold < 2**64:
        drawn = drawn_rows(block.start, n, threshold, seed)
        sample = block.drawn(drawn, threshold / 2**64)
    none = Block(np.empty((0, d)), weight=None if sample.weight is None else np.empty(0))
    if block.known is not None:
        none = replace(none, known=np.empty(0, np.int64))
    if block.measurement_noise is not None:
        none = replace(none, measurement_noise=block.measurement_noise[:0])
    nothing = Scan(n, Moments.zero(d), np.full(d, np.inf), np.full(d, -np.inf), none)
    scan, present = nothing, block.present()
    if not block.has_gaps:
        with np.errstate(all="ignore"):
            scan = _with_moments(nothing, present)
    # They show whether any value cannot be used, without one more look at all of them.
    is_usable = not block.has_gaps and are_usable(scan.moments.mean, scan.minimum, scan.maximum)
    if not is_usable and (bad := find_non_finite(block)) is not None:
        return replace(nothing, non_finite=bad)
    if block.has_gaps or block.weight is not None:  # else no value is missing
        scan = replace(scan, gaps=Gaps.of(block))
    if len(present) == 0:
        return scan
    sample = sample.present()
    scan = replace(scan, sample=replace(sample, x=sample.x.astype(np.float64), start=0))
    if not block.has_gaps:
        return scan
    is_complete = ~np.isnan(present.x).any(axis=1)
    partial, minimum, maximum = moments_with_gaps(present.take(~is_complete))
    scan = _with_moments(scan, present.take(is_complete))
    return replace(
        scan,
        minimum=np.minimum(scan.minimum, minimum),
        maximum=np.maximum(scan.maximum, maximum),
        partial=partial,
    )


def _with_moments(scan: Scan, complete: Block) -> Scan:
    """The scan with moments and extremes of complete rows."""
    if len(complete) == 0:
        return scan
    moments, minimum, maximum = moments_and_extremes(complete)
    return replace(scan, moments=moments, minimum=minimum, maximum=maximum)


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
        scan = found.scan.ended()
        _check(scan, rows, is_fit=is_fit)
        statistics, tail = one.complete(found.term)
    return replace(scan, early=replace(early, tail=tail)), statistics


def scan_rows(
    rows: Rows,
    n_sampled: int,
    seed: int,
    tell: Callable[[ScanDone], None] = lambda event: None,
    *,
    may_be_constant: bool = False,
    may_drop: bool = True,
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
    may_drop : bool
        Whether an error for constant features may advise to leave them out of the fit.
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
    with single_thread():
        scan = rows.fold(_scan_block, sample_threshold(rows.n_rows, n_sampled), seed).ended()
    _check(scan, rows, may_be_constant=may_be_constant, may_drop=may_drop)
    tell(ScanDone(scan.n_rows, len(scan.sample), time.perf_counter() - began))
    return scan


def _check(
    scan: Scan,
    rows: Rows,
    *,
    is_fit: bool = True,
    may_be_constant: bool = False,
    may_drop: bool = True,
) -> None:
    """Raise an error for rows that cannot be fitted: see :func:`scan_rows`."""
    if scan.non_finite is not None:
        raise scan.non_finite.error(getattr(rows, "gaps", ""))
    if scan.n_rows != rows.n_rows:
        raise DamagedDataError(
            f"the scan read {scan.n_rows} rows where {rows.n_rows} were expected; "
            "is the data being written?"
        )
    check_some_complete(scan.weight, scan.n_rows)
    if scan.is_estimated and len(none := np.flatnonzero(scan.minimum > scan.maximum)) > 0:
        raise ColumnError(
            "column ", int(none[0]), " has no value in any row; leave it out of the data"
        )
    constant = np.flatnonzero(scan.minimum == scan.maximum).tolist()
    if may_be_constant and len(constant) < len(scan.minimum):
        return
    if is_fit and scan.weight > 1 and len(constant) > 0:
        first, *more = constant[:5]
        n_counted = scan.n_rows - scan.gaps.n_left_out
        way_out = "leave such columns out of the data"
        if len(constant) == len(scan.minimum):
            way_out = "no column varies, so that there is nothing to fit"
        elif may_drop and scan.sample_is_plain:
            way_out = f"{way_out}, or out of the fit by constant='drop' (--constant drop)"
        raise ColumnError(
            f"column{'s' * (len(constant) > 1)} ",
            first,
            *(part for column in more for part in (", ", column)),
            ", ..." * (len(constant) > 5)
            + f" of the data {'are' if len(constant) > 1 else 'is'} constant (column ",
            first,
            f" is {scan.minimum[first]:g} in each of {n_counted} rows): a Gaussian has no density "
            f"along it; {way_out}",
        )
