"""Tail: the worst-fitting rows of all, collected on a pass that is made in any case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.rows import Additive, Rows
from daskgmm.kernel import Block, Float64Array, Mixture, log_density

__all__ = ["RowsWithTail", "Tail", "tail_bytes", "tail_rows"]

_BYTES, _MOST_ROWS = 1 << 19, 4096


def tail_rows(n_features: int) -> int:
    """Rows of a tail: some thousands; fewer where rows are wide, but enough for two components."""
    return max(4 * (n_features + 1), min(_MOST_ROWS, _BYTES // (8 * (n_features + 2))))


def tail_bytes(n_features: int) -> int:
    """Bytes of a tail."""
    return 8 * (n_features + 2) * tail_rows(n_features)


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
        bound = np.partition(self.log_densities, self.most - 1)[self.most - 1]
        below = np.flatnonzero(self.log_densities < bound)
        ties = np.flatnonzero(self.log_densities == bound)
        ties = ties[np.argsort(self.indices[ties])][: self.most - len(below)]
        return self._taken(np.append(below, ties))

    def in_order(self) -> Self:
        """The same rows by ascending density."""
        return self._taken(np.lexsort((self.indices, self.log_densities)))

    def _taken(self, which: NDArray[np.intp]) -> Self:
        return type(self)(
            self.rows.take(which), self.log_densities[which], self.indices[which], self.most
        )

    @classmethod
    def of_block(cls, block: Block, mixture: Mixture, most: int) -> Self:
        """Tail of a block's rows of weight above 0."""
        indices = block.start + np.arange(len(block), dtype=np.int64)
        if block.weight is not None:
            is_present = block.weight > 0
            block, indices = block.take(is_present), indices[is_present]
        densities = log_density(block.x, mixture)
        kept = np.arange(len(block))
        if len(block) > most:  # rows that tie with the last one stay: their indices decide
            kept = np.flatnonzero(densities <= np.partition(densities, most - 1)[most - 1])
        rows = block.take(kept)
        rows = Block(rows.x.astype(np.float64), weight=rows.weight)
        return cls(rows, densities[kept], indices[kept], most).cut()


T = TypeVar("T", bound=Additive)


@dataclass(frozen=True)
class _WithTail(Generic[T]):
    """The term that a fold sums, with the tail of the same rows. Additive."""

    term: T
    tail: Tail

    def __add__(self, other: Self) -> Self:
        return type(self)(self.term + other.term, self.tail + other.tail)


def _with_tail(
    block: Block,
    mixture: Mixture,
    most: int,
    function: Callable[..., T],
    args: tuple[Any, ...],
) -> _WithTail[T]:
    return _WithTail(function(block, *args), Tail.of_block(block, mixture, most))


class RowsWithTail:
    """Rows whose first fold also finds the tail.

    Parameters
    ----------
    rows : Rows
    mixture : Mixture
        Mixture by whose density rows are ranked.

    Attributes
    ----------
    mixture : Mixture
    tail : Tail or None
        Tail of all rows by ascending density; None before the first fold.
    """

    def __init__(self, rows: Rows, mixture: Mixture) -> None:
        self._rows, self.mixture = rows, mixture
        self.tail: Tail | None = None
        self.map, self.pieces = rows.map, rows.pieces

    @property
    def n_rows(self) -> int:
        """N."""
        return self._rows.n_rows

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return self._rows.total_weight

    @property
    def n_features(self) -> int:
        """D."""
        return self._rows.n_features

    def fold(self, function: Callable[..., T], *args: Any) -> T:
        """As :meth:`Rows.fold`."""
        if self.tail is not None:
            return self._rows.fold(function, *args)
        most = tail_rows(self.n_features)
        found: _WithTail[T] = self._rows.fold(_with_tail, self.mixture, most, function, args)
        self.tail = found.tail.in_order()
        return found.term
