"""Rows in Parquet: a file, a folder of them or those that match a glob, local or behind a URL."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError
from daskgmm.storage.places.locations import Location
from daskgmm.storage.places.patience import tell_again
from daskgmm.storage.rows.checked_store import MissingChunks
from daskgmm.storage.rows.fingerprint import state_of
from daskgmm.storage.rows.opening import Opening
from daskgmm.storage.rows.parquet_columns import Column, Schemas, dtype_of
from daskgmm.storage.rows.parquet_files import ENDINGS, StoredFile, found_files, is_pattern
from daskgmm.storage.rows.parquet_footers import Footer, read_footers
from daskgmm.storage.rows.parquet_nulls import check_complete
from daskgmm.storage.rows.parquet_pages import Pages, largest_pages
from daskgmm.storage.rows.parquet_streams import (
    FETCHED_BYTES,
    Reading,
    drop_stream,
    read_rows,
)
from daskgmm.storage.rows.preflight import Preflight
from daskgmm.storage.rows.row_layout import COLUMN, ROWS, Layout

__all__ = ["ParquetFormat", "ParquetSource"]

_BATCH_BYTES = 1 << 19
"""Bytes of rows that are decoded at once: they stay in cache while columns become rows."""
_BATCH_ROWS = (1 << 10, 1 << 16)
_NODES = ("zarr.json", ".zarray", ".zgroup", ".zmetadata")


class ParquetSource:
    """Rows of columns of Parquet files, one after the other in sorted order.

    Which columns are the features may be left open: they are all, if all are numbers, unless
    :meth:`selecting` says which. Row groups are the units of reading.

    Parameters
    ----------
    name : str
        Name of the data, for messages.
    footers : sequence of Footer
    columns : sequence of str, optional
    layout : Layout
    base : str
        Path or URL of the folder that the files are in, if it was opened as one.

    Raises
    ------
    DataError, ParameterError
        If columns that are named are not there or no numbers. Where none are named, it is
        raised when it is first asked what the rows are.
    """

    missing_chunks: MissingChunks = "error"
    is_plain = False
    unit_rows = 1

    def __init__(
        self,
        name: str,
        footers: Sequence[Footer],
        columns: Sequence[str] | None = None,
        layout: Layout = ROWS,
        base: str = "",
    ) -> None:
        self.name = name
        self._base = base
        tell_again(name)
        self._files = tuple(footer.file for footer in footers)
        self.is_remote = not self._files[0].is_local
        self._layout = layout
        self._schemas: Schemas | None = Schemas(
            name, ((footer.file.name, footer.schema) for footer in footers)
        )
        self._codecs = next((f.codecs for f in footers if f.codecs), ())
        self._named = None if columns is None else tuple(columns)
        self._without: tuple[str, ...] = ()
        if columns is not None:
            self._check()

    def __repr__(self) -> str:
        what = "" if self._named is None else f" {list(self._named)}"
        return f"<ParquetSource {self.name}{what}, {len(self._files)} files>"

    def __getstate__(self) -> dict[str, Any]:
        """Without schemas: which columns are read is settled when a source travels."""
        self._check()
        return self.__dict__ | {"_schemas": None}

    def _check(self) -> None:
        _ = self.shape, self.unit_overhead

    def selecting(self, names: Sequence[str] | None, without: Sequence[str] = ()) -> Self:
        """The same rows, of other columns, where it was left open which.

        Parameters
        ----------
        names : sequence of str or None
            Those that a model knows. If one of them is not there, all that are numbers are
            taken, so that they can be held against them.
        without : sequence of str
            Names of columns that are no features, such as weights.
        """
        if self._named is not None or self._schemas is None or not (names or without):
            return self
        found = self._copied()
        found._without = tuple(without)
        if names:
            has_all = self._schemas.has(names)
            found._named = tuple(names) if has_all else self._schemas.numbers()
        return found

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        assert self._schemas is not None
        if self._named is None:
            return self._schemas.features(self._without)
        return self._schemas.named(self._named)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self._columns)

    @property
    def feature_units(self) -> tuple[str, ...] | None:
        """Units of the columns, empty where there are none; None if no column has any."""
        units = tuple(column.units for column in self._columns)
        return units if any(units) else None

    @property
    def column_types(self) -> dict[str, str]:
        """Name and type of each column, whether it can be a feature or not."""
        return {} if self._schemas is None else self._schemas.types()

    @property
    def number_names(self) -> tuple[str, ...]:
        """Names of the columns of the first file that are numbers, whatever other files have."""
        return () if self._schemas is None else tuple(self._schemas.numbers())

    def of_numbers(self) -> Self:
        """The same rows, of all columns that are numbers, where it was left open which."""
        return self if self._schemas is None else self.selecting(self._schemas.numbers())

    @property
    def relative_names(self) -> tuple[str, ...]:
        """Names of the files below the folder that was opened; empty for a file by itself."""
        n = len(self._base)
        return tuple(file.address[n:].lstrip("/") if self._base else "" for file in self._files)

    def check_kept(self, names: Sequence[str]) -> None:
        """Refuse columns to keep that are not there, or not in each file.

        Raises
        ------
        DataError, ParameterError
        """
        if names and self._schemas is not None:
            self._schemas.check_there(names)

    def column(self, name: str) -> Self:
        """One number for each row, such as a weight: a column that need not be a feature.

        Raises
        ------
        DataError, ParameterError
        """
        found = self._copied()
        found._named, found._layout = (name,), COLUMN
        found.name = f"{self.name}/{name}"
        found._check()
        return found

    def has(self, name: str) -> bool:
        """Whether there is a column of that name."""
        return self._schemas is not None and self._schemas.has([name])

    def _copied(self) -> Self:
        """A copy that has not yet found out what follows from which columns are read."""
        found = object.__new__(type(self))
        follows = ("_columns", "shape", "dtype", "_pages", "unit_overhead")
        found.__dict__ |= {k: v for k, v in self.__dict__.items() if k not in follows}
        return found

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The files, in the order of their rows."""
        return self._files

    @cached_property
    def shape(self) -> tuple[int, int]:
        """``(n_rows, n_features)``, from the footers."""
        n_rows = sum(file.n_rows for file in self._files)
        return self._layout.shape(self.name, (n_rows, len(self._columns)))

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """float32 where all columns are float32 or float16, else float64."""
        return self._layout.dtype(self.name, dtype_of(self._columns))

    @property
    def cuts(self) -> NDArray[np.int64]:
        """First row of each row group, and the number of rows."""
        sizes = [n for file in self._files for n in file.groups if n]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """First row of each file."""
        return np.cumsum([0, *(file.n_rows for file in self._files)])

    @property
    def _reading(self) -> Reading:
        row_bytes = len(self._columns) * self.dtype.itemsize
        least, most = _BATCH_ROWS
        return Reading(self._columns, self.dtype, min(most, max(least, _BATCH_BYTES // row_bytes)))

    @cached_property
    def _pages(self) -> tuple[Pages, ...]:
        return largest_pages(self._files, {*self.feature_names})

    @cached_property
    def unit_overhead(self) -> int:
        """Bytes of a stream: buffers, pages as they are stored and decoded, and a batch."""
        reading = self._reading
        pages = sum(column.held_bytes(reading.buffer_bytes) for column in self._pages)
        # Values, which of them are there, and a copy of a column as NumPy has it.
        batch = reading.batch_rows * sum(8 + max(8, c.itemsize) for c in self._columns)
        fetched = min(FETCHED_BYTES, sum(column.chunk_bytes for column in self._pages))
        # The allocator keeps about a quarter of what was freed.
        return pages * 5 // 4 + 2 * batch + (2 * fetched if self.is_remote else 0)

    def read_once(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop`` as :meth:`read`, after which nobody reads on."""
        return self.read(start, stop, keep=False)

    def read(self, start: int, stop: int, *, keep: bool = True) -> NDArray[Any]:
        """Rows ``start:stop``; nulls are NaN.

        Whoever reads on from ``stop`` finds the row group open, if it is to be kept so.

        Raises
        ------
        DamagedDataError
            If a row group does not decode, or a file was written anew.
        StorageError
            If a file cannot be read.
        """
        n_rows, n_features = self.shape
        if not 0 <= start <= stop <= n_rows:
            raise IndexError(f"{self.name}: rows {start}:{stop} asked for, there are {n_rows}")
        block = np.empty((stop - start, n_features), self.dtype)
        reading, at = self._reading, start
        i = int(np.searchsorted(self._starts, start, side="right")) - 1
        while at < stop:
            first, after = int(self._starts[i]), int(self._starts[i + 1])
            end = min(stop, after)
            if at < end:
                rows = range(at - first, end - first)
                out = block[at - start : end - start]
                read_rows(self._files[i], rows, out, reading, keep)
                at = end
            i += 1
        return block

    def leave(self, start: int, stop: int) -> None:
        """Drop the stream that waits at a row, with its buffers; see :func:`daskgmm.source.leave`."""
        i = min(int(np.searchsorted(self._starts, stop, side="right")), len(self._files)) - 1
        drop_stream(self._files[i], stop - int(self._starts[i]), self._reading)

    def check_complete(self) -> None:
        """Refuse columns of which the footers say that they have nulls; they need not say it.

        Raises
        ------
        NonFiniteError
        """
        check_complete(self.name, self._files, self.feature_names)

    def survey(self) -> Preflight:
        """What the footers tell of the rows."""
        groups = [n for file in self._files for n in file.groups]
        return Preflight(
            name=self.name,
            format="parquet",
            shape=self.shape,
            dtype=str(self.dtype),
            chunks=(max(groups), self.shape[1]),
            shards=None,
            codecs=self._codecs,
            n_chunks=len(groups),
            stored_bytes=sum(file.n_bytes for file in self._files),
            n_missing_chunks=0,
            missing=(),
            n_empty=0,
            empty=(),
            n_wrong_size=0,
            wrong_size=(),
            has_checksum=bool(self._pages) and all(c.page.has_checksum for c in self._pages),
        )

    def fingerprint(self) -> str:
        """Hash of shape, columns and footers, which have the bounds of columns; and of versions."""
        facts = [list(self.shape), self.dtype.str, *self._layout_of_files()]
        rows = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        versions = json.dumps([file.version for file in self._files])
        return f"{rows[:16]} written {hashlib.sha256(versions.encode()).hexdigest()[:16]}"

    def state(self) -> str | None:
        """See :class:`~daskgmm.storage.rows.preflight.StoredSource`."""
        return state_of(self, self._layout_of_files(), [file.version for file in self._files])

    def _layout_of_files(self) -> list[Any]:
        files = [[file.n_bytes, list(file.groups), file.digest] for file in self._files]
        return [[list(column[:2]) for column in self._columns], files]


class ParquetFormat:
    """Paths, URLs and globs of Parquet files, and folders that hold some."""

    name = "parquet"
    has_columns = True

    def matches(self, data: object) -> bool:
        """Whether ``data`` is a path or URL of Parquet files; a folder is looked into."""
        if not isinstance(data, str | os.PathLike):
            return False
        place = Location.parse(data)
        if is_pattern(place):
            return True
        if not place.is_local:
            return place.address.lower().endswith(ENDINGS)
        if not place.path.is_dir():
            return place.address.lower().endswith(ENDINGS)
        if any((place.path / node).exists() for node in _NODES):
            return False
        return place.address.lower().endswith(ENDINGS) or _holds_parquet(place.address)

    def open(self, data: Any, how: Opening) -> ParquetSource:
        """Read the footers of all files, many at a time."""
        place = Location.parse(data)
        if how.member is not None:
            raise ParameterError(
                f"{place.name} is Parquet and has no member {how.member!r}; name columns with "
                "columns= (--columns)"
            )
        base, files = found_files(place)
        return ParquetSource(place.name, read_footers(files), how.columns, how.layout, base)


def _holds_parquet(folder: str) -> bool:
    """Whether a local folder, or the first of its subfolders that holds files, holds Parquet."""
    for _, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(("_", ".")))
        shown = [name for name in names if not name.startswith(("_", "."))]
        if shown:
            return any(name.lower().endswith(ENDINGS) for name in shown)
    return False
