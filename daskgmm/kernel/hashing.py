"""Hashing: which rows of all are drawn, by their indices and a seed alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import loops

__all__ = ["drawn_rows", "hash_rows"]

_STEP = 0x9E3779B97F4A7C15


def _key_of(seed: int) -> int:
    return (seed * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) % 2**64


def hash_rows(start: int, n_rows: int, seed: int) -> NDArray[np.uint64]:
    """Hash of each row index ``start .. start + n_rows``, uniform over 64 bits.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) applied to the index
    and the seed. A row is in the sample if its hash is below a threshold: the sample
    is uniform, the same for any chunking, and grows by raising the threshold.
    """
    with np.errstate(over="ignore"):
        z = np.arange(start, start + n_rows, dtype=np.uint64)
        z *= np.uint64(_STEP)
        z += np.uint64(_key_of(seed))
        shifted = np.empty_like(z)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z ^= np.right_shift(z, np.uint64(shift), out=shifted)
            z *= np.uint64(factor)
        z ^= np.right_shift(z, np.uint64(31), out=shifted)
    return z


def drawn_rows(start: int, n_rows: int, threshold: int, seed: int) -> NDArray[np.int64]:
    """Indices, counted from ``start`` and ascending, of the rows whose hash is below a threshold."""
    if loops.VARIANT is None:
        return np.flatnonzero(hash_rows(start, n_rows, seed) < np.uint64(threshold))
    first = (start * _STEP + _key_of(seed)) % 2**64
    found: NDArray[np.int64] = loops.find_drawn(first, _STEP, n_rows, threshold)
    return found
