"""DaskRows: the rows of a Dask array, folded partition by partition.

One fold is a few tasks that read, cut into grains and fold, and the tree above them that
:func:`daskgmm.em.rows.tree_sum` defines. The scheduler is the one in force: a distributed
client if there is one, else threads. Threads of this process are handed the tasks
themselves, unless a callback of Dask watches. For all others, one fold is one graph, and what
the function is given travels as one key of a name never used before. The tree, and so the
bits, are the same.

A task folds a run of partitions, so that what is left of the cost of tasks is that of some
dozens for each thread. Of a Dask array they are its blocks, small ones joined, and computed in
the task; of a source, some pieces are read ahead, and no partition is ever in memory whole.
"""

from __future__ import annotations

import copy
import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self, TypeVar

import dask
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed
from numpy.typing import NDArray

from daskgmm.em.rows import Additive, grain_rows, spread_pieces, spread_runs
from daskgmm.errors import ClusterError
from daskgmm.execution.block_runs import Blocks, summed
from daskgmm.execution.clients import SCHEDULER_LOST
from daskgmm.execution.dask_blocks import checked_blocks
from daskgmm.execution.fold_tasks import (
    FoldWork,
    Joined,
    as_they_are,
    fold_blocks,
    fold_run,
    map_partition,
    read_piece,
    thinned,
)
from daskgmm.execution.gaps import gaps_of
from daskgmm.execution.scheduler import Scheduler, in_force
from daskgmm.kernel import Block
from daskgmm.kernel.blas import single_thread
from daskgmm.source import Source, WeightSource, cuts_of, has_whole_units

__all__ = ["DaskRows", "Weighting", "is_partition"]

_PARTITION_KEY = "fold-"
"""How the keys of tasks that read rows begin: by it they are known from those that add up."""

_TASKS_PER_THREAD = 32  # a thread that ends first is idle for a task's time: 3% of a pass
_SMALL_TASKS_PER_THREAD, _SMALL_TASK_BYTES = 4, 2**21
"""As many are enough where a task takes about as long as the scheduler takes over it, a millisecond."""
_JOINED_SHARE = 1 / 16
"""Share of a grain up to which neighbouring blocks are joined: so few rows (4,096 of up to four
features) take about as long to fold as the fold takes to begin."""
_TASK_BYTES = 2**30  # some seconds or tens of them: progress, and what a lost worker takes along

T = TypeVar("T", bound=Additive)


@dataclass(frozen=True, eq=False)
class Weighting:
    """How often each row of a Dask array, or of a source, counts.

    Attributes
    ----------
    weights : dask.array.Array of shape (n_rows,) in the row chunks of the rows, or WeightSource
        Checked: finite and not negative.
    total : float
        Their sum.
    """

    weights: da.Array | WeightSource
    total: float


class DaskRows:
    """Rows of a Dask array.

    Parameters
    ----------
    array : dask.array.Array of shape (n_rows, n_features)
        One chunk across features. Rows of chunks of unknown size can be mapped, not folded.
    grain : int, optional
        Rows of a grain; partitions should hold a power of two of them.
    n_threads : int, optional
        Partitions in flight on the threaded scheduler; all threads by default.
    source : Source, optional
        Source of the array, by :func:`array_of_source`; folds read it in pieces.
    reads_at_once : int
        Pieces that a thread has on their way while it works on one.
    weighting : Weighting, optional
        Every row counts once if it is not given. With a source it holds a WeightSource.
    """

    def __init__(
        self,
        array: da.Array,
        grain: int | None = None,
        n_threads: int | None = None,
        source: Source | None = None,
        reads_at_once: int = 1,
        weighting: Weighting | None = None,
    ) -> None:
        self.array = array
        self._weighting = weighting
        self._reads_at_once = reads_at_once
        self._source = source
        self._grain = grain or grain_rows(array.shape[1])
        self._n_threads = n_threads
        self._on_cluster = in_force().has_workers
        self._is_counted = not np.isnan(array.shape[0])
        sizes = np.nan_to_num(array.chunks[0])
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._partitions = self._starts
        self._pool: tuple[tuple[int, int], ThreadPoolExecutor] | None = None

    def in_partitions(self, starts: NDArray[np.int64]) -> Self:
        """The same rows of a source, folded in other partitions than the array has blocks.

        Parameters
        ----------
        starts : ndarray of int
            First row of each partition, and last the number of rows. A partition is read in
            pieces; a block of the array, which is mapped, is in memory whole.
        """
        found = copy.copy(self)
        found._partitions = starts
        return found

    @property
    def n_rows(self) -> int:
        """N."""
        return int(self.array.shape[0])

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.array.shape[1])

    @property
    def gaps(self) -> str:
        """What the store says of missing values, for messages about NaN."""
        return gaps_of(self._source)

    @property
    def total_weight(self) -> float:
        """Sum of the weights; N where every row counts once."""
        return float(self.n_rows) if self._weighting is None else self._weighting.total

    @property
    def _weights(self) -> da.Array | WeightSource | None:
        return None if self._weighting is None else self._weighting.weights

    def fold(self, function: Callable[..., T], *args: Any) -> T:
        """Sum of ``function(block, *args)`` over all grains, by ``tree_sum``."""
        scheduler = self._scheduler()
        work = self._work(function, args, scheduler.has_workers)
        here = None if scheduler.has_workers else self._n_threads
        n_per_task = self._partitions_per_task(here or scheduler.total_threads)
        outside: dict[Any, Any] = {}
        terms: list[tuple[Any, ...]]  # of each task, its function and arguments after the work
        if self._source is None:
            outside, runs = self._blocks.runs(n_per_task)
            terms = [(fold_blocks, run, run.needs) for run in runs]
        else:
            n = len(self._partitions) - 1
            terms = [(fold_run, i, min(i + n_per_task, n)) for i in range(0, n, n_per_task)]
        with single_thread():
            if scheduler.is_unwatched and not outside:
                calls = [partial(of_run, work, *rest) for of_run, *rest in terms]
                pool = self._threads(here or scheduler.n_threads)
                return scheduler.sum_of(calls, pool, work.stop)
            token = uuid.uuid4().hex
            work_key = f"work-{token}"
            level = [(f"{_PARTITION_KEY}{token}", i) for i in range(len(terms))]
            # Plain tuples: a Delayed object for each task would cost several times the task.
            tasks = ((of_run, work_key, *rest) for of_run, *rest in terms)
            sums, last = summed(level, f"sum-{token}")
            graph = outside | {work_key: work} | dict(zip(level, tasks, strict=True)) | sums
            return scheduler.compute(Delayed(last, graph), self._n_threads, work.stop)

    def _threads(self, n_threads: int) -> ThreadPoolExecutor:
        """Threads for the folds of these rows, kept from one to the next.

        Each DaskRows has its own: a block may be computed by folding other rows, which would wait for
        ever for threads that wait for it. A forked process has none of these threads.
        """
        made_for = (n_threads, os.getpid())
        if self._pool is None or self._pool[0] != made_for:
            self._pool = (made_for, ThreadPoolExecutor(n_threads, thread_name_prefix="blocks"))
        return self._pool[1]

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """Some rows spread over all: see :meth:`daskgmm.em.rows.Rows.pieces`.

        Of a Dask array, whole blocks are computed, and rows of them kept at equal distances.
        """
        if self._source is not None:
            runs = self._runs(n_wanted, seed)
            return self._read(runs) if runs else None
        weights, n_blocks = self._weights, self.array.numblocks[0]
        chosen = spread_pieces(n_blocks, -(-n_wanted * n_blocks // self.n_rows), seed)
        # Stored weights are found by a row's index among all, which chosen blocks do not know.
        if not chosen or not (weights is None or isinstance(weights, da.Array)):
            return None
        which = [i for first, after in chosen for i in range(first, after)]
        # A fold has no use for the sum of the weights.
        weighting = None if weights is None else Weighting(weights.blocks[which], np.nan)
        part = DaskRows(self.array.blocks[which], self._grain, self._n_threads, weighting=weighting)
        step = max(1, part.n_rows // n_wanted)
        return part.fold(thinned, step).block if part.n_rows > 0 else None

    def _runs(self, n_wanted: int, seed: int) -> list[tuple[int, int]]:
        """Runs of rows of the source, each from the beginning of a unit; empty if too many."""
        assert self._source is not None
        cuts = cuts_of(self._source)
        if cuts is not None and has_whole_units(self._source):
            n_units = len(cuts) - 1
            units = spread_pieces(n_units, -(-n_wanted * n_units // self.n_rows), seed)
            length = -(-n_wanted // max(1, len(units)))
            return [(int(cuts[a]), min(int(cuts[b]), int(cuts[a]) + length)) for a, b in units]
        if cuts is not None:
            return spread_runs(cuts, n_wanted, seed)
        unit = self._source.unit_rows
        units = spread_pieces(self.n_rows // unit, -(-n_wanted // unit), seed)
        length = -(-n_wanted // max(1, len(units)))
        return [(a * unit, min(b * unit, a * unit + length)) for a, b in units]

    def _read(self, runs: list[tuple[int, int]]) -> Block:
        """Runs of rows of the source."""
        scheduler, token = self._scheduler(), uuid.uuid4().hex
        work, work_key = self._work(as_they_are, (), scheduler.has_workers), f"work-{token}"
        level = [(f"{_PARTITION_KEY}{token}", i) for i in range(len(runs))]
        graph: dict[Any, Any] = {work_key: work}
        for key, (start, stop) in zip(level, runs, strict=True):
            graph[key] = (read_piece, work_key, start, stop)
        sums, last = summed(level, f"sum-{token}")
        found: Joined = scheduler.compute(Delayed(last, graph | sums), self._n_threads, work.stop)
        return found.block

    def _scheduler(self) -> Scheduler:
        """The scheduler that the rows are computed on."""
        scheduler = in_force()
        if self._on_cluster and not scheduler.has_workers:
            # What is in force without the client, the threads of this machine, is not what
            # was asked for.
            raise ClusterError(SCHEDULER_LOST)
        return scheduler

    def _partitions_per_task(self, n_threads: int) -> int:
        """Partitions that a task folds: a power of two, so that no bit depends on it.

        As many as leave every thread its share of tasks, to even out what takes longer. Blocks
        that workers hold have a task each: one that takes several would move them.
        """
        n = len(self._partitions) - 1
        if self._source is None:
            if self._blocks.are_held:
                return 1
            n = len(self._blocks)
        bytes_each = self.n_rows // n * self.n_features * self.array.dtype.itemsize
        bounds = (
            (_TASKS_PER_THREAD, _TASK_BYTES),
            (_SMALL_TASKS_PER_THREAD, _SMALL_TASK_BYTES),
        )
        most = max(
            min(n // (n_tasks * n_threads), n_bytes // max(1, bytes_each))
            for n_tasks, n_bytes in bounds
        )
        return 1 << max(0, most.bit_length() - 1)

    @cached_property
    def _blocks(self) -> Blocks:
        weights = self._weights
        small = int(self._grain * _JOINED_SHARE)
        return Blocks(self.array, weights if isinstance(weights, da.Array) else None, small)

    def _work(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        on_worker: bool,
        starts: NDArray[np.int64] | None = None,
    ) -> FoldWork:
        return FoldWork(
            function,
            args,
            self._partitions if starts is None else starts,
            self._grain,
            self.n_features,
            self.array.dtype,
            on_worker,
            self._source,
            None if isinstance(self._weights, da.Array) else self._weights,
            self._reads_at_once,
        )

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> da.Array:
        """Lazy array of ``function(block, *args)``: see :meth:`Rows.map`."""
        work = self._work(function, args, in_force().has_workers, self._starts)
        # The same result has the same name, so that Dask computes it once.
        token = tokenize(self.array.name, function, args, dtype, columns)
        shape = {"drop_axis": 1} if columns is None else {"chunks": (self.array.chunks[0], columns)}
        # To drop an axis Dask joins blocks, where masks would be lost.
        array = self.array if self._source is not None else checked_blocks(self.array)
        return array.map_blocks(
            map_partition,
            dask.delayed(work, name=f"work-{token}", traverse=False),
            np.dtype(dtype),
            self._is_counted,
            dtype=dtype,
            meta=np.empty((0,) if columns is None else (0, 0), dtype),
            name=f"map-{token}",
            **shape,
        )


def is_partition(key: Any) -> bool:
    """Whether the task of a key reads rows, and is not one that adds up."""
    return str(key[0] if isinstance(key, tuple) else key).startswith(_PARTITION_KEY)
