"""Dask DataFrames: the rows of their columns, as a Dask array."""

from __future__ import annotations

from typing import Any

from daskgmm.tables.dask_arrays import open_dask_array
from daskgmm.tables.frames import as_numbers
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import check_names, names_of

__all__ = ["DASK_DATAFRAMES"]


def _open(x: Any, request: Request) -> OpenedRows:
    names = names_of(x.columns)
    check_names(request.use.names, names)
    return open_dask_array(as_numbers(x).to_dask_array(), request, names)


DASK_DATAFRAMES = Kind("Dask DataFrame", lambda x: hasattr(x, "to_dask_array"), _open)
