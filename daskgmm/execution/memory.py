"""Memory: what this process uses, and the plan that keeps a pass within its limit."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
from dask.utils import format_bytes
from distributed.system import MEMORY_LIMIT

from daskgmm.em.rows import grain_rows
from daskgmm.em.tail import tail_bytes
from daskgmm.errors import MemoryLimitError
from daskgmm.kernel import sub_block_bytes

__all__ = [
    "MemoryPlan",
    "default_limit",
    "peak_memory_bytes",
    "plan_memory",
    "read_rows",
    "sample_rows",
]

TARGET_BYTES = 64 * 2**20
"""Bytes of a partition: long beside the cost of a task. It is read in pieces."""
_READ_BYTES = 4 * 2**20  # of small chunks, enough for zarr to decode side by side
_RESULT_BYTES = 4 * 2**20
_SHARE_OF_FREE = 0.5
_SAMPLE_BYTES = 128 * 2**20
_SAMPLE_ROWS = 100_000
_TAILS = 12  # partial sums of a tree, and one in the making
PIECE_OVERHEAD = 4096
"""Bytes that a piece kept in memory may take beside its rows: the allocator's rounding."""
_IMPORTED_BYTES = 384 * 2**20
"""Of a worker that has imported what tasks need, if it has not yet."""
_RESERVE_BYTES = 24 * 2**20  # the allocator's slack, the graph


def peak_memory_bytes() -> int:
    """Most resident memory that this process ever had."""
    # ru_maxrss would do, but Linux hands it down from the parent through exec.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """Resident memory of this process now."""
    return int(psutil.Process().memory_info().rss)


def default_limit() -> int:
    """Half of the memory that is free now, within the container's limit if there is one."""
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT - resident_bytes())
    return resident_bytes() + int(_SHARE_OF_FREE * free)


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
        Rows of a grain: of the data alone (see :func:`daskgmm.em.rows.grain_rows`), but
        larger where results are written, a grain's as one run of chunks.
    partition_rows : int
        A power of two of grains.
    n_sampled : int
        Rows that the scan's sample is to hold.
    reads_at_once : int
        Pieces that a thread has on their way while it works on one.
    peak : int
        Bytes that the plan expects at most, what is kept included.
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


def plan_memory(
    *,
    n_rows: int,
    n_features: int,
    itemsize: int,
    n_components: int,
    unit_rows: int,
    unit_overhead: int,
    n_threads: int,
    n_together: int | None = None,
    limit: int | None = None,
    worker_resident: int | None = None,
    fewer_threads: bool = True,
    sampled: bool = True,
    output_row_bytes: int = 0,
    keep_rows: bool = False,
    reads_at_once: int = 1,
) -> MemoryPlan:
    """Cut rows into partitions that fit.

    Parameters
    ----------
    n_rows, n_features, n_components : int
    itemsize : int
        Bytes of a value as stored.
    unit_rows, unit_overhead : int
        As of :class:`daskgmm.em.rows.Source`.
    n_threads : int
        Threads at hand.
    n_together : int, optional
        Components of all mixtures that share a pass, where there are several:
        ``n_components`` is of the largest.
    limit : int, optional
        Bytes for the whole process; :func:`default_limit` if not given.
    worker_resident : int, optional
        Resident bytes of a worker, where the process that the limit is for is one: what this
        one holds is no concern of its.
    fewer_threads : bool
        Whether the plan may use fewer threads where not all fit; a worker uses its own.
    sampled : bool
        Whether a scan will keep a sample.
    output_row_bytes : int
        Bytes that each row leaves as a result, where results are written.
    keep_rows : bool
        Whether memory that a pass can spare may keep rows for the next ones.
    reads_at_once : int
        Pieces that a thread should have on their way; as many as fit without fewer threads.

    Raises
    ------
    MemoryLimitError
        If not even one grain at a time fits, with the figures.
    """
    limit = default_limit() if limit is None else limit
    grain = grain_rows(n_features, unit_rows)
    k, d = n_components, n_features
    row_bytes = d * itemsize
    if output_row_bytes:  # a grain's results are written as one run of chunks
        grain = _doubled(grain, _RESULT_BYTES // max(output_row_bytes, row_bytes // 2))
    n_sampled = sample_rows(n_rows, k, d) if sampled else 0
    statistics = 8 * (n_together or k) * (d * d + d + 1)
    in_use = resident_bytes()
    if worker_resident is not None:
        in_use = max(worker_resident, min(in_use, _IMPORTED_BYTES))
    fixed = in_use + _RESERVE_BYTES + n_sampled * _sample_row(k, d) + 16 * statistics
    # A thread holds: a piece of its partition, the next one and what the allocator keeps
    # of the one before, chunks being decoded, temporaries of a sub-block, hashes of a grain, the
    # partial sums of a tree, results of a grain.
    n_read = read_rows(grain, row_bytes)
    piece = n_read * row_bytes
    per_thread = (
        3 * piece
        + unit_overhead
        + sub_block_bytes(k, d)
        + 24 * grain
        + 20 * statistics
        + (_TAILS * tail_bytes(d) if sampled else 0)
        + 2 * grain * output_row_bytes
    )

    threads = n_threads
    if fewer_threads:
        threads = max(1, min(n_threads, (limit - fixed) // per_thread))
    more = (limit - fixed - threads * per_thread) // (threads * (piece + unit_overhead))
    reads = 1 + max(0, min(reads_at_once - 1, more))
    per_thread += (reads - 1) * (piece + unit_overhead)
    peak = fixed + threads * per_thread
    if peak > limit:
        raise MemoryLimitError(
            f"memory_limit {format_bytes(limit)} is too small: {format_bytes(fixed)} are in use or "
            f"reserved and each of {threads} threads needs {format_bytes(per_thread)} to read and "
            f"process {grain} rows x {d} features at a time (chunks of {unit_rows} rows); raise it "
            f"to {format_bytes(int(1.05 * peak))}, or store the data in smaller chunks"
        )
    # Every thread is left a share.
    rows = _doubled(grain, min(TARGET_BYTES // row_bytes, n_rows // (2 * threads)))
    kept = 0
    if keep_rows:
        kept = min(limit - peak, kept_bytes(n_rows, row_bytes, min(n_read, rows)))
    return MemoryPlan(limit, threads, grain, rows, n_sampled, reads, peak + kept, kept)


def read_rows(grain: int, row_bytes: int) -> int:
    """Rows of a partition to have in memory at once: a power of two of grains."""
    return _doubled(grain, _READ_BYTES // row_bytes)


def _doubled(rows: int, most: int) -> int:
    """Rows, doubled as often as they are no more than so many."""
    while 2 * rows <= most:
        rows *= 2
    return rows


def kept_bytes(n_rows: int, row_bytes: int, piece_rows: int) -> int:
    """Bytes that all rows take in memory, in pieces as they are read."""
    n_pieces = -(-n_rows // piece_rows)
    return n_rows * row_bytes + n_pieces * PIECE_OVERHEAD


def sample_rows(n_rows: int, k: int, d: int) -> int:
    """Rows of the scan's sample: as many as a start is worth.

    Of the problem's shape alone: the start, and so the result, depends on the sample.
    """
    return min(n_rows, _SAMPLE_ROWS, max(_SAMPLE_BYTES // _sample_row(k, d), 10 * k))


def _sample_row(k: int, d: int) -> int:
    """Bytes that a sampled row costs while a start is sought: copies, responsibilities."""
    return 8 * (4 * d + 3 * k)
