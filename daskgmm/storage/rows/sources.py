"""Sources: stored rows, opened by whichever format recognises them.

To add a format, write one file with an object that has ``matches`` and ``open`` and
add it to :data:`FORMATS`; the conformance tests under ``tests/storage`` then take
one more row.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, get_args

from daskgmm.errors import DataError, ParameterError
from daskgmm.redaction import redacted
from daskgmm.rules import NAMES, names_of
from daskgmm.storage.rows.checked_store import MissingChunks
from daskgmm.storage.rows.npy_source import NpyFormat
from daskgmm.storage.rows.opening import Opening
from daskgmm.storage.rows.parquet_source import ParquetFormat
from daskgmm.storage.rows.preflight import StoredSource
from daskgmm.storage.rows.row_layout import ROWS, Layout
from daskgmm.storage.rows.zarr_source import OpenZarrFormat, ZarrFormat

__all__ = ["FORMATS", "Format", "has_columns", "is_zarr", "open_source"]


class Format(Protocol):
    """A way to store rows."""

    name: str
    has_columns: bool
    """Whether its columns have names, by which some can be read alone."""

    def matches(self, data: object) -> bool:
        """Whether this format is the one to open ``data`` with; reads nothing."""
        ...

    def open(self, data: Any, how: Opening) -> StoredSource:
        """Open ``data``, which matches."""
        ...


FORMATS: tuple[Format, ...] = (OpenZarrFormat(), NpyFormat(), ParquetFormat(), ZarrFormat())
"""Formats in the order in which they are asked; the last one takes every path."""


def open_source(
    data: Any,
    *,
    member: str | None = None,
    missing_chunks: MissingChunks = "error",
    layout: Layout = ROWS,
    columns: Sequence[str] | str | None = None,
) -> StoredSource:
    """Open stored rows.

    Parameters
    ----------
    data : str, path, zarr.Array or zarr.Group
        Path or URL of a Zarr array, of a group that holds exactly one (or the path
        of a member, ``group.zarr/member``), of a .zip of either, of a .npy file, or of Parquet
        files: one, a folder of them, or a glob.
    member : str, optional
        Name of the array within a group.
    missing_chunks : {"error", "fill"}, default="error"
        Whether a chunk that is not in the store is damage, found when it is read, or
        stands for the array's fill value.
    layout : Layout
        Whether the array is rows, or one number for each row.
    columns : sequence of str, or str, optional
        Names of the columns of Parquet files to read, in this order; in a text with commas
        between them.

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
    if columns is not None and not NAMES.accepts(columns):
        raise ParameterError(f"columns must be {NAMES.what}; got {columns!r:.200}", "columns")
    names = None if columns is None else names_of(columns)
    for format_ in FORMATS:
        if format_.matches(data):
            if columns is None or format_.has_columns:
                return format_.open(data, Opening(member, missing_chunks, layout, names))
            if format_ is FORMATS[-1]:
                format_.open(data, Opening(member, missing_chunks, layout))  # if it is Zarr at all
            raise ParameterError(_no_columns(data, format_.name), "columns")
    raise DataError(
        f"cannot open {type(data).__name__} as stored rows; expected a path or URL of a Zarr array, "
        ".npy file or Parquet files, or an open zarr.Array"
    )


def has_columns(data: object) -> bool:
    """Whether stored rows are of a format whose columns have names; a folder is looked into."""
    format_ = _format_of(data)
    return format_ is not None and format_.has_columns


def is_zarr(place: str | os.PathLike[str]) -> bool:
    """Whether what is at a path or URL is of Zarr, as far as no other format takes it."""
    return _format_of(place) is FORMATS[-1]


def _format_of(data: object) -> Format | None:
    return next((format_ for format_ in FORMATS if format_.matches(data)), None)


def _no_columns(data: Any, format_name: str) -> str:
    shown = (
        redacted(os.fspath(data)) if isinstance(data, str | os.PathLike) else type(data).__name__
    )
    return (
        f"columns names columns of Parquet files; {shown} is read as {format_name}, whose columns "
        "have no names: leave it out"
    )
