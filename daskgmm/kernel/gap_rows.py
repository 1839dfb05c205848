"""Gap rows: the rows of a block in which features are missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import loops
from daskgmm.kernel.loops import partial

__all__ = ["GapRows", "gap_rows", "others"]


@dataclass(frozen=True, eq=False)
class GapRows:
    """Rows of a block in which features are missing.

    Attributes
    ----------
    x : ndarray of shape (n, D)
        All rows of the block.
    rows : ndarray of int, shape (m,)
        Indices of those with gaps, ascending.
    n_missing : ndarray of int, shape (m,)
        How many of their features are missing.
    """

    x: NDArray[Any]
    rows: NDArray[np.intp]
    n_missing: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the indices and numbers."""
        return self.rows.nbytes + self.n_missing.nbytes

    @cached_property
    def gaps(self) -> NDArray[np.bool_]:
        """Which of their features are missing, (m, D)."""
        gaps: NDArray[np.bool_] = np.isnan(self.x.take(self.rows, axis=0))
        return gaps

    @property
    def are_empty(self) -> NDArray[np.bool_]:
        """Whether all of their features are missing, (m,)."""
        are_empty: NDArray[np.bool_] = self.n_missing == self.x.shape[1]
        return are_empty

    def take(self, which: NDArray[Any]) -> GapRows:
        """Some of them, by index or mask."""
        return GapRows(self.x, self.rows[which], self.n_missing[which])


def gap_rows(x: NDArray[Any]) -> GapRows | None:
    """Rows (n, D) of which a value is NaN; None if there are none."""
    if x.dtype.kind != "f" or len(x) == 0:
        return None
    if loops.VARIANT is not None and loops.is_as_compiled(x):
        rows, n_missing = partial.find_gaps(x)
        return None if len(rows) == 0 else GapRows(x, rows, n_missing)
    # NaN shows in a sum, which BLAS makes; factors so small that no sum overflows.
    with np.errstate(all="ignore"):
        sums = x @ np.full(x.shape[1], np.finfo(x.dtype).tiny ** 0.5, x.dtype)
    rows = np.flatnonzero(np.isnan(sums))
    n_missing = np.isnan(x[rows]).sum(axis=1, dtype=np.int64)
    has_gap = n_missing > 0  # infinities, of which sums are NaN as well, are no gaps
    return GapRows(x, rows, n_missing).take(has_gap) if has_gap.any() else None


def others(n_rows: int, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Indices of the other ones of so many rows."""
    is_other = np.ones(n_rows, bool)
    is_other[rows] = False
    return np.flatnonzero(is_other)
