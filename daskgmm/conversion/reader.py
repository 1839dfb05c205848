"""Reader: what a format gives of some files, and what a row of the table of formats has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from daskgmm.conversion.inputs import Input
from daskgmm.conversion.options import How
from daskgmm.errors import DamagedDataError, DaskGMMError, DataError, MissingDependencyError
from daskgmm.redaction import cause_to_show, one_line

__all__ = [
    "BLOCK_BYTES",
    "Block",
    "Column",
    "Format",
    "LeftOut",
    "Reader",
    "check_units",
    "dtype_of",
    "imported",
    "reading",
]

BLOCK_BYTES = 16 * 2**20
"""Most bytes of a block, as far as a reader can choose; at least a row."""


@dataclass(frozen=True)
class Column:
    """A column, or a variable.

    Attributes
    ----------
    name : str
    type : str
        Of the values as they are stored.
    units : str
        Empty where none are said.
    unfit : str
        Why it is left out where it is not asked for; empty if it is not.
    is_number : bool
        Whether it can be a feature at all.
    """

    name: str
    type: str
    units: str = ""
    unfit: str = ""
    is_number: bool = True


class LeftOut(NamedTuple):
    """A column that is not written."""

    name: str
    type: str
    reason: str


class Block(NamedTuple):
    """Some rows.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_features)
        NaN where a value is missing.
    part : int
        Which of the files.
    start : int
        Rows of the file that came before.
    kept : pyarrow.RecordBatch or None
        What these rows have in the columns that are written as they are.
    """

    values: NDArray[Any]
    part: int
    start: int
    kept: Any = None


class Reader(Protocol):
    """Files of one format, opened: nothing but what tells their columns was read.

    Attributes
    ----------
    columns : tuple of Column
        Those that are read, in order.
    is_named : bool
        Whether their names are in the files, rather than numbers by position.
    left_out : tuple of LeftOut
    dtype : dtype
        Of the values of blocks.
    kept : pyarrow.Schema or None
        Of the columns that are written as they are.
    n_ragged : int
        Lines that :meth:`blocks` has left out, as they have another count of values.
    """

    columns: tuple[Column, ...]
    is_named: bool
    left_out: tuple[LeftOut, ...]
    dtype: np.dtype[Any]
    kept: Any
    n_ragged: int

    def blocks(self) -> Iterator[Block]:
        """All rows, file after file, in order.

        Raises
        ------
        DataError
            Names the place of what is no number.
        DamagedDataError
            If a file ends too early or does not decode.
        """
        ...

    def place(self, part: int, row: int) -> str:
        """Where a row is, for messages: the file, and the line or the cell."""
        ...


@dataclass(frozen=True)
class Format:
    """A row of the table of formats.

    Attributes
    ----------
    name : str
    endings : tuple of str
        Of names of files, in small letters.
    options : frozenset of str
        Options that are of this format.
    open : callable
        Gives the reader of some files.
    before_fits : bool
        Whether commands that read rows convert it first.
    has_grids : bool
        Whether files hold grids, which stay grids in Zarr unless rows are asked for.
    """

    name: str
    endings: tuple[str, ...]
    options: frozenset[str]
    open: Callable[[Sequence[Input], How], Reader]
    before_fits: bool = True
    has_grids: bool = False


def imported(module: str, extra: str) -> Any:
    """A library that an extra installs.

    Raises
    ------
    MissingDependencyError
        Names the extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{module.partition('.')[0]} is needed and cannot be imported: pip install "
            f"'daskgmm[{extra}]'"
        ) from error


@contextmanager
def reading(path: Input, *kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds as damage of a file.

    Raises
    ------
    DamagedDataError
    """
    try:
        yield
    except (DaskGMMError, MemoryError):
        raise
    except Exception as error:
        if path.failure is not None:  # which the library took for the end of the file
            raise path.failure from cause_to_show(error)
        if not isinstance(error, (OSError, EOFError, *kinds)):
            raise
        raise DamagedDataError(
            f"{path} cannot be read to its end: {one_line(error)}; restore it from a copy"
        ) from cause_to_show(error)


def check_units(
    file: object, column: Column, units: str, first: object, option: str = "--columns"
) -> None:
    """Refuse a file that says other units of a column than the first one.

    Raises
    ------
    DataError
    """
    if units and column.units and units != column.units:
        raise DataError(
            f"{file} has {column.name!r} in {units!r}, which is in {column.units!r} in {first}; convert "
            f"them apart, or leave it out of {option}"
        )


def dtype_of(wanted: str, stored: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype that is written: as wanted, or float32 where all that is stored fits into it."""
    if wanted != "auto":
        return np.dtype(wanted)
    is_narrow = all(dtype.kind == "f" and dtype.itemsize <= 4 for dtype in stored)
    return np.dtype(np.float32 if is_narrow else np.float64)
