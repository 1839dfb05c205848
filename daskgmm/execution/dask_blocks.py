"""Blocks of Dask arrays: the one place that turns what a block is into rows, or refuses it.

Dask believes what an array says of itself: a block may be masked, sparse, of objects, shorter
than declared or of another dtype, and nothing says so before it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from daskgmm.errors import DataError

__all__ = ["Declared", "checked_blocks"]

_WAY_OUT = "compute that block to see, and mend what makes it"


@dataclass(frozen=True)
class Declared:
    """What a Dask array says of one of its blocks.

    Attributes
    ----------
    index : tuple of int
        Of the block.
    shape : tuple of int or None
        None where a length is not known.
    dtype : dtype
    """

    index: tuple[int, ...]
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    def rows(self, block: Any) -> NDArray[Any]:
        """The block as an ndarray of what was declared; narrower numbers are widened.

        Raises
        ------
        DataError
            If it is no such array; it is named by its index.
        """
        if isinstance(block, np.ma.MaskedArray):
            raise self._error("is a masked array", "drop or impute the masked rows")
        if not isinstance(block, np.ndarray):
            kind = f"{type(block).__module__}.{type(block).__qualname__}"
            raise self._error(
                f"is a {kind}, not a NumPy array", "convert its blocks with map_blocks first"
            )
        known = all(n is None or n == m for n, m in zip(self.shape, block.shape, strict=False))
        if len(self.shape) != block.ndim or not known:
            raise self._error(f"has shape {block.shape} where {self._shown} is declared", _WAY_OUT)
        if block.dtype == self.dtype:
            return np.asarray(block)
        if not (block.dtype.kind in "biuf" and np.can_cast(block.dtype, self.dtype, "safe")):
            raise self._error(
                f"has dtype {block.dtype} where {self.dtype} is declared",
                "convert it with astype, or declare what it is",
            )
        return np.asarray(block, self.dtype)

    @property
    def _shown(self) -> str:
        lengths = ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"({lengths}{',' if len(self.shape) == 1 else ''})"

    def _error(self, what: str, way_out: str) -> DataError:
        index = self.index[0] if not any(self.index[1:]) else self.index
        return DataError(f"block {index} of the Dask array {what}; {way_out}")


def _rows_of(declared: Declared, block: Any) -> NDArray[Any]:
    return declared.rows(block)


def checked_blocks(array: da.Array) -> da.Array:
    """An equal array whose blocks are what it says of them, or raise an error.

    For arrays that are cut anew: where blocks are joined, masks would be lost.
    """
    name = f"checked-{array.name}"
    layer = {
        (name, *index): (partial(_rows_of, _declared(array, index)), (array.name, *index))
        for index in np.ndindex(array.numblocks)
    }
    graph = HighLevelGraph.from_collections(name, layer, dependencies=[array])
    return da.Array(graph, name, array.chunks, meta=array._meta)


def _declared(array: da.Array, index: tuple[int, ...]) -> Declared:
    sizes = (lengths[i] for lengths, i in zip(array.chunks, index, strict=True))
    return Declared(index, tuple(None if np.isnan(n) else int(n) for n in sizes), array.dtype)
