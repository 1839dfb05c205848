"""Opening: how an array is to be taken, the same for every format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from daskgmm.storage.rows.checked_store import MissingChunks
from daskgmm.storage.rows.row_layout import ROWS, Layout

__all__ = ["Opening"]


class Opening(NamedTuple):
    """How an array is to be taken.

    Attributes
    ----------
    member : str or None
        Name of the array within a group of several.
    missing_chunks : {"error", "fill"}
        Whether a chunk that is not in the store is damage or stands for fill values.
    layout : Layout
        Whether the array is rows, or one number for each row.
    columns : sequence of str or None
        Names of the columns that are read, in a format that has names.
    """

    member: str | None = None
    missing_chunks: MissingChunks = "error"
    layout: Layout = ROWS
    columns: Sequence[str] | None = None
