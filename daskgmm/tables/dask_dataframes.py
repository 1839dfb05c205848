"""Dask DataFrames: the rows of their columns, as a Dask array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from daskgmm.errors import NonFiniteError
from daskgmm.kernel import Block
from daskgmm.kernel.blas import single_thread
from daskgmm.tables.containers import in_pandas
from daskgmm.tables.dask_arrays import open_dask_array
from daskgmm.tables.frames import as_numbers
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import check_names, names_of
from daskgmm.tables.returned import Returned

__all__ = ["DASK_DATAFRAMES"]


def _open(x: Any, request: Request) -> OpenedRows:
    names = names_of(x.columns)
    check_names(request.use.names, names)
    numbers = as_numbers(x)
    opened = open_dask_array(numbers.to_dask_array(), request, names)
    if request.use.measurement_noise is not None:  # which is in no partition of the frame
        return opened
    return replace(opened, framed=partial(_framed, numbers))


def _framed(
    numbers: Any, function: Callable[..., Any], args: tuple[Any, ...], returned: Returned, meta: Any
) -> Any:
    """Function of the rows in pandas' containers, of the partitions and index that came in.

    They are made in the tasks of the partitions: beside an array of results, the index would be
    read once more.
    """
    meta = in_pandas(meta, returned, numbers._meta.index[:0])
    return numbers.map_partitions(_of_partition, function, args, returned, meta=meta)


def _of_partition(
    frame: Any, function: Callable[..., Any], args: tuple[Any, ...], returned: Returned
) -> Any:
    try:
        with single_thread():
            found = function(Block(as_numbers(frame).to_numpy()), *args)
    except NonFiniteError as error:
        raise NonFiniteError(
            f"in the partition of the Dask DataFrame whose index begins with {frame.index[0]}, "
            "rows counted from its first: ",
            *error.args,
        ) from None
    return in_pandas(found, returned, frame.index)


DASK_DATAFRAMES = Kind("Dask DataFrame", lambda x: hasattr(x, "to_dask_array"), _open)
