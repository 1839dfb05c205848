"""Block: rows in memory, the argument of every function that is folded over rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.gap_rows import GapRows, gap_rows

__all__ = ["Block", "Float64Array", "PickedBlock"]

Float64Array = NDArray[np.float64]

_MOST_KEPT = 1 / 16
"""Bytes of what is found of gaps that are kept beside the rows, as a share of theirs."""


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
    known : ndarray of shape (n_rows,), int64, optional
        Number of the component that a row is known to be of; -1 where nobody knows.
    measurement_noise : ndarray, float64, optional
        Of shape (n_rows, n_features), the variance of the noise with which each value was measured,
        in squared units of the data, finite and not negative; or of shape (n_rows, n_features,
        n_features), the covariance of the noise of each row. Without it values are what they are.
        That of a missing value is of no matter.
    """

    x: NDArray[Any]
    start: int = 0
    weight: Float64Array | None = None
    has_gaps: bool = False
    known: NDArray[np.int64] | None = None
    measurement_noise: Float64Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, span: slice) -> Self:
        """Block of consecutive rows."""
        weight = None if self.weight is None else self.weight[span]
        known = None if self.known is None else self.known[span]
        noise = None if self.measurement_noise is None else self.measurement_noise[span]
        start = self.start + (span.start or 0)
        return type(self)(self.x[span], start, weight, self.has_gaps, known, noise)

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.x.shape[1])

    @property
    def picked(self) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Rows among which those of the block are, and their indices; None where they are all."""
        return self.x, None

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights; the number of rows where each counts once."""
        return float(len(self)) if self.weight is None else float(self.weight.sum())

    @cached_property
    def _is_present(self) -> bool:
        return self.weight is None or bool(self.weight.min(initial=np.inf) > 0)

    @cached_property
    def gaps(self) -> GapRows | None:
        """Rows of which a value is NaN; None if there are none."""
        return gap_rows(self.x)

    def marked(self, *, has_gaps: bool, weight: Float64Array | None) -> Self:
        """The same rows with other weights, of which NaN is an unknown value, or is not.

        What is found of gaps is kept for both, if it takes few bytes beside the rows: those that stay in
        memory are looked through once, and not in each pass.
        """
        found = replace(self, has_gaps=has_gaps, weight=weight)
        found.__dict__["gaps"] = gaps = self.gaps
        if gaps is not None and gaps.nbytes > _MOST_KEPT * self.x.nbytes:
            self.__dict__.pop("gaps")
        return found

    @property
    def weights(self) -> Float64Array:
        """The weight of each row, 1 where none is given, shape (n_rows,)."""
        return np.ones(len(self.x)) if self.weight is None else self.weight

    def take(self, which: NDArray[Any]) -> Self:
        """Rows by index or mask; ``start`` is 0, since the rows are not consecutive any more."""
        rows = np.flatnonzero(which) if which.dtype == np.bool_ else which
        weight = None if self.weight is None else self.weight[rows]
        known = None if self.known is None else self.known[rows]
        noise = (
            None if self.measurement_noise is None else self.measurement_noise.take(rows, axis=0)
        )
        x = self.x.take(rows, axis=0)  # several times as fast as by an index or a mask
        return type(self)(x, 0, weight, self.has_gaps, known, noise)

    def drawn(self, which: NDArray[Any], share: float) -> Self:
        """Rows by index or mask, a uniform ``share`` of all, and those whose component is known.

        The latter are few, and all there; each counts ``share`` times as much.
        """
        if self.known is None:
            return self.take(which)
        is_known = self.known >= 0
        weighed = replace(self, weight=np.where(is_known, share, 1.0) * self.weights)
        is_known[which] = True
        return weighed.take(is_known)

    def thinned(self, step: int) -> Self:
        """Every ``step``-th row, C-contiguous; see :meth:`drawn` for rows that are known."""
        if self.known is not None:
            return self.drawn(np.arange(len(self)) % step == 0, 1.0 / step)
        weight, noise = (
            None if of is None else np.ascontiguousarray(of[::step])
            for of in (self.weight, self.measurement_noise)
        )
        x = np.ascontiguousarray(self.x[::step])
        return replace(self, x=x, start=0, weight=weight, measurement_noise=noise)

    def followed_by(self, other: Self) -> Self:
        """The rows of both blocks; see :meth:`joined`."""
        return self.joined([self, other])

    @classmethod
    def joined(cls, blocks: Sequence[Self]) -> Self:
        """The rows of several blocks in their order.

        They have weights if one of them has any, and what is known, or their measurement noise, if
        the first has it.
        """
        weight = known = noise = None
        if any(block.weight is not None for block in blocks):
            weight = np.concatenate([block.weights for block in blocks])
        if blocks[0].known is not None:
            known = np.concatenate([block.known for block in blocks if block.known is not None])
        if blocks[0].measurement_noise is not None:
            noises = [block.measurement_noise for block in blocks]
            noise = np.concatenate([one for one in noises if one is not None])
        has_gaps = any(block.has_gaps for block in blocks)
        x = np.concatenate([block.x for block in blocks])
        return cls(x, 0, weight, has_gaps, known, noise)

    def distinct(self) -> Self:
        """Each row once, where it first comes, with the sum of its weights.

        The same block if no row comes again, or if components of some are known, or if rows have
        noise of their own.
        """
        if self.known is not None or self.measurement_noise is not None:
            return self
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
        return self if self._is_present else self.take(np.flatnonzero(self.weights > 0))


class PickedBlock(Block):
    """Some rows of an array. Compiled loops pick them out of it; they are copied for others alone.

    Parameters
    ----------
    among : ndarray of shape (n, D)
    rows : ndarray of shape (m,), int64
        Indices, ascending.
    weight : ndarray of shape (m,), float64, optional
    """

    _among: NDArray[Any]
    _rows: NDArray[np.int64]

    def __init__(
        self, among: NDArray[Any], rows: NDArray[np.int64], weight: Float64Array | None
    ) -> None:
        self.__dict__.update(weight=weight, _among=among, _rows=rows)

    @classmethod
    def present_in(cls, block: Block) -> Block:
        """As :meth:`Block.present`, of rows of which nothing but their values and weights is known."""
        is_more = block.has_gaps or block.known is not None or block.measurement_noise is not None
        if is_more or block._is_present:
            return block.present()
        rows = np.flatnonzero(block.weights > 0)
        return cls(block.x, rows, block.weights[rows])

    @cached_property
    def x(self) -> NDArray[Any]:
        """The rows, (m, D)."""
        return self._among.take(self._rows, axis=0)  # several times as fast as by an index

    @property
    def picked(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """See :class:`Block`."""
        return self._among, self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, span: slice) -> Block:  # type: ignore[override]
        """Block of consecutive rows, which are copied."""
        return self.take(np.arange(len(self))[span])

    def take(self, which: NDArray[Any]) -> Block:  # type: ignore[override]
        """See :meth:`Block.take`."""
        return Block(self.x, weight=self.weight).take(which)

    @property
    def n_features(self) -> int:
        """D."""
        return int(self._among.shape[1])
