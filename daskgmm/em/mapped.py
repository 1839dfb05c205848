"""Mapped rows: rows that every function sees through an affine map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from daskgmm.em.finite import check_finite
from daskgmm.em.wrapped import ChangedRows
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
class MappedRows(ChangedRows):
    """Rows put through a map, block by block, where they are read.

    Attributes
    ----------
    rows : Rows
    affine : Affine
    check : callable or None
        Raises an error for a block that cannot be mapped; None where all were read before.
    """

    affine: Affine
    check: Check | None = None

    @property
    def _through(self) -> tuple[Any, ...]:
        return of_mapped, self.affine, self.check

    @property
    def n_features(self) -> int:
        """Of the mapped rows."""
        return self.affine.n_out

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """See :meth:`Rows.pieces`; not checked, since pieces do not know where their rows are."""
        found = self.rows.pieces(n_wanted, seed)
        return None if found is None else self.affine.of_block(found)
