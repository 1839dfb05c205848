"""Source: stored rows as everybody above sees them, whatever they are stored in.

It is below EM and below storage, which knows of rows without what EM needs to start.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Source", "WeightSource", "cuts_of", "has_whole_units", "leave"]


class Source(Protocol):
    """Stored rows that can be read by range: a Zarr array, a memory map.

    Sources are small to pickle: a path and metadata, never data. One whose units of reading are
    of unequal size, and are read from their beginning, has ``cuts``: see :func:`cuts_of`.
    """

    name: str
    """Name in messages; secrets in URLs are removed."""
    unit_rows: int
    """Rows that are decoded together (of a chunk or a shard); reads should align to it."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_rows, n_features)``."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the stored values: boolean, integer or floating."""
        ...

    @property
    def unit_overhead(self) -> int:
        """Bytes that reading needs beside the rows returned: decoded and encoded chunks in flight."""
        ...

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop`` as an ndarray of shape (stop - start, n_features)."""
        ...


class WeightSource(Protocol):
    """Weights of stored rows that can be read by range. Small to pickle, as a Source."""

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Weights of rows ``start:stop``, (stop - start,)."""
        ...


def cuts_of(source: Source | None) -> NDArray[np.int64] | None:
    """First row of each unit of reading, and last the number of rows; None for equal units.

    A unit that is read in pieces, one after the other, is decoded once. To begin in the middle
    of one is to decode what lies before.
    """
    cuts: NDArray[np.int64] | None = getattr(source, "cuts", None)
    return cuts


def has_whole_units(source: Source) -> bool:
    """Whether a unit of unequal size is decoded whole, however few of its rows are read."""
    return bool(getattr(source, "units_are_whole", False))


def leave(source: Source, start: int, stop: int) -> None:
    """Tell a source that nobody reads on from among rows ``start:stop``; few sources care."""
    left = getattr(source, "leave", None)
    if left is not None:
        left(start, stop)
