"""Open the array or group that a location names, or say what is there instead."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import zarr
from zarr.errors import ZarrUserWarning
from zarr.storage import FsspecStore, LocalStore, ZipStore

from daskgmm.errors import (
    DamagedDataError,
    DaskGMMError,
    DataError,
    NotFoundError,
    StorageError,
)
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.rules import words_of
from daskgmm.storage.places.locations import Location
from daskgmm.storage.places.patience import patiently, storage_timeout
from daskgmm.storage.rows.coordinates import dimensions_of, without_coordinates

__all__ = ["arrays_of", "has_variables", "only_array", "open_node", "own_member"]


_OPENED = {
    "NetCDF": (
        (".nc", ".nc4", ".cdf"),
        "give xarray.open_dataset({path!r}) in Python, or convert it",
    ),
    "CSV": (
        (".csv", ".csv.gz", ".tsv"),
        "give a data frame in Python, as of pandas.read_csv({path!r}), or convert it",
    ),
    "HDF5": ((".h5", ".hdf5", ".hdf"), "convert it"),
}
"""Kinds of files that are converted, by the ends of their names; and how else rows of them are given."""


def open_node(
    location: Location, member: str | None = None, *, use_consolidated: bool | None = None
) -> zarr.Array[Any] | zarr.Group:
    """The Zarr array or group at a location, read-only.

    Parameters
    ----------
    location : Location
    member : str, optional
        Path of a member of the group that is there.
    use_consolidated : bool, optional
        Whether members of a group are those of its consolidated metadata; if there are any, by
        default.

    Raises
    ------
    NotFoundError
        If nothing is there.
    DataError
        If what is there is not Zarr.
    DamagedDataError
        If its metadata cannot be understood.
    StorageError
        If it cannot be read.
    """
    name = f"{location.name}/{member}" if member else location.name
    if location.is_local and not location.path.exists():
        raise NotFoundError(f"{location.name} does not exist; check the path")
    if location.is_local and location.path.is_file() and location.path.suffix != ".zip":
        raise DataError(_said_of_file(location))
    try:
        return patiently(
            lambda: zarr.open(
                store=location.store(), path=member, mode="r", use_consolidated=use_consolidated
            ),
            name,
            storage_timeout(),
            name,
        )
    except DaskGMMError:
        raise
    except FileNotFoundError as error:
        if location.is_local and member is None:
            raise DataError(
                f"{name} is there but is not a Zarr array or group; if it is a folder of stores, "
                "name one of them"
            ) from cause_to_show(error)
        raise NotFoundError(
            f"there is no Zarr array or group at {name}; {_known_members(location)}"
        ) from cause_to_show(error)
    except OSError as error:
        raise StorageError(
            f"{name} cannot be read: {one_line(error)}; check permissions and the disk"
        ) from cause_to_show(error)
    except Exception as error:
        raise DamagedDataError(
            f"the Zarr metadata of {name} cannot be understood: {one_line(error)}; restore them "
            "from a copy or write the array anew"
        ) from cause_to_show(error)


def _known_members(location: Location) -> str:
    """The end of the message for a missing member: the members there are, or what to check."""
    try:
        known = sorted(zarr.open_group(store=location.store(), mode="r").keys())
    except Exception:  # whatever a store that cannot list raises: then nothing is known
        known = []
    if not known:
        return "check the path and the member's name"
    return f"members of {location.name} are: {', '.join(known)}; name one of them"


def has_variables(data: str | os.PathLike[str], names: Sequence[str]) -> bool:
    """Whether a path or URL is that of a Zarr group with an array of one of these names or more.

    False where nothing can be opened: whoever opens it then says why.
    """
    try:
        node = open_node(Location.parse(data))
    except DaskGMMError:
        return False
    return isinstance(node, zarr.Group) and any(
        isinstance(own_member(node, name), zarr.Array) for name in names
    )


def own_member(group: zarr.Group, key: str) -> zarr.Array[Any] | zarr.Group | None:
    """A member of a group by its own metadata; None if there is none.

    Metadata that were consolidated are a copy, which an array that was appended to or
    replaced since has outgrown: by them rows would be left out in silence.
    """
    found: Any = _unconsolidated(group).get(key)
    return found


def _unconsolidated(group: zarr.Group) -> zarr.Group:
    if group.metadata.consolidated_metadata is None:
        return group
    return zarr.open_group(
        group.store,
        path=group.path,
        mode="r",
        zarr_format=group.metadata.zarr_format,
        use_consolidated=False,
    )


def _said_of_file(location: Location) -> str:
    """What a file is that is no store, and how its rows are given all the same."""
    name = location.name
    way = (
        f"daskgmm convert {shlex.quote(name)} --output {shlex.quote(location.path.stem + '.zarr')}"
    )
    for kind, (ends, how) in _OPENED.items():
        if location.path.name.lower().endswith(ends):
            return f"{name} is {kind}, and no store of rows; {how.format(path=name)}: {way}"
    return (
        f"{name} is a file of no known kind; expected a Zarr array or group, or a .npy file. CSV, NetCDF "
        f"and HDF5 are read once they are converted: {way}"
    )


def arrays_of(group: zarr.Group) -> dict[str, zarr.Array[Any]]:
    """The arrays of a group by their own metadata, found by those that were consolidated, too.

    Some stores, such as plain HTTP, cannot list.
    """
    own = _unconsolidated(group)
    if own is group:
        return dict(group.arrays())
    try:
        listed = set(own.array_keys())
    except (OSError, NotImplementedError):
        listed = set()
    members = {key: own.get(key) for key in listed | set(group.array_keys())}
    return {key: member for key, member in members.items() if isinstance(member, zarr.Array)}


def only_array(
    group: zarr.Group, name: str, member: str | None = None
) -> tuple[zarr.Array[Any], str]:
    """The one array of a group beside coordinates along its dimensions, and its name.

    Parameters
    ----------
    group : zarr.Group
    name : str
    member : str, optional
        Path of the group in the data that were given, where it is a member of theirs.

    Raises
    ------
    DataError
        If there is none, or several, which are listed with their shapes.
    """
    with warnings.catch_warnings():
        # Zarr warns of files that are not its own, such as a README; they do no harm.
        warnings.simplefilter("ignore", ZarrUserWarning)
        arrays = without_coordinates(arrays_of(group))
        if not arrays:
            groups = sorted(group.group_keys())
            raise DataError(
                f"group {name} holds no array"
                + (
                    f"; open one of its groups: {', '.join(groups)}, as "
                    f"{_ways_to_name(group, groups[0], name, member)}"
                    if groups
                    else "; check the path"
                )
            )
    if len(arrays) > 1:
        listed = ", ".join(f"{key} {a.shape} {a.dtype}" for key, a in sorted(arrays.items()))
        raise DataError(
            f"group {name} holds {len(arrays)} arrays: {listed}; "
            f"name {_ways_to_choose(group, arrays, name, member)}"
        )
    ((key, array),) = arrays.items()
    return array, f"{name}/{key}"


def _ways_to_choose(
    group: zarr.Group, arrays: Mapping[str, zarr.Array[Any]], name: str, member: str | None
) -> str:
    """How to ask for one of several arrays, or for variables over the same dimensions."""
    rows = [key for key, array in arrays.items() if array.ndim == 2]
    one = f"one, as {_ways_to_name(group, min(rows or arrays), name, member)}"
    variables = _variables(arrays) if member is None and _has_paths(group) else []
    if not variables:
        return one
    on_grid = f"variables on a grid, as variables={variables} (--variables {words_of(variables)})"
    return f"{one}; or {on_grid}" if rows else on_grid


def _variables(arrays: Mapping[str, zarr.Array[Any]]) -> list[str]:
    """Names of the arrays over most dimensions that have names, all of them the same."""
    found: dict[tuple[str | None, ...], list[str]] = {}
    for key, array in sorted(arrays.items()):
        if "flag_meanings" in array.attrs:
            continue  # values that are names of classes, such as labels
        found.setdefault(dimensions_of(array), []).append(key)
    named = [dims for dims in found if dims and None not in dims]
    return found[max(named, key=lambda dims: (len(dims), len(found[dims])))] if named else []


def _has_paths(group: zarr.Group) -> bool:
    """Whether the store of a group can be opened again by a path or URL."""
    return isinstance(group.store, LocalStore | FsspecStore | ZipStore)


def _ways_to_name(group: zarr.Group, key: str, name: str, member: str | None) -> str:
    """How to ask for a member of a group: by its path as well, unless that leads nowhere.

    It does into a zip file, and where the group is in memory.
    """
    path = f"{member}/{key}" if member else key
    ways = [f"member={path!r} (--member {path})"]
    if isinstance(group.store, LocalStore | FsspecStore) and "::" not in name:
        ways.insert(0, f"{name}/{key}")
    return " or ".join(ways)
