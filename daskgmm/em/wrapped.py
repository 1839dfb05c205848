"""Wrapped: rows that change each block between the read of it and the function that is folded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from daskgmm.em.rows import Rows, T
from daskgmm.kernel import Block

__all__ = ["ChangedRows", "WrappedRows"]


@dataclass(frozen=True, eq=False)
class WrappedRows(ABC):
    """Other rows, of which each block is changed for the functions that :meth:`fold` calls.

    Everything else is that of the other rows, unless a subclass overrides it.

    Attributes
    ----------
    rows : Rows
        Those that are read.
    """

    rows: Rows

    @property
    @abstractmethod
    def _through(self) -> tuple[Any, ...]:
        """``of, *how``: a fold calls ``of(block, *how, function, *args)`` for each block.

        ``of`` calls ``function`` with the changed block. Both travel to workers with each fold, so
        that ``of`` is a function of a module and ``how`` holds no rows.
        """

    @property
    def n_rows(self) -> int:
        """N, of whatever weight."""
        return self.rows.n_rows

    @property
    def n_features(self) -> int:
        """D."""
        return self.rows.n_features

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return self.rows.total_weight

    @property
    def gaps(self) -> str:
        """What a store says of missing values, for messages about NaN."""
        return getattr(self.rows, "gaps", "")

    def fold(self, function: Callable[..., T], *args: Any) -> T:
        """See :meth:`Rows.fold`."""
        found: T = self.rows.fold(*self._through, function, *args)
        return found

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> Any:
        """See :meth:`Rows.map`; the blocks are as they were read."""
        return self.rows.map(function, *args, dtype=dtype, columns=columns)

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """See :meth:`Rows.pieces`; the rows are as they were read."""
        return self.rows.pieces(n_wanted, seed)


@dataclass(frozen=True, eq=False)
class ChangedRows(WrappedRows):
    """Wrapped rows whose values are others, which results of each row and pieces have as well."""

    def map(
        self, function: Callable[..., NDArray[Any]], *args: Any, dtype: Any, columns: int | None
    ) -> Any:
        """See :meth:`Rows.map`; the blocks are changed."""
        return self.rows.map(*self._through, function, *args, dtype=dtype, columns=columns)

    def pieces(self, n_wanted: int, seed: int) -> Block | None:
        """See :meth:`Rows.pieces`; the rows are changed."""
        found = self.rows.pieces(n_wanted, seed)
        if found is None:
            return None
        of, *how = self._through
        block: Block = of(found, *how, _itself)
        return block


def _itself(block: Block) -> Block:
    return block
