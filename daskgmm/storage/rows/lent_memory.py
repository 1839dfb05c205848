"""Lent memory: large temporary arrays whose memory goes back to the system as soon as they are let go.

An allocator keeps what was freed for the thread that had it. Tens of MiB, freed by many threads in
turn, would stay resident several times over.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["lent_array"]

_LARGE_BYTES = 1 << 20


def lent_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array of these, as ``numpy.empty`` gives."""
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes < _LARGE_BYTES:
        return np.empty(shape, dtype)
    flags = {}
    if hasattr(mmap, "MAP_ANONYMOUS"):  # else it would be shared with processes that are forked
        flags["flags"] = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return np.ndarray(shape, dtype, buffer=mmap.mmap(-1, n_bytes, **flags))
