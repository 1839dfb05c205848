"""Parquet streams: row groups decoded once, however small the pieces that they are read in.

A row group may be larger than memory, and cannot be entered but at its beginning. So it is a
stream: whoever reads on where another read has stopped finds the stream there, in whichever
thread of the process. A read elsewhere begins the row group anew, and drops the rows before.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import DamagedDataError, DaskGMMError
from daskgmm.redaction import one_line
from daskgmm.storage.rows.kept import Kept
from daskgmm.storage.rows.parquet_columns import Column
from daskgmm.storage.rows.parquet_files import RESTORE, Bytes, StoredFile, pyarrow_parquet
from daskgmm.storage.rows.parquet_footers import bytes_of, changed, metadata_of
from daskgmm.storage.rows.traffic import count_read

__all__ = [
    "FETCHED_BYTES",
    "Reading",
    "drop_stream",
    "opened_file",
    "read_rows",
]

_BUFFER_BYTES = (1 << 14, 1 << 18)
"""Least and most bytes of a column that are read from a file at once: without a buffer, all of a
row group's are."""
_BUFFERS_BYTES = 1 << 22
"""Bytes of the buffers of all columns, where they are not too many."""
FETCHED_BYTES = 1 << 25
"""Compressed bytes of a row group that are fetched from a service at once; of a larger one,
each column in parts."""
_PART_BYTES = 1 << 22


class Reading(NamedTuple):
    """What is read of each file, and how.

    Attributes
    ----------
    columns : tuple of Column
    dtype : dtype
        Of the rows.
    batch_rows : int
        Rows that are decoded at once.
    """

    columns: tuple[Column, ...]
    dtype: np.dtype[Any]
    batch_rows: int

    @property
    def buffer_bytes(self) -> int:
        """Bytes of a column that are read from a file at once."""
        return max(_BUFFER_BYTES[0], min(_BUFFER_BYTES[1], _BUFFERS_BYTES // len(self.columns)))


_streams = Kept(max(8, 2 * (os.cpu_count() or 1) + 2))
"""Each thread of a pass has one for the rows, and one for stored weights, that waits for it."""


class _Fetched(io.RawIOBase):
    """A file behind a URL, of which pyarrow reads only the ranges of columns.

    Ranges are fetched side by side where they are short, and else in parts.
    """

    def __init__(self, source: Bytes, n_bytes: int, ranges: Sequence[tuple[int, int]]) -> None:
        self._source, self._n_bytes = source, n_bytes
        self._at = 0
        self._ranges = sorted(ranges)
        self._parts: dict[int, tuple[int, bytes]] = {}
        if sum(stop - start for start, stop in self._ranges) <= FETCHED_BYTES:
            found = source.read(self._ranges)
            self._parts = {
                i: (start, part)
                for i, ((start, _), part) in enumerate(zip(self._ranges, found, strict=True))
            }

    def size(self) -> int:
        return self._n_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._n_bytes}[whence]
        self._at = base + offset
        return self._at

    def read(self, n: int | None = -1) -> bytes:
        start = self._at
        stop = self._n_bytes if n is None or n < 0 else min(start + n, self._n_bytes)
        found = self._between(start, stop)
        self._at = start + len(found)
        return found

    def _between(self, start: int, stop: int) -> bytes:
        i = next((i for i, (a, b) in enumerate(self._ranges) if a <= start < b), None)
        if i is None:
            return self._source.read([(start, stop)])[0]
        stop = min(stop, self._ranges[i][1])
        first, part = self._parts.get(i, (0, b""))
        if not first <= start < first + len(part):
            end = min(max(stop, start + _PART_BYTES), self._ranges[i][1])
            first, part = start, self._source.read([(start, end)])[0]
            self._parts[i] = first, part
        here = part[start - first : stop - first]
        return (
            here
            if len(here) == stop - start or not here
            else here + self._between(start + len(here), stop)
        )


@contextmanager
def opened_file(file: StoredFile) -> Iterator[Any]:
    """A file whose row groups are read once, all rows of them: buffers are small.

    Raises
    ------
    DamagedDataError
        If it does not decode, or is another one by now.
    """
    metadata, source = metadata_of(file), _unchanged(file)
    ranges = _ranges(metadata, range(metadata.num_row_groups), None)
    try:
        yield _parquet_file(source, file, ranges, _BUFFER_BYTES[0])
    except (DaskGMMError, MemoryError):
        raise
    except Exception as error:
        raise DamagedDataError(
            f"{file.name} does not decode: {one_line(error)}; {RESTORE}"
        ) from error


def _unchanged(file: StoredFile) -> Bytes:
    source = Bytes.of(file)
    if source.stat() != (file.n_bytes, file.version):
        raise changed(file)
    return source


def _parquet_file(
    source: Bytes, file: StoredFile, ranges: Sequence[tuple[int, int]], buffer_bytes: int
) -> Any:
    return pyarrow_parquet(file.name).ParquetFile(
        _opened(source, file, ranges),
        metadata=metadata_of(file),
        buffer_size=buffer_bytes,
        pre_buffer=False,
        page_checksum_verification=True,
    )


class _Stream:
    """Rows of some consecutive row groups of a file, in order.

    Parameters
    ----------
    file : StoredFile
    groups : range
        Of row groups.
    reading : Reading
    """

    def __init__(self, file: StoredFile, groups: range, reading: Reading) -> None:
        self._file, self._reading = file, reading
        edges = [0, *accumulate(file.groups)]
        self.row, self._end = edges[groups.start], edges[groups.stop]
        metadata, source = metadata_of(file), _unchanged(file)
        names = [column.name for column in reading.columns]
        ranges = _ranges(metadata, groups, {*names})
        self._parquet = _parquet_file(source, file, ranges, reading.buffer_bytes)
        self._batches = self._parquet.iter_batches(
            reading.batch_rows, row_groups=list(groups), columns=names, use_threads=False
        )
        self._batch: list[Any] = []
        self._used = self._n = 0
        count_read(sum(stop - start for start, stop in ranges))

    @property
    def is_at_end(self) -> bool:
        """Whether no rows are left."""
        return self.row >= self._end

    def _next(self) -> None:
        """Decode the next batch."""
        try:
            batch = next(self._batches, None)
            if batch is not None:
                columns = [batch.column(column.name) for column in self._reading.columns]
                self._batch = [
                    array.cast("float64") if column.cast else array
                    for array, column in zip(columns, self._reading.columns, strict=True)
                ]
        except (MemoryError, DaskGMMError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno:
                raise  # of the file system, which may be there again
            raise self._damage(f"does not decode: {one_line(error)}") from error
        if batch is None:
            raise self._damage("ends before its rows")
        self._used, self._n = 0, batch.num_rows

    def _damage(self, what: str) -> DamagedDataError:
        edges = [0, *accumulate(self._file.groups)]
        last = min(self.row + self._reading.batch_rows, self._end) - 1
        first, after = (_group_of(edges, row) for row in (self.row, last))
        which = f"row group {first}" if first == after else f"row groups {first} to {after}"
        return DamagedDataError(
            f"{self._file.name}: {which} (rows {edges[first]}:{edges[after + 1]}) {what}; {RESTORE}"
        )

    def skip(self, n_rows: int) -> None:
        """Drop rows."""
        while n_rows > 0:
            if self._used == self._n:
                self._next()
            n = min(n_rows, self._n - self._used)
            self._used += n
            self.row += n
            n_rows -= n

    def read_into(self, out: NDArray[Any]) -> int:
        """Fill ``out`` from its beginning, as far as there are rows; how many."""
        filled = 0
        while filled < len(out) and not self.is_at_end:
            if self._used == self._n:
                self._next()
            n = min(len(out) - filled, self._n - self._used)
            part, whole = out[filled : filled + n], n == self._n
            for j, array in enumerate(self._batch):
                values = array if whole else array.slice(self._used, n)
                part[:, j] = values.to_numpy(zero_copy_only=False)
            self._used += n
            self.row += n
            filled += n
        return filled


def _group_of(edges: Sequence[int], row: int) -> int:
    return max(0, int(np.searchsorted(edges, row, side="right")) - 1)


def _ranges(metadata: Any, groups: range, names: set[str] | None) -> list[tuple[int, int]]:
    """Where columns of row groups lie in a file; all columns, without names."""
    schema = metadata.schema
    wanted = [
        j for j in range(metadata.num_columns) if names is None or schema.column(j).path in names
    ]
    return [bytes_of(group.column(j)) for group in map(metadata.row_group, groups) for j in wanted]


def _opened(source: Bytes, file: StoredFile, ranges: Sequence[tuple[int, int]]) -> Any:
    if not file.is_local:
        return _Fetched(source, file.n_bytes, ranges)
    from pyarrow import OSFile

    return source.patiently(lambda: OSFile(file.address), "the file")


def read_rows(
    file: StoredFile, rows: range, out: NDArray[Any], reading: Reading, keep: bool = True
) -> None:
    """Fill ``out`` with rows of a file.

    Parameters
    ----------
    file : StoredFile
    rows : range
        In the file.
    out : ndarray of shape (len(rows), n_columns)
    reading : Reading
    keep : bool
        Whether the rows after them are likely to be read next.

    Raises
    ------
    DamagedDataError
        If a row group does not decode, or the file is another one by now.
    StorageError
        If it cannot be read.
    """
    key = (file.address, file.digest, reading)

    def fill() -> None:
        at = rows.start
        while at < rows.stop:
            stream = _streams.take((*key, at)) or _begun(file, at, rows.stop, reading)
            at += stream.read_into(out[at - rows.start :])
            if keep and not stream.is_at_end:
                _streams.put((*key, at), stream)

    Bytes.of(file).patiently(fill, f"rows {rows.start}:{rows.stop}")


def drop_stream(file: StoredFile, row: int, reading: Reading) -> None:
    """Drop the stream that waits at a row of a file, if there is one."""
    _streams.take((file.address, file.digest, reading, row))


def _begun(file: StoredFile, first: int, stop: int, reading: Reading) -> _Stream:
    """A stream that is at the row ``first``, of all row groups that begin before ``stop``."""
    edges = [0, *accumulate(file.groups)]
    group = _group_of(edges, first)
    after = int(np.searchsorted(edges, stop, side="left"))
    stream = _Stream(file, range(group, after), reading)
    stream.skip(first - stream.row)
    return stream
