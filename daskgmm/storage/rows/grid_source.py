"""Grid source: cells of stored arrays over several dimensions, as rows that are read by range.

Rows come block after block, since chunks hold neighbours along all dimensions: a block is one chunk,
or a few small ones. A chunk is decoded whole, however few of its cells are asked for. So a block
that is read in pieces waits for whoever reads on, and is decoded once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import DataError
from daskgmm.storage.rows.cell_blocks import CellBlocks
from daskgmm.storage.rows.checked_store import MissingChunks
from daskgmm.storage.rows.kept import Kept
from daskgmm.storage.rows.lent_memory import lent_array
from daskgmm.storage.rows.preflight import Preflight
from daskgmm.storage.rows.row_layout import ROWS, Layout
from daskgmm.storage.rows.zarr_source import ZarrSource

__all__ = ["CellArray", "GridSource", "HeldArray"]

_BLOCK_BYTES = 1 << 22
"""Bytes of a block of small chunks: enough for zarr to decode several side by side."""
_WHOLE_BYTES = 1 << 22
"""Bytes of an array that is read whole and then kept, where it lacks a dimension of the cells."""

_waiting = Kept(max(8, 2 * (os.cpu_count() or 1) + 2))
"""Blocks of which some rows were read: each thread of a pass has one of rows, one of weights."""
_whole = Kept(8, 8 * _WHOLE_BYTES)

Region = Mapping[str, slice]


@dataclass(frozen=True, eq=False)
class HeldArray:
    """Numbers in memory along some dimensions of cells.

    Attributes
    ----------
    values : ndarray
    dims : tuple of str
    """

    values: NDArray[Any]
    dims: tuple[str, ...]

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: self.values.shape)

    def on(self, region: Region) -> NDArray[Any]:
        """The numbers in a region of the cells, along its own dimensions."""
        return self.values[tuple(region.get(dim, slice(None)) for dim in self.dims)]

    def overhead(self, cells: Mapping[str, int]) -> int:
        """Bytes that a read needs beside its result."""
        return 0

    def fingerprint(self) -> str:
        """Hash of the values."""
        return hashlib.sha256(np.ascontiguousarray(self.values).tobytes()).hexdigest()[:16]

    def state(self) -> str | None:
        """See :class:`~daskgmm.storage.rows.preflight.StoredSource`."""
        return None


@dataclass(frozen=True, eq=False)
class CellArray:
    """A stored array whose dimensions have names, some of them those of cells.

    Attributes
    ----------
    array : ZarrSource
    dims : tuple of str
    """

    array: ZarrSource
    dims: tuple[str, ...]

    dtype = property(lambda self: self.array.dtype)
    shape = property(lambda self: self.array.stored_shape)

    def on(self, region: Region) -> NDArray[Any]:
        """The numbers in a region of the cells, decoded, along its own dimensions.

        Raises
        ------
        DamagedDataError, StorageError
            As :meth:`ZarrSource.read`.
        """
        if not self._is_small(region):
            return self._read(region)
        key = id(self.array)
        kept = _whole.get(key)
        if kept is None or kept[1] is not self.array:  # the number may be another one's by now
            kept = self._read({}), self.array
            _whole.put(key, kept, kept[0].nbytes)
        return HeldArray(kept[0], self.dims).on(region)

    def _is_small(self, region: Region) -> bool:
        """Whether it is read whole: another block would read the same chunks again."""
        n_bytes = math.prod(self.shape) * self.array.stored_dtype.itemsize
        return n_bytes <= _WHOLE_BYTES and not set(region) <= set(self.dims)

    def _read(self, region: Region) -> NDArray[Any]:
        sizes = dict(zip(self.dims, self.shape, strict=True))
        return self.array.read_numbers(
            tuple(region.get(dim, slice(0, sizes[dim])) for dim in self.dims)
        )

    def chunk_along(self, dim: str) -> int:
        """Elements of what is decoded at once, along a dimension."""
        return self.array.unit_shape[self.dims.index(dim)]

    def overhead(self, cells: Mapping[str, int]) -> int:
        """Bytes that a read needs beside its result: chunks in flight, and temporaries.

        Parameters
        ----------
        cells : mapping
            Cells of the region along each dimension.
        """
        sizes = dict(zip(self.dims, self.shape, strict=True))
        part = tuple(cells.get(dim, sizes[dim]) for dim in self.dims)
        return self.array.overhead_of(part)

    def fingerprint(self) -> str:
        """See :class:`~daskgmm.storage.rows.preflight.StoredSource`."""
        return self.array.fingerprint()

    def state(self) -> str | None:
        """See :class:`~daskgmm.storage.rows.preflight.StoredSource`."""
        return self.array.state()


AnyArray = CellArray | HeldArray


class GridSource:
    """Cells of arrays as rows.

    Parameters
    ----------
    name : str
        Name of the data, for messages.
    dims : sequence of str
        Dimensions of the cells.
    features : sequence of CellArray or HeldArray
        Each has all dimensions of the cells, or else is one feature, the only one. At most one
        more is that of several features.
    mask : CellArray, optional
        Cells in which it is 0 or missing have NaN for all features.
    blocks : CellBlocks, optional
        Those of other rows of the same cells; by default they are whole chunks of the largest array.
    layout : Layout

    Raises
    ------
    DataError
        If the features are no numbers.
    """

    is_plain = False
    feature_names: tuple[str, ...] | None = None
    feature_units: tuple[str, ...] | None = None
    unit_rows = 1
    units_are_whole = True
    gaps = ""

    def __init__(
        self,
        name: str,
        dims: Sequence[str],
        features: Sequence[AnyArray],
        mask: CellArray | None = None,
        *,
        blocks: CellBlocks | None = None,
        layout: Layout = ROWS,
    ) -> None:
        self.name, self.dims = name, tuple(dims)
        self._features, self._mask = tuple(features), mask
        stored = [part.array for part in (*features, mask) if isinstance(part, CellArray)]
        self.missing_chunks: MissingChunks = stored[0].missing_chunks if stored else "error"
        self.is_remote = any(array.is_remote for array in stored)
        self._arrays = stored
        dtype = np.result_type(*(part.dtype for part in features))
        if mask is not None and dtype.kind != "f":
            dtype = np.dtype(np.float64)  # which has NaN
        self.dtype = layout.dtype(name, dtype)
        self._widths = [
            math.prod(n for dim, n in zip(part.dims, part.shape, strict=True) if dim not in dims)
            for part in features
        ]
        self.blocks = blocks = self._own_blocks() if blocks is None else blocks
        self.shape = (math.prod(blocks.shape), sum(self._widths))
        if 0 in self.shape:
            raise DataError(f"{name} has cells of shape {blocks.shape}; one or more is needed")
        self._key = hashlib.sha256(os.urandom(16)).hexdigest()

    def _own_blocks(self) -> CellBlocks:
        """Whole chunks of the array that takes longest to read; they follow from the data alone."""
        largest = max(
            (part for part in self._features if isinstance(part, CellArray)),
            key=lambda part: math.prod(part.shape) * part.array.stored_dtype.itemsize,
        )
        sizes = dict(zip(largest.dims, largest.shape, strict=True))
        most = _BLOCK_BYTES // (sum(self._widths) * self.dtype.itemsize)
        chunk = [largest.chunk_along(dim) for dim in self.dims]
        return CellBlocks.grown([sizes[dim] for dim in self.dims], chunk, most)

    def __repr__(self) -> str:
        return f"<GridSource {self.name} {self.shape} {self.dtype}>"

    @property
    def cuts(self) -> NDArray[np.int64]:
        """First row of each block, and last the number of rows."""
        return self.blocks.cuts

    @property
    def unit_overhead(self) -> int:
        """Bytes of a block that waits, and of the chunks of the array that takes most."""
        cells = dict(zip(self.dims, self.blocks.block, strict=True))
        rows = math.prod(cells.values())
        held = rows * self.shape[1] * self.dtype.itemsize
        parts = [*self._features, *([] if self._mask is None else [self._mask])]
        return held + max(part.overhead(cells) for part in parts)

    def read(self, start: int, stop: int, *, keep: bool = True) -> NDArray[Any]:
        """Rows ``start:stop``; values that the store declares missing are NaN.

        Raises
        ------
        DamagedDataError
            If a chunk is missing, empty or does not decode; names the first.
        StorageError
            If the store fails.
        """
        n_rows, n_features = self.shape
        if not 0 <= start <= stop <= n_rows:
            raise IndexError(f"{self.name}: rows {start}:{stop} asked for, there are {n_rows}")
        found, at = np.empty((stop - start, n_features), self.dtype), 0
        for number, first, after in self.blocks.parts(start, stop):
            out = found[at : at + after - first]
            at += after - first
            n_block = int(self.cuts[number + 1] - self.cuts[number])
            if after - first == n_block:
                self._read_block(number, out)
                continue
            block = _waiting.take((self._key, number)) if first else None
            if block is None:
                block = lent_array((n_block, n_features), self.dtype)
                self._read_block(number, block)
            out[...] = block[first:after]
            if keep and after < n_block:
                _waiting.put((self._key, number), block)
        return found

    def read_once(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop`` as :meth:`read`, after which nobody reads on."""
        return self.read(start, stop, keep=False)

    def leave(self, start: int, stop: int) -> None:
        """Drop blocks that wait among rows that were read; see :func:`daskgmm.source.leave`."""
        for number, _, _ in self.blocks.parts(start, stop):
            _waiting.take((self._key, number))

    def _read_block(self, number: int, out: NDArray[Any]) -> None:
        """Fill ``out``, (rows of the block, D)."""
        region = dict(zip(self.dims, self.blocks.region(number), strict=True))
        sizes = [s.stop - s.start for s in region.values()]
        cells = out.reshape(*sizes, -1)  # a view, since out is whole rows
        column = 0
        for part, width in zip(self._features, self._widths, strict=True):
            cells[..., column : column + width] = self._laid(part, region, width)
            column += width
        if self._mask is not None:
            there = _are_there(self._laid(self._mask, region, 1)[..., 0])
            np.copyto(cells, np.nan, where=~there[..., None])

    def _laid(self, part: AnyArray, region: Region, width: int) -> NDArray[Any]:
        """Numbers in the order of the cells' dimensions, the features last; it may broadcast."""
        values = part.on(region)
        own = [dim for dim in self.dims if dim in part.dims]
        beyond = [dim for dim in part.dims if dim not in self.dims]
        values = values.transpose([part.dims.index(dim) for dim in (*own, *beyond)])
        shape = tuple(n for n in values.shape[: len(own)])
        index = tuple(slice(None) if dim in own else None for dim in self.dims)
        return values.reshape(*shape, width)[(*index, slice(None))]

    def leaves_none(self) -> bool:
        """Whether the mask leaves no cell, where it is so small that it is read whole.

        Raises
        ------
        DamagedDataError, StorageError
            As :meth:`read`.
        """
        mask = self._mask
        if mask is None or math.prod(mask.shape) * mask.dtype.itemsize > _WHOLE_BYTES:
            return False
        return not _are_there(mask.on({})).any()

    def survey(self) -> Preflight:
        """What a listing of the store tells: of the first array that is damaged, or of all."""
        found = [array.survey() for array in self._arrays]
        damaged = next((one for one in found if one.is_damaged(self.missing_chunks)), None)
        return damaged or Preflight(
            name=self.name,
            format="zarr, variables on a grid",
            shape=self.shape,
            dtype=str(self.dtype),
            chunks=None,
            shards=None,
            codecs=tuple(dict.fromkeys(codec for one in found for codec in one.codecs)),
            n_chunks=sum(one.n_chunks for one in found),
            stored_bytes=sum(one.stored_bytes for one in found),
            n_missing_chunks=sum(one.n_missing_chunks for one in found),
            missing=(),
            n_empty=0,
            empty=(),
            n_wrong_size=0,
            wrong_size=(),
            has_checksum=all(one.has_checksum for one in found),
        )

    def fingerprint(self) -> str:
        """Hash of the fingerprints of all arrays, and of how they are taken."""
        return self._hash([part.fingerprint() for part in self._parts])

    def state(self) -> str | None:
        """See :class:`~daskgmm.storage.rows.preflight.StoredSource`."""
        states = [part.state() for part in self._parts]
        return None if None in states else self._hash(states)

    @property
    def _parts(self) -> list[AnyArray]:
        return [*self._features, *([] if self._mask is None else [self._mask])]

    def _hash(self, parts: Sequence[str | None]) -> str:
        facts = [self.dims, self.blocks.shape, self.blocks.block, self._mask is None]
        text = json.dumps([*facts, *parts, [part.dims for part in self._parts]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _are_there(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Which cells a mask leaves."""
    found: NDArray[np.bool_] = mask != 0
    return found if mask.dtype.kind != "f" else found & ~np.isnan(mask)
