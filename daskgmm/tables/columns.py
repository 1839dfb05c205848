"""Columns: what those of a table must be to be rows of numbers, whatever library has the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import DataError

__all__ = ["check_numbers", "common_dtype", "filled"]

_MOST_SHOWN = 5


def check_numbers(refused: Sequence[tuple[Any, Any]], way_out: Callable[[list[Any]], str]) -> None:
    """Refuse columns that are no numbers, by name and dtype.

    Parameters
    ----------
    refused : sequence of (name, dtype)
    way_out : callable
        Code that leaves columns of these names out; empty if it is not known.

    Raises
    ------
    DataError
        If there are any.
    """
    if not refused:
        return
    how = way_out([name for name, _ in refused])
    shown = [f"{name!r} has dtype {dtype}" for name, dtype in refused[:_MOST_SHOWN]]
    more = len(refused) - len(shown)
    raise DataError(
        f"columns of the data frame are no numbers: {', '.join(shown)}"
        + (f", and {more} more" if more else "")
        + f"; leave them out{how and f' with {how}'}, or convert them to numbers first"
    )


def common_dtype(dtypes: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
    """Dtype of an array of columns: float32 where NumPy's common dtype is no wider float, or float64.

    No value is rounded that float64 holds.
    """
    common = np.result_type(*dtypes)
    is_narrow = common.kind == "f" and common.itemsize <= 4
    return np.dtype(np.float32 if is_narrow else np.float64)


def filled(columns: Iterable[Any], shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Array of columns, each of which is copied once, when its turn comes."""
    array = np.empty(shape, dtype)
    for j, column in enumerate(columns):
        array[:, j] = column
    return array
