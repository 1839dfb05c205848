"""Coordinates: what stands beside an array in its group, as xarray writes and reads it.

A one-dimensional array that has the name of its dimension labels what lies along it. So the names
of features are the strings of the array that is named as the second dimension of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zarr
from zarr.storage import LocalStore

from daskgmm.errors import DaskGMMError
from daskgmm.storage.places.locations import Location
from daskgmm.storage.places.patience import patiently, storage_timeout
from daskgmm.storage.rows.checked_array import CheckedArray
from daskgmm.storage.rows.codecs import CodecChain

__all__ = ["dimensions_of", "feature_names_of", "feature_units_of", "without_coordinates"]

_UNITS = "units"

_TEXT = "OTU"
"""Kinds of dtypes of strings, by what NumPy is there."""

Arrays = Mapping[str, zarr.Array[Any]]


def dimensions_of(array: zarr.Array[Any]) -> tuple[str | None, ...]:
    """Names of the dimensions of an array of version 3, or of xarray's of version 2."""
    names = getattr(array.metadata, "dimension_names", None)
    if names is None:
        names = array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list | tuple) or len(names) != array.ndim:
        return (None,) * array.ndim
    return tuple(name if isinstance(name, str) else None for name in names)


def without_coordinates(arrays: Arrays) -> Arrays:
    """The arrays of a group that are no coordinates of others; all of them, if none is left."""
    said = {
        word
        for array in arrays.values()
        for word in str(array.attrs.get("coordinates", "")).split()
    }
    found = {
        key: array
        for key, array in arrays.items()
        if key not in said and not (array.ndim == 1 and dimensions_of(array) == (key,))
    }
    return found or arrays


def feature_names_of(
    array: zarr.Array[Any], name: str, place: Location | None = None
) -> tuple[str, ...] | None:
    """Names of the columns of rows; None where nothing names them.

    Parameters
    ----------
    array : zarr.Array
    name : str
        Name of the data, for messages.
    place : Location, optional
        Where the array is, if it is the root of its store.
    """
    dimension = dimensions_of(array)[1] if array.ndim == 2 else None
    return _texts_beside(array, dimension, name, place) if dimension else None


def feature_units_of(
    array: zarr.Array[Any], name: str, place: Location | None = None
) -> tuple[str, ...] | None:
    """Units of the columns of rows, empty where there are none; None where nothing says them.

    They are the strings of a coordinate ``units`` along the columns, which the array names.
    """
    if array.ndim != 2 or _UNITS not in str(array.attrs.get("coordinates", "")).split():
        return None
    return _texts_beside(array, _UNITS, name, place)


def _texts_beside(
    array: zarr.Array[Any], key: str, name: str, place: Location | None
) -> tuple[str, ...] | None:
    """Strings of an array of the same group, one for each column of rows."""
    beside = _beside(array, key, name, place)
    if not isinstance(beside, zarr.Array) or beside.shape != array.shape[1:]:
        return None
    if beside.dtype.kind not in _TEXT or CodecChain(beside).runs_code:
        return None
    # Through its checks: what stands for a chunk that is lost would be taken for names.
    labels = CheckedArray(beside, f"{key} of {name}").read((slice(0, beside.shape[0]),))
    return tuple(str(label) for label in labels)


def _beside(array: zarr.Array[Any], key: str, name: str, place: Location | None) -> Any:
    """What has the name ``key`` in the group of the array; None if there is nothing."""
    store, path = array.store, array.path
    if not path:
        group = None if place is None else place.parent
        if place is None or group is None or not _is_group(group):
            return None
        store, path = group.store(), place.address.rpartition("/")[2]
    path = f"{path.rpartition('/')[0]}/{key}".lstrip("/")
    if isinstance(store, LocalStore) and not (store.root / path).is_dir():
        return None
    try:
        return patiently(
            lambda: zarr.open(store=store, path=path, mode="r"),
            name,
            storage_timeout(),
            f"{name}: its {key}",
        )
    except (FileNotFoundError, KeyError):
        return None


def _is_group(place: Location) -> bool:
    """Whether a place holds metadata of a group; not, where we may not look."""
    try:
        return any(place.child(marker).exists() for marker in ("zarr.json", ".zgroup"))
    except (OSError, DaskGMMError):
        return False
