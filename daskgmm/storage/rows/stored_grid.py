"""StoredGrid: which keys an array's chunks are stored under, and which elements each holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import zarr
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from daskgmm.errors import DataError

__all__ = ["StoredGrid"]

Coords = tuple[int, ...]


@dataclass(frozen=True)
class StoredGrid:
    """The regular grid of an array's stored objects: its shards, or chunks if it has none.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    cell : tuple of int
        Shape of one stored object.
    metadata : ArrayV2Metadata or ArrayV3Metadata
    """

    shape: tuple[int, ...]
    cell: tuple[int, ...]
    metadata: ArrayV2Metadata | ArrayV3Metadata

    @classmethod
    def of(cls, array: zarr.Array[Any], name: str) -> StoredGrid:
        """The grid of an open array.

        Raises
        ------
        DataError
            If its chunks differ in size (a rectilinear grid), or a chunk has no elements.
        """
        try:
            cell = array.shards or array.chunks
        except NotImplementedError as error:
            raise DataError(
                f"array {name} has chunks of different sizes; rewrite it with a regular chunk grid"
            ) from error
        if any(c < 1 <= n for c, n in zip(cell, array.shape, strict=True)):
            raise DataError(f"array {name} of shape {array.shape} has chunks of shape {cell}")
        return cls(array.shape, cell, array.metadata)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of stored objects along each axis."""
        return tuple(math.ceil(n / c) for n, c in zip(self.shape, self.cell, strict=True))

    @property
    def n_objects(self) -> int:
        """Number of stored objects of a complete array."""
        return math.prod(self.counts)

    def key(self, coords: Coords) -> str:
        """Key of a stored object below the array's own path."""
        return self.metadata.encode_chunk_key(coords)

    def object_keys(self) -> Iterator[str]:
        """All keys, in C order."""
        return map(self.key, itertools.product(*map(range, self.counts)))

    def region(self, coords: Coords) -> tuple[slice, ...]:
        """The elements that one stored object holds."""
        return tuple(
            slice(i * c, min((i + 1) * c, n))
            for i, c, n in zip(coords, self.cell, self.shape, strict=True)
        )

    def meeting(self, selection: tuple[slice, ...]) -> Iterator[Coords]:
        """Coordinates of the objects that hold some of a selection, in C order."""
        return itertools.product(
            *(
                range(s.start // c, math.ceil(s.stop / c))
                for s, c in zip(selection, self.cell, strict=True)
            )
        )
