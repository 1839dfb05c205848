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


class _Patterns:
    """The distinct patterns of rows (n, D), each of which lacks some features.

    Attributes
    ----------
    gaps : ndarray of bool, shape (P, D)
        Which features each pattern lacks.
    counts : ndarray of int, shape (P,)
        Rows of each.
    which : ndarray of int, shape (n,)
        Pattern of each row.
    """

    def __init__(self, gaps: NDArray[np.bool_]) -> None:
        _, first, self.which, self.counts = np.unique(
            _keys(gaps), return_index=True, return_inverse=True, return_counts=True
        )
        self.gaps = gaps[first]
        self._order, self._ends = np.argsort(self.which, kind="stable"), np.cumsum(self.counts)

    def rows_of(self, p: np.intp) -> NDArray[np.intp]:
        """Indices of the rows of a pattern, ascending."""
        return self._order[self._ends[p] - self.counts[p] : self._ends[p]]


_SLOTS = 4096


def _most_alike(gaps: NDArray[np.bool_]) -> int:
    """A bound on how many rows (n, D) have one pattern: those whose patterns have the same hash.

    To sort the patterns takes ten times as long, and mostly none of them is common.
    """
    d = gaps.shape[1]
    most = min(_SLOTS, 2**24 // d)  # sums below 2**24 are exact in float32
    factors = np.random.RandomState(0).randint(1, most, d).astype(np.float32)
    hashes = (gaps.astype(np.float32) @ factors).astype(np.int64) % _SLOTS
    return int(np.bincount(hashes).max(initial=0))


def common_patterns(
    gaps: NDArray[np.bool_], fewest: NDArray[np.float64]
) -> tuple[list[tuple[NDArray[np.intp], NDArray[np.bool_]]], NDArray[np.intp]]:
    """Patterns of so many rows and more, and the rows of all other patterns.

    Parameters
    ----------
    gaps : ndarray of bool, shape (n, D)
        Which features of each row are missing.
    fewest : ndarray of shape (D + 1,)
        Rows from which on a pattern is common, by how many features it lacks.

    Returns
    -------
    common : list of (ndarray of int, ndarray of bool)
        For each such pattern, the indices of its rows, and which features it lacks, (D,).
    rest : ndarray of int
        Indices of the other rows.
    """
    if _most_alike(gaps) < fewest.min():
        return [], np.arange(len(gaps))
    patterns = _Patterns(gaps)
    is_common = patterns.counts >= fewest[patterns.gaps.sum(axis=1)]
    common = [(patterns.rows_of(p), patterns.gaps[p]) for p in np.flatnonzero(is_common)]
    return common, np.flatnonzero(~is_common[patterns.which])


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
    patterns = _Patterns(gaps)
    counts, n_missing = patterns.counts, patterns.gaps.sum(axis=1)
    is_alone = counts >= _COMMON if together else np.ones(len(counts), bool)
    for p in np.flatnonzero(is_alone):
        rows = patterns.rows_of(p)
        yield Group(rows, np.flatnonzero(patterns.gaps[p])[None], np.zeros(len(rows), np.intp))
    for m in np.unique(n_missing[~is_alone]):
        rare = np.flatnonzero(~is_alone & (n_missing == m))
        at_once = max(1, GROUP_BYTES // (8 * n_kept * int(m) ** 2))
        for i in range(0, len(rare), at_once):
            part = rare[i : i + at_once]
            rows = np.concatenate([patterns.rows_of(p) for p in part])
            missing = np.nonzero(patterns.gaps[part])[1].reshape(len(part), int(m))
            yield Group(rows, missing, np.repeat(np.arange(len(part)), counts[part]))
