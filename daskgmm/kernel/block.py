"""Block: rows in memory, the argument of every function that is folded over rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Float64Array"]

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows in memory and their weights.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_features), any real dtype
    start : int
        Index of the first row among all rows.
    weight : ndarray of shape (n_rows,), float64, optional
        How often each row counts: a row of weight 2 equals two rows, and one of weight 0 is
        absent. Finite and not negative. Without it every row counts once.
    has_gaps : bool
        Whether NaN stands for a value that is not known, so that rows are judged by the others.
        Where it is false, no row of weight above 0 has NaN.
    """

    x: NDArray[Any]
    start: int = 0
    weight: Float64Array | None = None
    has_gaps: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, span: slice) -> Self:
        """Block of consecutive rows."""
        weight = None if self.weight is None else self.weight[span]
        return type(self)(self.x[span], self.start + (span.start or 0), weight, self.has_gaps)

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.x.shape[1])

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights; the number of rows where each counts once."""
        return float(len(self.x)) if self.weight is None else float(self.weight.sum())

    @property
    def weights(self) -> Float64Array:
        """The weight of each row, 1 where none is given, shape (n_rows,)."""
        return np.ones(len(self.x)) if self.weight is None else self.weight

    def take(self, which: NDArray[Any]) -> Self:
        """Rows by index or mask; ``start`` is 0, since the rows are not consecutive any more."""
        weight = None if self.weight is None else self.weight[which]
        return replace(self, x=self.x[which], start=0, weight=weight)

    def thinned(self, step: int) -> Self:
        """Every ``step``-th row, C-contiguous."""
        weight = None if self.weight is None else np.ascontiguousarray(self.weight[::step])
        return replace(self, x=np.ascontiguousarray(self.x[::step]), start=0, weight=weight)

    def followed_by(self, other: Self) -> Self:
        """The rows of both blocks, with weights if one of them has any."""
        return self.joined([self, other])

    @classmethod
    def joined(cls, blocks: Sequence[Self]) -> Self:
        """The rows of several blocks in their order, with weights if one of them has any."""
        weight = None
        if any(block.weight is not None for block in blocks):
            weight = np.concatenate([block.weights for block in blocks])
        has_gaps = any(block.has_gaps for block in blocks)
        return cls(np.concatenate([block.x for block in blocks]), weight=weight, has_gaps=has_gaps)

    def distinct(self) -> Self:
        """Each row once, where it first comes, with the sum of its weights.

        The same block if no row comes again.
        """
        # A cheap test first: rows with different projections are distinct. The sum is made column
        # by column, so that equal rows get equal bits.
        key = np.zeros(len(self.x))
        for j in range(self.n_features):
            key += np.sin(1.0 + j) * self.x[:, j]
        if len(np.unique(key)) == len(self.x):
            return self
        _, first, which = np.unique(self.x, axis=0, return_index=True, return_inverse=True)
        if len(first) == len(self.x):
            return self
        order = np.argsort(first)
        weight: Float64Array = np.bincount(which.ravel(), self.weights).astype(np.float64)
        return replace(self, x=self.x[first[order]], start=0, weight=weight[order])

    def sorted(self) -> Self:
        """The rows by their first feature, then by the second, and so on.

        So their order depends neither on the one in which they came nor on units.
        """
        return self.take(np.lexsort(self.x.T[::-1]))

    def present(self) -> Self:
        """The rows of weight above 0; others count for nothing, whatever values they hold."""
        if self.weight is None or self.weight.min(initial=np.inf) > 0:
            return self
        return self.take(np.flatnonzero(self.weight > 0))
