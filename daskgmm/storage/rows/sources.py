"""Sources: stored rows, opened by whichever format recognises them.

To add a format, write one file with an object that has ``matches`` and ``open`` and
add it to :data:`FORMATS`; the conformance tests under ``tests/storage`` then take
one more row.
"""

from __future__ import annotations

from typing import Any, Protocol, get_args

from daskgmm.errors import DataError, ParameterError
from daskgmm.storage.rows.checked_store import MissingChunks
from daskgmm.storage.rows.npy_source import NpyFormat
from daskgmm.storage.rows.opening import Opening
from daskgmm.storage.rows.preflight import StoredSource
from daskgmm.storage.rows.row_layout import ROWS, Layout
from daskgmm.storage.rows.zarr_source import OpenZarrFormat, ZarrFormat

__all__ = ["FORMATS", "Format", "open_source"]


class Format(Protocol):
    """A way to store rows."""

    name: str

    def matches(self, data: object) -> bool:
        """Whether this format is the one to open ``data`` with; reads nothing."""
        ...

    def open(self, data: Any, how: Opening) -> StoredSource:
        """Open ``data``, which matches."""
        ...


FORMATS: tuple[Format, ...] = (OpenZarrFormat(), NpyFormat(), ZarrFormat())
"""Formats in the order in which they are asked; the last one takes every path."""


def open_source(
    data: Any,
    *,
    member: str | None = None,
    missing_chunks: MissingChunks = "error",
    layout: Layout = ROWS,
) -> StoredSource:
    """Open stored rows.

    Parameters
    ----------
    data : str, path, zarr.Array or zarr.Group
        Path or URL of a Zarr array, of a group that holds exactly one (or the path
        of a member, ``group.zarr/member``), of a .zip of either, or of a .npy file.
    member : str, optional
        Name of the array within a group.
    missing_chunks : {"error", "fill"}, default="error"
        Whether a chunk that is not in the store is damage, found when it is read, or
        stands for the array's fill value.
    layout : Layout
        Whether the array is rows, or one number for each row.

    Returns
    -------
    StoredSource

    Raises
    ------
    NotFoundError
        If nothing is there.
    DataError
        If what is there cannot be rows: shape, dtype, several arrays in a group.
    DamagedDataError
        If its metadata or header cannot be understood.
    StorageError
        If it cannot be read.

    Warns
    -----
    ConversionWarning
        If the rows are boolean or integer.
    """
    if missing_chunks not in get_args(MissingChunks):
        raise ParameterError(f"missing_chunks must be 'error' or 'fill'; got {missing_chunks!r}")
    for format_ in FORMATS:
        if format_.matches(data):
            return format_.open(data, Opening(member, missing_chunks, layout))
    raise DataError(
        f"cannot open {type(data).__name__} as stored rows; expected a path or URL of a Zarr array "
        "or .npy file, or an open zarr.Array"
    )
