"""Plain arrays: what people have in memory, as an ndarray of numbers, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import DataError

__all__ = ["check_unmasked", "plain_array", "plain_column"]

_MASKED = (
    "masked arrays are not supported; drop or impute the masked rows, or say with missing='drop' or "
    "missing='em' that masked values are missing"
)
_NO_NUMBERS = "USMmV"
"""Kinds of dtypes that NumPy or scikit-learn would turn into numbers in silence."""


def check_unmasked(x: Any) -> None:
    """Refuse a masked array, whose masked values would be fitted as if they were data.

    A list of masked rows, or with masked values in it, is one.

    Raises
    ------
    DataError
    """
    if isinstance(x, np.ma.MaskedArray):
        raise DataError(_MASKED)
    if isinstance(x, list | tuple):
        for row in x:
            check_unmasked(row)


def plain_array(x: Any, name: str = "X") -> Any:
    """What is in memory, as an ndarray; what scikit-learn has words for, as it is.

    Raises
    ------
    DataError
        If it is masked, or no numbers, or cannot be turned into an ndarray.
    """
    check_unmasked(x)
    if hasattr(x, "toarray"):  # sparse: scikit-learn names it and says what to do
        return x
    array = x if isinstance(x, np.ndarray) else _converted(x, name)
    check_unmasked(array)  # __array__ may give one
    if array.dtype.kind in _NO_NUMBERS or _has_text(array):
        raise DataError(f"{name} has dtype {array.dtype}; rows are numbers: convert them first")
    return array


def plain_column(x: Any, name: str, what: str = "weight") -> NDArray[Any]:
    """What is in memory and should hold one number for each row, as an ndarray of any shape and dtype.

    Parameters
    ----------
    x : array-like
    name : str
        What messages call it.
    what : {"weight", "label"}
        What a number is.

    Raises
    ------
    DataError
        If it is masked, or an xarray.Dataset, or cannot be turned into an ndarray.
    """
    if hasattr(x, "data_vars"):
        raise DataError(f"{name} is an xarray.Dataset; give one of its variables")
    _check_unmasked_column(x, name, what)
    array = _converted(x, name)
    _check_unmasked_column(array, name, what)
    return array


def _check_unmasked_column(x: Any, name: str, what: str) -> None:
    try:
        check_unmasked(x)
    except DataError:
        none = "that does not count the weight 0" if what == "weight" else "that has none -1"
        raise DataError(f"{name} is masked; give a row {none}") from None


def _converted(x: Any, name: str) -> NDArray[Any]:
    try:
        if not hasattr(x, "__array__") and hasattr(x, "__dlpack__"):
            return np.from_dlpack(x)
        return np.asanyarray(x)
    except Exception as error:  # anything: whatever a foreign __array__ raises
        kind = f"{type(x).__module__}.{type(x).__qualname__}"
        raise DataError(
            f"{name} is a {kind}, which is no array of numbers in memory ({error}); convert it to "
            "a NumPy array first, with as many numbers in each row"
        ) from error


def _has_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "O" and any(isinstance(v, str | bytes) for v in array.flat)
