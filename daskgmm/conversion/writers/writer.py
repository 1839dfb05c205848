"""Writer: what rows are written as, and a row of the table of what they can be."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.conversion.reader import Column
from daskgmm.storage import DraftedOutput

__all__ = ["Described", "Writer"]


@dataclass(frozen=True)
class Described:
    """What is known of rows before the first of them.

    Attributes
    ----------
    columns : tuple of Column
    is_named : bool
        Whether the files name the columns; otherwise their names are their numbers.
    dtype : dtype
    source : str
        What the rows come from, as the user named it.
    kept : pyarrow.Schema or None
        Schema of the columns that are copied unchanged, which only Parquet output can have; None if
        there are none.
    """

    columns: tuple[Column, ...]
    is_named: bool
    dtype: np.dtype[Any]
    source: str
    kept: Any = None


class Writer(DraftedOutput):
    """A context in which rows are written. When it ends, the output is there in full, or not at all."""

    @abstractmethod
    def write(self, values: NDArray[Any], kept: Any = None) -> None:
        """Append rows, with what they have in the columns that are written as they are.

        Raises
        ------
        StorageError
        """
