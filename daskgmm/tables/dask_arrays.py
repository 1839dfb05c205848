"""Dask arrays: rows in chunks that the caller has cut."""

from __future__ import annotations

import math

import dask.array as da
from dask.utils import format_bytes

from daskgmm.em import NoisyRows, Rows
from daskgmm.errors import MemoryLimitError
from daskgmm.execution import DaskRows, default_limit, in_force, row_blocks, sample_rows
from daskgmm.storage import rows_dtype, rows_shape
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import Names, check_names
from daskgmm.tables.plain import check_unmasked
from daskgmm.tables.sizes import check_sizes

__all__ = ["DASK_ARRAYS", "open_dask_array"]


def open_dask_array(x: da.Array, request: Request, names: Names | None = None) -> OpenedRows:
    """Rows of a Dask array, on as many threads as its chunks leave memory for.

    Parameters
    ----------
    x : dask.array.Array of shape (n_rows, n_features)
    request : Request
    names : tuple of str, optional
        Of its features.

    Raises
    ------
    DataError
        If the shape or dtype cannot be rows, or if the names are not those of the fit: before
        rows are counted.
    MemoryLimitError
        If its largest chunk does not fit twice.
    """
    check_names(request.use.names, names)
    rows_dtype("the Dask array", x.dtype)
    check_unmasked(x._meta)
    array, passes = row_blocks(x, request.use.counted)
    n_rows, n_features = rows_shape("the Dask array", array.shape)
    check_sizes(f"Dask array of shape {array.shape}", (n_rows, n_features), request)
    noise = request.use.measurement_noise
    if noise is not None:
        noise.check_shape((n_rows, n_features), f"Dask array of shape {array.shape}")
        array = noise.beside(array)
    limit = default_limit() if request.limit is None else request.limit
    row_bytes = array.shape[1] * array.dtype.itemsize
    known = [int(n) for n in array.chunks[0] if not math.isnan(n)]
    largest = max(known, default=1) * row_bytes  # chunks of unknown size cannot be held to it
    if 2 * largest > limit:
        raise MemoryLimitError(
            f"memory_limit {format_bytes(limit)} is too small: the largest row chunk of the Dask "
            f"array takes {format_bytes(largest)} across all {n_features} features and is held "
            "twice while it is processed; rechunk the array to fewer rows, or raise it"
        )
    n_threads = max(1, min(in_force().n_threads, limit // (2 * max(1, largest))))
    name, weighting = f"Dask array of shape {(n_rows, n_features)}", None
    if request.weights is not None:
        request.weights.check_length(n_rows, name)
        weighting = request.weights.in_chunks(array.chunks[0])
    rows: Rows = DaskRows(array, n_threads=n_threads, weighting=weighting)
    if noise is not None:
        rows = NoisyRows(rows, n_features, request.use.missing)
    if not request.use.counted:
        return OpenedRows(rows, name, n_sampled=0, feature_names=names)
    n_sampled = sample_rows(n_rows, request.work, n_features)
    return OpenedRows(rows, name, n_sampled, passes, feature_names=names)


DASK_ARRAYS = Kind("Dask array", lambda x: isinstance(x, da.Array), open_dask_array)
