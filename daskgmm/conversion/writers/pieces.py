"""Pieces: rows that come in blocks of any size, given on in pieces of one size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pieces"]


class Pieces:
    """A buffer of at most a piece and a block.

    Parameters
    ----------
    n_rows : int
        Of each piece but the last one.
    """

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._kept: list[NDArray[Any]] = []
        self._n_kept = 0

    def of(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """The pieces that are whole with these rows."""
        whole = []
        while self._n_kept + len(values) >= self._n_rows:
            taken = self._n_rows - self._n_kept
            whole.append(np.concatenate([*self._kept, values[:taken]]))
            values, self._kept, self._n_kept = values[taken:], [], 0
        if len(values):
            self._kept.append(values.copy())  # else all of the block would be kept
            self._n_kept += len(values)
        return whole

    def rest(self) -> list[NDArray[Any]]:
        """The rows that are left, as a last piece; none if there are none."""
        kept, self._kept, self._n_kept = self._kept, [], 0
        return [np.concatenate(kept)] if kept else []
