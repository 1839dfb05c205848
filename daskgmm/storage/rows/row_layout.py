"""Row layout: which stored shapes and dtypes can be the rows of a mixture."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from daskgmm.errors import ConversionWarning, DataError

__all__ = ["rows_dtype", "rows_shape"]

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
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(
            f"{name} has dtype {dtype}; rows can be {_ALLOWED} - convert the array to one of these"
        )
    if dtype.kind in "biu":
        warnings.warn(
            f"{name} has dtype {dtype}: blocks of it are converted to float64 as they are read; "
            "store it as float32 or float64 to save that in every pass",
            ConversionWarning,
            stacklevel=2,
        )
    return dtype.newbyteorder("=")
