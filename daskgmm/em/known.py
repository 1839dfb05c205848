"""Known: the components of some rows, as every function sees them that is folded over rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.missing import RowsWithGaps
from daskgmm.em.rows import Rows, T
from daskgmm.em.wrapped import WrappedRows
from daskgmm.kernel import Block

__all__ = ["Known", "KnownRows", "knowing"]


@dataclass(frozen=True, eq=False)
class Known:
    """Rows whose component is known: few, as they travel with every fold. Additive.

    Attributes
    ----------
    n_rows : int
        Of all rows, known or not.
    rows : ndarray of shape (n_known,), int64
        Their indices among all rows, rising.
    components : ndarray of shape (n_known,), int64
    """

    n_rows: int
    rows: NDArray[np.int64]
    components: NDArray[np.int64]

    def __add__(self, other: Self) -> Self:
        """What is known of both sets of rows, the later ones on the right."""
        return type(self)(
            self.n_rows + other.n_rows,
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.components, other.components]),
        )

    def of(self, block: Block) -> Block:
        """The block, with what is known of its rows."""
        here = slice(*np.searchsorted(self.rows, [block.start, block.start + len(block)]))
        known = np.full(len(block), -1, np.int64)
        known[self.rows[here] - block.start] = self.components[here]
        return replace(block, known=known)


def _of_known(block: Block, known: Known, function: Callable[..., T], *args: Any) -> T:
    return function(known.of(block), *args)


@dataclass(frozen=True, eq=False)
class KnownRows(WrappedRows):
    """Rows of which the components of some are known.

    Attributes
    ----------
    rows : Rows
    known : Known
        Only folds see it: a result of a row and a piece do not depend on it.
    """

    known: Known

    @property
    def _through(self) -> tuple[Any, ...]:
        return _of_known, self.known


def knowing(rows: Rows, known: Known) -> Rows:
    """The rows, with the components of some."""
    if isinstance(rows, RowsWithGaps):
        return replace(rows, rows=KnownRows(rows.rows, known))
    return KnownRows(rows, known)
