"""Parquet outputs: results for each row, in a file for each file that the rows came from.

Tasks write results into a Zarr group in a hidden folder beside the output. When all rows are
there, each file is written, with the columns to keep beside its results, and all of them
appear under the output's name by one rename; behind a URL they are copied there, see
:class:`~daskgmm.storage.outputs.remote_drafts.RemoteDraft`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr

from daskgmm.errors import DataError, ParameterError
from daskgmm.storage.outputs.drafts import (
    Draft,
    DraftedOutput,
    LocalDraft,
    LocalKind,
    failures_named,
)
from daskgmm.storage.outputs.remote_drafts import FileToPut, RemoteDraft, RemoteKind
from daskgmm.storage.outputs.row_outputs import ResultArray, RowAxes, RowOutput, RowWriter
from daskgmm.storage.places.apart import first_overlap
from daskgmm.storage.places.locations import PARTIAL_NOTE, Location
from daskgmm.storage.places.remote import RemoteFileSystem
from daskgmm.storage.rows.parquet_files import ENDINGS, StoredFile, pyarrow_parquet
from daskgmm.storage.rows.parquet_source import ParquetSource
from daskgmm.storage.rows.parquet_streams import opened_file

__all__ = ["ROW", "ParquetOutput", "check_parquet_output", "is_parquet_name", "parquet_draft"]

_GROUP_ROWS, _GROUP_BYTES = 1 << 17, 1 << 25
"""Most rows of a row group, and bytes of it from which on it is written."""
_BATCH_ROWS = 1 << 14
ROW = "row"
"""Column of the numbers of rows, where some of them alone are written."""


def is_parquet_name(place: str | os.PathLike[str]) -> bool:
    """Whether a name promises Parquet."""
    return os.fspath(place).lower().rstrip("/").endswith(ENDINGS)


def check_parquet_output(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuse an output that could not be written later, before work starts.

    Raises
    ------
    OutputExistsError
        If something is there that must not be replaced.
    NotFoundError
        If its folder does not exist.
    StorageError
        If nothing can be written there.
    """
    parquet_draft(Location.parse(path), overwrite=overwrite).abort()


def parquet_draft(target: Location, *, overwrite: bool) -> Draft:
    """Prepare to write a file or a folder of files; raises as :func:`check_parquet_output`."""
    if target.is_local:
        return LocalDraft(target, _LOCAL, overwrite=overwrite)
    return RemoteDraft(target, _REMOTE, overwrite=overwrite)


def _is_parquet(path: Path) -> bool:
    """Whether there is a Parquet file, or a folder that holds nothing else."""
    if path.is_symlink():
        return False
    if path.is_file():
        return path.name.lower().endswith(ENDINGS)
    names = [name for _, _, names in os.walk(path) for name in names]
    return all(name.lower().endswith(ENDINGS) for name in names)


def _is_parquet_behind(fs: RemoteFileSystem, path: str) -> bool:
    """The same behind a URL."""
    found = [name for name in fs.find(path) if name.rpartition("/")[2] != PARTIAL_NOTE]
    return bool(found) and all(name.lower().endswith(ENDINGS) for name in found)


_SAID, _WHOLE = "Parquet alone", "whole"
_LOCAL = LocalKind(_SAID, _is_parquet, part=_WHOLE)
_REMOTE = RemoteKind(_SAID, _is_parquet_behind, part=_WHOLE)
_RESULTS = "results.zarr"
"""Name of the results beside the part that is shown."""


def _columns_of(results: Mapping[str, ResultArray]) -> dict[str, list[str]]:
    """Names of the columns of each result: of several for each row, with a number."""
    return {
        # Values of the rows' own features are called as these are.
        name: [
            str(of) if array.dims == ("feature",) else f"{name}_{of}"
            for of in array.columns or range(array.shape[0])
        ]
        if array.shape
        else [name]
        for name, array in results.items()
    }


class ParquetOutput(DraftedOutput):
    """Results in Parquet, which appear when all are written.

    It is made by :meth:`create`, and is a context: see :class:`DraftedOutput`.

    Attributes
    ----------
    name : str
        Name of the output, for messages.
    writer : RowWriter
        Writes blocks of results; tasks carry it.
    """

    def __init__(
        self,
        draft: Draft,
        rows: RowOutput,
        source: ParquetSource,
        results: Mapping[str, ResultArray],
        keep: Sequence[str],
    ) -> None:
        super().__init__(draft)
        self.writer: RowWriter = rows.writer
        self._rows, self._source, self._keep = rows, source, list(keep)
        self._only: str | None = None
        self._arrays, self._columns = results, _columns_of(results)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        source: ParquetSource,
        results: Mapping[str, ResultArray],
        *,
        partition_rows: int,
        keep: Sequence[str] = (),
        overwrite: bool = False,
    ) -> Self:
        """Prepare an output for the rows of a source.

        Parameters
        ----------
        path : str or path
            Of a file, or of a folder where the rows are in one.
        source : ParquetSource
        results : mapping
            By name.
        partition_rows : int
            Rows of a write, as of :meth:`RowOutput.create`.
        keep : sequence of str
            Names of columns of the source that are copied.
        overwrite : bool

        Raises
        ------
        OutputExistsError, NotFoundError, StorageError, ParameterError
            As :func:`check_parquet_output`; and if a column to keep is not there, or has the
            name of a result, or the output would replace a file of rows.
        """
        target = Location.parse(path)
        for file in source.files:
            place = Location(file.address, file.name, file.is_local)
            if first_overlap([place, target]) is not None:
                raise ParameterError(
                    f"{target.name} and {file.name}, which holds rows, overlap; data and outputs "
                    "must lie apart"
                )
        made = [column for columns in _columns_of(results).values() for column in columns]
        both = [name for name in keep if name in made]
        if both:
            raise ParameterError(
                f"keep has {both[0]!r}, which is the name of a column of results; leave it out, or "
                "rename it in the data",
                "keep",
            )
        source.check_kept(keep)
        draft = parquet_draft(target, overwrite=overwrite)
        folder = draft.place.parent
        assert folder is not None
        with draft.begun():
            rows = RowOutput.create(
                f"{folder.address}/{_RESULTS}",
                RowAxes((sum(file.n_rows for file in source.files),)),
                results,
                partition_rows=partition_rows,
            )
        return cls(draft, rows, source, results, keep)

    def only(self, name: str | None) -> Self:
        """The same output, of rows alone of which a result is 1, with a column of their numbers."""
        self._only = name
        return self

    def _finish(self) -> None:
        """Write all files.

        Raises
        ------
        StorageError
            If rows were never written, or a file cannot be.
        """
        with failures_named(self.name, "written"):
            self._write_files(self._rows.written())

    def _write_files(self, results: zarr.Group) -> None:
        top, first = self._draft.place, 0
        for file, name in zip(self._source.files, self._source.relative_names, strict=True):
            made = FileToPut(top.child(name) if name else top)
            try:
                self._write_file(made.path, file, results, first)
                made.put()
            finally:
                made.drop()
            first += file.n_rows

    def _write_file(self, path: Path, file: StoredFile, results: Any, first: int) -> None:
        """One file, a row group at a time."""
        import pyarrow as pa

        parquet = pyarrow_parquet(self.name)
        kept = self._kept_fields(file)
        made = [
            (column, pa.from_numpy_dtype(self._arrays[name].dtype))
            for name, columns in self._columns.items()
            for column in columns
        ]
        schema = pa.schema([*kept, *made])
        written = schema.append(pa.field(ROW, pa.int64())) if self._only else schema
        at = first
        with parquet.ParquetWriter(path, written, compression="zstd") as writer:
            for n_rows, columns in self._groups(file):
                arrays = [
                    # A row without a number is NULL, which aggregates of SQL leave out.
                    pa.array(np.ascontiguousarray(values), from_pandas=True)
                    for name in self._columns
                    for values in np.atleast_2d(results[name][at : at + n_rows].T)
                ]
                table = pa.table([*columns, *arrays], schema=schema)
                if self._only:
                    numbers = pa.array(np.arange(at, at + n_rows))
                    table = table.append_column(ROW, numbers)
                    table = table.filter(pa.array(results[self._only][at : at + n_rows] == 1))
                writer.write_table(table, _GROUP_ROWS)
                at += n_rows
        if at - first != file.n_rows:
            raise DataError(
                f"{file.name}: {at - first} rows came where {file.n_rows} were expected"
            )

    def _kept_fields(self, file: StoredFile) -> list[tuple[str, Any]]:
        if not self._keep:
            return []
        with opened_file(file) as opened:
            schema = opened.schema_arrow
            return [(name, schema.field(name).type) for name in self._keep]

    def _groups(self, file: StoredFile) -> Iterator[tuple[int, list[Any]]]:
        """Rows of each row group to write, and the columns to keep."""
        import pyarrow as pa

        keep = self._keep
        if not keep:
            for start in range(0, file.n_rows, _GROUP_ROWS):
                yield min(_GROUP_ROWS, file.n_rows - start), []
            return

        def joined(batches: Sequence[Any]) -> tuple[int, list[Any]]:
            table = pa.Table.from_batches(batches).select(keep)
            return table.num_rows, table.columns

        batches: list[Any] = []
        with opened_file(file) as opened:
            for batch in opened.iter_batches(_BATCH_ROWS, columns=keep, use_threads=False):
                batches.append(batch)
                n_rows = sum(b.num_rows for b in batches)
                if n_rows >= _GROUP_ROWS or sum(b.nbytes for b in batches) >= _GROUP_BYTES:
                    yield joined(batches)
                    batches = []
        if batches:
            yield joined(batches)
