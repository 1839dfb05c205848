"""Stored grids: variables of a group, by a path or URL, whose cells are rows.

xarray opens the group, for its metadata and coordinates. Values are read as those of all stored rows
are, by range and within the memory plan: a chunk that is lost or damaged is an error that names it,
and never a gap.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import zarr

from daskgmm.errors import DataError, MissingDependencyError
from daskgmm.redaction import one_line
from daskgmm.storage import (
    COLUMN,
    CellArray,
    GridSource,
    HeldArray,
    Location,
    MissingChunks,
    ZarrSource,
    open_array,
    open_node,
)
from daskgmm.tables.grids import Choice, chosen
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import Names, known_name
from daskgmm.tables.plain import plain_column
from daskgmm.tables.stored import open_stored
from daskgmm.tables.xarrays import (
    Cells,
    cells_of,
    check_laid_on,
    complete_rows,
    decoded,
    is_xarray,
    laid_on,
    selected,
    units_of,
)

__all__ = ["GRIDS", "Beside", "Grid", "dims_of_cells", "open_grid", "weights_on"]


@dataclass(frozen=True, eq=False)
class Grid:
    """Variables of a stored group that are features.

    Attributes
    ----------
    data : xarray.Dataset or xarray.DataArray
        The features, with their names, dimensions and coordinates; no values are read of it.
    name : str
        What messages call it; secrets are removed.
    fingerprint : callable
        Gives a hash by which the stored values are known again.
    beside : callable
        Another variable of the group, by its name, as a :class:`Beside`.
    arrays : mapping
        The stored arrays that are read, by name.
    variables : tuple of str
        Names of the arrays that are features.
    mask : str or None
        Name of the one that is the mask.
    feature_dim : str or None
        Dimension along which their values are features.
    dims : callable
        The dimensions of an array, by its name.
    """

    data: Any
    name: str
    fingerprint: Callable[[], str]
    beside: Callable[[str], Beside]
    arrays: Mapping[str, ZarrSource]
    variables: tuple[str, ...]
    mask: str | None
    feature_dim: str | None
    dims: Callable[[str], tuple[str, ...]]

    @property
    def read_as(self) -> dict[str, Any]:
        """Arguments of :func:`open_rows` by which another group is read as this one is."""
        said = {"feature_dim": self.feature_dim, "mask": self.mask}
        return {"variables": list(self.variables)} | {
            k: v for k, v in said.items() if v is not None
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of all dimensions."""
        return tuple(self.data.sizes.values())

    @property
    def feature_names(self) -> Names | None:
        """Names of the features, where they have any."""
        return cells_of(self.data)[1]

    def rows(self, names: Sequence[str] | None = None) -> tuple[GridSource, Cells]:
        """The cells as rows, and the grid to put results of them back on.

        Parameters
        ----------
        names : sequence of str, optional
            The features of a model, by which variables are taken if they have these names.

        Raises
        ------
        DataError
            If variables are no numbers, or differ in their cells.
        """
        data, variables = selected(self.data, names), self.variables
        dims, feature_names = cells_of(data)
        if hasattr(data, "data_vars"):  # a Dataset, of which names may have taken some
            variables = tuple(map(str, data.data_vars))
        source = GridSource(
            self.name,
            tuple(map(str, dims)),
            [self.array(name) for name in variables],
            None if self.mask is None else self.array(self.mask),
        )
        source.feature_names, source.feature_units = feature_names, units_of(data)
        coords = {k: c for k, c in data.coords.items() if set(c.dims) <= set(dims)}
        shape = tuple(data.sizes[dim] for dim in dims)
        return source, Cells(dims, shape, coords, source.blocks.chunks)

    def array(self, name: str) -> CellArray:
        """A stored array, by its name, that is read.

        Raises
        ------
        DataError
            If it holds no numbers, such as dates.
        """
        if name not in self.arrays:
            raise DataError(
                f"variable {name!r} of {self.name} has no numbers as they are stored; choose others"
            )
        return CellArray(self.arrays[name], self.dims(name))


@dataclass(frozen=True, eq=False)
class Beside:
    """A variable of a stored group that is no feature, such as weights.

    Attributes
    ----------
    name : str
    data : xarray.DataArray
        Its dimensions and coordinates; no values are read of it.
    array : ZarrSource or None
        Its values; None where they are no numbers.
    """

    name: str
    data: Any
    array: ZarrSource | None


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
    return Grid(
        chosen(data, Choice(None, choice.feature_dim, mask)),
        group.name,
        group.fingerprint,
        group.beside,
        group.arrays,
        tuple(map(str, names)),
        choice.mask,
        choice.feature_dim,
        group.dims,
    )


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
        undecoded = {"mask_and_scale": False, "decode_times": False, "decode_coords": False}
        self._as_stored = xarray.open_dataset(location.store(), **how, **undecoded)  # type: ignore[arg-type]
        self.names = list(self.opened.data_vars)
        self.arrays: dict[str, ZarrSource] = {}

    def variable(self, name: str) -> Any:
        """What xarray has to know of a variable, decoded; its values are read elsewhere.

        Raises
        ------
        DataError, DamagedDataError, StorageError
        """
        known_name(name, list(self.opened.variables), f"variables of {self.name}")
        stored, found = self._as_stored[name], self.opened[name]
        if found.dtype.kind not in "biuf":
            return found  # dates, say, which are numbers where they are stored
        array = self.arrays[name] = open_array(self._place, name, self._missing_chunks)
        # Zeros that are never computed stand for the values: decoding says which dtype they get.
        lazy = stored.variable.to_base_variable()
        lazy.data = da.zeros(array.stored_shape, dtype=stored.dtype, chunks=-1)
        from xarray import DataArray  # here, since only its users have it

        coords = {k: c for k, c in found.coords.items() if k != name}
        return decoded(DataArray(lazy, coords, name=name))

    def beside(self, name: str) -> Beside:
        """A variable that is no feature."""
        data = self.variable(name)
        return Beside(name, data, self.arrays.get(name))

    def dims(self, name: str) -> tuple[str, ...]:
        """The dimensions of an array, as it is stored."""
        return tuple(map(str, self._as_stored[name].dims))

    def fingerprint(self) -> str:
        """Hash of the fingerprints of the arrays that are read."""
        found = [[name, array.fingerprint()] for name, array in sorted(self.arrays.items())]
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def weights_on(grid: Grid, given: Any, names: Sequence[str] | None = None) -> Any:
    """Weights of a grid's cells in the order of their rows, for :func:`weights_of`.

    Parameters
    ----------
    grid : Grid
    given : Beside, str, xarray.DataArray or array-like
        A text is the name of a variable of the group. An xarray.DataArray, or a variable, may lack
        some of the cells' dimensions, as areas by latitude alone do. Anything else has a weight for
        each cell, in the order of the dimensions.
    names : sequence of str, optional
        The features of a model.

    Returns
    -------
    GridSource, Dask array or ndarray
        A Dask array where that is what was given for each cell.

    Raises
    ------
    DataError
        If they do not lie on the cells.
    """
    source, cells = grid.rows(names)

    def rows_of(name: str, part: CellArray | HeldArray) -> GridSource:
        return GridSource(name, source.dims, [part], blocks=source.blocks, layout=COLUMN)

    if isinstance(given, str):
        given = grid.beside(given)
    if isinstance(given, Beside):
        check_laid_on(cells, given.data)
        return rows_of(f"{grid.name}/{given.name}", grid.array(given.name))
    if is_xarray(given) and not hasattr(given, "data_vars"):
        given = decoded(given)
        check_laid_on(cells, given)
        if isinstance(given.data, da.Array) and set(given.dims) == set(cells.dims):
            return laid_on(cells, given)
        return rows_of("sample_weight", HeldArray(given.to_numpy(), tuple(map(str, given.dims))))
    values = plain_column(given, "sample_weight")
    if values.shape != source.shape[:1]:
        return values  # which is refused for its length
    return rows_of("sample_weight", HeldArray(values.reshape(cells.shape), source.dims))


def dims_of_cells(x: Any, names: Sequence[str] | None = None) -> tuple[Hashable, ...] | None:
    """Dimensions of the cells that are the rows; None for rows that are no cells of a grid.

    Parameters
    ----------
    x : Grid, xarray.Dataset, xarray.DataArray or other rows
    names : sequence of str, optional
        The features of a model.
    """
    if isinstance(x, Grid):
        return x.rows(names)[1].dims
    return cells_of(decoded(selected(x, names)))[0] if is_xarray(x) else None


def _is_grid(x: Any) -> bool:
    return isinstance(x, Grid)


def _open(x: Grid, request: Request) -> OpenedRows:
    for array in x.arrays.values():
        array.survey().raise_for_damage(array.missing_chunks)
    source, cells = x.rows(request.use.names)
    if request.use.counted and source.leaves_none():
        raise DataError(
            f"the mask {x.mask!r} of {x.name} leaves no cell: it is 0 or missing in all; choose another"
        )
    opened = complete_rows(open_stored(source, request), request, source.dtype)
    return replace(opened, fingerprint=x.fingerprint, laid_out=cells.laid_out, read_as=x.read_as)


GRIDS = Kind("stored variables on a grid", _is_grid, _open, is_stored=True)
