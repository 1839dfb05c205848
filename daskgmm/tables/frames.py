"""pandas DataFrames: columns of numbers, in NumPy's dtypes, pandas' own or Arrow's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import DataError
from daskgmm.tables.columns import check_numbers, common_dtype, filled
from daskgmm.tables.in_memory import open_in_memory
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import check_names, names_of

__all__ = ["DATA_FRAMES", "array_of", "as_numbers"]

_NUMBERS = "biuf"


def as_numbers(frame: Any) -> Any:
    """A pandas or Dask DataFrame whose values are an array of one dtype of numbers.

    Columns that NumPy has one dtype for stay as they are. Others (nullable, Arrow's, decimals,
    booleans beside numbers) become the float that holds them all; what is missing becomes NaN.

    Raises
    ------
    DataError
        If a column is no numbers; it is named.
    """
    dtypes = list(frame.dtypes)
    _check(frame.columns, dtypes)
    plain = all(isinstance(dtype, np.dtype) for dtype in dtypes)
    if plain and len({dtype.kind == "b" for dtype in dtypes}) <= 1:
        return frame
    return frame.astype(common_dtype(map(_of_numpy, dtypes)))


def array_of(frame: Any) -> NDArray[Any]:
    """Values of a pandas DataFrame: a view of them, or a copy where there has to be one.

    Columns of Python's numbers are taken, too: what they hold can be seen in memory.

    Raises
    ------
    DataError
        As :func:`as_numbers`.
    """
    if frame.shape[1] == 0:
        return frame.to_numpy(np.float64)
    dtypes = [
        np.dtype(np.float64) if _has_numbers(frame, i) else dtype
        for i, dtype in enumerate(frame.dtypes)
    ]
    _check(frame.columns, dtypes)
    dtype = common_dtype(map(_of_numpy, dtypes))
    if all(one == dtype for one in frame.dtypes):
        return frame.to_numpy()
    # Frames of several dtypes would be copied twice: to one of these, and into one array.
    columns = (_floats(frame.iloc[:, i], dtype) for i in range(frame.shape[1]))
    return filled(columns, frame.shape, dtype)


def _floats(column: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    if column.dtype != object:
        return column.astype(dtype).to_numpy()
    objects = column.to_numpy(copy=True)
    objects[column.isna()] = np.nan  # pandas' NA is no float
    return objects.astype(dtype)


def _check(names: Any, dtypes: Sequence[Any]) -> None:
    columns = list(zip(names, dtypes, strict=True))
    sparse = {
        name: str(dtype.subtype) for name, dtype in columns if type(dtype).__name__ == "SparseDtype"
    }
    if sparse:
        raise DataError(
            "columns of the data frame are sparse, and mixtures are fitted to dense rows; use "
            f".astype({sparse}) first"
        )
    check_numbers(
        [(name, dtype) for name, dtype in columns if not _is_number(dtype)],
        lambda refused: f".drop(columns={refused})",
    )


def _is_number(dtype: Any) -> bool:
    # pandas' own dtypes have NumPy's kinds; Arrow's decimals alone are objects.
    return dtype.kind in _NUMBERS or str(dtype).startswith("decimal")


def _of_numpy(dtype: Any) -> np.dtype[Any]:
    """The dtype of NumPy that has the numbers of one of pandas' or Arrow's."""
    dtype = getattr(dtype, "numpy_dtype", dtype)
    return dtype if dtype.kind in _NUMBERS else np.dtype(np.float64)  # decimals


def _has_numbers(frame: Any, i: int) -> bool:
    """Whether a column of objects holds Python's numbers and nothing else but gaps."""
    dtype = frame.dtypes.iloc[i]
    if not (isinstance(dtype, np.dtype) and dtype.kind == "O"):
        return False
    # Here: pandas is there where a frame of it is.
    from pandas.api.types import infer_dtype  # type: ignore[import-untyped]

    numbers = ("decimal", "floating", "integer", "mixed-integer-float", "boolean", "integer-na")
    return infer_dtype(frame.iloc[:, i], skipna=True) in numbers


def _open(x: Any, request: Request) -> OpenedRows:
    names = names_of(x.columns)  # before anything is refused that scikit-learn refuses later
    check_names(request.use.names, names)
    return replace(open_in_memory(array_of(x), request), feature_names=names)


def _matches(x: Any) -> bool:
    pandas = sys.modules.get("pandas")  # which whoever has such data has imported
    return pandas is not None and isinstance(x, pandas.DataFrame)


DATA_FRAMES = Kind("pandas DataFrame", _matches, _open, is_lazy=False)
