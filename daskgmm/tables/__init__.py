"""Inputs: the one place that turns what users have into rows.

To accept another kind of data in memory or on Dask, add a row to ``_KINDS``; to
accept another file format, add it to :mod:`daskgmm.storage`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import dask.array as da
import numpy as np
import zarr
from dask.utils import format_bytes

from daskgmm.em import InMemoryRows, Rows
from daskgmm.errors import DataError, MemoryLimitError, ParameterError
from daskgmm.execution import (
    DaskRows,
    MemoryPlan,
    StagedSource,
    Staging,
    array_of_source,
    coalesced,
    default_limit,
    in_force,
    plan_memory,
    sample_rows,
)
from daskgmm.rules import bytes_of
from daskgmm.storage import (
    Location,
    StoredSource,
    open_source,
    preflight,
    rows_dtype,
    rows_shape,
)

__all__ = ["OpenedRows", "Stage", "check_unmasked", "is_lazy", "open_input", "open_rows"]

_READS_AT_ONCE = 4
"""Of a thread, from an object store: enough to hide 50 ms behind the work on 4 MiB."""


@dataclass(frozen=True)
class OpenedRows:
    """Rows and what is known of them before any pass.

    Attributes
    ----------
    rows : Rows
    name : str
        For messages and records; secrets are removed.
    n_sampled : int
        Rows that the scan's sample should hold.
    passes : int
        Passes already spent (counting the rows of a Dask array).
    output_rows : int
        Rows that results should be written by, where the rows are stored.
    staging : Staging
        To be entered around all passes.
    fingerprint : callable or None
        Hash by which stored rows are known again; None for rows that are not stored.
    """

    rows: Rows
    name: str
    n_sampled: int
    passes: int = 0
    output_rows: int = 1
    staging: Staging = field(default_factory=Staging)
    fingerprint: Callable[[], str] | None = None


@dataclass(frozen=True)
class Stage:
    """What a user asks of staging.

    Attributes
    ----------
    where : str, path or None
        Folder on a local disk; ``"auto"`` for memory that is spare, then the temporary
        folder; None for no staging.
    limit : int, str or None
        Most bytes that a process writes there.
    dtype : str or None
        What rows are rounded to.
    """

    where: str | os.PathLike[str] | None = None
    limit: int | str | None = None
    dtype: str | None = None

    @property
    def is_auto(self) -> bool:
        """Whether to take what there is."""
        return self.where == "auto"

    def check(self, *, is_stored: bool) -> None:
        """Refuse what has no meaning, for rows that are stored or are not.

        Raises
        ------
        ParameterError
        """
        if self.where is None and not (self.limit is None and self.dtype is None):
            name = "stage_dtype" if self.limit is None else "stage_limit"
            raise ParameterError(
                f"{name} needs stage: set stage='auto' or a folder, or drop it", name
            )
        bytes_of(self.limit, "stage_limit")
        if is_stored or ((self.where is None or self.is_auto) and self.dtype is None):
            return
        raise ParameterError(
            "stage and stage_dtype are for stored rows (a path, a URL, a Zarr array), which every "
            "pass would decode again; for data in memory or on Dask leave them out, or write the "
            "data to Zarr first"
        )

    def staging_of(self, source: StoredSource, plan: MemoryPlan) -> Staging:
        """What each process may keep."""
        if self.where is None:
            return Staging()
        folder = None
        if not self.is_auto:
            place = Location.parse(self.where)
            if not place.is_local:
                raise ParameterError(
                    f"stage must be a folder on a local disk; got {place.name}", "stage"
                )
            folder = place.address
        return Staging(
            memory_bytes=plan.kept,
            # From a file of plain rows another one would be read no faster.
            on_disk=not source.is_plain,
            folder=folder,
            disk_bytes=bytes_of(self.limit, "stage_limit"),
            key=f"{source.fingerprint()[:16]}-{uuid.uuid4().hex}",
        )


def open_rows(
    data: Any, *, member: str | None = None, missing_chunks: Literal["error", "fill"] = "error"
) -> StoredSource:
    """Open stored rows for :class:`daskgmm.GaussianMixture`.

    Parameters
    ----------
    data : str, Path, zarr.Array or zarr.Group
        Path or URL of a Zarr array, of a group with a single array, or of a ``.npy``
        file; or one already open.
    member : str, optional
        Name of the array within a group of several.
    missing_chunks : {"error", "fill"}
        What a chunk that is not in the store means: damage, or rows of the array's
        fill value, which Zarr does not store by default.

    Returns
    -------
    Source
        Small, picklable, nothing read yet.

    Raises
    ------
    NotFoundError, DataError, DamagedDataError
    """
    return open_source(data, member=member, missing_chunks=missing_chunks)


def is_lazy(x: Any) -> bool:
    """Whether data are on Dask or in a store, rather than in memory."""
    return any(kind.matches(x) for kind in _KINDS)


def open_input(
    x: Any,
    *,
    n_components: int,
    n_together: int | None = None,
    memory_limit: int | str | None = None,
    sampled: bool = False,
    output_row_bytes: int = 0,
    stage: Stage | None = None,
) -> OpenedRows:
    """Rows over any accepted kind of data.

    Parameters
    ----------
    x : ndarray, Dask array or DataFrame, xarray.DataArray, zarr.Array, Source, path or URL
    n_components : int
    n_together : int, optional
        Components of all mixtures that share a pass; ``n_components`` is of the largest.
    memory_limit : int or str, optional
        Bytes that a process may use; decides how stored rows are cut.
    sampled : bool
        Whether a scan will keep a sample, for a fit.
    output_row_bytes : int
        Bytes that each row leaves as a result, where results are written.
    stage : Stage, optional
        Whether rows of the first pass are kept for later ones.

    Raises
    ------
    DataError
        If the shape or dtype cannot be rows.
    ParameterError
        If rows are to be staged that are not stored.
    MemoryLimitError
        If the data cannot be processed within the limit.
    """
    stage = stage or Stage()
    request = _Request(
        n_components, n_together, bytes_of(memory_limit), sampled, output_row_bytes, stage
    )
    kind = next((kind for kind in _KINDS if kind.matches(x)), None)
    stage.check(is_stored=kind is _STORED)
    if kind is not None:
        return kind.open(x, request)
    rows = InMemoryRows(x, n_threads=in_force().local_threads)
    n_sampled = sample_rows(*_sizes(x, request))
    return OpenedRows(rows, f"array of shape {x.shape}", n_sampled)


@dataclass(frozen=True)
class _Request:
    n_components: int
    n_together: int | None
    limit: int | None
    sampled: bool
    output_row_bytes: int
    stage: Stage


@dataclass(frozen=True)
class _Kind:
    matches: Callable[[Any], bool]
    open: Callable[[Any, _Request], OpenedRows]


def _open_stored(x: Any, request: _Request) -> OpenedRows:
    source = x if _is_source(x) else open_source(x)
    preflight(source).raise_for_damage(source.missing_chunks)
    scheduler = in_force()
    limits = [n for n in (request.limit, scheduler.worker_memory) if n is not None]
    stage, fingerprint = request.stage, source.fingerprint
    as_read = StagedSource(source, Staging(), stage.dtype)
    plan = plan_memory(
        n_rows=source.shape[0],
        n_features=source.shape[1],
        itemsize=as_read.dtype.itemsize,
        n_components=request.n_components,
        n_together=request.n_together,
        unit_rows=source.unit_rows,
        unit_overhead=as_read.unit_overhead,
        n_threads=scheduler.n_threads,
        fewer_threads=not scheduler.has_workers,
        limit=min(limits) if limits else None,
        worker_resident=scheduler.worker_resident if scheduler.has_workers and limits else None,
        sampled=request.sampled,
        output_row_bytes=request.output_row_bytes,
        # What is free here says nothing of what workers without a limit can spare.
        keep_rows=stage.is_auto and (bool(limits) or not scheduler.has_workers),
        reads_at_once=_READS_AT_ONCE if source.is_remote else 1,
    )
    staging = stage.staging_of(source, plan)
    if stage.where is not None:
        source = StagedSource(source, staging, stage.dtype)
    array = array_of_source(source, plan.partition_rows)
    rows = DaskRows(array, plan.grain, plan.n_threads, source, plan.reads_at_once)
    return OpenedRows(
        rows,
        source.name,
        plan.n_sampled,
        output_rows=plan.grain,
        staging=staging,
        fingerprint=fingerprint,
    )


def _open_dask(x: da.Array, request: _Request) -> OpenedRows:
    rows_dtype("the Dask array", x.dtype)
    check_unmasked(x._meta)
    array, passes = coalesced(x)
    _, n_features = rows_shape("the Dask array", array.shape)
    limit = default_limit() if request.limit is None else request.limit
    threads = in_force().n_threads
    largest = max(array.chunks[0]) * n_features * array.dtype.itemsize
    if 2 * largest > limit:
        raise MemoryLimitError(
            f"memory_limit {format_bytes(limit)} is too small: the largest row chunk of the Dask "
            f"array takes {format_bytes(largest)} across all {n_features} features and is held "
            "twice while it is processed; rechunk the array to fewer rows, or raise it"
        )
    rows = DaskRows(array, n_threads=max(1, min(threads, limit // (2 * largest))))
    n_sampled = sample_rows(*_sizes(array, request))
    return OpenedRows(rows, f"Dask array of shape {array.shape}", n_sampled, passes)


def _open_dataframe(x: Any, request: _Request) -> OpenedRows:
    return _open_dask(x.to_dask_array(), request)


def _open_dataarray(x: Any, request: _Request) -> OpenedRows:
    return _open_dask(x.data, request)


def check_unmasked(x: Any) -> None:
    """Refuse masked arrays: what is masked would be fitted as if it were data."""
    if isinstance(x, np.ma.MaskedArray):
        raise DataError("masked arrays are not supported; drop or impute the masked rows")


def _sizes(x: Any, request: _Request) -> tuple[int, int, int]:
    return x.shape[0], request.n_components, x.shape[1]


def _is_source(x: Any) -> bool:
    return hasattr(x, "unit_rows") and hasattr(x, "read")


_STORED = _Kind(
    lambda x: isinstance(x, str | os.PathLike | zarr.Array | zarr.Group) or _is_source(x),
    _open_stored,
)
_KINDS = (
    _STORED,
    _Kind(lambda x: isinstance(x, da.Array), _open_dask),
    _Kind(lambda x: hasattr(x, "to_dask_array"), _open_dataframe),
    _Kind(lambda x: hasattr(x, "dims") and isinstance(x.data, da.Array), _open_dataarray),
)
