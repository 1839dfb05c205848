"""DaskRows: the rows of a Dask array, folded partition by partition.

One fold is one graph: tasks that read, cut into grains and fold; above them the tree
that :func:`daskgmm.em.rows.tree_sum` defines. What the function is given travels as
one key of a name never used before. The scheduler is the one in force: a distributed
client if there is one, else threads.

A task folds a run of partitions, so that what is left of the cost of tasks is that of some
dozens for each thread. Of a Dask array they are its blocks, small ones joined, and computed in
the task; of a source, pieces are read one ahead, and no partition is ever in memory whole.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import Any, TypeVar

import dask
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed
from numpy.typing import NDArray

from daskgmm.em.rows import Additive, fold_block, grain_rows, spread_pieces, tree_sum
from daskgmm.errors import ClusterError, NonFiniteError
from daskgmm.execution.block_runs import BlockRun, Blocks, summed
from daskgmm.execution.clients import SCHEDULER_LOST
from daskgmm.execution.dask_blocks import Declared, checked_blocks
from daskgmm.execution.gaps import gaps_of, told_of_gaps
from daskgmm.execution.memory import read_rows
from daskgmm.execution.scheduler import Scheduler, in_force
from daskgmm.execution.staging.staged_source import StagedSource
from daskgmm.kernel import Block, Float64Array
from daskgmm.kernel.blas import single_thread, single_threaded_blas_for_good
from daskgmm.source import Source, WeightSource

__all__ = ["DaskRows", "Weighting", "is_partition"]

_PARTITION_KEY = "fold-"
"""How the keys of tasks that read rows begin: by it they are known from those that add up."""

_TASKS_PER_THREAD = 32  # a thread that ends first is idle for a task's time: 3% of a pass
_JOINED_SHARE = 1 / 16
"""Share of a grain up to which neighbouring blocks are joined: so few rows (4,096 of up to four
features) take about as long to fold as the fold takes to begin."""
_TASK_BYTES = 2**30  # some seconds or tens of them: progress, and what a lost worker takes along

T = TypeVar("T", bound=Additive)


def _as_one(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


class _Stop:
    """Set when a pass has failed: what this process still folds of it is for nothing."""

    asked = False

    def __call__(self) -> None:
        self.asked = True


@dataclass(frozen=True, eq=False)
class _Work:
    """What a pass does with each partition: the one key that its parameters travel as."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    starts: NDArray[np.int64]
    grain: int
    n_features: int
    dtype: np.dtype[Any]
    on_worker: bool
    source: Source | None
    weights: WeightSource | None
    reads_at_once: int
    stop: _Stop = field(default_factory=_Stop)

    def begin(self) -> None:
        """Make the process that a task finds itself in fit for it."""
        if self.on_worker:
            single_threaded_blas_for_good()

    def folded(self, first: int, blocks: list[Any], weights: list[Any]) -> Any:
        """Neighbouring blocks of the array, folded as one; or an error, if one is not as declared.

        Parameters
        ----------
        first : int
            Index of the first block.
        blocks : list of array
        weights : list of array or None
            Of each block.
        """
        if self.stop.asked:
            raise RuntimeError("the pass has failed elsewhere")
        after = first + len(blocks)
        shapes = np.diff(self.starts[first : after + 1]).tolist()
        rows = [
            Declared((i, 0), (n, self.n_features), self.dtype).rows(block)
            for i, n, block in zip(range(first, after), shapes, blocks, strict=True)
        ]
        start, stop = int(self.starts[first]), int(self.starts[after])
        weight = self.weight_of(start, stop)
        if weights[0] is not None:
            weight = _as_one([np.asarray(w, np.float64) for w in weights])
        block = Block(_as_one(rows), start, weight)
        return fold_block(block, self.grain, self.function, self.args)

    def read(self, start: int, stop: int) -> Block:
        """Stored rows and their weights."""
        assert self.source is not None
        return Block(self.source.read(start, stop), start, self.weight_of(start, stop))

    def read_once(self, start: int, stop: int) -> Block:
        """Stored rows that no pass reads as one piece: they are not staged."""
        source = self.source
        assert source is not None
        read = source.read_once if isinstance(source, StagedSource) else source.read
        return Block(read(start, stop), start, self.weight_of(start, stop))

    def weight_of(self, start: int, stop: int) -> Float64Array | None:
        """Stored weights of rows ``start:stop``; None where there are none."""
        return None if self.weights is None else self.weights.read(start, stop)


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
        token = uuid.uuid4().hex
        work, work_key = self._work(function, args, scheduler.has_workers), f"work-{token}"
        here = None if scheduler.has_workers else self._n_threads
        run = self._partitions_per_task(here or scheduler.total_threads)
        # Plain tuples: a Delayed object for each task would cost several times the task.
        graph: dict[Any, Any]
        terms: list[tuple[Any, ...]]
        if self._source is None:
            outside, runs = self._blocks.runs(run)
            graph, terms = dict(outside), [(_fold_blocks, r, work_key, r.needs) for r in runs]
        else:
            graph, n = {}, self.array.numblocks[0]
            terms = [(_fold_run, work_key, i, min(i + run, n)) for i in range(0, n, run)]
        graph[work_key] = work
        level = [(f"{_PARTITION_KEY}{token}", i) for i in range(len(terms))]
        graph.update(zip(level, terms, strict=True))
        sums, last = summed(level, f"sum-{token}")
        with single_thread():
            return scheduler.compute(Delayed(last, graph | sums), self._n_threads, work.stop)

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """Some rows spread over all: see :meth:`daskgmm.em.rows.Rows.pieces`.

        Of a Dask array, whole blocks are computed, and rows of them kept at equal distances.
        """
        if self._source is not None:
            unit = self._source.unit_rows
            units = spread_pieces(self.n_rows // unit, -(-n_wanted // unit), seed)
            return self._read(units, unit, n_wanted) if units else None
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
        return part.fold(_thinned, step).block if part.n_rows > 0 else None

    def _read(self, units: list[tuple[int, int]], unit: int, n_wanted: int) -> Block:
        """The first rows of runs of units of the source."""
        scheduler, token = self._scheduler(), uuid.uuid4().hex
        work, work_key = self._work(_as_they_are, (), scheduler.has_workers), f"work-{token}"
        length = -(-n_wanted // len(units))
        level = [(f"{_PARTITION_KEY}{token}", i) for i in range(len(units))]
        graph: dict[Any, Any] = {work_key: work}
        for key, (first, after) in zip(level, units, strict=True):
            start = first * unit
            graph[key] = (_read_piece, work_key, start, min(after * unit, start + length))
        sums, last = summed(level, f"sum-{token}")
        found: _Joined = scheduler.compute(Delayed(last, graph | sums), self._n_threads, work.stop)
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
        n = self.array.numblocks[0]
        if self._source is None:
            if self._blocks.are_held:
                return 1
            n = len(self._blocks)
        bytes_each = self.n_rows // n * self.n_features * self.array.dtype.itemsize
        most = n // (_TASKS_PER_THREAD * n_threads)
        run = 1
        while 2 * run <= most and 2 * run * bytes_each <= _TASK_BYTES:
            run *= 2
        return run

    @cached_property
    def _blocks(self) -> Blocks:
        weights = self._weights
        small = int(self._grain * _JOINED_SHARE)
        return Blocks(self.array, weights if isinstance(weights, da.Array) else None, small)

    def _work(self, function: Callable[..., Any], args: tuple[Any, ...], on_worker: bool) -> _Work:
        return _Work(
            function,
            args,
            self._starts,
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
        work = self._work(function, args, in_force().has_workers)
        # The same result has the same name, so that Dask computes it once.
        token = tokenize(self.array.name, function, args, dtype, columns)
        shape = {"drop_axis": 1} if columns is None else {"chunks": (self.array.chunks[0], columns)}
        # To drop an axis Dask joins blocks, where masks would be lost.
        array = self.array if self._source is not None else checked_blocks(self.array)
        return array.map_blocks(
            _map_partition,
            dask.delayed(work, name=f"work-{token}", traverse=False),
            np.dtype(dtype),
            self._is_counted,
            dtype=dtype,
            meta=np.empty((0,) if columns is None else (0, 0), dtype),
            name=f"map-{token}",
            **shape,
        )


@dataclass(frozen=True, eq=False)
class _Joined:
    """Rows that are put one after the other. Additive."""

    block: Block

    def __add__(self, other: _Joined) -> _Joined:
        return _Joined(self.block.followed_by(other.block))


def _thinned(block: Block, step: int) -> _Joined:
    return _Joined(block.thinned(step))


def _as_they_are(block: Block) -> _Joined:
    return _Joined(block)


def _read_piece(work: _Work, start: int, stop: int) -> _Joined:
    work.begin()
    with told_of_gaps(work.source):
        found: _Joined = work.function(work.read_once(start, stop), *work.args)
    return found


def _fold_blocks(run: BlockRun, work: _Work, given: list[Any]) -> Any:
    """Blocks of an array, computed here and summed as if each were a task."""
    work.begin()
    return run.fold(given, work.folded)


def _fold_run(work: _Work, first: int, after: int) -> Any:
    """Partitions ``first`` to ``after - 1`` of the source, summed as if each were a task."""
    work.begin()
    source = work.source
    assert source is not None
    step = read_rows(work.grain, source.shape[1] * source.dtype.itemsize)
    partitions = [
        [(i, min(i + step, stop)) for i in range(start, stop, step)]
        for start, stop in pairwise(work.starts[first : after + 1].tolist())
    ]
    blocks = _read_ahead(work, list(chain.from_iterable(partitions)))

    def folded() -> Any:
        if work.stop.asked:
            raise RuntimeError("the pass has failed elsewhere")
        return fold_block(next(blocks), work.grain, work.function, work.args)

    with closing(blocks), told_of_gaps(work.source):
        return tree_sum(tree_sum(folded() for _ in pieces) for pieces in partitions)


def _read_ahead(work: _Work, pieces: list[tuple[int, int]]) -> Generator[Block, None, None]:
    """Rows of the pieces; while one is worked on, the next ``reads_at_once`` are read.

    A read waits for the disk, for zarr's event loop and its threads more than it works:
    a thread that did both would leave its core idle a third of the time. An object store
    answers after tens of milliseconds: there one is not enough.
    """
    if len(pieces) == 1:
        yield work.read(*pieces[0])
        return
    n_ahead = work.reads_at_once
    with ThreadPoolExecutor(n_ahead) as readers:
        coming = iter(pieces)
        ahead = deque(readers.submit(work.read, *piece) for piece in islice(coming, n_ahead))
        try:
            while ahead:
                block = ahead.popleft().result()
                ahead.extend(readers.submit(work.read, *piece) for piece in islice(coming, 1))
                yield block
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


def is_partition(key: Any) -> bool:
    """Whether the task of a key reads rows, and is not one that adds up."""
    return str(key[0] if isinstance(key, tuple) else key).startswith(_PARTITION_KEY)


def _map_partition(
    rows: NDArray[Any],
    work: _Work,
    promised: np.dtype[Any],
    is_counted: bool,
    block_id: tuple[int, int],
) -> NDArray[Any]:
    work.begin()
    i = block_id[0]
    try:
        with told_of_gaps(work.source):
            result: NDArray[Any] = work.function(Block(rows, int(work.starts[i])), *work.args)
    except NonFiniteError as error:
        if is_counted:
            raise
        raise NonFiniteError(
            f"in block {i} of the Dask array, rows counted from its first: {error}"
        ) from error
    return result.astype(promised, copy=False)
