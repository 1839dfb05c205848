"""pandas DataFrames: columns of numbers, in NumPy's dtypes, pandas' own or Arrow's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from daskgmm.errors import DataError
from daskgmm.tables.in_memory import open_in_memory
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import check_names, names_of

__all__ = ["DATA_FRAMES", "as_numbers"]

_NUMBERS = "biuf"


def as_numbers(frame: Any) -> Any:
    """A pandas or Dask DataFrame whose values are an array of one dtype of numbers.

    Columns that NumPy has one dtype for stay as they are. Others (nullable, Arrow's, decimals,
    booleans beside numbers) become float32 where none is wider, else float64; what is missing
    becomes NaN.

    Raises
    ------
    DataError
        If a column is no numbers; it is named.
    """
    dtypes = list(frame.dtypes)
    refused = [
        f"{column!r} has dtype {dtype}"
        for column, dtype in zip(frame.columns, dtypes, strict=True)
        if not _is_number(dtype)
    ]
    if refused:
        raise DataError(
            f"columns of the data frame are no numbers: {', '.join(refused)}; leave them out, or "
            "convert them first"
        )
    plain = all(isinstance(dtype, np.dtype) for dtype in dtypes)
    if plain and len({dtype.kind == "b" for dtype in dtypes}) <= 1:
        return frame
    narrow = all(dtype.kind == "f" and dtype.itemsize <= 4 for dtype in dtypes)
    return frame.astype("float32" if narrow else "float64")


def _is_number(dtype: Any) -> bool:
    # pandas' own dtypes have NumPy's kinds; Arrow's decimals alone are objects.
    return dtype.kind in _NUMBERS or str(dtype).startswith("decimal")


def _of_objects(frame: Any) -> Any:
    """Columns of Python's numbers, as float64: what they hold can be seen in memory."""
    # Here: pandas is there where a frame of it is.
    from pandas.api.types import infer_dtype  # type: ignore[import-untyped]

    numbers = ("decimal", "floating", "integer", "mixed-integer-float", "boolean", "integer-na")
    found = {
        i: np.float64
        for i, dtype in enumerate(frame.dtypes)
        if dtype.kind == "O"
        and isinstance(dtype, np.dtype)
        and infer_dtype(frame.iloc[:, i], skipna=True) in numbers
    }
    if not found:
        return frame
    frame = frame.copy(deep=False)
    for i in found:
        frame.isetitem(i, frame.iloc[:, i].astype(np.float64))
    return frame


def _open(x: Any, request: Request) -> OpenedRows:
    names = names_of(x.columns)  # before anything is refused that scikit-learn refuses later
    check_names(request.use.names, names)
    opened = open_in_memory(as_numbers(_of_objects(x)).to_numpy(), request)
    return replace(opened, feature_names=names)


def _matches(x: Any) -> bool:
    kind = type(x)
    return kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] == "pandas"


DATA_FRAMES = Kind("pandas DataFrame", _matches, _open, is_lazy=False)
