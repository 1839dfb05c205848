"""Patterns: rows grouped by which of their features are missing.

How many patterns there are is for the data to say: D features have 2^D. So rows of common patterns
are worked on pattern by pattern, and the others in groups of several patterns that lack as many
features, whose size is bounded by the bytes that a pattern takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["GROUP_BYTES", "Group", "common_patterns", "groups"]

_COMMON = 64
"""Rows of a block from which on a pattern is worked on by itself."""
GROUP_BYTES = 4 * 2**20
"""Bytes of what is found for the patterns of a group, and for the rows that it has at least."""


class Group(NamedTuple):
    """Rows that lack as many features each.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Their indices.
    missing : ndarray of int, shape (P, M)
        The missing features of each pattern, ascending.
    which : ndarray of int, shape (n,)
        Pattern of each row.
    """

    rows: NDArray[np.intp]
    missing: NDArray[np.intp]
    which: NDArray[np.intp]


def _keys(gaps: NDArray[np.bool_]) -> NDArray[np.generic]:
    """One value for each row (n, D), which is the same for rows of the same gaps, (n,)."""
    bits = np.packbits(gaps, axis=1)
    width = bits.shape[1]
    if width > 8:
        return bits.view(f"V{width}")[:, 0]
    padded = np.zeros((len(bits), 8), np.uint8)
    padded[:, :width] = bits
    return padded.view(np.uint64)[:, 0]


def common_patterns(
    gaps: NDArray[np.bool_], fewest: int
) -> tuple[list[tuple[NDArray[np.intp], NDArray[np.bool_]]], NDArray[np.intp]]:
    """Rows of each pattern of ``fewest`` rows and more, by index, and that pattern (D,); and others."""
    _, first, which, counts = np.unique(
        _keys(gaps), return_index=True, return_inverse=True, return_counts=True
    )
    order, ends = np.argsort(which, kind="stable"), np.cumsum(counts)
    common = np.flatnonzero(counts >= fewest)
    found = [(order[ends[p] - counts[p] : ends[p]], gaps[first[p]]) for p in common]
    return found, np.flatnonzero(counts[which] < fewest)


def groups(gaps: NDArray[np.bool_], n_kept: int, *, together: bool) -> Iterator[Group]:
    """Split rows by their patterns, of which each is in one group, and each row in one.

    Parameters
    ----------
    gaps : ndarray of bool, shape (n, D)
        Which features of each row are missing; one or more in each.
    n_kept : int
        Matrices of missing features that are kept for each pattern.
    together : bool
        Whether rare patterns may share a group.
    """
    _, first, which, counts = np.unique(
        _keys(gaps), return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(counts)
    patterns, n_missing = gaps[first], gaps[first].sum(axis=1)
    is_alone = counts >= _COMMON if together else np.ones(len(counts), bool)
    for p in np.flatnonzero(is_alone):
        rows = order[ends[p] - counts[p] : ends[p]]
        yield Group(rows, np.flatnonzero(patterns[p])[None], np.zeros(len(rows), np.intp))
    for m in np.unique(n_missing[~is_alone]):
        rare = np.flatnonzero(~is_alone & (n_missing == m))
        at_once = max(1, GROUP_BYTES // (8 * n_kept * int(m) ** 2))
        for i in range(0, len(rare), at_once):
            part = rare[i : i + at_once]
            rows = np.concatenate([order[ends[p] - counts[p] : ends[p]] for p in part])
            missing = np.nonzero(patterns[part])[1].reshape(len(part), int(m))
            yield Group(rows, missing, np.repeat(np.arange(len(part)), counts[part]))
