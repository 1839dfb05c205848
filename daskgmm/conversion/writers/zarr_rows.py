"""Rows in Zarr: an array ``x`` in a group, with the names of its columns as a coordinate."""

from __future__ import annotations

from typing import Any

import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm.conversion.writers.pieces import Pieces
from daskgmm.conversion.writers.writer import Described, Writer
from daskgmm.storage import (
    Location,
    add_variables,
    atomic_output,
    chunk_rows,
    consolidate,
    failures_named,
    text_variable,
)

__all__ = ["ZarrRows"]

_CHUNKS_AT_ONCE = 4
"""They are compressed side by side."""
_GROWTH = 64
"""Chunks that the array grows by: each time its metadata are written anew."""
_NAME = "x"
_ROW, _FEATURE, _UNITS = "row", "feature", "units"


class ZarrRows(Writer):
    """A group that appears when all rows are written.

    Its array ``x`` of (row, feature) is in chunks of about 4 MiB of whole rows, compressed, with a
    checksum. ``feature`` has the names of columns, and ``units`` theirs, where there are any.

    Parameters
    ----------
    place : Location
    described : Described
    overwrite : bool

    Raises
    ------
    OutputExistsError, NotFoundError, StorageError
    """

    def __init__(self, place: Location, described: Described, *, overwrite: bool) -> None:
        self._n_rows = 0
        n_features = len(described.columns)
        row_bytes = n_features * described.dtype.itemsize
        self._chunk = chunk_rows(2**62, 2**62, row_bytes)
        self._pieces = Pieces(_CHUNKS_AT_ONCE * self._chunk)
        self._described = described
        self._array: zarr.Array[Any] | None = None
        draft = atomic_output(place, overwrite=overwrite)
        super().__init__(draft)
        with draft.begun():
            self._group = self._begun(draft.place, described)

    def _begun(self, place: Location, described: Described) -> zarr.Group:
        group: zarr.Group = zarr.create_group(
            place.store(read_only=False),
            zarr_format=3,
            attributes={"source": described.source},
        )
        has_units = any(column.units for column in described.columns)
        labels = {_FEATURE: [c.name for c in described.columns]} if described.is_named else {}
        if has_units:
            labels[_UNITS] = [c.units for c in described.columns]
        add_variables(group, {key: text_variable((_FEATURE,), t) for key, t in labels.items()})
        return group

    def _made(self) -> zarr.Array[Any]:
        described = self._described
        has_units = any(column.units for column in described.columns)
        return self._group.create_array(
            _NAME,
            shape=(self._chunk * _GROWTH, len(described.columns)),
            chunks=(self._chunk, len(described.columns)),
            dtype=described.dtype,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            dimension_names=(_ROW, _FEATURE),
            attributes={"coordinates": _UNITS} if has_units else {},
            # A chunk that is left out could not be told from a chunk that is lost.
            config={"write_empty_chunks": True},
        )

    def write(self, values: NDArray[Any], kept: Any = None) -> None:
        """Append rows.

        Raises
        ------
        StorageError
        """
        for piece in self._pieces.of(values):
            self._append(piece)

    def _append(self, piece: NDArray[Any]) -> None:
        start, stop = self._n_rows, self._n_rows + len(piece)
        with failures_named(self.name, "written"):
            if self._array is None:
                self._array = self._made()
            if stop > self._array.shape[0]:
                self._array.resize((stop + self._chunk * _GROWTH, self._array.shape[1]))
            self._array[start:stop] = piece
        self._n_rows = stop

    def _finish(self) -> None:
        for piece in self._pieces.rest():
            if self._array is None:  # so few rows that a chunk need not be as large as others are
                self._chunk = min(self._chunk, len(piece))
            self._append(piece)
        if self._array is not None:
            self._array.resize((self._n_rows, self._array.shape[1]))
        consolidate(self._group)
