"""Partitions: how rows that are stored in units of unequal size are cut for the tasks of a pass.

They follow from the data alone, never from a memory limit or a number of threads: the sum
over partitions, and so the last bit of a result, depends on where they begin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskgmm.execution.memory import TARGET_BYTES

__all__ = ["blocks_within", "partition_starts"]

_LEAST_PARTITIONS = 64
"""Partitions that there should be where units allow it, so that threads can share them."""


def partition_starts(
    cuts: NDArray[np.int64], row_bytes: int, grain: int, aligned: bool = False
) -> NDArray[np.int64]:
    """First row of each partition, and last the number of rows.

    A partition is whole units: a large one alone, or as many neighbours as are not too much.

    Parameters
    ----------
    cuts : ndarray of int
        First row of each unit, and last the number of rows.
    row_bytes : int
    grain : int
        Rows of a grain; small units are joined to that many at least.
    aligned : bool
        Whether each partition has to begin at a multiple of ``grain``, as where results are
        written in chunks: then it begins with the grain in which the unit does.
    """
    n_rows = int(cuts[-1])
    target = min(TARGET_BYTES // row_bytes, -(-n_rows // _LEAST_PARTITIONS))
    target = max(target, grain)
    starts = [0]
    for first, after in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        if first > starts[-1] and after - starts[-1] > target:
            starts.append(first)
    if aligned:
        starts = sorted({start - start % grain for start in starts})
    return np.array([*starts, n_rows], np.int64)


def blocks_within(starts: NDArray[np.int64], most: int) -> tuple[int, ...]:
    """Sizes of blocks that partitions are cut into where a block is in memory whole.

    Parameters
    ----------
    starts : ndarray of int
        As of :func:`partition_starts`.
    most : int
        Rows of a block.
    """
    sizes: list[int] = []
    for rows in np.diff(starts).tolist():
        whole, rest = divmod(rows, most)
        sizes += [most] * whole + ([rest] if rest else [])
    return tuple(sizes)
