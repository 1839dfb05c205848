"""xarray: a two-dimensional DataArray on Dask, whose first dimension is the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dask.array as da

from daskgmm.tables.dask_arrays import open_dask_array
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import names_of_dimension

__all__ = ["DATA_ARRAYS"]


def _matches(x: Any) -> bool:
    return hasattr(x, "dims") and isinstance(getattr(x, "data", None), da.Array)


def _open(x: Any, request: Request) -> OpenedRows:
    return replace(open_dask_array(x.data, request), feature_names=names_of_dimension(x))


DATA_ARRAYS = Kind("xarray DataArray on Dask", _matches, _open)
