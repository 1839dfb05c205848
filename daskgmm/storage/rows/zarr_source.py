"""Rows in a Zarr array: version 2 or 3, sharded or not, on disk or behind a URL."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from daskgmm.errors import DataError, ParameterError
from daskgmm.redaction import redacted
from daskgmm.storage.places.locations import Location
from daskgmm.storage.rows.checked_array import CheckedArray
from daskgmm.storage.rows.checked_store import CheckedStore, MissingChunks
from daskgmm.storage.rows.codecs import CodecChain
from daskgmm.storage.rows.coordinates import feature_names_of, feature_units_of
from daskgmm.storage.rows.declared import declared_by
from daskgmm.storage.rows.fingerprint import fingerprint_of, state_of
from daskgmm.storage.rows.lent_memory import lent_array
from daskgmm.storage.rows.listing import StoredObject, stored_objects, stored_tails
from daskgmm.storage.rows.opening import Opening
from daskgmm.storage.rows.preflight import Preflight
from daskgmm.storage.rows.row_layout import CELLS, ROWS, Layout
from daskgmm.storage.rows.zarr_nodes import only_array, open_node, own_member

__all__ = ["OpenZarrFormat", "ZarrFormat", "ZarrSource", "open_array"]

_AT_ONCE_BYTES = 16 * 2**20
"""Bytes that one call to zarr decodes, or one chunk or shard; they are held beside the rows."""
_CHUNKS_AT_ONCE = 1024
_BOOKS_BYTES = 4096
"""Bytes that zarr and asyncio allocate for each chunk of a read beside its contents; measured."""
_FIRST_KEYS = 5


class ZarrSource:
    """Rows of a two-dimensional Zarr array, or the numbers of one of any dimensions.

    Parameters
    ----------
    array : zarr.Array
    name : str
        Name of the data, for messages.
    missing_chunks : {"error", "fill"}
        Whether a chunk that is not in the store is damage or stands for fill values.
    layout : Layout

    Attributes
    ----------
    feature_names, feature_units : tuple of str or None
        Of the columns, where the group of the array has coordinates for them.

    Raises
    ------
    DataError
        If shape, dtype or codecs cannot be used.
    """

    is_plain = False
    feature_names: tuple[str, ...] | None = None
    feature_units: tuple[str, ...] | None = None

    def __init__(
        self,
        array: zarr.Array[Any],
        name: str,
        missing_chunks: MissingChunks = "error",
        layout: Layout = ROWS,
    ) -> None:
        self.name = name
        self._array = CheckedArray(array, name, missing_chunks)
        array = self._array.array  # by its own metadata
        self.shape = layout.shape(name, array.shape)
        self._declared = declared_by(array, name, may_be_classes=layout.may_be_classes)
        self.dtype = layout.dtype(name, self._declared.dtype)
        self.gaps = self._declared.note
        if CodecChain(array).runs_code:
            raise DataError(
                f"{name} is encoded with pickle, which can run code when it is read; "
                "rewrite it with another codec"
            )
        self.missing_chunks = missing_chunks
        self.is_remote = self._array.is_remote
        self._plan_reads()

    def _plan_reads(self) -> None:
        n_rows, n_features = self.shape
        array, cell = self._array.array, self._array.grid.cell
        concurrency = int(zarr.config.get("async.concurrency"))
        cell_bytes = math.prod(cell) * array.dtype.itemsize
        beside = math.ceil(n_features / cell[1]) if len(cell) > 1 else 1
        self.unit_rows = min(cell[0], n_rows)
        if array.shards is None:
            # Zarr fetches and decodes a few chunks at a time, but has a task for each.
            at_once, inner = _CHUNKS_AT_ONCE, 0
        else:
            # Each shard is fetched whole, and then the chunks in it are decoded side by side.
            at_once = concurrency
            inner_bytes = math.prod(array.chunks) * array.dtype.itemsize
            inner = min(cell_bytes, concurrency * inner_bytes)
        # A cell is held twice: decoded, and encoded, which is hardly ever larger.
        self._cell_in_flight, self._concurrency = 2 * (cell_bytes + inner), concurrency
        units = max(1, min(at_once, _AT_ONCE_BYTES // cell_bytes) // beside)
        units = min(units, math.ceil(n_rows / cell[0]))
        self._rows_at_once = units * cell[0]
        self.unit_overhead = self._in_flight(units * beside) + units * beside * _BOOKS_BYTES
        # Codes, their gaps, and the numbers in float64, twice in an expression.
        self._per_value = array.dtype.itemsize + 1 + 2 * np.dtype(np.float64).itemsize
        if not self._declared.is_plain:
            self.unit_overhead += min(self._rows_at_once, n_rows) * n_features * self._per_value

    def _in_flight(self, n_cells: int) -> int:
        """Bytes of the chunks or shards that zarr decodes at once, out of so many."""
        return min(self._concurrency, n_cells) * self._cell_in_flight

    def __repr__(self) -> str:
        return f"<ZarrSource {self.name} {self.shape} {self.dtype}>"

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop``, decoded, in this machine's byte order.

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
        stored, declared = self._array.array.dtype, self._declared
        block = np.empty((stop - start, n_features), stored if declared.is_plain else self.dtype)
        step = self._rows_at_once
        edges = [start, *range((start // step + 1) * step, stop, step), stop]
        for first, last in itertools.pairwise(edges):
            if first < last:
                out = block[first - start : last - start]
                if declared.is_plain:
                    self._read_into(out, first, last)
                else:
                    codes = np.empty(out.shape, stored)
                    self._read_into(codes, first, last)
                    declared.decode(codes, out)
        return block.astype(self.dtype, copy=False)

    def _read_into(self, out: NDArray[Any], first: int, last: int) -> None:
        beside = self._array.array.shape[1:]
        whole = (slice(first, last), *(slice(0, n) for n in beside))
        self._array.read_into(out.reshape(last - first, *beside), whole)

    # -- the array as it is stored, whatever its dimensions are --

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of the stored array."""
        return self._array.array.shape

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Dtype of the stored values, which may be packed."""
        dtype: np.dtype[Any] = self._array.array.dtype
        return dtype

    @property
    def unit_shape(self) -> tuple[int, ...]:
        """Shape of what is decoded at once: a chunk, or a shard."""
        return self._array.grid.cell

    def read_part(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """Stored values of a part of the array, one slice with start and stop per dimension.

        Raises
        ------
        DamagedDataError, StorageError
            As :meth:`read`.
        """
        return self._array.read(selection)

    def read_numbers(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """The numbers that stored values of a part of the array stand for: :meth:`read_part`."""
        shape = tuple(part.stop - part.start for part in selection)
        codes = lent_array(shape, self.stored_dtype)
        self._array.read_into(codes, selection)
        if self._declared.is_plain:
            return codes.astype(self.dtype, copy=False)
        numbers = lent_array(codes.shape, self.dtype)
        self._declared.decode(codes, numbers)
        return numbers

    def overhead_of(self, part: tuple[int, ...]) -> int:
        """Bytes that reading a part of this shape needs beside what :meth:`read_numbers` returns.

        They are those of the chunks in flight, of codes, and of temporaries where they are decoded.
        """
        grid, itemsize = self._array.grid, self._array.array.dtype.itemsize
        meeting = math.prod(
            min(there, (n - 1) // c + 2 if n % c else n // c)
            for n, c, there in zip(part, grid.cell, grid.counts, strict=True)
        )
        # The allocator keeps as much again, for the threads that have decoded chunks before.
        chunks = 2 * self._in_flight(meeting) + meeting * _BOOKS_BYTES
        per_value = itemsize
        if not self._declared.is_plain:
            per_value += self._per_value
        return chunks + math.prod(part) * per_value

    def _store(self) -> Store:
        store = self._array.array.store
        return store.wrapped if isinstance(store, CheckedStore) else store

    def _objects(self) -> dict[str, StoredObject]:
        return stored_objects(self._store(), self._array.array.path, self._array.grid.object_keys)

    def survey(self) -> Preflight:
        """What a listing of the store tells of the rows."""
        array, grid = self._array.array, self._array.grid
        codecs = CodecChain(array)
        expected = codecs.fixed_size(grid.cell, array.dtype.itemsize)
        objects = self._objects()
        missing, empty, wrong_size = _Keys(), _Keys(), _Keys()
        stored_bytes = 0
        for key in grid.object_keys():
            if key not in objects:
                missing.add(key)
                continue
            size = objects[key].n_bytes
            stored_bytes += size or 0
            if size == 0:
                empty.add(key)
            elif None not in (size, expected) and size != expected:
                wrong_size.add(key)
        return Preflight(
            name=self.name,
            format=f"zarr v{array.metadata.zarr_format}",
            shape=self.shape,
            dtype=str(array.dtype),
            chunks=array.chunks,
            shards=array.shards,
            codecs=codecs.names,
            n_chunks=grid.n_objects,
            stored_bytes=stored_bytes,
            n_missing_chunks=missing.count,
            missing=tuple(missing.first),
            n_empty=empty.count,
            empty=tuple(empty.first),
            n_wrong_size=wrong_size.count,
            wrong_size=tuple(wrong_size.first),
            has_checksum=codecs.has_checksum,
        )

    def fingerprint(self) -> str:
        """Hash of shape, dtype, chunking, codecs, sizes and versions of chunks, and a few rows."""
        array, grid, codecs = self._array.array, self._array.grid, CodecChain(self._array.array)
        layout, listed = self._layout_and_versions()
        store = self._store()
        versions: Sequence[str | None] = listed
        if isinstance(store, LocalStore) and codecs.checksum_at_end:
            # By its times, an array that was copied or restored without them would be another.
            tails = stored_tails(store, array.path, grid.object_keys(), codecs.checksum_at_end)
            versions = [*tails]
        return fingerprint_of(self, layout, versions)

    def state(self) -> str | None:
        """See :class:`~daskgmm.storage.rows.preflight.StoredSource`."""
        layout, versions = self._layout_and_versions()
        sizes = (size for _, size in layout[3])
        stored = [v for v, size in zip(versions, sizes, strict=True) if size is not None]
        # What stands for chunks that are not stored.
        fill = [self.missing_chunks, str(self._array.array.metadata.fill_value)]
        return state_of(self, [*layout, *fill], stored)

    def _layout_and_versions(self) -> tuple[list[Any], list[str | None]]:
        """Chunking, codecs and sizes of chunks as plain JSON; and the versions of all chunks."""
        array, objects = self._array.array, self._objects()
        keys = list(self._array.grid.object_keys())
        found = [objects.get(key) for key in keys]
        sizes = [None if one is None else one.n_bytes for one in found]
        chunks = list(zip(keys, sizes, strict=True))
        layout: list[Any] = [array.chunks, array.shards, CodecChain(array).names, chunks]
        if not self._declared.is_plain:
            layout.append(self._declared.facts())
        return layout, [None if one is None else one.version for one in found]


class _Keys:
    """A count of keys, and the first few of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, key: str) -> None:
        self.count += 1
        if len(self.first) < _FIRST_KEYS:
            self.first.append(key)


def _array_of(
    node: zarr.Array[Any] | zarr.Group, name: str, member: str | None
) -> tuple[zarr.Array[Any], str]:
    return (node, name) if isinstance(node, zarr.Array) else only_array(node, name, member)


class ZarrFormat:
    """Paths and URLs of Zarr arrays, and of groups that hold one."""

    name = "zarr"
    has_columns = False

    def matches(self, data: object) -> bool:
        """Whether ``data`` is a path or URL."""
        return isinstance(data, str | os.PathLike)

    def open(self, data: Any, how: Opening) -> ZarrSource:
        """Open what is there."""
        member = how.member
        location = Location.parse(data)
        name = f"{location.name}/{member}" if member else location.name
        array, name = _array_of(open_node(location, member), name, member)
        return _with_names(ZarrSource(array, name, how.missing_chunks, how.layout), array, location)


def open_array(
    group: str | os.PathLike[str], name: str, missing_chunks: MissingChunks = "error"
) -> ZarrSource:
    """An array of any dimensions in a stored group; its first dimension is that of rows.

    Raises
    ------
    NotFoundError, DataError, DamagedDataError, StorageError
    """
    return ZarrFormat().open(group, Opening(name, missing_chunks, CELLS))


class OpenZarrFormat:
    """Arrays and groups that the caller opened."""

    name = "open zarr"
    has_columns = False

    def matches(self, data: object) -> bool:
        """Whether ``data`` is a Zarr array or group."""
        return isinstance(data, zarr.Array | zarr.Group)

    def open(self, data: Any, how: Opening) -> ZarrSource:
        """Take the array as it is."""
        name, member = _name_of(data), how.member
        if member is not None:
            if not isinstance(data, zarr.Group):
                raise ParameterError(f"{name} is an array; member={member!r} needs a group")
            found = own_member(data, member)
            if found is None:
                known = ", ".join(sorted(data.keys()))
                raise DataError(
                    f"group {name} has no member {member!r}; its members are: {known}; name one of "
                    "them"
                )
            data, name = found, f"{name}/{member}"
        array, name = _array_of(data, name, member)
        return _with_names(ZarrSource(array, name, how.missing_chunks, how.layout), array)


def _with_names(
    source: ZarrSource, array: zarr.Array[Any], place: Location | None = None
) -> ZarrSource:
    source.feature_names = feature_names_of(array, source.name, place)
    source.feature_units = feature_units_of(array, source.name, place)
    return source


def _name_of(node: zarr.Array[Any] | zarr.Group) -> str:
    store = node.store
    if isinstance(store, LocalStore):
        root = str(store.root)
    elif isinstance(store, FsspecStore):
        root = redacted(store.fs.unstrip_protocol(store.path))
    else:
        root = f"<{type(store).__name__}>"
    return f"{root}/{node.path}" if node.path else root
