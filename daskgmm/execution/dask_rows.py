"""DaskRows: the rows of a Dask array, folded partition by partition.

One fold is one graph: a task for each partition, which reads, cuts into grains and
folds; above them the tree that :func:`daskgmm.em.rows.tree_sum` defines. What the
function is given travels as one key of a name never used before. The scheduler is
the one in force: a distributed client if there is one, else threads. A partition of a
source is never in memory whole: its task reads piece after piece.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import dask
import dask.array as da
import numpy as np
from dask.delayed import Delayed
from numpy.typing import NDArray

from daskgmm.em.rows import Additive, Source, fold_block, grain_rows, tree_sum
from daskgmm.errors import DataError
from daskgmm.execution.memory import TARGET_BYTES, read_rows
from daskgmm.execution.scheduler import in_force
from daskgmm.kernel.blas import single_thread, single_threaded_blas_for_good

__all__ = ["DaskRows", "array_of_source", "coalesced"]

_FAN_IN = 16  # a power of two, so that the tree of trees is the tree

T = TypeVar("T", bound=Additive)


class _Sliceable:
    """A source as Dask wants it: something with a shape that can be sliced."""

    ndim = 2

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shape = source.shape
        self.dtype = source.dtype

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = index
        block = self.source.read(*rows.indices(self.shape[0])[:2])
        return block[:, columns]


def array_of_source(source: Source, partition_rows: int) -> da.Array:
    """A lazy Dask array over a source, cut into partitions."""
    return da.from_array(
        _Sliceable(source),
        chunks=(partition_rows, source.shape[1]),
        name=f"rows-{uuid.uuid4().hex}",
        asarray=False,
        fancy=False,
        inline_array=True,
        meta=np.empty((0, 0), source.dtype),
    )


def coalesced(array: da.Array) -> tuple[da.Array, int]:
    """An equal array in row partitions worth a task each, and the passes that it took.

    Chunks across features are merged; unknown chunk sizes are counted, which is a
    pass; runs of small chunks become one partition. The cut depends on the chunks
    alone, so that bits do not depend on the machine.

    Raises
    ------
    DataError
        If the array is not 2-D.
    """
    if array.ndim != 2:
        raise DataError(
            f"Expected 2D array, got {array.ndim}D Dask array of shape {array.shape}: rows must "
            "be (n_rows, n_features). Reshape your data with array[:, None] if it has one feature"
        )
    passes = 0
    if any(np.isnan(size) for sizes in array.chunks for size in sizes):
        # On a copy: it would change the caller's array in place.
        array = da.Array(array.dask, array.name, array.chunks, meta=array._meta)
        array.compute_chunk_sizes()
        passes = 1
    if array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    rows_wanted = max(1, TARGET_BYTES // 2 // max(1, array.shape[1] * array.dtype.itemsize))
    sizes: list[int] = []
    for size in array.chunks[0]:
        if sizes and sizes[-1] + size <= rows_wanted:
            sizes[-1] += size
        else:
            sizes.append(int(size))
    if len(sizes) < array.numblocks[0]:
        array = array.rechunk({0: tuple(sizes)})
    return array, passes


@dataclass(frozen=True, eq=False)
class _Work:
    """What a pass does with each partition: the one key that its parameters travel as."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    starts: NDArray[np.int64]
    grain: int
    on_worker: bool
    source: Source | None

    def begin(self) -> None:
        """Make the process that a task finds itself in fit for it."""
        if self.on_worker:
            single_threaded_blas_for_good()


class DaskRows:
    """Rows of a Dask array.

    Parameters
    ----------
    array : dask.array.Array of shape (n_rows, n_features)
        Known chunk sizes, one chunk across features.
    grain : int, optional
        Rows of a grain; partitions should hold a power of two of them.
    n_threads : int, optional
        Partitions in flight on the threaded scheduler; all threads by default.
    source : Source, optional
        Of which the array is, by :func:`array_of_source`; folds read it in pieces.
    """

    def __init__(
        self,
        array: da.Array,
        grain: int | None = None,
        n_threads: int | None = None,
        source: Source | None = None,
    ) -> None:
        self.array = array
        self._source = source
        self._grain = grain or grain_rows(array.shape[1])
        self._n_threads = n_threads
        self._starts = np.concatenate([[0], np.cumsum(array.chunks[0])[:-1]]).astype(np.int64)

    @property
    def n_rows(self) -> int:
        """N."""
        return int(self.array.shape[0])

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.array.shape[1])

    def fold(self, function: Callable[..., T], *args: Any) -> T:
        """Sum of ``function(block, start, *args)`` over all grains, by ``tree_sum``."""
        scheduler = in_force()
        token = uuid.uuid4().hex
        work = self._work(token, function, args)
        level: list[Delayed]
        if self._source is None:
            partials = self.array.map_blocks(
                _fold_partition,
                work,
                name=f"fold-{token}",
                dtype=object,
                chunks=(1, 1),
                meta=np.empty((0, 0), object),
            )
            level = partials.to_delayed().ravel().tolist()
        else:
            level = [
                dask.delayed(_fold_stretch, pure=False)(
                    work, int(start), int(start) + size, dask_key_name=f"fold-{i}-{token}"
                )
                for i, (start, size) in enumerate(
                    zip(self._starts, self.array.chunks[0], strict=True)
                )
            ]
        depth = 0
        while len(level) > 1:
            level = [
                dask.delayed(tree_sum, pure=False)(
                    level[i : i + _FAN_IN], dask_key_name=f"sum-{depth}-{i // _FAN_IN}-{token}"
                )
                for i in range(0, len(level), _FAN_IN)
            ]
            depth += 1
        with single_thread():
            return scheduler.compute(level[0], self._n_threads)

    def _work(self, token: str, function: Callable[..., Any], args: tuple[Any, ...]) -> Delayed:
        on_worker = in_force().has_workers
        work = _Work(function, args, self._starts, self._grain, on_worker, self._source)
        return dask.delayed(work, name=f"work-{token}", traverse=False)

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> da.Array:
        """Lazy array of ``function(block, start, *args)``: see :meth:`Rows.map`."""
        shape = {"drop_axis": 1} if columns is None else {"chunks": (self.array.chunks[0], columns)}
        return self.array.map_blocks(
            _map_partition,
            self._work(uuid.uuid4().hex, function, args),
            dtype=dtype,
            meta=np.empty((0,) if columns is None else (0, 0), dtype),
            name=f"map-{uuid.uuid4().hex}",
            **shape,
        )


def _fold_partition(block: NDArray[Any], work: _Work, block_id: tuple[int, int]) -> Any:
    work.begin()
    start = int(work.starts[block_id[0]])
    return fold_block(np.asarray(block), start, work.grain, work.function, work.args)


def _fold_stretch(work: _Work, start: int, stop: int) -> Any:
    """Rows ``start:stop`` of the source, folded with one piece in memory at a time."""
    work.begin()
    source = work.source
    assert source is not None
    step = read_rows(work.grain, source.shape[1] * source.dtype.itemsize)
    return tree_sum(
        fold_block(source.read(i, min(i + step, stop)), i, work.grain, work.function, work.args)
        for i in range(start, stop, step)
    )


def _map_partition(block: NDArray[Any], work: _Work, block_id: tuple[int, int]) -> NDArray[Any]:
    work.begin()
    start = int(work.starts[block_id[0]])
    result: NDArray[Any] = work.function(np.asarray(block), start, *work.args)
    return result
