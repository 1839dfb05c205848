"""Sub-blocks: runs of rows small enough that their temporaries stay in cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.families.base import Float64Array

__all__ = ["sub_block_bytes", "sub_blocks"]

_CACHE_BYTES = 512 * 1024
_MIN_ROWS, _MAX_ROWS = 256, 8192


def _sub_block_rows(k: int, d: int) -> int:
    """Rows whose temporaries, (K + 4 D) float64 each, fit in the cache."""
    rows = _CACHE_BYTES // (8 * (k + 4 * d))
    return min(max(rows, _MIN_ROWS), _MAX_ROWS)


def sub_block_bytes(k: int, d: int) -> int:
    """Most bytes that one thread needs for the temporaries of a sub-block."""
    return 8 * (2 * k + 5 * d) * _sub_block_rows(k, d)


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
