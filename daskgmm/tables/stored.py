"""Stored rows: paths, URLs and open Zarr arrays, planned, staged and on Dask."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray

from daskgmm.em import NoisyRows, Rows
from daskgmm.errors import DataError
from daskgmm.execution import (
    DaskRows,
    Machine,
    MemoryPlan,
    StagedSource,
    Staging,
    StoredShape,
    array_of_source,
    blocks_within,
    in_force,
    partition_starts,
    plan_memory,
)
from daskgmm.execution.memory import read_rows
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.source import Source, cuts_of, has_whole_units
from daskgmm.storage import ParquetSource, StoredSource, open_source
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import check_names
from daskgmm.tables.sizes import check_sizes
from daskgmm.tables.stage import Stage
from daskgmm.tables.weights import Weights

__all__ = ["STORED", "open_stored"]

_READS_OF_OBJECTS = 4
"""Reads that a thread has on their way from an object store: they hide 50 ms behind the work on 4 MiB."""
_READS_OF_FILES = 2
"""Those from files: a thread with one waits for it a tenth of the time."""
_DEAR_READ = 64 * 2**20
"""Bytes in flight of a read from files, above which a second one costs more memory than it is worth."""


def _is_source(x: Any) -> bool:
    return hasattr(x, "unit_rows") and hasattr(x, "read")


def _matches(x: Any) -> bool:
    return isinstance(x, str | os.PathLike | zarr.Array | zarr.Group) or _is_source(x)


def _open(x: Any, request: Request) -> OpenedRows:
    return open_stored(_with_features(x if _is_source(x) else open_source(x), request), request)


def open_stored(source: StoredSource, request: Request) -> OpenedRows:
    """Rows of a source, cut as the memory plan says.

    Raises
    ------
    DataError, DamagedDataError, MemoryLimitError
    """
    if in_force().has_workers:
        _check_travels(source)
    names = getattr(source, "feature_names", None)
    check_names(request.use.names, names)  # gaps in columns that are of no use are no matter
    check_sizes(source.name, source.shape, request)
    if (noise := request.use.measurement_noise) is not None:
        noise.check_shape(source.shape, source.name)
    source.survey().raise_for_damage(source.missing_chunks)
    # With weights, a row with nulls may weigh nothing.
    must_be_complete = request.weights is None and request.use.missing == "error"
    if isinstance(source, ParquetSource) and must_be_complete:
        source.check_complete()
    stage, fingerprint = request.stage, source.fingerprint
    # Predictions alone are returned as arrays, whose names should last; to list the store takes time.
    state = None if request.use.counted else getattr(source, "state", lambda: None)()
    read: Source = source if noise is None else noise.beside_source(source)
    plan = _plan(read, request, source)
    staging = stage.staging_of(source, plan)
    kept = read if stage.where is None else StagedSource(read, staging, stage.dtype)
    if noise is not None:  # the state is that of the rows alone
        state = None
    rows: Rows = _rows(kept, plan, request.weights, state, request.work.output_row_bytes > 0)
    return OpenedRows(
        rows if noise is None else NoisyRows(rows, source.shape[1], request.use.missing),
        source.name,
        plan.n_sampled,
        output_rows=plan.grain,
        staging=staging,
        fingerprint=fingerprint,
        feature_names=names,
        feature_units=getattr(source, "feature_units", None),
        n_threads=plan.n_threads,
    )


def _check_travels(source: StoredSource) -> None:
    """Refuse a store that cannot be sent to workers, such as a session that may write.

    Raises
    ------
    DataError
    """
    try:
        pickle.dumps(source)
    except Exception as error:  # whatever a foreign store raises
        raise DataError(
            f"{source.name} cannot be sent to the workers of a cluster: {one_line(error)}; open its "
            "store read-only, as repo.readonly_session('main').store of Icechunk, or give its path"
        ) from cause_to_show(error)


def _with_features(source: StoredSource, request: Request) -> StoredSource:
    """A source whose columns have names, of those that are the features."""
    if not isinstance(source, ParquetSource):
        return source
    weights = None if request.weights is None else request.weights.given
    beside: tuple[str, ...] = ()
    if isinstance(weights, ParquetSource) and weights.files == source.files:
        beside = weights.feature_names
    return source.selecting(request.use.names, beside)


def _rows(
    source: Source,
    plan: MemoryPlan,
    weights: Weights | None,
    state: str | None,
    aligned: bool,
) -> DaskRows:
    """The rows of a source, cut as planned."""
    if weights is not None:
        weights.check_length(source.shape[0], source.name)
    if weights is None or not weights.is_lazy:
        array, starts = _cut(source, plan, aligned, state)
        how = (plan.grain, plan.n_threads, source, plan.reads_at_once)
        rows = DaskRows(array, *how, weighting=None if weights is None else weights.by_range())
        return rows if starts is None else rows.in_partitions(starts)
    # Blocks of a Dask array cannot be read by range: rows come in blocks of their own, as long
    # as a piece, since a block is in memory whole; or as what is decoded whole.
    piece = read_rows(plan.grain, source.shape[1] * source.dtype.itemsize)
    array = array_of_source(source, _units_of(source) or piece)
    weighting = weights.in_chunks(array.chunks[0])
    return DaskRows(array, plan.grain, plan.n_threads, weighting=weighting)


def _cut(
    source: Source, plan: MemoryPlan, aligned: bool, state: str | None
) -> tuple[da.Array, NDArray[np.int64] | None]:
    """The array of a source; and partitions that are not its blocks, where units are unequal."""
    cuts = cuts_of(source)
    if cuts is None:
        return array_of_source(source, plan.partition_rows, state), None
    row_bytes = source.shape[1] * source.dtype.itemsize
    starts = partition_starts(cuts, row_bytes, plan.grain, aligned)
    blocks = _units_of(source) or blocks_within(starts, plan.partition_rows)
    return array_of_source(source, blocks, state), starts


def _units_of(source: Source) -> tuple[int, ...] | None:
    """Sizes of the units of a source that are decoded whole, and so should be mapped whole."""
    cuts = cuts_of(source)
    return None if cuts is None or not has_whole_units(source) else tuple(np.diff(cuts).tolist())


def _plan(read: Source, request: Request, source: StoredSource) -> MemoryPlan:
    """The memory plan for a source that is read alone or with noise beside it.

    It is for the processes that the scheduler in force has.
    """
    scheduler, stage = in_force(), request.stage
    limits = [n for n in (request.limit, scheduler.worker_memory) if n is not None]
    machine = Machine(
        n_threads=scheduler.n_threads,
        limit=min(limits) if limits else None,
        worker_resident=scheduler.worker_resident if scheduler.has_workers and limits else None,
        fewer_threads=not scheduler.has_workers,
    )
    work = replace(
        request.work,
        # The memory that is free here tells nothing of workers that have no limit.
        keep_rows=stage.is_auto and (bool(limits) or not scheduler.has_workers),
        reads_at_once=reads_of_thread(source, stage),
    )
    shape, d = StoredShape.of(StagedSource(read, Staging(), stage.dtype)), source.shape[1]
    if shape.n_features > d:  # each value is read with its noise
        shape = replace(shape, n_features=d, itemsize=shape.row_bytes // d)
        work = replace(work, noise="full" if read.shape[1] > 2 * d else "diag")
    return plan_memory(shape, work, machine)


def reads_of_thread(source: StoredSource, stage: Stage) -> int:
    """Reads that a thread should have on their way."""
    if cuts_of(source) is not None:  # what is read from the beginning of a unit on is read in order
        return 1
    if source.is_remote:
        return _READS_OF_OBJECTS
    # Rows that are kept save whole reads, and have the memory before a second read.
    return 1 if stage.is_auto or source.unit_overhead > _DEAR_READ else _READS_OF_FILES


STORED = Kind("stored rows", _matches, _open, is_stored=True)
