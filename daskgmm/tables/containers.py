"""Containers: what results of rows are returned in, as ``set_output`` says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

import dask.array as da

from daskgmm.errors import MissingDependencyError, ParameterError
from daskgmm.tables.kind import OpenedRows
from daskgmm.tables.returned import Returned, names_along, of_features
from daskgmm.tables.xarrays import filled, is_xarray

__all__ = ["CONTAINERS", "as_given", "columns_of", "data_frame_of", "in_pandas"]


def _as_it_is(found: Any, returned: Returned, data: Any) -> Any:
    return found


def in_pandas(found: Any, returned: Returned, index: Any = None) -> Any:
    """A Series of results for each row, or a DataFrame where there are several."""
    pandas = _library("pandas")
    if found.ndim == 1:
        return pandas.Series(found, index=index, name=returned.name)
    return pandas.DataFrame(found, index=index, columns=names_along(returned.along))


def _of_pandas(found: Any, returned: Returned, data: Any) -> Any:
    if isinstance(found, da.Array):
        columns = returned.name if found.ndim == 1 else names_along(returned.along)
        return _library("dask.dataframe").from_dask_array(found, columns)
    pandas = _library("pandas")
    index = data.index if isinstance(data, pandas.DataFrame) else None
    return in_pandas(found, returned, index)


def _of_polars(found: Any, returned: Returned, data: Any) -> Any:
    if isinstance(found, da.Array):
        raise ParameterError(
            "set_output(transform='polars') is for data in memory, and results of lazy data are "
            "lazy; use set_output(transform='pandas'), which gives a lazy Dask DataFrame of them",
            "transform",
        )
    polars = _library("polars")
    if found.ndim == 1:
        return polars.Series(returned.name, found)
    return polars.DataFrame(found, schema=names_along(returned.along), orient="row")


def data_frame_of(rows: Iterable[dict[str, Any]]) -> Any:
    """A pandas DataFrame of rows, each a dictionary by the names of columns.

    Raises
    ------
    MissingDependencyError
        If pandas is not installed.
    """
    return _library("pandas", "to_frame").DataFrame(rows)


def _library(name: str, wanted_by: str = "set_output") -> Any:
    try:
        return import_module(name)  # here, since not everybody has it
    except ImportError:
        extra = "polars" if name == "polars" else "'daskgmm[dataframe]'"
        raise MissingDependencyError(
            f"{wanted_by} needs {name}, which is not installed: pip install {extra}"
        ) from None


def columns_of(data: Any, opened: OpenedRows) -> list[Any]:
    """What the columns of rows are called, where they are called anything; else their places."""
    named = opened.feature_names or getattr(data, "columns", None)
    return list(range(opened.rows.n_features)) if named is None else list(named)


def as_given(found: Any, data: Any, names: Sequence[Any], opened: OpenedRows) -> Any:
    """Rows (n, D) in the container that others came in: an array, a table in memory, or a grid."""
    if opened.laid_out is not None:
        cells = opened.laid_out(found, of_features("imputed", "the cell without gaps", names))
        return filled(data, cells) if is_xarray(data) else cells
    library = type(data).__module__.partition(".")[0]
    if isinstance(found, da.Array) or library not in ("pandas", "polars", "pyarrow"):
        return found
    if library == "pandas":
        return _library("pandas").DataFrame(found, index=data.index, columns=data.columns)
    columns = {str(name): found[:, j] for j, name in enumerate(names)}
    if library == "polars":
        return _library("polars").DataFrame(columns)
    return type(data).from_pydict(columns)


CONTAINERS: dict[str, Callable[[Any, Returned, Any], Any]] = {
    "default": _as_it_is,
    "pandas": _of_pandas,
    "polars": _of_polars,
}
"""By the name that ``set_output`` is given: functions of results, what they are, and the data."""
