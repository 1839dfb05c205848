"""Arrow tables: polars DataFrames, pyarrow Tables, and whatever else exports Arrow's stream.

They are read column by column through narwhals, which knows the types of polars and pyarrow and
needs neither of them for the other. What it does not know, such as relations of DuckDB, pyarrow
makes a Table of, in memory.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import DataError, MissingDependencyError
from daskgmm.tables.columns import check_numbers, common_dtype, filled
from daskgmm.tables.in_memory import open_in_memory
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import check_names, names_of

__all__ = ["ARROW_TABLES", "eager_frame"]

_PLAIN = {
    **{
        f"{kind}{bits}": np.dtype(f"{kind}{bits}".lower())
        for kind in ("Int", "UInt")
        for bits in (8, 16, 32, 64)
    },
    **{f"Float{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
}
"""Dtypes of narwhals that NumPy has, and gives missing values of as NaN."""
_CAST = {"Boolean": np.dtype(bool)}
"""Dtypes of narwhals that become float64, and the dtype of NumPy that they need; float64 by default."""


def _open(x: Any, request: Request) -> OpenedRows:
    import narwhals.stable.v2 as nw  # here: only these tables need it

    if _is_lazy_frame(x):
        raise DataError(
            "a polars LazyFrame has no rows yet; select the columns of numbers, and give .collect() "
            "of it, which has them in memory"
        )
    if nw.dependencies.is_into_series(x):  # refused in the words for arrays
        return open_in_memory(x, request)
    table = _table_of(x, nw)
    names = names_of(getattr(table, "column_names", None) or table.columns)
    check_names(request.use.names, names)
    frame = nw.from_native(table, eager_only=True)
    drop = next(
        (method for method in ("drop_columns", "drop") if table is x and hasattr(x, method)), ""
    )
    return replace(open_in_memory(_array_of(frame, nw, drop), request), feature_names=names)


def eager_frame(x: Any) -> Any:
    """A table as narwhals' frame, without a copy; None for what is no table of rows in memory."""
    import narwhals.stable.v2 as nw  # here: only these tables need it

    if _is_lazy_frame(x) or nw.dependencies.is_into_series(x):
        return None
    return nw.from_native(_table_of(x, nw), eager_only=True)


def _table_of(x: Any, nw: Any) -> Any:
    """What narwhals knows: the table itself, or one of pyarrow of what it exports."""
    if nw.dependencies.is_into_dataframe(x):
        return x
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingDependencyError(
            f"a {type(x).__module__}.{type(x).__qualname__} is read through pyarrow, which is not "
            "installed: pip install 'daskgmm[dataframe]'"
        ) from None
    return pa.table(x)


def _array_of(frame: Any, nw: Any, drop: str) -> NDArray[Any]:
    columns = [(name, dtype, frame[name]) for name, dtype in frame.schema.items()]
    check_numbers(
        [
            (name, _shown(dtype, column))
            for name, dtype, column in columns
            if not _is_number(dtype, column, nw)
        ],
        lambda refused: drop and f".{drop}({refused})",
    )
    if not columns:
        return np.empty(frame.shape)
    float64 = np.dtype(np.float64)
    dtypes = [_PLAIN.get(str(dtype), _CAST.get(str(dtype), float64)) for _, dtype, _ in columns]
    arrays = (
        (column if str(dtype) in _PLAIN else column.cast(nw.Float64)).to_numpy()
        for _, dtype, column in columns
    )
    return filled(arrays, frame.shape, common_dtype(dtypes))


def _is_number(dtype: Any, column: Any, nw: Any) -> bool:
    # narwhals has no name for some of Arrow's widths of decimals.
    return dtype.is_numeric() or dtype == nw.Boolean or _arrow_type(column).startswith("decimal")


def _shown(dtype: Any, column: Any) -> str:
    return _arrow_type(column) or str(dtype)


def _arrow_type(column: Any) -> str:
    return str(getattr(column.to_native(), "type", ""))


def _is_lazy_frame(x: Any) -> bool:
    polars = sys.modules.get("polars")  # which whoever has such data has imported
    return polars is not None and isinstance(x, polars.LazyFrame)


ARROW_TABLES = Kind(
    "Arrow table",
    lambda x: hasattr(x, "__arrow_c_stream__") or _is_lazy_frame(x),
    _open,
    is_lazy=False,
)
