"""Rows in a Parquet file: row groups of 64 MiB or a million rows, with names and units."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from daskgmm.conversion.reader import imported
from daskgmm.conversion.writers.pieces import Pieces
from daskgmm.conversion.writers.writer import Described, Writer
from daskgmm.storage import FileToPut, Location, failures_named, file_draft, parquet_draft

__all__ = ["ParquetFile"]

_GROUP_BYTES = 64 * 2**20
_GROUP_ROWS = 1_000_000
_KEPT_BYTES = 32
"""Of a value of a column that is kept, such as a text, where the size of a group is chosen."""
_EXTRA = "parquet"


class ParquetFile(Writer):
    """A file that appears when all rows are written.

    Parameters
    ----------
    place : Location
    described : Described
    overwrite : bool

    Raises
    ------
    OutputExistsError, NotFoundError, StorageError
    """

    def __init__(self, place: Location, described: Described, *, overwrite: bool) -> None:
        self._pa, parquet = imported("pyarrow", _EXTRA), imported("pyarrow.parquet", _EXTRA)
        pa = self._pa
        kind = pa.from_numpy_dtype(described.dtype)
        kept = list(described.kept or ())
        numbers = (
            pa.field(c.name, kind, metadata={"units": c.units} if c.units else None)
            for c in described.columns
        )
        self._schema = pa.schema([*kept, *numbers]).with_metadata({"source": described.source})
        self._kept: Any = pa.schema(kept).empty_table() if kept else None
        row_bytes = described.dtype.itemsize * len(described.columns) + _KEPT_BYTES * len(kept)
        self._pieces = Pieces(max(1, min(_GROUP_ROWS, _GROUP_BYTES // row_bytes)))
        draft = (file_draft if place.is_local else parquet_draft)(place, overwrite=overwrite)
        super().__init__(draft)
        with draft.begun():
            self._made = FileToPut(draft.place)
            self._file = parquet.ParquetWriter(self._made.path, self._schema, compression="zstd")

    def write(self, values: NDArray[Any], kept: Any = None) -> None:
        """Append rows, with what they have in the columns that are written as they are.

        Raises
        ------
        StorageError
        """
        if kept is not None:
            more = self._pa.Table.from_batches([kept])
            self._kept = self._pa.concat_tables([self._kept, more])
        self._append(self._pieces.of(values))

    def _append(self, pieces: list[NDArray[Any]]) -> None:
        with failures_named(self.name, "written"):
            for piece in pieces:
                columns = [*self._kept_of(len(piece))]
                columns += [self._pa.array(piece[:, j]) for j in range(piece.shape[1])]
                table = self._pa.Table.from_arrays(columns, schema=self._schema)
                self._file.write_table(table, row_group_size=len(piece))

    def _kept_of(self, n_rows: int) -> list[Any]:
        """The columns that are kept, of the next rows."""
        if self._kept is None:
            return []
        taken, self._kept = self._kept.slice(0, n_rows), self._kept.slice(n_rows)
        return list(taken.columns)

    def _finish(self) -> None:
        self._append(self._pieces.rest())
        with failures_named(self.name, "written"):
            self._file.close()
            self._made.put()

    def abort(self) -> None:
        """Remove what was written; what was there before stays."""
        try:
            with suppress(OSError):  # of a file that is thrown away
                self._file.close()
        finally:
            self._made.drop()
            super().abort()
