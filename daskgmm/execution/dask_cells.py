"""Dask arrays of cells: over any dimensions, as rows block by block, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from daskgmm.execution.dask_blocks import checked_blocks

__all__ = ["cells_of_rows", "rows_of_cells"]

Chunks = tuple[tuple[int, ...], ...]


def rows_of_cells(arrays: Sequence[da.Array]) -> da.Array:
    """Rows of cells: block after block, in C order of the blocks and of the cells in each.

    No block is moved or cut, so that nothing is shuffled.

    Parameters
    ----------
    arrays : sequence of dask.array.Array
        Shapes (..., n_features), whose leading dimensions and chunks are the same.

    Returns
    -------
    dask.array.Array of shape (n_cells, sum of n_features)
    """
    arrays = [checked_blocks(a if a.numblocks[-1] == 1 else a.rechunk({-1: -1})) for a in arrays]
    first, dtype = arrays[0], np.result_type(*(a.dtype for a in arrays))
    name = f"rows-of-{tokenize(*(a.name for a in arrays))}"
    layer = {
        (name, i, 0): (partial(_rows, dtype), [(a.name, *index, 0) for a in arrays])
        for i, index in enumerate(np.ndindex(first.numblocks[:-1]))
    }
    graph = HighLevelGraph.from_collections(name, layer, dependencies=arrays)
    n_features = sum(a.shape[-1] for a in arrays)
    chunks = (tuple(math.prod(shape) for shape in product(*first.chunks[:-1])), (n_features,))
    return da.Array(graph, name, chunks, dtype=dtype, meta=np.empty((0, 0), dtype))


def cells_of_rows(rows: da.Array, chunks: Chunks) -> da.Array:
    """Results for rows, (n,) or (n, K), in blocks of cells: undoes :func:`rows_of_cells`.

    Parameters
    ----------
    rows : dask.array.Array
    chunks : tuple of tuple of int
        Chunks of the cells along each of their dimensions.
    """
    beside = rows.chunks[1:]
    name, last = f"cells-of-{rows.name}", (0,) * len(beside)
    blocks = np.ndindex(*(len(sizes) for sizes in chunks))
    layer = {
        (name, *index, *last): (partial(_cells, shape), (rows.name, number, *last))
        for number, (index, shape) in enumerate(zip(blocks, product(*chunks), strict=True))
    }
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[rows])
    meta = np.empty((0,) * (len(chunks) + len(beside)), rows.dtype)
    return da.Array(graph, name, (*chunks, *beside), dtype=rows.dtype, meta=meta)


def _rows(dtype: np.dtype[Any], blocks: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([b.reshape(-1, b.shape[-1]) for b in blocks], axis=1, dtype=dtype)


def _cells(shape: tuple[int, ...], found: NDArray[Any]) -> NDArray[Any]:
    return found.reshape(*shape, *found.shape[1:])
