"""Dask DataFrames: the rows of their columns, as a Dask array."""

from __future__ import annotations

from typing import Any

from daskgmm.tables.dask_arrays import open_dask_array
from daskgmm.tables.kind import Kind, OpenedRows, Request

__all__ = ["DASK_DATAFRAMES"]


def _open(x: Any, request: Request) -> OpenedRows:
    return open_dask_array(x.to_dask_array(), request)


DASK_DATAFRAMES = Kind("Dask DataFrame", lambda x: hasattr(x, "to_dask_array"), _open)
