"""Parquet: read a batch of rows at a time, one file after another.

A scan of pyarrow's datasets reads several row groups ahead, by which memory would grow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from daskgmm.conversion.choice import chosen, kept_of
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.options import How
from daskgmm.conversion.reader import (
    BLOCK_BYTES,
    Block,
    Column,
    check_units,
    dtype_of,
    imported,
    reading,
)
from daskgmm.conversion.readers.arrow import EXTRA, block_of, column_of, numpy_dtype_of
from daskgmm.errors import DataError

__all__ = ["ParquetReader"]

_INDEX = "__index_level_"
"""What pandas calls an index without a name."""
_BUFFER_BYTES = 1 << 20


class ParquetReader:
    """Rows of Parquet files; see :class:`daskgmm.conversion.reader.Reader`.

    Raises
    ------
    DataError
        If the schemas of files differ in what is read.
    DamagedDataError
        If a footer cannot be read.
    """

    is_named = True
    n_ragged = 0

    def __init__(self, files: Sequence[Input], how: How) -> None:
        self._pa, self._parquet = imported("pyarrow", EXTRA), imported("pyarrow.parquet", EXTRA)
        self._files = files
        schema = self._schema(files[0])
        columns = [_column(field) for field in schema]
        kept = kept_of(columns, how.keep, files[0])
        self.kept = self._pa.schema([schema.field(j) for j in kept]) if kept else None
        found, self.left_out = chosen(columns, how.columns, files[0], "--columns", kept)
        self.columns = tuple(columns[j] for j in found)
        for path in files[1:]:
            self._check_same(path, schema)
        kinds = [numpy_dtype_of(schema.field(j).type) for j in found]
        self.dtype = dtype_of(how.dtype, [kind for kind in kinds if kind is not None])

    def _schema(self, path: Input) -> Any:
        with self._opened(path) as file:
            return file.schema_arrow

    def _opened(self, path: Input) -> Any:
        with reading(path, self._pa.ArrowException):
            return self._parquet.ParquetFile(
                path.handle(), buffer_size=_BUFFER_BYTES, pre_buffer=False
            )

    def _check_same(self, path: Input, first: Any) -> None:
        schema = self._schema(path)
        for column in self.columns:
            at = schema.get_field_index(column.name)
            check_units(
                path, column, _column(schema.field(at)).units if at >= 0 else "", self._files[0]
            )
        for column in (*self.columns, *map(_column, self.kept or ())):
            at = schema.get_all_field_indices(column.name)
            kinds = [str(schema.field(j).type) for j in at]
            if kinds != [column.type]:
                raise DataError(
                    f"{path} has other columns than {self._files[0]}: it "
                    f"{_said_of_other(column, kinds)}; convert them apart, or leave it out of --columns"
                )

    def blocks(self) -> Iterator[Block]:
        """All rows."""
        names = [column.name for column in self.columns]
        n = len(names)
        names += [] if self.kept is None else self.kept.names
        n_rows = max(1, BLOCK_BYTES // (8 * len(names)))
        for part, path in enumerate(self._files):
            start = 0
            with self._opened(path) as file, reading(path, self._pa.ArrowException):
                for batch in file.iter_batches(n_rows, columns=names, use_threads=False):
                    batch = batch.select(names)
                    yield block_of(batch, n, self.dtype, self.kept, part, start)
                    start += batch.num_rows

    def place(self, part: int, row: int) -> str:
        """The file and the row, counted from 0."""
        return f"{self._files[part]}, row {row}"


def _said_of_other(column: Column, kinds: Sequence[str]) -> str:
    """How a file differs from the first, if its columns of this name have these types."""
    if not kinds:
        return f"lacks {column.name!r}"
    if len(kinds) > 1:
        return f"has {len(kinds)} columns {column.name!r}"
    return f"has {column.name!r} as {kinds[0]}, which is {column.type} there"


def _column(field: Any) -> Column:
    column = column_of(field.name, field.type, field.metadata)
    if field.name.startswith(_INDEX):
        return Column(column.name, column.type, column.units, "is pandas' index", column.is_number)
    return column
