"""Sub-blocks: runs of rows small enough that their temporaries stay in cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array

__all__ = ["TILE_PRODUCTS", "sub_block_bytes", "sub_blocks"]

_CACHE_BYTES = 2 * 2**20
_MIN_ROWS, _MAX_ROWS = 1024, 8192
TILE_PRODUCTS = 160
"""Products of features that are formed at a time; those of 1,024 rows fit in cache."""


def _sub_block_rows(k: int, d: int) -> int:
    """Rows of a sub-block: a power of two whose temporaries fit in the caches of a core."""
    rows = _MIN_ROWS
    while rows < _MAX_ROWS and 2 * rows * _row_bytes(k, d) <= _CACHE_BYTES:
        rows *= 2
    return rows


def _row_bytes(k: int, d: int) -> int:
    """Bytes that a row needs at once: joint densities twice, itself twice, a tile of products."""
    return 8 * (2 * k + 2 * d + min(d * (d + 1) // 2, max(d, TILE_PRODUCTS)))


def sub_block_bytes(k: int, d: int) -> int:
    """Most bytes that one thread needs for the temporaries of a sub-block, with a margin of two."""
    return 2 * _row_bytes(k, d) * _sub_block_rows(k, d)


def sub_blocks(x: NDArray[Any], k: int) -> Iterator[tuple[slice, Float64Array]]:
    """Split a block (n_rows, D) for work on K components.

    Yields
    ------
    span : slice
        Rows of the block.
    x_t : ndarray of shape (D, rows of the span), float64, C-contiguous
        A copy, feature-major: sums over features or components then run along
        contiguous memory.
    """
    rows = _sub_block_rows(k, x.shape[1])
    for start in range(0, len(x), rows):
        span = slice(start, min(start + rows, len(x)))
        x_t = np.empty((x.shape[1], span.stop - span.start))
        np.copyto(x_t, x[span].T, casting="unsafe")
        yield span, x_t
