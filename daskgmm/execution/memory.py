"""The memory plan: how rows are cut, so that every pass stays within its limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from dask.utils import format_bytes

from daskgmm.em.rows import grain_rows
from daskgmm.em.tail import tail_bytes, tail_rows
from daskgmm.errors import MemoryLimitError
from daskgmm.execution.process_memory import default_limit, resident_bytes
from daskgmm.kernel import (
    Mixture,
    bytes_with_gaps,
    bytes_with_noise,
    count_parameters,
    count_sums,
    sub_block_bytes,
)
from daskgmm.source import Source, cuts_of, has_whole_units

__all__ = [
    "Machine",
    "MemoryPlan",
    "MixtureSize",
    "StoredShape",
    "Work",
    "plan_memory",
    "read_rows",
    "sample_rows",
]

TARGET_BYTES = 64 * 2**20
"""Bytes of a partition, which make its work long beside the cost of a task.

It is read in pieces, and never in memory whole.
"""
PIECE_OVERHEAD = 4096
"""Bytes that a piece kept in memory may take beside its rows: the allocator rounds up."""
_READ_BYTES = 4 * 2**20
"""Bytes of a piece: where chunks are small, enough for zarr to decode several side by side."""
_RESULT_BYTES = 4 * 2**20
"""Bytes of results that are written as one run of chunks."""
_SAMPLE_BYTES = 128 * 2**20
"""Bytes of the search for a start, and again of the rows that a larger sample has beyond those."""
_SAMPLE_ROWS = 100_000
"""Rows of the usual sample, among which starts compete however many more there are."""
_ROWS_PER_SAMPLED = 200
"""A larger sample has at most one row in so many: a step evaluates it up to 80 times, which then takes
less than half a pass."""
_OF_SELECTION = 1000
"""The same where different mixtures are fitted to the sample, as in a selection."""
_ROWS_FOR_ONE_STEP = 40
"""n^2 / (p N) of a sample of n rows: see :func:`sample_rows`."""
_STATISTICS_OF_PROCESS = 16
"""Copies of all statistics that a process holds: results of tasks, mixtures, formulations."""
_SCANS_OF_PROCESS = 4
"""Copies of the scatter of all rows that the driver holds when a scan has ended."""
_PARTIAL_SUMS = 20
"""Copies of a pass's result that a thread holds: partial sums of a tree, and temporaries."""
_TAILS = 12
"""Tails that a thread holds: the partial sums of a tree, and one in the making."""
_IMPORTED_BYTES = 384 * 2**20
"""Resident bytes of a worker once it has imported what tasks need."""
_RESERVE_BYTES = 24 * 2**20
"""Bytes for the allocator's slack and the task graph."""


@dataclass(frozen=True)
class StoredShape:
    """What the plan has to know of stored rows.

    Attributes
    ----------
    n_rows, n_features : int
    itemsize : int
        Bytes of a value as it is read.
    unit_rows, unit_overhead : int
        As in :class:`daskgmm.source.Source`.
    whole_rows : int
        Rows of the largest unit, where units are decoded and mapped whole; else 0.
    """

    n_rows: int
    n_features: int
    itemsize: int
    unit_rows: int
    unit_overhead: int
    whole_rows: int = 0

    @classmethod
    def of(cls, source: Source) -> Self:
        """The shape of a source's rows."""
        cuts = cuts_of(source) if has_whole_units(source) else None
        return cls(
            *source.shape,
            source.dtype.itemsize,
            source.unit_rows,
            source.unit_overhead,
            0 if cuts is None else int(np.diff(cuts).max()),
        )

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in memory."""
        return self.n_features * self.itemsize


@dataclass(frozen=True)
class MixtureSize:
    """What decides how much memory a mixture of given features takes.

    Attributes
    ----------
    kind : str
        Name of the kind of its components.
    n_components : int
    """

    kind: str
    n_components: int

    @classmethod
    def of(cls, mixture: Mixture) -> Self:
        """The size of a mixture that is at hand."""
        return cls(mixture.kind, mixture.n_components)

    def statistics_bytes(self, n_features: int) -> int:
        """Bytes of its sufficient statistics, float64."""
        return 8 * count_sums(self.kind, self.n_components, n_features)


@dataclass(frozen=True)
class Work:
    """What passes over the rows are for, as far as their memory depends on it.

    Attributes
    ----------
    mixtures : tuple of MixtureSize
        All mixtures whose statistics one pass may gather.
    sampled : bool
        Whether a first pass scans the rows and keeps a sample of them.
    output_row_bytes : int
        Bytes of the results that are written for each row; 0 where none are.
    keep_rows : bool
        Whether memory that passes do not need may keep decoded rows for later ones.
    reads_at_once : int
        Pieces that a thread should have on their way; as many as fit without fewer threads.
    sum_bytes : int
        Bytes of what a pass adds up in place of statistics, where that may be more.
    has_gaps : bool
        Whether rows in which values are missing count by the others.
    noise : {"diag", "full"}, optional
        Whether values have measurement noise, of variances or of covariances.
    """

    mixtures: tuple[MixtureSize, ...]
    sampled: bool = False
    output_row_bytes: int = 0
    keep_rows: bool = False
    reads_at_once: int = 1
    sum_bytes: int = 0
    has_gaps: bool = False
    noise: Literal["diag", "full"] | None = None

    @property
    def n_components(self) -> int:
        """Components of the largest mixture."""
        return max(mixture.n_components for mixture in self.mixtures)

    @property
    def are_alike(self) -> bool:
        """Whether all mixtures are of one kind and size, as the starts of a fit are."""
        return len(set(self.mixtures)) == 1

    def statistics_bytes(self, n_features: int) -> int:
        """Bytes of the sufficient statistics of all mixtures, or of what is added up instead."""
        statistics = sum(mixture.statistics_bytes(n_features) for mixture in self.mixtures)
        return max(statistics, self.sum_bytes)


@dataclass(frozen=True)
class Machine:
    """A process that runs tasks.

    Attributes
    ----------
    n_threads : int
        Tasks that it can run at once.
    limit : int or None
        Bytes that the process may have resident; :func:`default_limit` if None.
    worker_resident : int or None
        Resident bytes of a worker before the work, where the limit is one of workers. None
        where the limit is for this process, whose own resident bytes count then.
    fewer_threads : bool
        Whether the plan may use fewer threads where not all fit. Workers use all of theirs.
    """

    n_threads: int
    limit: int | None = None
    worker_resident: int | None = None
    fewer_threads: bool = True

    def bytes_in_use(self) -> int:
        """Bytes that the process has resident before any pass."""
        own = resident_bytes()
        if self.worker_resident is None:
            return own
        # A worker that has not yet imported what tasks need will.
        return max(self.worker_resident, min(own, _IMPORTED_BYTES))


@dataclass(frozen=True)
class MemoryPlan:
    """How rows are cut so that a process stays within its limit.

    Attributes
    ----------
    limit : int
        Bytes that the process may have resident, all included.
    n_threads : int
        Partitions in flight at once in the process.
    grain : int
        Rows of a grain. It depends on the data alone (see
        :func:`daskgmm.em.rows.grain_rows`), except that it is larger where results are
        written, because those of a grain are written as one run of chunks.
    partition_rows : int
        Rows of a partition: the grain times a power of two.
    n_sampled : int
        Rows that the scan's sample is to hold.
    reads_at_once : int
        Pieces that a thread has on their way while it works on one.
    peak : int
        Bytes that the plan expects at most, those of ``kept`` included.
    kept : int
        Bytes of decoded rows that may be kept for later passes: what is left of the
        limit, where that was asked for, up to all rows.
    """

    limit: int
    n_threads: int
    grain: int
    partition_rows: int
    n_sampled: int
    reads_at_once: int
    peak: int
    kept: int = 0


def plan_memory(data: StoredShape, work: Work, machine: Machine) -> MemoryPlan:
    """Cut rows into partitions that fit into memory.

    Raises
    ------
    MemoryLimitError
        If not even one grain at a time fits; the message has the figures.
    """
    limit = default_limit() if machine.limit is None else machine.limit
    grain = _grain(data, work)
    n_read = read_rows(grain, data.row_bytes)
    piece = n_read * data.row_bytes + data.unit_overhead
    n_sampled = sample_rows(data.n_rows, work, data.n_features) if work.sampled else 0
    fixed = machine.bytes_in_use() + _process_bytes(data, work, n_sampled)
    per_thread = _thread_bytes(data, work, grain)

    threads = machine.n_threads
    if machine.fewer_threads:
        threads = max(1, min(threads, (limit - fixed) // per_thread))
    spare = (limit - fixed - threads * per_thread) // (threads * piece)
    reads = 1 + max(0, min(work.reads_at_once - 1, spare))
    per_thread += (reads - 1) * piece
    peak = fixed + threads * per_thread
    if peak > limit:
        raise MemoryLimitError(
            f"memory_limit {format_bytes(limit)} is too small: {format_bytes(fixed)} are in use or "
            f"reserved and each of {threads} threads needs {format_bytes(per_thread)} to read and "
            f"process {grain} rows x {data.n_features} features at a time (chunks of "
            f"{data.whole_rows or data.unit_rows} rows); raise it to {format_bytes(int(1.05 * peak))}, or store the "
            "data in smaller chunks"
        )
    # Every thread is left a share.
    rows = _doubled(grain, min(TARGET_BYTES // data.row_bytes, data.n_rows // (2 * threads)))
    kept = 0
    if work.keep_rows:
        kept = min(limit - peak, kept_bytes(data.n_rows, data.row_bytes, min(n_read, rows)))
    return MemoryPlan(limit, threads, grain, rows, n_sampled, reads, peak + kept, kept)


def _grain(data: StoredShape, work: Work) -> int:
    """Rows of a grain; where results are written, those of a grain are one run of chunks."""
    grain = grain_rows(data.n_features, data.unit_rows)
    if not work.output_row_bytes:
        return grain
    return _doubled(grain, _RESULT_BYTES // max(work.output_row_bytes, data.row_bytes // 2))


def _process_bytes(data: StoredShape, work: Work, n_sampled: int) -> int:
    """Bytes that a process needs once, whatever its threads do.

    They are the sample with the temporaries of a start, the mixtures of the steppers with
    their formulations, and the results of tasks that wait to be added up.
    """
    d = data.n_features
    needed = _RESERVE_BYTES + _sample_bytes(n_sampled, work, d)
    if work.has_gaps:  # the sample as it is, and completed
        needed += n_sampled * 2 * 8 * d
    if work.noise is not None:  # that of the sample, and of parts of it
        needed += n_sampled * 2 * 8 * (d * d if work.noise == "full" else d)
    needed += _STATISTICS_OF_PROCESS * work.statistics_bytes(d)
    return needed + (_SCANS_OF_PROCESS * _scan_bytes(d) if work.sampled else 0)


def _thread_bytes(data: StoredShape, work: Work, grain: int) -> int:
    """Bytes that a thread needs at most while it folds a partition, piece after piece.

    It holds a piece, the next one and what the allocator keeps of the one before; chunks
    that are being decoded; temporaries of a sub-block; hashes of a grain's rows; the partial
    sums of a tree; and the results of a grain.
    """
    d = data.n_features
    reading = 3 * read_rows(grain, data.row_bytes) * data.row_bytes + data.unit_overhead
    temporaries = sub_block_bytes(work.n_components, d) + 24 * grain
    if work.has_gaps:
        temporaries += bytes_with_gaps(grain, work.n_components, d)
    if work.noise is not None:
        is_full = work.noise == "full"
        temporaries += max(
            bytes_with_noise(m.kind, grain, m.n_components, d, is_correlated=is_full)
            for m in work.mixtures
        )
    sums = _PARTIAL_SUMS * work.statistics_bytes(d)
    if work.sampled:
        # The first read may be the scan, and a pass that gathers the tail, at once.
        sums += _tails_bytes(data) + _PARTIAL_SUMS * _scan_bytes(d)
    results = 2 * grain * work.output_row_bytes
    if results and data.whole_rows:
        # Results as they are found, laid out and encoded; and rows whose gaps are filled.
        results = data.whole_rows * (3 * work.output_row_bytes + data.row_bytes)
    return reading + temporaries + sums + results


def _scan_bytes(d: int) -> int:
    """Bytes of what a scan adds up: the scatter of all features, whatever the mixtures are."""
    return 8 * (d * d + 3 * d)


def _tails_bytes(data: StoredShape) -> int:
    """Bytes of the tails in a tree's partial sums, which hold different rows."""
    d = data.n_features
    row_bytes = tail_bytes(d) // tail_rows(d)
    return row_bytes * min(_TAILS * tail_rows(d), 2 * data.n_rows)


def read_rows(grain: int, row_bytes: int) -> int:
    """Rows of a piece, which is what is read at once: the grain times a power of two."""
    return _doubled(grain, _READ_BYTES // row_bytes)


def _doubled(rows: int, most: int) -> int:
    """Double ``rows`` as long as the result is at most ``most``."""
    while 2 * rows <= most:
        rows *= 2
    return rows


def kept_bytes(n_rows: int, row_bytes: int, piece_rows: int) -> int:
    """Bytes that all rows take in memory, kept in pieces as they are read."""
    n_pieces = -(-n_rows // piece_rows)
    return n_rows * row_bytes + n_pieces * PIECE_OVERHEAD


def sample_rows(n_rows: int, work: Work, d: int) -> int:
    """Rows of the scan's sample: as many as a good start is worth.

    They depend on the shape of the problem alone and never on the memory limit, because
    the start, and so the result, depends on the sample. Of more than 20 million rows it is one in 200,
    but at most the root of ``40 p N``. From the optimum of m rows, a step of the surrogate on n rows leaves
    some ``p^2 / (2 m n)`` nats per row to gain; a fit ends where it expects a tenth of ``p / (2 N)``. The
    first read ends the search there, and the second confirms it, if ``m n`` is at least ``10 p N``. An
    early start has m of n / 2 or more, and the estimate is good to a factor of 2: hence ``n^2 = 40 p N``.
    """
    k = work.n_components
    p = max(count_parameters(m.kind, m.n_components, d) for m in work.mixtures)
    each = _ROWS_PER_SAMPLED if work.are_alike else _OF_SELECTION
    more = min(n_rows // each, math.isqrt(_ROWS_FOR_ONE_STEP * p * n_rows))
    room = _SAMPLE_BYTES // _start_row(k, d)
    if work.are_alike and room >= _SAMPLE_ROWS:
        room = _SAMPLE_ROWS + _SAMPLE_BYTES // _sampled_row(d)
    return min(n_rows, max(_SAMPLE_ROWS, more), max(room, 10 * k))


def _sample_bytes(n_sampled: int, work: Work, d: int) -> int:
    """Bytes of the sample, and of the search for a start on it."""
    k = work.n_components
    n_searched = min(n_sampled, max(_SAMPLE_ROWS, 10 * k)) if work.are_alike else n_sampled
    return n_searched * _start_row(k, d) + (n_sampled - n_searched) * _sampled_row(d)


def _start_row(k: int, d: int) -> int:
    """Bytes that a sampled row costs while a start is sought: copies and responsibilities."""
    return 8 * (4 * d + 3 * k)


def _sampled_row(d: int) -> int:
    """Bytes of a sampled row and its weight, three times: two copies, as of its parts while they are joined."""
    return 3 * 8 * (d + 1)
