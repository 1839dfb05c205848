"""NetCDF to Zarr: the same variables on the same grid, copied chunk by chunk as they are stored.

Dimensions, coordinates, attributes, fill values and the packing of CF stay what they are, so that
xarray opens the copy as it opens the files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm.conversion.grid_files import GridFiles
from daskgmm.conversion.reader import LeftOut, imported
from daskgmm.errors import DataError
from daskgmm.storage import Location, atomic_output, consolidate, failures_named

__all__ = ["chunks_of", "copied"]

_CHUNK_BYTES = 1 << 22
"""Most bytes of a chunk, so that it is read at once with others within a small memory."""
_NUMBERS = "biuf"
_TEXTS = "OSU"


def copied(
    files: GridFiles, place: Location, names: Sequence[str] | None, *, overwrite: bool
) -> tuple[list[dict[str, Any]], list[LeftOut]]:
    """Write variables of NetCDF files as a Zarr group, which appears when all is written.

    Parameters
    ----------
    files : GridFiles
    place : Location
    names : sequence of str or None
        Variables to take, with what belongs to them; None for all.
    overwrite : bool

    Returns
    -------
    variables : list of dict
        ``name type dims shape units`` of those that are written.
    left_out : list of LeftOut

    Raises
    ------
    DataError, DamagedDataError, OutputExistsError, NotFoundError, StorageError
    """
    taken = files.beside(names) if names is not None else list(files.heads[0].variables)
    left_out = [out for name in taken if (out := _left_out(files, name)) is not None]
    without = {out.name for out in left_out}
    taken = [name for name in taken if name not in without]
    if not taken:
        raise DataError(
            f"{files.files[0]} has no variables; name the group that they are in with --member"
        )
    for name in taken:
        files.check_alike(name)
    whole = {name: _whole(files, name) for name in taken if _is_whole(files, name)}
    with atomic_output(place, overwrite=overwrite) as draft:
        store = draft.place.store(read_only=False)
        with failures_named(place.name, "written"), _writing_all_chunks():
            _begin(files, store, taken, whole)
            group: zarr.Group = zarr.open_group(store, mode="r+", use_consolidated=False)
            for name in taken:
                if name not in whole:
                    _copy(files, name, group)
            consolidate(group)
    return [_facts(files, name) for name in taken], left_out


def _left_out(files: GridFiles, name: str) -> LeftOut | None:
    stored = files.heads[0].variables[name]
    if stored.dtype.kind not in _NUMBERS + _TEXTS:
        return LeftOut(name, str(stored.dtype), "is of a type that Zarr has not")
    return None


def _is_whole(files: GridFiles, name: str) -> bool:
    """Whether a variable is written at once: coordinates along a dimension, and texts."""
    stored = files.heads[0].variables[name]
    return stored.dims == (name,) or stored.dtype.kind in _TEXTS or stored.ndim == 0


def _whole(files: GridFiles, name: str) -> Any:
    """A variable with its values."""
    stored = files.stored(name)
    if name == files.along:
        values = np.concatenate([files.coordinate_of(n) for n in files.order])
    else:
        values = np.empty([files.size(dim) for dim in stored.dims], stored.dtype)
        for where, some in files.blocks(name, [max(1, n) for n in values.shape]):
            values[where] = some
    if stored.dtype.kind in _TEXTS:
        texts = [
            t.decode(errors="replace") if isinstance(t, bytes) else str(t) for t in values.flat
        ]
        values = np.array([*texts, None], dtype=object)[:-1].reshape(values.shape)
    return _variable(stored, _native(values))


def _native(values: Any) -> Any:
    """Values in this machine's byte order; NetCDF of version 3 has the other."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _variable(stored: Any, values: Any, **encoding: Any) -> Any:
    """A variable of xarray that is written as it is stored."""
    xarray = imported("xarray", "netcdf")
    attributes = dict(stored.attrs)
    fill = attributes.get("_FillValue")
    # Some files declare NaN of integers, which have none; Zarr could not say it.
    if fill is not None and stored.dtype.kind in "biu" and not np.all(np.isfinite(fill)):
        del attributes["_FillValue"]
    made = xarray.Variable(stored.dims, values, attributes)
    # xarray would else declare that NaN means missing.
    declared = {} if "_FillValue" in attributes else {"_FillValue": None}
    checked = {"compressors": [ZstdCodec(level=1), Crc32cCodec()], "write_empty_chunks": True}
    made.encoding = declared | checked | encoding
    return made


def _begin(files: GridFiles, store: Any, taken: Sequence[str], whole: dict[str, Any]) -> None:
    """Write all metadata, and the variables that are written at once."""
    variables = {
        name: whole[name] if name in whole else _to_be_copied(files, name) for name in taken
    }
    data = imported("xarray", "netcdf").Dataset(variables, attrs=dict(files.heads[0].attributes))
    data.to_zarr(store, mode="w", zarr_format=3, consolidated=False, compute=False)


def _to_be_copied(files: GridFiles, name: str) -> Any:
    """A variable in the chunks that it gets, of zeros that are never written."""
    stored = files.stored(name)
    shape = [files.size(dim) for dim in stored.dims]
    chunks, _ = _chunks(files, name)
    zeros = da.zeros(shape, dtype=stored.dtype.newbyteorder("="), chunks=-1)
    return _variable(stored, zeros, chunks=chunks)


def _chunks(files: GridFiles, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    stored = files.heads[0].variables[name]
    shape = [files.size(dim) for dim in stored.dims]
    own = stored.encoding.get("chunksizes") or [1] * len(shape)
    return chunks_of(shape, own, stored.dtype.itemsize, _CHUNK_BYTES)


def chunks_of(
    shape: Sequence[int], stored: Sequence[int], itemsize: int, most: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of chunks to write, and of regions to copy, which are whole stored chunks.

    Parameters
    ----------
    shape : sequence of int
    stored : sequence of int
        Shape of what is decoded at once.
    itemsize : int
    most : int
        Bytes of a chunk to write.

    Returns
    -------
    chunk, region : tuple of int
        A chunk is some stored ones, the last dimensions whole first; or a part of one that is larger.

    Examples
    --------
    >>> chunks_of((100, 20, 30), (1, 20, 30), 4, 10_000)
    ((4, 20, 30), (4, 20, 30))
    >>> chunks_of((100, 20, 30), (50, 20, 30), 4, 10_000)
    ((2, 20, 30), (50, 20, 30))
    """
    own = [max(1, min(n, c)) for n, c in zip(shape, stored, strict=True)]
    chunk = list(own)
    for axis in reversed(range(len(chunk))):
        chunk[axis] *= max(1, most // (math.prod(chunk) * itemsize))
        if chunk[axis] < shape[axis]:
            break
        chunk[axis] = max(1, shape[axis])
    for axis, n in enumerate(chunk):
        parts = math.ceil(math.prod(chunk) * itemsize / most)
        # Whole parts, so that no chunk is written twice.
        chunk[axis] = n // next(k for k in range(min(parts, n), n + 1) if n % k == 0)
    return tuple(chunk), tuple(map(max, chunk, own))


def _copy(files: GridFiles, name: str, group: zarr.Group) -> None:
    """Copy a variable region by region; at most one is in memory."""
    array: Any = group[name]
    _, region = _chunks(files, name)
    for where, values in files.blocks(name, region):
        array[where] = _native(values)


def _facts(files: GridFiles, name: str) -> dict[str, Any]:
    stored = files.stored(name)
    return {
        "name": name,
        "type": "text" if stored.dtype.kind in _TEXTS else str(stored.dtype.newbyteorder("=")),
        "dims": list(map(str, stored.dims)),
        "shape": [files.size(dim) for dim in stored.dims],
        "units": str(stored.attrs.get("units", "")),
    }


def _writing_all_chunks() -> Any:
    """A context in which chunks of fill values are stored, which could else not be told from lost ones."""
    return zarr.config.set({"array.write_empty_chunks": True})
