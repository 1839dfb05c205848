"""StagedSource: a source of rows whose pieces are read once and then kept near."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.rows import grain_rows
from daskgmm.errors import DataError
from daskgmm.execution.memory import read_rows
from daskgmm.execution.staging.keeping import KEEPER, Staging
from daskgmm.source import Source, cuts_of, has_whole_units, leave

__all__ = ["StagedSource"]


class StagedSource:
    """A source whose pieces are kept when they are first read.

    Parameters
    ----------
    source : Source
    staging : Staging
    dtype : dtype, optional
        Dtype that every piece is rounded to. The first pass sees rounded values too, so
        that all passes see the same ones.
    """

    def __init__(self, source: Source, staging: Staging, dtype: Any = None) -> None:
        self._source = source
        self._staging = staging
        self.name = source.name
        self.shape = source.shape
        self.dtype = source.dtype if dtype is None else np.dtype(dtype)
        self.unit_rows = source.unit_rows
        self.unit_overhead = source.unit_overhead
        self.cuts = cuts_of(source)
        self.units_are_whole = has_whole_units(source)
        self.gaps: str = getattr(source, "gaps", "")
        if self.dtype != source.dtype:
            # Rounding holds the piece as it was stored, and the allocator keeps the last such.
            d = self.shape[1]
            rows = read_rows(grain_rows(d, self.unit_rows), d * self.dtype.itemsize)
            self.unit_overhead += 2 * rows * d * source.dtype.itemsize

    def __repr__(self) -> str:
        return f"<StagedSource of {self._source!r}>"

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop``, from what is kept or else from the source, and kept then.

        They must not be written to.

        Raises
        ------
        DataError
            If a value is beyond the dtype that rows are rounded to.
        """
        kept = KEEPER.kept_for(self._staging)
        if kept is None:
            return self._rounded(start, stop)
        piece = (start, stop)
        block = kept.get(piece, (stop - start, self.shape[1]), self.dtype)
        if block is None:
            block = self._rounded(start, stop)
            kept.put(piece, block)
        return block

    def read_once(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop`` as :meth:`read`, but not kept: no pass asks for just these."""
        return self._rounded(start, stop, once=True)

    def leave(self, start: int, stop: int) -> None:
        """See :func:`daskgmm.source.leave`."""
        leave(self._source, start, stop)

    def _rounded(self, start: int, stop: int, once: bool = False) -> NDArray[Any]:
        source = self._source
        read = getattr(source, "read_once", source.read) if once else source.read
        block: NDArray[Any] = read(start, stop)
        if block.dtype == self.dtype:
            return block
        try:
            with np.errstate(over="raise"):
                return block.astype(self.dtype)
        except FloatingPointError:
            raise DataError(
                f"{self.name}: rows {start}:{stop} hold values beyond {self.dtype} "
                f"({np.finfo(self.dtype).max:.2g}); rescale the data, or leave out stage_dtype"
            ) from None
