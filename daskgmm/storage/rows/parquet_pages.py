"""Parquet pages: how large the parts of a column are that must be in memory whole.

Footers do not say. Most writers end a page at 1 MiB; some write all of a row group as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from daskgmm.storage.rows.parquet_files import Bytes, StoredFile
from daskgmm.storage.rows.parquet_footers import metadata_of

__all__ = ["Page", "largest_pages", "page_of_header"]

_HEADER_BYTES = 32
_INT32 = 0x15
"""A field of 32 bits whose number is one more than that of the field before."""


class Page(NamedTuple):
    """The first page of values of a column in the largest row group.

    Attributes
    ----------
    n_bytes : int
        Of the page, decompressed.
    chunk_bytes : int
        Of the column in the row group, as it is stored.
    has_checksum : bool
    """

    n_bytes: int
    chunk_bytes: int
    has_checksum: bool


def largest_pages(files: Sequence[StoredFile], names: set[str]) -> tuple[Page, ...]:
    """The pages of columns in the row group with the most rows."""
    file = max(files, key=lambda file: max(file.groups, default=0))
    if not file.n_rows:
        return ()
    metadata = metadata_of(file)
    group = metadata.row_group(file.groups.index(max(file.groups)))
    chunks = [group.column(j) for j in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema in names]
    firsts = [(c.data_page_offset, c.data_page_offset + _HEADER_BYTES) for c in chunks]
    headers = Bytes.of(file).read(firsts)
    return tuple(_page(header, chunk) for header, chunk in zip(headers, chunks, strict=True))


def _page(header: bytes, chunk: Any) -> Page:
    found = page_of_header(header)
    largest = int(chunk.total_uncompressed_size)
    n_bytes, has_checksum = (largest, False) if found is None else found
    # Beside it there is the dictionary, which writers bound as they do pages.
    return Page(min(2 * n_bytes, largest), int(chunk.total_compressed_size), has_checksum)


def page_of_header(header: bytes) -> tuple[int, bool] | None:
    """Decompressed bytes of a page, and whether it has a checksum, from the header before it.

    It is a struct in Thrift's compact protocol: type, decompressed size and compressed size
    are its first fields, each of 32 bits, and a checksum may be the fourth. None if it is not.
    """
    values, at = [], 0
    for _ in range(3):
        if at >= len(header) or header[at] != _INT32:
            return None
        value, shift, at = 0, 0, at + 1
        while at < len(header):
            value |= (header[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if header[at - 1] < 0x80:
                break
        values.append((value >> 1) ^ -(value & 1))
    return values[1], at < len(header) and header[at] == _INT32
