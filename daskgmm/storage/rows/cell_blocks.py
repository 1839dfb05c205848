"""Cell blocks: cells of a grid as rows, block after block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["CellBlocks"]


@dataclass(frozen=True)
class CellBlocks:
    """Cells of a grid as rows: in C order of the blocks, and of the cells in each.

    Attributes
    ----------
    shape : tuple of int
        Cells along each dimension.
    block : tuple of int
        Cells of a block along each dimension; those at the end of a dimension may have fewer.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @classmethod
    def grown(cls, shape: Sequence[int], chunk: Sequence[int], most: int) -> CellBlocks:
        """Blocks of whole neighbouring chunks.

        Each has at most ``most`` cells, or is one chunk if that alone has more.
        Chunks are joined along the last dimension first, so that cells keep their order as far as
        they can.

        Examples
        --------
        >>> CellBlocks.grown((10, 20, 30), (1, 10, 10), 700).block
        (1, 20, 30)
        """
        # At least one cell, though a dimension without cells has no block at all.
        block = [max(1, min(c, n)) for c, n in zip(chunk, shape, strict=True)]
        for axis in reversed(range(len(block))):
            others = math.prod(block) // block[axis]
            times = max(1, most // (others * block[axis]))
            block[axis] = max(1, min(times * block[axis], shape[axis]))
            if block[axis] < shape[axis]:
                break
        return cls(tuple(shape), tuple(block))

    @cached_property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Sizes of the blocks along each dimension."""
        return tuple(
            tuple(min(c, n - i) for i in range(0, n, c))
            for n, c in zip(self.shape, self.block, strict=True)
        )

    @cached_property
    def cuts(self) -> NDArray[np.int64]:
        """First row of each block, and last the number of rows."""
        sizes = np.ones(1, np.int64)
        for along in self.chunks:
            sizes = np.multiply.outer(sizes, np.array(along, np.int64)).ravel()
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def region(self, number: int) -> tuple[slice, ...]:
        """The cells of a block, by its number."""
        index = np.unravel_index(number, tuple(map(len, self.chunks)))
        return tuple(
            slice(int(i) * c, min((int(i) + 1) * c, n))
            for i, c, n in zip(index, self.block, self.shape, strict=True)
        )

    def parts(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Which rows of which blocks are rows ``start:stop``.

        For each block with some of them: its number, and the first and one past the last of these
        rows, counted from the block's own first row.
        """
        cuts = self.cuts
        first = int(np.searchsorted(cuts, start, side="right")) - 1
        after = int(np.searchsorted(cuts, stop, side="left"))
        edges = [start, *cuts[first + 1 : after].tolist(), stop]
        return [
            (number, a - int(cuts[number]), b - int(cuts[number]))
            for number, (a, b) in enumerate(itertools.pairwise(edges), first)
            if a < b
        ]
