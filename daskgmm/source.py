"""Source: stored rows as everybody above sees them, whatever they are stored in.

It is below EM and below storage, which knows of rows without what EM needs to start.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Source", "WeightSource"]


class Source(Protocol):
    """Stored rows that can be read by range: a Zarr array, a memory map.

    Sources are small to pickle: a path and metadata, never data.
    """

    name: str
    """Name in messages; secrets in URLs are removed."""
    shape: tuple[int, int]
    """``(n_rows, n_features)``."""
    dtype: np.dtype[Any]
    """Dtype of the stored values: boolean, integer or floating."""
    unit_rows: int
    """Rows that are decoded together (of a chunk or a shard); reads should align to it."""
    unit_overhead: int
    """Bytes that reading needs beside the rows returned: decoded and encoded chunks in flight."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop`` as an ndarray of shape (stop - start, n_features)."""
        ...


class WeightSource(Protocol):
    """Weights of stored rows that can be read by range. Small to pickle, as a Source."""

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Weights of rows ``start:stop``, (stop - start,)."""
        ...
