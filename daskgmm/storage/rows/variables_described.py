"""Variables described: what a group of variables on a grid holds, by its metadata alone."""

from __future__ import annotations

import os
from typing import Any

import zarr

from daskgmm.storage.places.locations import Location
from daskgmm.storage.rows.coordinates import dimensions_of, without_coordinates
from daskgmm.storage.rows.zarr_nodes import arrays_of, open_node

__all__ = ["variables_described"]

_OURS = "daskgmm"
"""How the formats of models and results begin, which are no data, of whatever version they are."""


def variables_described(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Facts of each variable of a Zarr group that holds several whose dimensions have names.

    Returns
    -------
    dict or None
        ``name`` of the group, and ``variables``: ``dims``, ``shape``, ``chunks``, ``dtype`` and
        ``units``, where there are any, by name. None for anything else.

    Raises
    ------
    NotFoundError, DataError, DamagedDataError, StorageError
    """
    location = Location.parse(path)
    group = open_node(location)
    if not isinstance(group, zarr.Group) or str(group.attrs.get("format", "")).startswith(_OURS):
        return None
    arrays = without_coordinates(arrays_of(group))
    dims = {key: dimensions_of(array) for key, array in arrays.items()}
    if len(arrays) < 2 or all(None in names for names in dims.values()):
        return None
    found = {}
    for key, array in sorted(arrays.items()):
        units = array.attrs.get("units")
        found[key] = {
            "dims": list(dims[key]),
            "shape": list(array.shape),
            "chunks": list(array.shards or array.chunks),
            "dtype": str(array.dtype),
            **({} if units is None else {"units": str(units)}),
        }
    return {"name": location.name, "variables": found}
