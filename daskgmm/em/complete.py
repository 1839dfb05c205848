"""Complete rows: rows of which some have gaps, which count for nothing.

How many rows are complete is known once all of them were read. So a row with a gap is one of weight
0: every read still accounts for all rows, and sums of weights are of the complete ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.rows import Rows, T
from daskgmm.errors import DataError
from daskgmm.kernel import Block, Float64Array

__all__ = ["CompleteRows", "check_some_complete", "weighing"]


def check_some_complete(weight: float, n_rows: int) -> None:
    """Refuse rows each of which has a gap, so that their weights sum to 0.

    Raises
    ------
    DataError
    """
    if weight == 0.0 and n_rows > 0:
        raise DataError(
            f"each of the {n_rows:,} rows has a gap: NaN in one feature or more; choose features "
            "that are present in the same rows"
        )


def weighing(rows: Rows, weight: float) -> Rows:
    """The same rows, of which a read has found the sum of the weights; few rows need to know."""
    if isinstance(rows, CompleteRows):
        return replace(rows, weight=weight)
    return rows


def _weighed(block: Block) -> Block:
    """The block with a weight of 0 where a feature is NaN, and else the weight that there was.

    Raises
    ------
    DataError
        If a complete row has no weight: NaN, which a row with a gap may have.
    """
    weight: Float64Array = np.ones(len(block)) if block.weight is None else block.weight
    x = block.x
    if x.dtype.kind == "f" and len(x) > 0 and np.isnan(x.min()):
        weight = np.where(np.isnan(x).any(axis=1), 0.0, weight)
    if block.weight is not None and np.isnan(weight).any():
        row = block.start + int(np.argmax(np.isnan(weight)))
        raise DataError(
            f"sample_weight has nan at row {row}, in which no feature is missing; give each such row "
            "a weight: 0 leaves it out"
        )
    return replace(block, weight=weight)


def _of_weighed(block: Block, function: Callable[..., T], *args: Any) -> T:
    return function(_weighed(block), *args)


def _weight_of(block: Block) -> float:
    return block.total_weight


@dataclass(frozen=True, eq=False)
class CompleteRows:
    """Rows of which those with a gap, NaN in one feature or more, have no weight.

    Attributes
    ----------
    rows : Rows
        With weights or without; those of rows with gaps may be NaN.
    each_once : bool
        Whether they have no other weights, so that a sum of weights is a number of complete rows.
    weight : float or None
        Sum of the weights of the complete rows; None before a read has found it.
    """

    rows: Rows
    each_once: bool = True
    weight: float | None = None

    @property
    def n_rows(self) -> int:
        """N, rows with gaps included."""
        return self.rows.n_rows

    @property
    def n_features(self) -> int:
        """D."""
        return self.rows.n_features

    @property
    def total_weight(self) -> float:
        """Sum of the weights; that of all rows, with gaps or without, where it is not yet known."""
        return self.rows.total_weight if self.weight is None else self.weight

    def fold(self, function: Callable[..., T], *args: Any) -> T:
        """See :meth:`Rows.fold`."""
        found: T = self.rows.fold(_of_weighed, function, *args)
        return found

    def weighed(self) -> CompleteRows:
        """The same rows, whose weights were summed, which takes a pass."""
        return replace(self, weight=self.fold(_weight_of))

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> Any:
        """See :meth:`Rows.map`; rows with gaps are among those that are mapped."""
        return self.rows.map(function, *args, dtype=dtype, columns=columns)

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """See :meth:`Rows.pieces`."""
        found = self.rows.pieces(n_wanted, seed)
        return None if found is None else _weighed(found)
