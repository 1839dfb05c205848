"""Weights that are a column of the rows: by its name, of a table or of xarray's data."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from daskgmm.tables.arrow_tables import ARROW_TABLES, eager_frame
from daskgmm.tables.dask_dataframes import DASK_DATAFRAMES
from daskgmm.tables.frames import DATA_FRAMES
from daskgmm.tables.names import known_name, means_place
from daskgmm.tables.xarrays import is_xarray

__all__ = ["without_weights"]


def without_weights(x: Any, given: Any) -> tuple[Any, Any]:
    """Rows without the column that their weights are, and the weights.

    Parameters
    ----------
    x : rows
    given : str or weights
        The name of a column of a table, or of a variable or coordinate of xarray's data. Weights that
        are no name, and those of rows of other kinds, are given back as they came.

    Raises
    ------
    DataError
        If there is none of that name, and no file either.
    """
    if not isinstance(given, str):
        return x, given
    if is_xarray(x):
        known = list(x.variables if hasattr(x, "data_vars") else x.coords)
        if (name := _name_of(given, known, "variables and coordinates")) is None:
            return x, given
        is_feature = name in getattr(x, "data_vars", ())
        return x.drop_vars(name) if is_feature else x, x[name]
    if DATA_FRAMES.matches(x) or DASK_DATAFRAMES.matches(x):
        name = _name_of(given, list(x.columns), "columns")
        return (x, given) if name is None else (x.drop(columns=[name]), x[name])
    if ARROW_TABLES.matches(x) and (frame := eager_frame(x)) is not None:
        name = _name_of(given, frame.columns, "columns")
        if name is None:
            return frame.to_native(), given  # what came may be a stream, which has been read
        return frame.drop(name).to_native(), frame[name].to_numpy()
    return x, given


def _name_of(given: str, known: list[Hashable], what: str) -> Any:
    """The column or variable of this name; None if the text is a path or URL."""
    if means_place(given, given in map(str, known)):
        return None
    return known_name(given, known, f"{what} of the data, of which sample_weight names one")
