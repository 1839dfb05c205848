"""PairedSource: stored rows, and beside each of them that of another source."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daskgmm.source import Source, cuts_of, has_whole_units, leave

__all__ = ["PairedSource"]

_MOST_UNITS = 4
"""Units of either source that are read as one, so that each is decoded once; if more, they are not."""


class _Beside(Protocol):
    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def read(self, start: int, stop: int) -> NDArray[Any]: ...


class PairedSource:
    """Rows (n, D + E) of a source (n, D) and of what lies beside it, (n, E).

    Parameters
    ----------
    source : Source
        Whose name and cuts they have.
    beside : Source, or anything that has a shape and a dtype and can be read by range
    """

    def __init__(self, source: Source, beside: _Beside) -> None:
        self._source, self._beside = source, beside
        self.name = source.name
        self.shape = source.shape[0], source.shape[1] + beside.shape[1]
        self.dtype = np.result_type(source.dtype, beside.dtype, np.float32)
        ours, theirs = source.unit_rows, int(getattr(beside, "unit_rows", 1))
        both = math.lcm(ours, theirs)
        self.unit_rows = both if both <= _MOST_UNITS * max(ours, theirs) else max(ours, theirs)
        self.unit_overhead = source.unit_overhead + int(getattr(beside, "unit_overhead", 0))
        self.cuts = cuts_of(source)
        self.units_are_whole = has_whole_units(source)
        self.gaps: str = getattr(source, "gaps", "")

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop``, (stop - start, D + E)."""
        return self._joined(self._source.read(start, stop), start, stop)

    def read_once(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop`` as :meth:`read`, but not kept: no pass asks for just these."""
        read = getattr(self._source, "read_once", self._source.read)
        return self._joined(read(start, stop), start, stop)

    def leave(self, start: int, stop: int) -> None:
        """See :func:`daskgmm.source.leave`."""
        leave(self._source, start, stop)

    def _joined(self, rows: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        joined = np.empty((stop - start, self.shape[1]), self.dtype)
        d = rows.shape[1]
        joined[:, :d], joined[:, d:] = rows, self._beside.read(start, stop)
        return joined
