"""Parquet pages: how large the parts of a column are that must be in memory whole.

Footers do not say. Most writers end a page, and a dictionary, at 1 MiB; some write all of a row
group as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from daskgmm.storage.rows.parquet_files import Bytes, StoredFile
from daskgmm.storage.rows.parquet_footers import metadata_of

__all__ = ["Header", "Pages", "header_of", "largest_pages"]

_HEADER_BYTES = 32
_INT32 = 0x15
"""A field of 32 bits whose number is one more than that of the field before."""


class Header(NamedTuple):
    """What the header of a page says.

    Attributes
    ----------
    n_bytes, stored_bytes : int
        Of the page, decompressed and as it is stored.
    has_checksum : bool
    """

    n_bytes: int
    stored_bytes: int
    has_checksum: bool


class Pages(NamedTuple):
    """A column of a row group.

    Attributes
    ----------
    dictionary : int
        Bytes of the dictionary, decompressed; 0 without one.
    page : Header
        Of the first page of values.
    chunk_bytes : int
        Of all pages, as they are stored.
    """

    dictionary: int
    page: Header
    chunk_bytes: int

    def held_bytes(self, buffer_bytes: int) -> int:
        """Bytes that pyarrow holds while it reads the column through a buffer; as measured.

        They are the dictionary, the largest page, and a buffer that a stored page fits into.
        """
        largest = max(self.dictionary, self.page.n_bytes)
        return self.dictionary + largest + max(buffer_bytes, self.page.stored_bytes)


def largest_pages(files: Sequence[StoredFile], names: set[str]) -> tuple[Pages, ...]:
    """Pages of columns in the row group with the most rows."""
    file = max(files, key=lambda file: max(file.groups, default=0))
    if not file.n_rows:
        return ()
    metadata = metadata_of(file)
    group = metadata.row_group(file.groups.index(max(file.groups)))
    chunks = [group.column(j) for j in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema in names]
    places = [place for chunk in chunks for place in _places(chunk)]
    found = Bytes.of(file).read([(place, place + _HEADER_BYTES) for place in places])
    headers = dict(zip(places, map(header_of, found), strict=True))
    return tuple(_pages(chunk, headers) for chunk in chunks)


def _places(chunk: Any) -> list[int]:
    """Where the first page of values begins, and the dictionary, if there is one."""
    dictionary = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
    return [chunk.data_page_offset, *([dictionary] if dictionary else [])]


def _pages(chunk: Any, headers: dict[int, Header | None]) -> Pages:
    # Without a header that can be understood, all of the row group may be one page.
    whole = Header(int(chunk.total_uncompressed_size), int(chunk.total_compressed_size), False)
    first, *dictionary = [headers[place] or whole for place in _places(chunk)]
    n_bytes = dictionary[0].n_bytes if dictionary else 0
    return Pages(n_bytes, first, int(chunk.total_compressed_size))


def header_of(header: bytes) -> Header | None:
    """The header of a page, from its bytes; None if it is not like one.

    It is a struct in Thrift's compact protocol: type, decompressed size and stored size are
    its first fields, each of 32 bits, and a checksum may be the fourth.
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
    has_checksum = at < len(header) and header[at] == _INT32
    return Header(values[1], values[2], has_checksum)
