"""Rows in a Parquet file: row groups of 64 MiB or a million rows, with names and units."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from daskgmm.conversion.reader import imported
from daskgmm.conversion.writers.pieces import Pieces
from daskgmm.conversion.writers.writer import Described
from daskgmm.errors import ParameterError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage import FileDraft, Location

__all__ = ["ParquetFile"]

_GROUP_BYTES = 64 * 2**20
_GROUP_ROWS = 1_000_000
_KEPT_BYTES = 32
"""Of a value of a column that is kept, such as a text, where the size of a group is chosen."""
_EXTRA = "parquet"


class ParquetFile:
    """A file that appears when all rows are written.

    Parameters
    ----------
    place : Location
    described : Described
    overwrite : bool

    Raises
    ------
    ParameterError
        If it is a URL.
    OutputExistsError, NotFoundError, StorageError
    """

    def __init__(self, place: Location, described: Described, *, overwrite: bool) -> None:
        if not place.is_local:
            raise ParameterError(
                f"{place.name} is a URL, and Parquet is written to local files; write Zarr there, or "
                "copy the file when it is written"
            )
        self._pa, parquet = imported("pyarrow", _EXTRA), imported("pyarrow.parquet", _EXTRA)
        pa, self._name = self._pa, place.name
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
        self._draft = FileDraft(place, overwrite=overwrite)
        try:
            self._file = parquet.ParquetWriter(self._draft.path, self._schema, compression="zstd")
        except OSError as error:
            self._draft.abort()
            raise self._failure(error) from cause_to_show(error)

    def _failure(self, error: Exception) -> StorageError:
        return StorageError(
            f"{self._name} cannot be written: {one_line(error)}; check permissions and space"
        )

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
        try:
            for piece in pieces:
                columns = [*self._kept_of(len(piece))]
                columns += [self._pa.array(piece[:, j]) for j in range(piece.shape[1])]
                table = self._pa.Table.from_arrays(columns, schema=self._schema)
                self._file.write_table(table, row_group_size=len(piece))
        except OSError as error:
            raise self._failure(error) from cause_to_show(error)

    def _kept_of(self, n_rows: int) -> list[Any]:
        """The columns that are kept, of the next rows."""
        if self._kept is None:
            return []
        taken, self._kept = self._kept.slice(0, n_rows), self._kept.slice(n_rows)
        return list(taken.columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._append(self._pieces.rest())
            self._close(is_whole=error is None)
        except BaseException:
            self._draft.abort()
            raise
        if error is None:
            self._draft.commit()
        else:
            self._draft.abort()

    def _close(self, *, is_whole: bool) -> None:
        try:
            self._file.close()
        except OSError as error:  # of a draft that is thrown away, it is told already
            if is_whole:
                raise self._failure(error) from cause_to_show(error)
