"""Opening: the one place that turns what users have into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from daskgmm.em import Missing
from daskgmm.errors import DataError
from daskgmm.execution import Work
from daskgmm.rules import bytes_of
from daskgmm.tables.arrow_tables import ARROW_TABLES
from daskgmm.tables.dask_arrays import DASK_ARRAYS
from daskgmm.tables.dask_dataframes import DASK_DATAFRAMES
from daskgmm.tables.frames import DATA_FRAMES
from daskgmm.tables.in_memory import IN_MEMORY
from daskgmm.tables.indexes import check_aligned
from daskgmm.tables.kind import Kind, OpenedRows, Request, Use
from daskgmm.tables.measurement_noise import MeasurementNoise, noise_of
from daskgmm.tables.stage import Stage
from daskgmm.tables.stored import STORED
from daskgmm.tables.stored_grids import GRIDS, Grid, weights_on
from daskgmm.tables.weight_columns import without_weights
from daskgmm.tables.weights import Weights, weights_beside, weights_of
from daskgmm.tables.xarrays import XARRAY, XARRAY_ON_DASK, is_xarray, row_weights

__all__ = ["KINDS", "is_lazy", "open_input", "open_measurement_noise", "open_weights"]

KINDS: tuple[Kind, ...] = (
    STORED,
    GRIDS,
    DASK_ARRAYS,
    DASK_DATAFRAMES,
    XARRAY_ON_DASK,
    XARRAY,
    DATA_FRAMES,
    ARROW_TABLES,
    IN_MEMORY,
)
"""Kinds of data in the order in which they are asked; another one is a file and a row."""
_GRIDS = (GRIDS, XARRAY_ON_DASK, XARRAY)
"""Kinds whose rows are cells, to which results are given back with gaps where gaps were."""


def is_lazy(x: Any) -> bool:
    """Whether data are on Dask or in a store, rather than in memory."""
    return _kind_of(x).is_lazy


def open_input(
    x: Any,
    work: Work,
    *,
    memory_limit: int | str | None = None,
    stage: Stage | None = None,
    weights: Weights | None = None,
    use: Use = Use(),  # noqa: B008 (frozen)
) -> OpenedRows:
    """Rows over any accepted kind of data: the one door, which refuses what can be no rows.

    Parameters
    ----------
    x : array-like, Dask array, data frame, Arrow table, xarray, zarr.Array, Source, path or URL
    work : Work
        What the rows are for; its ``keep_rows`` and ``reads_at_once`` are set here.
    memory_limit : int or str, optional
        Bytes that a process may use; decides how stored rows are cut.
    stage : Stage, optional
        Whether rows of the first pass are kept for later ones.
    weights : Weights, optional
        How often each row counts.
    use : Use, optional
        What is done with the rows; by default they are fitted.

    Raises
    ------
    DataError
        If the shape or dtype cannot be rows, or there is not a weight for each. For data in
        memory also ValueError and TypeError, in scikit-learn's words.
    ParameterError
        If rows are to be staged that are not stored.
    MemoryLimitError
        If the data cannot be processed within the limit.
    """
    work = replace(work, has_gaps=use.missing == "em")
    request = Request(work, bytes_of(memory_limit), stage or Stage(), weights, use)
    kind = _kind_of(x)
    request.stage.check(is_stored=kind.is_stored)
    opened = kind.open(_unmasked(x) if use.missing != "error" else x, request)
    # Cells of a grid that are left out for their gaps are gone by now, or have no weight.
    return opened if kind in _GRIDS else opened.with_gaps(use.missing, each_once=weights is None)


def _unmasked(x: Any) -> Any:
    """A masked array as one that has NaN where it is masked; other data as they are."""
    if not isinstance(x, np.ma.MaskedArray):
        return x
    floats = x.data if x.dtype.kind == "f" else x.data.astype(np.float64)
    return np.where(np.ma.getmaskarray(x), floats.dtype.type(np.nan), floats)


def open_weights(
    given: Any, x: Any, names: Sequence[str] | None = None, missing: Missing = "error"
) -> tuple[Any, Weights]:
    """Open and check weights: one read of them, and none of the rows.

    Parameters
    ----------
    given : array-like, Dask array or Series, xarray.DataArray, zarr.Array, Source, path or URL
        Weights of shape (n_rows,); for xarray's data also along some of the cells' dimensions. A
        name is that of a column, variable or array beside the rows, where they have such.
    x : array-like, Dask array or DataFrame, xarray.DataArray or Dataset, zarr.Array, Source, path or URL
        Rows that the weights are of.
    names : sequence of str, optional
        The features of a model, where it is what will see the rows.
    missing : {"error", "drop", "em"}
        What becomes of cells with gaps, in memory, whose weights may be missing.

    Returns
    -------
    rows
        Those given, without the column that the weights are.
    Weights

    Raises
    ------
    DataError
        If they are not one finite number of 0 or more for each row, or all are 0; or if they are
        a Series of another index than the rows have.
    """
    x, given = without_weights(x, given)
    check_aligned(given, x, "sample_weight")
    if isinstance(x, Grid):
        return x, weights_of(weights_on(x, given, names), may_lack=True)
    if is_xarray(x):
        on_cells = row_weights(x, given, names, missing)
        return x, weights_of(on_cells, may_lack=is_lazy(x) or missing == "em")
    return x, weights_of(weights_beside(x, given) if isinstance(given, str) else given)


def open_measurement_noise(given: Any, x: Any) -> MeasurementNoise:
    """Open the variances of the noise of rows; no value is read of what is lazy.

    Parameters
    ----------
    given : array-like, data frame, Dask array or DataFrame, zarr.Array, Source, path or URL
        In squared units of the data, of a shape that :func:`noise_of` takes. Columns of the same
        names as those of the rows, both being data frames, are brought into their order.
    x : rows
        What they are of.

    Raises
    ------
    DataError
        If they are no numbers in rows; or if the rows are cells of a grid, or a data frame of
        another index.
    """
    if is_xarray(x) or isinstance(x, Grid):
        raise DataError(
            "measurement_noise is in the order of rows, and cells of a grid have none; give the data "
            "as an array of rows"
        )
    check_aligned(given, x, "measurement_noise")
    return noise_of(_in_order_of(given, x))


def _in_order_of(given: Any, x: Any) -> Any:
    """A table in the order of the columns of another one, where it has columns of the same names."""
    names, wanted = (_column_names(table) for table in (given, x))
    is_other = names != wanted and len(set(names)) == len(names) and set(names) == set(wanted)
    return given[wanted] if is_other else given


def _column_names(table: Any) -> list[str]:
    """Names of the columns of a data frame; none of anything else, or where one is no text."""
    names = list(getattr(table, "columns", ()))
    return names if all(isinstance(name, str) for name in names) else []


def _kind_of(x: Any) -> Kind:
    return next(kind for kind in KINDS if kind.matches(x))
