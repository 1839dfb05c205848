"""Mapped rows: rows that every function sees through an affine map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.finite import check_finite
from daskgmm.em.rows import Rows, T
from daskgmm.kernel import Affine, Block

__all__ = ["MappedRows", "check_complete", "of_mapped"]

Check = Callable[[Block], None]


def check_complete(block: Block) -> None:
    """As :func:`check_finite`, but rows with NaN are gaps, which mapped are NaN altogether."""
    gap = np.isnan(block.x).any(axis=1)
    check_finite(replace(block, x=np.where(gap[:, None], 0, block.x)) if gap.any() else block)


def of_mapped(
    block: Block, affine: Affine, check: Check | None, function: Callable[..., Any], *args: Any
) -> Any:
    """``function(mapped block, *args)``; what cannot be used is named as it is in the data."""
    if check is not None:
        check(block)
    return function(affine.of_block(block), *args)


@dataclass(frozen=True, eq=False)
class MappedRows:
    """Rows put through a map, block by block, where they are read.

    Attributes
    ----------
    rows : Rows
    affine : Affine
    check : callable or None
        Raises an error for a block that cannot be mapped; None where all were read before.
    """

    rows: Rows
    affine: Affine
    check: Check | None = None

    @property
    def n_rows(self) -> int:
        """N."""
        return self.rows.n_rows

    @property
    def n_features(self) -> int:
        """Of the mapped rows."""
        return self.affine.n_out

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return self.rows.total_weight

    @property
    def gaps(self) -> str:
        """What a store says of missing values, for messages about NaN."""
        return getattr(self.rows, "gaps", "")

    def fold(self, function: Callable[..., T], *args: Any) -> T:
        """See :meth:`Rows.fold`."""
        found: T = self.rows.fold(of_mapped, self.affine, self.check, function, *args)
        return found

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> Any:
        """See :meth:`Rows.map`."""
        work = (self.affine, self.check, function, *args)
        return self.rows.map(of_mapped, *work, dtype=dtype, columns=columns)

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """See :meth:`Rows.pieces`."""
        found = self.rows.pieces(n_wanted, seed)
        return None if found is None else self.affine.of_block(found)
