"""xarray: a two-dimensional DataArray on Dask, whose first dimension is the rows."""

from __future__ import annotations

from typing import Any

import dask.array as da

from daskgmm.tables.dask_arrays import open_dask_array
from daskgmm.tables.kind import Kind, OpenedRows, Request

__all__ = ["DATA_ARRAYS"]


def _matches(x: Any) -> bool:
    return hasattr(x, "dims") and isinstance(getattr(x, "data", None), da.Array)


def _open(x: Any, request: Request) -> OpenedRows:
    return open_dask_array(x.data, request)


DATA_ARRAYS = Kind("xarray DataArray on Dask", _matches, _open)
