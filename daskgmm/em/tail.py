"""Tail: the worst-fitting rows of all, found by a pass that is made in any case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import Block, Float64Array, Pass, Statistics, log_density

__all__ = ["PassWithTail", "Tail", "WithTail", "tail_bytes", "tail_rows"]

_BYTES, _MOST_ROWS = 1 << 19, 4096
_STRIDE = 16


def tail_rows(n_features: int) -> int:
    """Rows of a tail: some thousands; fewer where rows are wide, but enough for two components."""
    return max(4 * (n_features + 1), min(_MOST_ROWS, _BYTES // (8 * (n_features + 2))))


def tail_bytes(n_features: int) -> int:
    """Bytes of a tail."""
    return 8 * (n_features + 2) * tail_rows(n_features)


def _lowest(values: Float64Array, rank: int) -> NDArray[np.intp]:
    """Indices, ascending, of values up to that of this rank, which is 1 for the least of all."""
    # Every 16th value tells what few are likely to be below; to partition all of them would take
    # as long as the pass.
    some, expected = values[::_STRIDE], rank / _STRIDE
    more = int(expected + 4 * np.sqrt(expected)) + 1
    if more < len(some):
        likely = np.flatnonzero(values <= np.partition(some, more)[more])
        if len(likely) >= rank:
            lowest: NDArray[np.intp] = likely[_are_lowest(values[likely], rank)]
            return lowest
    return np.flatnonzero(_are_lowest(values, rank))


def _are_lowest(values: Float64Array, rank: int) -> NDArray[np.bool_]:
    are: NDArray[np.bool_] = values <= np.partition(values, rank - 1)[rank - 1]
    return are


@dataclass(frozen=True, eq=False)
class Tail:
    """The rows of lowest density under a mixture, in any order. Additive.

    Parameters
    ----------
    rows : Block
        The m rows, float64, with their weights.
    log_densities : array of shape (m,)
        Log density of each row, in nats.
    indices : array of shape (m,), int64
        Index of each row among all rows. Of rows of equal density those of the lowest index are
        kept, so that a sum of tails does not depend on its order.
    most : int
        Most rows that are kept.
    """

    rows: Block
    log_densities: Float64Array
    indices: NDArray[np.int64]
    most: int

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.rows.followed_by(other.rows),
            np.concatenate([self.log_densities, other.log_densities]),
            np.concatenate([self.indices, other.indices]),
            self.most,
        ).cut()

    def cut(self) -> Self:
        """The ``most`` worst-fitting rows of this tail."""
        if len(self.rows) <= self.most:
            return self
        kept = _lowest(self.log_densities, self.most)
        if len(kept) > self.most:
            found = self.log_densities[kept]
            below, ties = kept[found < found.max()], kept[found == found.max()]
            ties = ties[np.argsort(self.indices[ties])][: self.most - len(below)]
            kept = np.append(below, ties)
        return self._taken(kept)

    def in_order(self) -> Self:
        """The same rows by ascending density."""
        return self._taken(np.lexsort((self.indices, self.log_densities)))

    def _taken(self, which: NDArray[np.intp]) -> Self:
        return type(self)(
            self.rows.take(which), self.log_densities[which], self.indices[which], self.most
        )

    @classmethod
    def of_block(cls, block: Block, log_densities: Float64Array, most: int) -> Self:
        """Tail of a block.

        Parameters
        ----------
        block : Block
        log_densities : array of shape (n,)
            Of the rows of weight above 0, in nats.
        most : int
        """
        n = len(log_densities)  # rows that tie with the last one stay: their indices decide
        kept = _lowest(log_densities, most) if n > most else np.arange(n)
        found, at = log_densities[kept], kept
        if n < len(block):
            assert block.weight is not None
            at = np.flatnonzero(block.weight > 0)[kept]
        rows = block.take(at)
        rows = Block(rows.x.astype(np.float64), weight=rows.weight)
        return cls(rows, found, block.start + at, most).cut()


@dataclass(frozen=True, eq=False)
class WithTail:
    """The term of a pass, with the tail of the same rows. Additive."""

    term: Any
    tail: Tail

    def __add__(self, other: Self) -> Self:
        return type(self)(self.term + other.term, self.tail + other.tail)


@dataclass(frozen=True, eq=False)
class PassWithTail:
    """A pass that also finds the rows of lowest density under its mixture.

    Attributes
    ----------
    one : Pass
        The pass.
    """

    one: Pass

    def of(self, block: Block) -> WithTail:
        """Partial statistics and tail of a block, to be added up."""
        term, log_density = self.one.with_log_densities(block)
        return WithTail(term, Tail.of_block(block, log_density, tail_rows(block.n_features)))

    def complete(self, found: WithTail) -> tuple[Statistics, Tail]:
        """Statistics of all rows; and their tail, by ascending density."""
        tail = found.tail
        exact = log_density(tail.rows.x, self.one.mixture)  # the pass may have been in float32
        return self.one.complete(found.term), replace(tail, log_densities=exact).in_order()
