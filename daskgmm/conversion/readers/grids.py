"""Grids: arrays over several dimensions, cut into blocks of cells in their order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

__all__ = ["cell_of", "cuts"]


def cuts(shape: Sequence[int], most: int) -> Iterator[tuple[slice, ...]]:
    """Selections of at most ``most`` cells, which follow one another in C order.

    The first dimension is cut, and the next ones only where one index of those before it has too
    many cells.

    Examples
    --------
    >>> list(cuts((3, 2), 4))
    [(slice(0, 2, None), slice(0, 2, None)), (slice(2, 3, None), slice(0, 2, None))]
    """
    inner, axis = 1, len(shape)
    while axis > 0 and inner * shape[axis - 1] <= most:
        axis -= 1
        inner *= shape[axis]
    whole = tuple(slice(0, n) for n in shape[axis:])
    if axis == 0:
        yield whole
        return
    step, outer = max(1, most // inner), shape[: axis - 1]
    for index in itertools.product(*map(range, outer)):
        for start in range(0, shape[axis - 1], step):
            part = slice(start, min(start + step, shape[axis - 1]))
            yield (*(slice(i, i + 1) for i in index), part, *whole)


def cell_of(row: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The indices of a cell, by its place in C order."""
    index = []
    for n in reversed(shape):
        row, i = divmod(row, n)
        index.append(i)
    return tuple(reversed(index))
