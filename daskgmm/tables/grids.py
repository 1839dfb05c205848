"""Grids: which variables of xarray's data are features, also where a path or URL names the data.

Variables of a stored group are opened by xarray, and read as all stored arrays are: a chunk that
is lost or damaged is an error that names it, and never a gap.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray

from daskgmm.errors import DataError, MissingDependencyError
from daskgmm.redaction import one_line
from daskgmm.rules import names_of
from daskgmm.storage import Location, MissingChunks, ZarrSource, open_array, open_node
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import known_name
from daskgmm.tables.xarrays import XARRAY_ON_DASK, check_numbers, decoded

__all__ = ["GRIDS", "Choice", "Grid", "chosen", "open_grid"]

_FEATURE = "feature"
"""Dimension of features that lay along a dimension of several variables."""


@dataclass(frozen=True)
class Choice:
    """What of a Dataset or DataArray is to be taken.

    Attributes
    ----------
    variables : str, sequence of str or None
        Features; all data variables if None.
    feature_dim : str or None
        Dimension along which values are features.
    mask : str, xarray.DataArray or None
        Cells in which it is 0 or missing are left out.
    """

    variables: str | Sequence[str] | None = None
    feature_dim: str | None = None
    mask: Any = None

    @property
    def is_any(self) -> bool:
        """Whether anything is chosen."""
        return any(value is not None for value in (self.variables, self.feature_dim, self.mask))

    def names(self, known: Sequence[Hashable], what: str) -> list[Hashable]:
        """The variables that are features, of those that there are.

        Raises
        ------
        DataError
            If one is not there, is named twice, or is the mask.
        """
        if self.variables is None:
            mask = self.mask if isinstance(self.mask, str) else None
            return [name for name in known if name != mask]
        named = names_of(self.variables)
        for name in named:
            if named.count(name) > 1:
                raise DataError(f"variable {name!r} is named twice; name each feature once")
        return [known_name(name, known, f"variables of {what}") for name in named]


@dataclass(frozen=True, eq=False)
class Grid:
    """Variables of a stored group that are features.

    Attributes
    ----------
    data : xarray.Dataset or xarray.DataArray
        On Dask, in the stored chunks.
    name : str
        What messages call it; secrets are removed.
    fingerprint : callable
        Gives a hash by which the stored values are known again.
    beside : callable
        Another variable of the group, by its name, as a DataArray on Dask.
    arrays : mapping
        The stored arrays that are read, by name.
    """

    data: Any
    name: str
    fingerprint: Callable[[], str]
    beside: Callable[[str], Any]
    arrays: Mapping[str, ZarrSource]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all dimensions."""
        return tuple(self.data.sizes.values())


def chosen(data: Any, choice: Choice) -> Any:
    """The part of xarray's data that is chosen, as data whose features need no choice.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataArray
    choice : Choice

    Returns
    -------
    xarray.Dataset or xarray.DataArray
        Where ``feature_dim`` is given, a DataArray with the features along its last dimension.

    Raises
    ------
    DataError
        If a variable, dimension or mask is not there, or does not fit.
    """
    mask = _found_mask(data, choice.mask)
    if hasattr(data, "data_vars"):
        data = data[choice.names(list(data.data_vars), "the Dataset")]
    elif choice.variables is not None:
        raise DataError("a DataArray has no variables to choose from; leave variables out")
    data = decoded(data)
    if mask is not None:
        data = _masked(data, mask)
    return data if choice.feature_dim is None else _along(data, choice.feature_dim)


def _found_mask(data: Any, mask: Any) -> Any:
    if not isinstance(mask, str):
        return mask
    known = list(data.variables if hasattr(data, "data_vars") else data.coords)
    return decoded(data[known_name(mask, known, "variables beside the data")])


def _masked(data: Any, mask: Any) -> Any:
    variables = data.data_vars if hasattr(data, "data_vars") else {data.name: data}
    for name, variable in variables.items():
        if beyond := [dim for dim in mask.dims if dim not in variable.dims]:
            raise DataError(
                f"the mask has dimension {beyond[0]!r}, and variable {name!r} has dimensions "
                f"{variable.dims}; choose one of these with .isel({beyond[0]}=0), or combine them "
                f"with .any({beyond[0]!r})"
            )
        for dim in mask.dims:
            if mask.sizes[dim] != variable.sizes[dim]:
                raise DataError(
                    f"the mask has {mask.sizes[dim]} cells along {dim!r}, and variable {name!r} has "
                    f"{variable.sizes[dim]}; bring them together with xarray.align"
                )
    # By position: coordinates that differ in their last digits would mask everything.
    keep = ((mask != 0) & mask.notnull()).drop_vars(list(mask.coords))
    return data.where(keep)


def _along(data: Any, dim: str) -> Any:
    """A DataArray of all variables with the values along ``dim`` as features, the last dimension."""
    variables = data.data_vars if hasattr(data, "data_vars") else {data.name: data}
    dims = list(dict.fromkeys(d for variable in variables.values() for d in variable.dims))
    known_name(dim, dims, "dimensions of the data")
    if _FEATURE in dims and dim != _FEATURE:
        raise DataError(
            f"the data have a dimension {_FEATURE!r}, which is that of features; rename it with "
            f".rename({_FEATURE}=...)"
        )
    check_numbers(variables)
    from xarray import concat  # here, since only xarray's users have it

    parts, names = [], []
    for name, variable in variables.items():
        if dim in variable.dims:
            labels = _labels(variable, dim)
            part = variable.drop_vars(dim, errors="ignore").transpose(..., dim)
            part = part.rename({dim: _FEATURE}) if dim != _FEATURE else part
            names += labels if name is None else [f"{name}_{label}" for label in labels]
        else:
            part = variable.expand_dims(_FEATURE, -1)
            names.append(str(name))
        parts.append(part.rename(None))
    _check_alike(variables, dim)
    joined = concat(parts, _FEATURE, coords="minimal", compat="override", join="override")
    return joined.assign_coords({_FEATURE: np.array(names, dtype=object)})


def _labels(variable: Any, dim: str) -> list[str]:
    """Short texts of the coordinates along a dimension, or numbers where there are none."""
    if dim not in variable.coords:
        return [str(i) for i in range(variable.sizes[dim])]
    values = variable[dim].to_numpy()
    short = [f"{value:g}" if values.dtype.kind in "iuf" else str(value) for value in values]
    return short if len(set(short)) == len(short) else [str(value) for value in values]


def _check_alike(variables: Mapping[Hashable, Any], dim: str) -> None:
    """Whether all variables have the same cells, beside the dimension of features."""
    (first, sizes), *others = (
        (name, {d: n for d, n in variable.sizes.items() if d != dim})
        for name, variable in variables.items()
    )
    for name, other in others:
        if other != sizes:
            raise DataError(
                f"variable {name!r} has cells along {other}, {first!r} has them along {sizes}: all "
                f"features must have the same; leave one out, or bring them together with "
                "xarray.broadcast"
            )


# -- by path --------------------------------------------------------------------------------


def open_grid(
    place: str | os.PathLike[str], choice: Choice, missing_chunks: MissingChunks = "error"
) -> Grid:
    """Open variables of a stored group; only metadata and coordinates are read.

    Parameters
    ----------
    place : path or URL
        Source of a Zarr group that xarray can open.
    choice : Choice
    missing_chunks : {"error", "fill"}

    Raises
    ------
    NotFoundError, DataError, DamagedDataError, StorageError
    MissingDependencyError
        If xarray is not installed.
    """
    group = _StoredGroup(place, missing_chunks)
    names = choice.names(group.names, group.name)
    if not names:
        raise DataError(f"group {group.name} has no variables; check the path")
    mask = choice.mask if choice.mask is None else group.variable(choice.mask)
    parts = {name: group.variable(str(name)) for name in names}
    data = group.opened[[]].assign(parts)
    rest = Choice(None, choice.feature_dim, mask)
    return Grid(chosen(data, rest), group.name, group.fingerprint, group.variable, group.arrays)


class _StoredGroup:
    """A Zarr group of variables, whose values are read with every check."""

    def __init__(self, place: str | os.PathLike[str], missing_chunks: MissingChunks) -> None:
        try:
            import xarray  # here, since only its users have it
        except ImportError as error:
            raise MissingDependencyError(
                f"variables of a group are opened by xarray, which is not installed "
                f"({one_line(error)}); pip install 'daskgmm[xarray]'"
            ) from error
        location = Location.parse(place)
        node = open_node(location)
        if isinstance(node, zarr.Array):
            raise DataError(
                f"{location.name} is an array, and variables are those of a group; name the group "
                "that the array is in, and the array as one of its variables (--variables)"
            )
        self.name = location.name
        self._place, self._missing_chunks = place, missing_chunks
        how: dict[str, Any] = {
            "engine": "zarr",
            "chunks": None,
            "decode_timedelta": False,
            "zarr_format": node.metadata.zarr_format,
            # By their own metadata, which consolidated ones may not have followed.
            "consolidated": False if location.is_local else None,
        }
        self.opened = xarray.open_dataset(location.store(), **how)  # type: ignore[arg-type]
        as_stored = {"mask_and_scale": False, "decode_times": False, "decode_coords": False}
        self._codes = xarray.open_dataset(location.store(), **how, **as_stored)  # type: ignore[arg-type]
        self.names = list(self.opened.data_vars)
        self.arrays: dict[str, ZarrSource] = {}

    def variable(self, name: str) -> Any:
        """A variable as a DataArray on Dask, in its stored chunks, decoded."""
        known_name(name, list(self.opened.variables), f"variables of {self.name}")
        codes, found = self._codes[name], self.opened[name]
        if found.dtype.kind not in "biuf":
            return found  # dates, say, which are numbers where they are stored
        array = self.arrays[name] = open_array(self._place, name, self._missing_chunks)
        state = array.state() or uuid.uuid4().hex
        stored = da.from_array(
            _Sliceable(array),
            chunks=array.unit_shape,
            name=f"cells-{state}",
            asarray=False,
            fancy=False,
            inline_array=True,
            meta=np.empty((0,) * codes.ndim, codes.dtype),
        )
        lazy = codes.variable.to_base_variable()
        lazy.data = stored
        from xarray import DataArray

        coords = {k: c for k, c in found.coords.items() if k != name}
        return decoded(DataArray(lazy, coords, name=name))

    def fingerprint(self) -> str:
        """Hash of the fingerprints of the arrays that are read."""
        found = [[name, array.fingerprint()] for name, array in sorted(self.arrays.items())]
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


class _Sliceable:
    """Stored cells as Dask wants them: something with a shape that can be sliced."""

    def __init__(self, array: ZarrSource) -> None:
        self.array = array
        self.shape = array.stored_shape
        self.ndim = len(self.shape)
        self.dtype = array.stored_dtype

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        ranges = (s.indices(n) for s, n in zip(index, self.shape, strict=True))
        return self.array.read_part(tuple(slice(first, last) for first, last, _ in ranges))


def _is_grid(x: Any) -> bool:
    return isinstance(x, Grid)


def _open(x: Grid, request: Request) -> OpenedRows:
    for array in x.arrays.values():
        array.survey().raise_for_damage(array.missing_chunks)
    return replace(XARRAY_ON_DASK.open(x.data, request), name=x.name, fingerprint=x.fingerprint)


GRIDS = Kind("stored variables on a grid", _is_grid, _open)
