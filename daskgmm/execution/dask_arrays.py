"""Dask arrays of rows: made of a source, or given, in blocks of whole rows."""

from __future__ import annotations

import uuid
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import DataError
from daskgmm.execution.dask_blocks import checked_blocks
from daskgmm.source import Source

__all__ = ["array_of_source", "row_blocks"]


class _Sliceable:
    """A source as Dask wants it: something with a shape that can be sliced."""

    ndim = 2

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shape = source.shape
        self.dtype = source.dtype

    def __getitem__(self, index: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = index
        return self.source.read(*rows.indices(self.shape[0])[:2])[:, columns]


def array_of_source(
    source: Source, partition_rows: int | tuple[int, ...], state: str | None = None
) -> da.Array:
    """A lazy Dask array over a source, cut into partitions.

    Parameters
    ----------
    source : Source
    partition_rows : int, or tuple of int
        Rows of each partition, or of all but the last.
    state : str, optional
        Identifies the stored values: arrays of the same state have the same name, so that Dask
        computes them once. Without it each array has a name of its own.
    """
    # Where partitions are of unequal size, they follow from the data, which the state tells.
    cut = (
        partition_rows
        if isinstance(partition_rows, int)
        else f"{len(partition_rows)}-{hash(partition_rows):x}"
    )
    return da.from_array(
        _Sliceable(source),
        chunks=(partition_rows, source.shape[1]),
        name=f"rows-{state or uuid.uuid4().hex}-{cut}",
        asarray=False,
        fancy=False,
        inline_array=True,
        meta=np.empty((0, 0), source.dtype),
    )


def row_blocks(array: da.Array, counted: bool = True) -> tuple[da.Array, int]:
    """An equal array in blocks of whole rows, and the passes that it took.

    Blocks of rows stay as they are; those across features are joined.

    Parameters
    ----------
    array : dask.array.Array
    counted : bool
        Whether the rows of blocks of unknown size have to be counted, which is a pass.

    Raises
    ------
    DataError
        If the array is not 2-D.
    """
    if array.ndim != 2:
        raise DataError(
            f"Expected 2D array, got {array.ndim}D Dask array of shape {array.shape}: rows must "
            "be (n_rows, n_features). Reshape your data with array[:, None] if it has one feature"
        )
    passes = 0
    needed = array.chunks if counted else array.chunks[1:]
    if any(np.isnan(size) for sizes in needed for size in sizes):
        # On a copy: it would change the caller's array in place.
        array = da.Array(array.dask, array.name, array.chunks, meta=array._meta)
        array.compute_chunk_sizes()
        passes = 1
    if array.numblocks[1] > 1:
        array = checked_blocks(array).rechunk({1: -1})
    return array, passes
