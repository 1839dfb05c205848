"""Fold tasks: what the tasks of a pass over Dask arrays and sources do, on whichever worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.rows import fold_block, tree_sum
from daskgmm.errors import NonFiniteError
from daskgmm.execution.block_runs import BlockRun
from daskgmm.execution.dask_blocks import Declared
from daskgmm.execution.gaps import told_of_gaps
from daskgmm.execution.memory import read_rows
from daskgmm.kernel import Block, Float64Array
from daskgmm.kernel.blas import single_threaded_blas_for_good
from daskgmm.source import Source, WeightSource, leave

__all__ = [
    "FoldWork",
    "Joined",
    "as_they_are",
    "fold_blocks",
    "fold_run",
    "map_partition",
    "read_piece",
    "thinned",
]


_FEW_BYTES = 2**16
"""Of pieces that are read in a row: reading so many takes longer than handing them over."""


def _as_one(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


class _Stop:
    """Set when a pass has failed: what this process still folds of it is for nothing."""

    asked = False

    def __call__(self) -> None:
        self.asked = True


@dataclass(frozen=True, eq=False)
class FoldWork:
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
        bounds = self.starts[first : first + len(blocks) + 1].tolist()
        rows = [
            Declared((first + i, 0), (stop - start, self.n_features), self.dtype).rows(block)
            for i, ((start, stop), block) in enumerate(zip(pairwise(bounds), blocks, strict=True))
        ]
        weight = self.weight_of(bounds[0], bounds[-1])
        if weights[0] is not None:
            weight = _as_one([np.asarray(w, np.float64) for w in weights])
        block = Block(_as_one(rows), bounds[0], weight)
        return fold_block(block, self.grain, self.function, self.args)

    def read(self, start: int, stop: int) -> Block:
        """Stored rows and their weights."""
        assert self.source is not None
        return Block(self.source.read(start, stop), start, self.weight_of(start, stop))

    def read_once(self, start: int, stop: int) -> Block:
        """Stored rows that no pass reads as one piece: they are not staged."""
        source = self.source
        assert source is not None
        read = getattr(source, "read_once", source.read)
        return Block(read(start, stop), start, self.weight_of(start, stop))

    def weight_of(self, start: int, stop: int) -> Float64Array | None:
        """Stored weights of rows ``start:stop``; None where there are none."""
        return None if self.weights is None else self.weights.read(start, stop)


@dataclass(frozen=True, eq=False)
class Joined:
    """Rows that are put one after the other. Additive."""

    block: Block

    def __add__(self, other: Joined) -> Joined:
        return Joined(self.block.followed_by(other.block))


def thinned(block: Block, step: int) -> Joined:
    """Every ``step``-th row of a block."""
    return Joined(block.thinned(step))


def as_they_are(block: Block) -> Joined:
    """All rows of a block."""
    return Joined(block)


def read_piece(work: FoldWork, start: int, stop: int) -> Joined:
    """Rows ``start:stop`` of the source, which are not staged."""
    work.begin()
    with told_of_gaps(work.source):
        found: Joined = work.function(work.read_once(start, stop), *work.args)
    return found


def fold_blocks(work: FoldWork, run: BlockRun, given: list[Any]) -> Any:
    """Blocks of an array, computed here and summed as if each were a task."""
    work.begin()
    return run.fold(given, work.folded)


def fold_run(work: FoldWork, first: int, after: int) -> Any:
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
        found = tree_sum(tree_sum(folded() for _ in pieces) for pieces in partitions)
    leave(source, int(work.starts[first]), int(work.starts[after]))
    return found


def _read_ahead(work: FoldWork, pieces: list[tuple[int, int]]) -> Generator[Block, None, None]:
    """Rows of the pieces; while one is worked on, the next ``reads_at_once`` are read.

    A read waits for the disk, for zarr's event loop and its threads more than it works: a thread
    that did both would leave its core idle a third of the time, and with one read on its way it is
    idle a tenth of the time. An object store answers after tens of milliseconds: there two are not
    enough. Small pieces are handed over several at once, since that takes longer than reading one of
    them.
    """
    if len(pieces) == 1:
        yield work.read(*pieces[0])
        return

    def read(few: list[tuple[int, int]]) -> list[Block]:
        return [work.read(*piece) for piece in few]

    n_ahead = work.reads_at_once
    with ThreadPoolExecutor(n_ahead) as readers:
        coming = _few_at_once(work, pieces)
        ahead = deque(readers.submit(read, few) for few in islice(coming, n_ahead))
        try:
            while ahead:
                blocks = ahead.popleft().result()
                ahead.extend(readers.submit(read, few) for few in islice(coming, 1))
                yield from blocks
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


def _few_at_once(
    work: FoldWork, pieces: list[tuple[int, int]]
) -> Generator[list[tuple[int, int]], None, None]:
    """Neighbouring pieces, as many as have few bytes together, or one."""
    assert work.source is not None
    row_bytes = work.source.shape[1] * work.source.dtype.itemsize
    few, n_bytes = list[tuple[int, int]](), 0
    for start, stop in pieces:
        more = (stop - start) * row_bytes
        if few and n_bytes + more > _FEW_BYTES:
            yield few
            few, n_bytes = [], 0
        few.append((start, stop))
        n_bytes += more
    yield few


def map_partition(
    rows: NDArray[Any],
    work: FoldWork,
    promised: np.dtype[Any],
    is_counted: bool,
    block_id: tuple[int, int],
) -> NDArray[Any]:
    """Function of each row of a block of the array, in the dtype that was promised for it."""
    work.begin()
    i = block_id[0]
    try:
        with told_of_gaps(work.source):
            result: NDArray[Any] = work.function(Block(rows, int(work.starts[i])), *work.args)
    except NonFiniteError as error:
        if is_counted:
            raise
        raise NonFiniteError(
            f"in block {i} of the Dask array, rows counted from its first: ", *error.args
        ) from error
    return result.astype(promised, copy=False)
