"""Rows: what EM needs of data, wherever they are.

EM never indexes data. It folds a function over blocks of rows and sums what comes
back. The sum is a binary tree over the position of *grains*, runs of a fixed number
of rows, so that it has the same bits however many grains a partition holds, whoever
computed the parts, and in whatever order they finished.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import Block, Float64Array, Mixture, Pass, Statistics
from daskgmm.kernel.blas import single_thread

__all__ = [
    "Additive",
    "InMemoryRows",
    "Rows",
    "fold_block",
    "grain_rows",
    "rows_of_sample",
    "spread_pieces",
    "spread_runs",
    "statistics_of",
    "tree_sum",
]

_GRAIN_ROWS, _GRAIN_BYTES = 1 << 16, 1 << 21
_GRAINS_OF_SAMPLE = 4
"""Grains of a sample for each of stored rows: a sample has too few of those for many threads."""
_N_PIECES = (32, 16)
"""Runs of rows that stand for all, with fewer where there are few chunks."""
_MOST_IN_PIECES = 0.1
"""Share of the chunks that may be read for them."""
_WORTH_PIECES = 10_000_000
"""Rows in memory from which on a pass takes longer than a search for a start on pieces of them."""


class Additive(Protocol):
    """A value that a pass can sum, such as statistics or a scan."""

    def __add__(self, other: Self, /) -> Self: ...


T = TypeVar("T", bound=Additive)


class Rows(Protocol):
    """Rows over which functions can be folded, and how often each counts."""

    @property
    def n_rows(self) -> int:
        """N, however often each row counts."""
        ...

    @property
    def total_weight(self) -> float:
        """Sum of the weights; N where every row counts once."""
        ...

    @property
    def n_features(self) -> int:
        """D."""
        ...

    def fold(self, function: Callable[..., T], *args: Any) -> T:
        """Sum of ``function(block, *args)`` over all grains, by :func:`tree_sum`.

        One fold is one pass. Each grain is a :class:`~daskgmm.kernel.Block`.
        """
        ...

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """Rows of a few dozen runs that are spread over all rows.

        Parameters
        ----------
        n_wanted : int
            Rows, about.
        seed : int
            Seed of where the runs lie.

        Returns
        -------
        Block or None
            The rows with their weights; its ``start`` means nothing. None if reading them would
            take more than a tenth of a pass, as where few chunks hold all rows, and for rows in
            memory below ten million.
        """
        ...

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> Any:
        """Array of ``function(block, *args)``, a row of the result for each row.

        Blocks come without weights: the result for a row does not depend on its weight.

        Parameters
        ----------
        function : callable
            Returns shape (rows of the block,), or (rows of the block, columns).
        dtype : dtype
            Dtype of the result.
        columns : int or None
            Second dimension of the result; None for one value for each row.

        Returns
        -------
        ndarray, or a lazy array where the rows are lazy
        """
        ...


def grain_rows(n_features: int, unit_rows: int = 1) -> int:
    """Rows of a grain, from the data's shape and chunks alone, so that bits depend on nothing else.

    The least power of two of ``unit_rows`` that reaches 65,536 rows, or 2 MiB of
    float64: enough that a term of the sum costs nothing beside its rows.
    """
    enough = max(1, min(_GRAIN_ROWS, _GRAIN_BYTES // (8 * n_features)))
    rows = unit_rows
    while rows < enough:
        rows *= 2
    return rows


def tree_sum(terms: Iterable[T]) -> T:
    """Sum by a binary tree over positions, holding at most log2 of the terms at a time.

    The tree is the same for any grouping of the terms into runs of a power of two:
    ``tree_sum([tree_sum(t[:4]), tree_sum(t[4:8]), ...])`` has the bits of
    ``tree_sum(t)``. Every implementation of :meth:`Rows.fold` sums by it.

    Raises
    ------
    ValueError
        If there are no terms.
    """
    return _tree_sum_of_runs((0, term) for term in terms)


def _tree_sum_of_runs(runs: Iterable[tuple[int, T]]) -> T:
    """Sum as :func:`tree_sum` from ``(level, sum of 2 ** level terms)``, levels not rising."""
    # A binary counter: stack[i] holds the sum of 2 ** level terms, levels falling.
    stack: list[tuple[int, T]] = []
    for run in runs:
        level, total = run
        while stack and stack[-1][0] == level:
            level, total = level + 1, stack.pop()[1] + total
        stack.append((level, total))
    if not stack:
        raise ValueError("a sum of no terms: the rows have no block")
    total = stack.pop()[1]
    while stack:
        total = stack.pop()[1] + total
    return total


def fold_block(block: Block, grain: int, function: Callable[..., T], args: tuple[Any, ...]) -> T:
    """Sum of ``function(grain, *args)`` over the grains of one block."""
    return tree_sum(function(one, *args) for one in _grains_of(block, grain))


def _grains_of(block: Block, grain: int) -> Iterator[Block]:
    """A block in grains; one without rows is one empty grain, so that its term exists."""
    if len(block) <= grain:
        yield block
        return
    for first in range(0, len(block), grain):
        yield block[first : first + grain]


def _guided_runs(n_grains: int, n_threads: int) -> Iterator[tuple[int, int]]:
    """Cut grains into runs of a power of two, ``(level, first grain)``, ever shorter.

    A run is half of each thread's share of what is left, rounded down (guided self-scheduling,
    Polychronopoulos and Kuck 1987). That makes few tasks, since handing one over costs as much
    as a grain of little arithmetic, and short ones at the end, when threads wait for the last.
    """
    first = 0
    while first < n_grains:
        level = max(1, (n_grains - first) // (2 * n_threads)).bit_length() - 1
        yield level, first
        first += 2**level


def spread_pieces(n_units: int, units_wanted: int, seed: int) -> list[tuple[int, int]]:
    """Ranges of units, one at a random place in each of 32 or 16 equal parts of all units.

    Parameters
    ----------
    n_units : int
        Units of reading, such as the chunks of a store.
    units_wanted : int
    seed : int

    Returns
    -------
    list of (int, int)
        First unit, and the one after the last, in order; empty if that would be more than a tenth
        of all units.
    """
    rng = np.random.RandomState(seed)
    for n_pieces in _N_PIECES:
        each = max(1, -(-units_wanted // n_pieces))
        if n_pieces * each <= _MOST_IN_PIECES * n_units:
            parts = pairwise(np.linspace(0, n_units, n_pieces + 1).astype(int).tolist())
            firsts = [first + int(rng.randint(after - first - each + 1)) for first, after in parts]
            return [(first, first + each) for first in firsts]
    return []


def spread_runs(cuts: NDArray[np.int64], n_wanted: int, seed: int) -> list[tuple[int, int]]:
    """As :func:`spread_pieces`, for units of unequal size that are read from their beginning.

    Parameters
    ----------
    cuts : ndarray of int
        First row of each unit, and last the number of rows.
    n_wanted : int
        Rows.
    seed : int

    Returns
    -------
    list of (int, int)
        First row of each run, which is that of a unit, and the one after the last; empty if that
        would be more than a tenth of all rows, or where a part of them has no unit to begin at.
    """
    rng, n_rows = np.random.RandomState(seed), int(cuts[-1])
    for n_pieces in _N_PIECES:
        length = max(1, -(-n_wanted // n_pieces))
        if n_pieces * length > _MOST_IN_PIECES * n_rows:
            continue
        runs = []
        for first, after in pairwise(np.linspace(0, n_rows, n_pieces + 1).astype(int).tolist()):
            begin, end = np.searchsorted(cuts[:-1], [first, after - length + 1])
            if begin < end:
                start = int(cuts[begin + rng.randint(end - begin)])
                runs.append((start, start + length))
        if len(runs) == n_pieces:
            return runs
    return []


@cache
def _pool(n_threads: int, process: int) -> ThreadPoolExecutor:
    """The process's pool of threads, kept because starting threads took a fifth of a small fold.

    All rows share it, because each thread keeps memory that it does not give back.
    """
    return ThreadPoolExecutor(n_threads, thread_name_prefix="rows")


class InMemoryRows:
    """Rows of an ndarray, folded on a pool of threads.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_features)
    grain : int, optional
        Rows of a grain. It decides the bits of a sum; the number of threads does not.
    n_threads : int
        Threads that a fold runs on.
    weight : ndarray of shape (n_rows,), float64, optional
        How often each row counts.
    has_gaps : bool
        Whether NaN stands for a value that is not known.
    known : ndarray of shape (n_rows,), int64, optional
        Components of rows; see :class:`~daskgmm.kernel.Block`.

    Attributes
    ----------
    block : Block
        All rows; :meth:`of` makes them of one that has whatever rows can have.
    """

    def __init__(
        self,
        x: NDArray[Any],
        grain: int | None = None,
        n_threads: int = 1,
        weight: Float64Array | None = None,
        has_gaps: bool = False,
        known: NDArray[np.int64] | None = None,
    ) -> None:
        self.block = Block(x, weight=weight, has_gaps=has_gaps, known=known)
        self._grain = grain or grain_rows(x.shape[1])
        self.n_threads = n_threads

    @classmethod
    def of(cls, block: Block, grain: int | None = None, n_threads: int = 1) -> Self:
        """The rows of a block."""
        found = cls(block.x, grain, n_threads)
        found.block = replace(block, start=0)
        return found

    @property
    def n_rows(self) -> int:
        """N."""
        return len(self.block)

    @property
    def n_features(self) -> int:
        """D."""
        return self.block.n_features

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return self.block.total_weight

    def fold(self, function: Callable[..., T], *args: Any) -> T:
        """Sum of ``function(block, *args)`` over all grains, by :func:`tree_sum`."""
        grains = self._grains

        def folded(run: tuple[int, int]) -> tuple[int, T]:
            level, first = run
            return level, tree_sum(function(of, *args) for of in grains[first : first + 2**level])

        with single_thread():
            if self.n_threads == 1 or len(grains) == 1:
                return tree_sum(function(of, *args) for of in grains)
            runs = _guided_runs(len(grains), self.n_threads)
            return _tree_sum_of_runs(_pool(self.n_threads, os.getpid()).map(folded, runs))

    @property
    def _grains(self) -> list[Block]:
        """All rows in grains."""
        # Those that are kept know their total weight in the next pass; of gaps they would keep more.
        return list(_grains_of(self.block, self._grain)) if self.block.has_gaps else self._kept

    @cached_property
    def _kept(self) -> list[Block]:
        return list(_grains_of(self.block, self._grain))

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """Some rows spread over all; None where a pass costs less than any use of them.

        See :meth:`Rows.pieces`.
        """
        if self.n_rows < _WORTH_PIECES:
            return None
        found = [self.block[a:b] for a, b in spread_pieces(self.n_rows, n_wanted, seed)]
        return Block.joined(found) if found else None

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> NDArray[Any]:
        """Array of ``function(block, *args)``: see :meth:`Rows.map`."""
        out = np.empty((self.n_rows,) if columns is None else (self.n_rows, columns), dtype)

        def fill(block: Block) -> int:
            plain = replace(block, weight=None, has_gaps=False, known=None)
            out[block.start : block.start + len(block)] = function(plain, *args)
            return len(block)

        self.fold(fill)
        return out


def rows_of_sample(sample: Block, n_threads: int = 1) -> InMemoryRows:
    """A sample as rows to fold over, in grains short enough for threads to share."""
    grain = max(1, grain_rows(sample.n_features) // _GRAINS_OF_SAMPLE)
    return InMemoryRows.of(sample, grain, n_threads)


def statistics_of(rows: Rows, mixture: Mixture) -> Statistics:
    """Expected sufficient statistics of all rows under a mixture: one pass."""
    one = Pass(mixture)
    return one.complete(rows.fold(_of_block, one))


def _of_block(block: Block, one: Pass) -> Any:
    return one.of(block)
