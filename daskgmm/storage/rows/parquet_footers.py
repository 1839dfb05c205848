"""Parquet footers: what the ends of files say of the rows in them, read many at a time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from daskgmm.errors import DamagedDataError, DataError
from daskgmm.redaction import one_line
from daskgmm.storage.places.locations import Location
from daskgmm.storage.rows.kept import Kept
from daskgmm.storage.rows.parquet_files import RESTORE, Bytes, StoredFile, pyarrow_parquet

__all__ = ["Footer", "bytes_of", "changed", "metadata_of", "read_footers"]

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_TAIL_BYTES = 1 << 16
"""Bytes that are read from the end of a file at first: most footers are shorter."""
_FOOTERS_AT_ONCE = 32
_FOOTERS_KEPT, _BYTES_KEPT = 4096, 1 << 23
"""Footers that a process keeps, and their bytes as they are stored: in memory they are some times
as large."""

_footers = Kept(_FOOTERS_KEPT, _BYTES_KEPT)


class Footer(NamedTuple):
    """What the end of a file says.

    Attributes
    ----------
    file : StoredFile
    schema : pyarrow.Schema
    codecs : tuple of str
        Names of compressions in the first row group.
    """

    file: StoredFile
    schema: Any
    codecs: tuple[str, ...]


def read_footers(places: Sequence[Location]) -> list[Footer]:
    """The footers of files, many at a time.

    Raises
    ------
    DamagedDataError
        If a file has none, or one that cannot be understood.
    """
    with ThreadPoolExecutor(min(_FOOTERS_AT_ONCE, len(places))) as pool:
        return list(pool.map(read_footer, places))


def read_footer(place: Location) -> Footer:
    """The footer of one file: see :func:`read_footers`."""
    parquet = pyarrow_parquet(place.name)
    source = Bytes(place.address, place.name, place.is_local)
    n_bytes, version = source.stat()
    raw = _raw_footer(source, n_bytes)
    # pyarrow reads a footer from the end of a file: this is one without columns.
    whole = _MAGIC + raw + len(raw).to_bytes(4, "little") + _MAGIC
    try:
        metadata = parquet.read_metadata(io.BytesIO(whole))
        schema = metadata.schema.to_arrow_schema()
    except (OSError, ValueError, NotImplementedError) as error:
        raise DamagedDataError(
            f"{place.name} has a footer that cannot be understood: {one_line(error)}; {RESTORE}"
        ) from error
    groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
    _check_end(metadata, n_bytes - len(raw) - 8, place.name)
    digest = hashlib.sha256(raw).hexdigest()[:16]
    file = StoredFile(place.address, place.name, place.is_local, n_bytes, version, digest, groups)
    _footers.put((file.address, file.digest), metadata, len(raw))
    return Footer(file, schema, _codecs(metadata))


def _raw_footer(source: Bytes, n_bytes: int) -> bytes:
    """The bytes of the footer, between the columns and its length.

    Raises
    ------
    DamagedDataError, DataError
    """
    if n_bytes == 0:
        raise DamagedDataError(f"{source.name} is empty (0 bytes); {RESTORE}")
    first = max(0, n_bytes - _TAIL_BYTES)
    head, tail = source.read([(0, min(4, n_bytes)), (first, n_bytes)])
    if head == _ENCRYPTED or tail[-4:] == _ENCRYPTED:
        raise DataError(f"{source.name} is encrypted Parquet; write it without encryption")
    if head != _MAGIC:
        raise DamagedDataError(
            f"{source.name} is no Parquet file: it begins with {head!r}; check the path, or {RESTORE}"
        )
    length = int.from_bytes(tail[-8:-4], "little")
    if n_bytes < 12 or tail[-4:] != _MAGIC or length + 12 > n_bytes:
        raise DamagedDataError(
            f"{source.name} is truncated: its {n_bytes} bytes do not end with a footer; {RESTORE}"
        )
    if length + 8 > len(tail):
        (tail,) = source.read([(n_bytes - length - 8, n_bytes)])
    return tail[-length - 8 : -8]


def bytes_of(chunk: Any) -> tuple[int, int]:
    """Where a column of a row group begins in a file, and ends."""
    first = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        first = min(first, chunk.dictionary_page_offset)
    return first, first + chunk.total_compressed_size


def _check_end(metadata: Any, n_bytes: int, name: str) -> None:
    """Refuse a file whose last row group would not end before its footer: bytes of it are gone.

    Raises
    ------
    DamagedDataError
    """
    if not metadata.num_row_groups:
        return
    number = metadata.num_row_groups - 1
    group = metadata.row_group(number)
    end = max((bytes_of(group.column(j))[1] for j in range(group.num_columns)), default=0)
    if end > n_bytes:
        raise DamagedDataError(
            f"{name} is truncated: row group {number} would end at byte {end}, and its footer begins at "
            f"{n_bytes}; {RESTORE}"
        )


def _codecs(metadata: Any) -> tuple[str, ...]:
    if not metadata.num_row_groups:
        return ()
    group = metadata.row_group(0)
    found = {group.column(j).compression.lower() for j in range(group.num_columns)}
    return tuple(sorted(found - {"uncompressed"}))


def metadata_of(file: StoredFile) -> Any:
    """The footer of a file, read again where this process does not have it.

    Raises
    ------
    DamagedDataError
        If it is another file by now.
    """
    found = _footers.get((file.address, file.digest))
    while found is None:
        footer = read_footer(Location(file.address, file.name, file.is_local))
        if footer.file.digest != file.digest:
            raise changed(file)
        found = _footers.get((file.address, file.digest))
    return found


def changed(file: StoredFile) -> DamagedDataError:
    """The error of a file that is another one by now."""
    return DamagedDataError(
        f"{file.name} has been written anew since it was opened, so that passes would not see the "
        "same rows; run again when nobody writes to it"
    )
