"""Row outputs: results for each row in one Zarr group, written by many tasks, shown when complete.

The group opens in xarray as a Dataset: each result is an array with names of dimensions, its fill
and its attributes, beside coordinates along the dimensions.
"""

from __future__ import annotations

import base64
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.sync import sync

from daskgmm.errors import StorageError
from daskgmm.plain_json import plain_json
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.outputs.atomic_output import atomic_output
from daskgmm.storage.outputs.drafts import Draft, DraftedOutput
from daskgmm.storage.outputs.uncertainties import UNCERTAINTY_FORMAT
from daskgmm.storage.outputs.variables import Variable, add_variables, consolidate
from daskgmm.storage.places.locations import Location
from daskgmm.storage.rows.listing import stored_objects
from daskgmm.storage.rows.stored_grid import StoredGrid
from daskgmm.storage.rows.zarr_nodes import open_node

__all__ = [
    "RESULTS_FORMAT",
    "ResultArray",
    "RowAxes",
    "RowOutput",
    "RowWriter",
    "chunk_rows",
    "results_described",
]

RESULTS_FORMAT = "daskgmm-results"
"""Attribute ``format`` of groups that hold results of rows under a model."""
_DESCRIBED = (RESULTS_FORMAT, UNCERTAINTY_FORMAT)
_CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True)
class ResultArray:
    """An array with a value, or several, for each row.

    Attributes
    ----------
    dtype : dtype
    fill : int, float or None
        Stands for what a row does not have; None where each row has all.
    dims : tuple of str
        Names of the dimensions after those of the rows.
    shape : tuple of int
        Along these.
    attributes : mapping
        Plain JSON, and NumPy arrays.
    columns : tuple of str
        What single values along the first of these dimensions are called, where each is a
        column; by default their places.
    """

    dtype: np.dtype[Any]
    fill: int | float | None
    dims: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowAxes:
    """Dimensions that rows lie along, and coordinates.

    Attributes
    ----------
    shape : tuple of int
        The number of rows; or the shape of a grid that is written along its first dimension.
    dims : tuple of str
    coordinates : mapping
        Variables by name, along these dimensions and those of the results.
    """

    shape: tuple[int, ...]
    dims: tuple[str, ...] = ("row",)
    coordinates: Mapping[str, Variable] = field(default_factory=dict)


def chunk_rows(n_rows: int, partition_rows: int, row_bytes: int) -> int:
    """Rows of a chunk such that every multiple of ``partition_rows`` is a chunk's edge.

    It is the divisor of ``partition_rows`` that brings a chunk nearest to 4 MiB, by ratio.

    Examples
    --------
    >>> chunk_rows(10**9, 10**6, 64)
    62500
    """
    wanted = _CHUNK_BYTES / row_bytes
    if partition_rows >= n_rows:
        return max(1, min(n_rows, int(wanted)))
    small = [d for d in range(1, math.isqrt(partition_rows) + 1) if partition_rows % d == 0]
    divisors = {*small, *(partition_rows // d for d in small)}
    return min(sorted(divisors), key=lambda rows: abs(math.log(rows / wanted)))


class RowWriter:
    """Writes blocks of rows; small to pickle, so that tasks carry it.

    Parameters
    ----------
    group : zarr.Group
    arrays : mapping
        Its arrays of results, by name.
    name : str
        Name of the output, for messages.
    """

    def __init__(self, group: zarr.Group, arrays: Mapping[str, zarr.Array[Any]], name: str) -> None:
        self._mark = group.store_path / "zarr.json"
        self._arrays = dict(arrays)
        self._name = name

    def write(self, start: int, results: Mapping[str, NDArray[Any]]) -> None:
        """Store results as those of the rows from ``start`` on, counted along the first dimension.

        Writing the same rows twice stores the last values, so that a task may run again.

        Raises
        ------
        ValueError
            If shape or dtype do not fit, or the block does not start and end at the edges
            of chunks: two tasks that share a chunk would overwrite each other.
        StorageError
            If the store refuses, or the output has been finished or aborted.
        """
        for name, values in results.items():
            self._check(name, start, values)
        stops = [start + len(values) for values in results.values()]
        where = f"{self._name}: rows {start}:{max(stops, default=start)}"
        try:
            # Zarr would make the folder of an aborted output anew, and it would stay there.
            is_open = sync(self._mark.exists())
            if is_open:
                for (name, values), stop in zip(results.items(), stops, strict=True):
                    self._arrays[name][start:stop] = values
        except MemoryError:
            raise
        except Exception as error:
            raise StorageError(
                f"{where} cannot be written: {one_line(error)}; check permissions and space"
            ) from cause_to_show(error)
        if not is_open:
            raise StorageError(f"{where} came after the output was finished or aborted")

    def _check(self, name: str, start: int, values: NDArray[Any]) -> None:
        """Refuse values that do not fit into an array, or not to its chunks."""
        array, shown = self._arrays[name], f"{self._name}/{name}"
        n_rows, *rest = array.shape
        stop = start + len(values)
        if list(values.shape[1:]) != rest or not 0 <= start <= stop <= n_rows:
            raise ValueError(
                f"{shown}: values of shape {values.shape} at row {start} do not fit into "
                f"{array.shape}"
            )
        if not np.can_cast(values.dtype, array.dtype, "same_kind"):
            raise ValueError(f"{shown}: {values.dtype} values do not fit into {array.dtype}")
        rows = array.chunks[0]
        if start % rows or (stop % rows and stop != n_rows):
            raise ValueError(
                f"{shown}: rows {start}:{stop} are not aligned to chunks of {rows} rows"
            )


def _with_fill(array: ResultArray) -> dict[str, Any]:
    """Attributes of an array, with its fill as xarray declares one in version 3: floats in base64."""
    if array.fill is None:
        return dict(plain_json(array.attributes))
    fill: Any = array.fill
    if array.dtype.kind == "f":
        fill = base64.standard_b64encode(struct.pack("<d", fill)).decode()
    return {**plain_json(array.attributes), "_FillValue": fill}


class RowOutput(DraftedOutput):
    """A Zarr group of results for each row, which appears when all of it is written.

    It is made by :meth:`create`, and is a context: see :class:`DraftedOutput`.

    Attributes
    ----------
    name : str
        Name of the output, for messages.
    writer : RowWriter
        Writes the blocks; tasks carry it.
    """

    def __init__(
        self, draft: Draft, group: zarr.Group, arrays: Mapping[str, zarr.Array[Any]]
    ) -> None:
        super().__init__(draft)
        self.writer = RowWriter(group, arrays, self.name)
        self._arrays = dict(arrays)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        axes: RowAxes,
        results: Mapping[str, ResultArray],
        *,
        partition_rows: int,
        attributes: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> RowOutput:
        """Prepare an output.

        Parameters
        ----------
        path : str or path
            Path or URL; its folder must exist.
        axes : RowAxes
        results : mapping
            By name.
        partition_rows : int
            Rows of a write: each starts and ends at a multiple of it, or ends with the rows.
        attributes : mapping, optional
            Of the group: plain JSON.
        overwrite : bool, default=False
            Whether a Zarr array or group that is there may be replaced.

        Raises
        ------
        OutputExistsError
            If something is there that must not be replaced; nothing was written.
        NotFoundError
            If the parent folder does not exist.
        StorageError
            If nothing can be written there.
        """
        draft = atomic_output(Location.parse(path), overwrite=overwrite)
        with draft.begun():
            group = zarr.create_group(
                draft.place.store(read_only=False),
                zarr_format=3,
                attributes=plain_json(attributes or {}),
            )
            arrays = {
                name: _created(group, name, axes, result, partition_rows)
                for name, result in results.items()
            }
            add_variables(group, axes.coordinates)
            consolidate(group)
        return cls(draft, group, arrays)

    def _finish(self) -> None:
        """Refuse an output of which rows were never written."""
        for name, array in self._arrays.items():
            self._check_array(name, array)

    def written(self) -> zarr.Group:
        """The group before it is shown, for whoever makes another output of it.

        Raises
        ------
        StorageError
            If rows were never written.
        """
        self._finish()
        return zarr.open_group(self._draft.place.store(), mode="r")

    def _check_array(self, name: str, array: zarr.Array[Any]) -> None:
        grid = StoredGrid.of(array, f"{self.name}/{name}")
        try:
            objects = stored_objects(array.store, array.path, grid.object_keys)
        except OSError as error:
            raise StorageError(
                f"{self.name} cannot be listed: {one_line(error)}; check permissions and the disk"
            ) from cause_to_show(error)
        missing = [
            key for key in grid.object_keys() if key not in objects or not objects[key].n_bytes
        ]
        if missing:
            raise StorageError(
                f"{self.name}/{name}: {len(missing)} of {grid.n_objects} chunks were not written, "
                f"the first is {missing[0]!r}; nothing was kept"
            )


def _created(
    group: zarr.Group, name: str, axes: RowAxes, result: ResultArray, partition_rows: int
) -> zarr.Array[Any]:
    """An empty array of results."""
    n_rows, *beside = (*axes.shape, *result.shape)
    row_bytes = math.prod(beside) * result.dtype.itemsize
    return group.create_array(
        name,
        shape=(n_rows, *beside),
        chunks=(chunk_rows(n_rows, partition_rows, row_bytes), *beside),
        dtype=result.dtype,
        fill_value=0 if result.fill is None else result.fill,
        dimension_names=(*axes.dims, *result.dims),
        attributes=_with_fill(result),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        # A chunk that is left out could not be told from a chunk that is lost.
        config={"write_empty_chunks": True},
    )


def results_described(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What the metadata of results for each row, or of errors, say; None of anything else.

    Returns
    -------
    dict or None
        The attributes of the group, and ``variables``: dtype, shape, chunks and names of
        dimensions of each array, by name.

    Raises
    ------
    DaskGMMError
        As :func:`~daskgmm.storage.rows.zarr_nodes.open_node`.
    """
    group = open_node(Location.parse(path), use_consolidated=False)
    if not isinstance(group, zarr.Group) or group.attrs.get("format") not in _DESCRIBED:
        return None
    variables = {
        name: {
            "dtype": str(array.dtype),
            "shape": array.shape,
            "chunks": array.chunks,
            "dimensions": getattr(array.metadata, "dimension_names", None),
        }
        for name, array in sorted(group.arrays())
    }
    return {**dict(group.attrs), "variables": variables}
