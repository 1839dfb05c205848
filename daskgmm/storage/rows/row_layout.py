"""Row layout: which stored shapes and dtypes can be rows, or one number for each row or cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from daskgmm.errors import ConversionWarning, DataError, warn

__all__ = ["CELLS", "COLUMN", "ROWS", "Layout", "rows_dtype", "rows_shape"]

_ALLOWED = "bool, (u)int8 to (u)int64, float16, float32, float64"


def rows_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """``shape`` as ``(n_rows, n_features)``.

    Raises
    ------
    DataError
        If it does not have two axes, or one of them is empty.
    """
    if len(shape) != 2:
        raise DataError(
            f"{name} has shape {shape}; rows are expected as (n_rows, n_features)"
            + (" - reshape a single feature to (n_rows, 1)" if len(shape) == 1 else "")
            + (
                "; of variables on a grid, open the group that they are in and name them: "
                "variables=[...] (--variables)"
                if len(shape) > 2
                else ""
            )
        )
    if 0 in shape:
        what = "no rows" if shape[0] == 0 else "no features"
        raise DataError(f"{name} has {what}: its shape is {shape}; at least (1, 1) is needed")
    return shape[0], shape[1]


def rows_dtype(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """``dtype`` in this machine's byte order.

    Raises
    ------
    DataError
        If it is not boolean, integer or floating of at most 64 bits.

    Warns
    -----
    ConversionWarning
        If it is boolean or integer: the arithmetic is in float64.
    """
    _check_dtype(name, dtype, "rows")
    if dtype.kind in "biu":
        warn(
            f"{name} has dtype {dtype}: blocks of it are converted to float64 as they are read; "
            "store it as float32 or float64 to save that in every pass",
            ConversionWarning,
        )
    return dtype.newbyteorder("=")


def _check_dtype(name: str, dtype: np.dtype[Any], what: str) -> None:
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(
            f"{name} has dtype {dtype}; {what} can be {_ALLOWED} - convert the array to one of "
            "these"
        )


def _column_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1) or 0 in shape:
        raise DataError(f"{name} has shape {shape}; one number for each row is expected, (n_rows,)")
    return shape[0], 1


def _column_dtype(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    _check_dtype(name, dtype, "weights")
    return dtype.newbyteorder("=")


def _cells_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if not shape:
        raise DataError(f"{name} has shape (); cells along one dimension or more are expected")
    if 0 in shape:
        raise DataError(
            f"{name} has no cells: its shape is {shape}; at least 1 is needed along each dimension"
        )
    return shape[0], math.prod(shape[1:])


def _cells_dtype(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    _check_dtype(name, dtype, "features")
    return dtype.newbyteorder("=")


class Layout(NamedTuple):
    """What a stored array is taken for.

    Attributes
    ----------
    shape : callable
        ``(n_rows, n_features)`` of an array's name and shape; raises DataError.
    dtype : callable
        The dtype to read, of an array's name and dtype; raises DataError.
    may_be_classes : bool
        Whether values that are names in numbers are taken: a mask has such, and whoever makes
        features of cells refuses them there.
    """

    shape: Callable[[str, tuple[int, ...]], tuple[int, int]]
    dtype: Callable[[str, np.dtype[Any]], np.dtype[Any]]
    may_be_classes: bool = False


ROWS = Layout(rows_shape, rows_dtype)
COLUMN = Layout(_column_shape, _column_dtype)
"""One number for each row, in an array of shape (n_rows,) or (n_rows, 1)."""
CELLS = Layout(_cells_shape, _cells_dtype, may_be_classes=True)
"""A number for each cell of a grid of any dimensions."""
