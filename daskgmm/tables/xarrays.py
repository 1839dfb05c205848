"""xarray: cells of Datasets and DataArrays, over any dimensions, as rows.

The features are the data variables of a Dataset, or what lies along the last dimension of a
DataArray. The other dimensions are those of cells, each of which is a row: in memory in the order
of the dimensions, the last one fastest; on Dask block after block, in that order within each. A
cell with NaN has a gap: it counts by its values with ``missing="em"``; else it is left out of fits and
scores, in memory before the first pass, on Dask as a row of weight 0, which every pass reads.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from daskgmm.em import Missing, RowsWithGaps, check_some_complete
from daskgmm.errors import DataError, warn
from daskgmm.execution import cells_of_rows, rows_of_cells
from daskgmm.tables.dask_arrays import open_dask_array
from daskgmm.tables.in_memory import open_in_memory
from daskgmm.tables.kind import Kind, OpenedRows, Request
from daskgmm.tables.names import Names, names_of_last_dimension
from daskgmm.tables.plain import plain_column
from daskgmm.tables.returned import Returned

__all__ = [
    "UNITS",
    "XARRAY",
    "XARRAY_ON_DASK",
    "Cells",
    "cells_of",
    "check_laid_on",
    "check_numbers",
    "complete_rows",
    "decoded",
    "filled",
    "filled_variables",
    "is_xarray",
    "laid_on",
    "row_weights",
    "selected",
    "units_of",
]

_NUMBERS = "biuf"
_PACKED = {"scale_factor", "add_offset", "_FillValue", "missing_value"}
"""Attributes of values that have not been decoded; xarray moves them to ``encoding`` when it does."""
_SCALING = {"scale_factor", "add_offset"}
_FLAGS = {"flag_values", "flag_meanings"}
UNITS = "units"
"""CF's attribute, and the coordinate along features that have different ones."""
_PLACES = frozenset(("lon", "longitude", "lat", "latitude", "x", "y"))
"""Names, axes and CF's standard names of dimensions of places."""
_CODES = "values that are to be decoded"
"""A name for a variable that no coordinate is likely to have."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The grid that rows were taken from, so that results can be put back on it.

    Attributes
    ----------
    dims : tuple
        Dimensions of the cells.
    shape : tuple of int
    coords : mapping
        Coordinates along these dimensions.
    chunks : tuple of tuple of int or None
        Along each dimension, for cells on Dask.
    """

    dims: tuple[Hashable, ...]
    shape: tuple[int, ...]
    coords: Mapping[Hashable, Any]
    chunks: tuple[tuple[int, ...], ...] | None = None

    def laid_out(self, found: Any, returned: Returned) -> Any:
        """A DataArray of results for each row: (n_cells,), or several for each."""
        from xarray import DataArray  # here, since only xarray's users have it

        dims, coords = (*self.dims, *returned.dims), dict(self.coords)
        for dim in returned.dims:
            if dim in (*self.dims, *coords):
                raise DataError(
                    f"the data have a dimension or coordinate {dim!r}, which is that of "
                    f"{returned.name}; rename it with .rename({dim}=...)"
                )
            # As objects, since Zarr's format has no type for texts of one width.
            is_text = all(isinstance(one, str) for one in returned.along)
            coords[dim] = np.array(returned.along, dtype=object if is_text else None)
        if self.chunks is None:
            data = found.reshape(*self.shape, *found.shape[1:])
        else:
            data = cells_of_rows(found, self.chunks)
        made = DataArray(data, coords, dims, returned.name, dict(returned.attributes))
        made.encoding["_FillValue"] = returned.fill
        return made


def _open(x: Any, request: Request) -> OpenedRows:
    x = decoded(selected(x, request.use.names))
    if not hasattr(x, "data_vars") and x.ndim < 2:  # refused in the words for arrays
        return open_in_memory(x.to_numpy(), request)
    if request.use.counted and request.use.alone:
        _warn_of_places(x)
    rows, cells, names = _rows_of(x)
    all_cells = math.prod(cells.shape)
    if request.weights is not None:
        request.weights.check_length(all_cells, "the grid of cells")
    if isinstance(rows, da.Array):
        opened = complete_rows(open_dask_array(rows, request, names), request, rows.dtype)
    else:
        is_counted, has_gaps = request.use.counted, request.use.missing == "em"
        is_cut = is_counted and request.weights is None and not has_gaps
        rows = _without_gaps(rows) if is_cut else rows
        check_some_complete(len(rows), all_cells)
        opened = open_in_memory(rows, request)
        if has_gaps:
            opened = complete_rows(opened, request, rows.dtype)
    sizes = ", ".join(f"{dim} {n:,}" for dim, n in zip(cells.dims, cells.shape, strict=True))
    name = f"{type(x).__name__} over {sizes}"
    n_cut = all_cells - len(rows) if isinstance(rows, np.ndarray) else 0
    opened = replace(opened, name=name, laid_out=cells.laid_out, n_cut=n_cut)
    return replace(opened, feature_names=names, feature_units=units_of(x))


def _warn_of_places(x: Any) -> None:
    """Warn where the features of a DataArray lie along a dimension of places.

    Warns
    -----
    DaskGMMWarning
    """
    if hasattr(x, "data_vars"):
        return
    dim = x.dims[-1]
    said = x[dim].attrs if dim in x.coords else {}
    words = {
        str(dim).lower(),
        *(str(said.get(key, "")).lower() for key in ("axis", "standard_name")),
    }
    if words & _PLACES:
        warn(
            f"the {x.sizes[dim]} values along {dim!r}, the last dimension of the DataArray, are taken for "
            "the features of a row; for rows of one feature in each cell give a Dataset, such as "
            "x.to_dataset(name='x'), and for other features move their dimension to the end with transpose"
        )


def complete_rows(opened: OpenedRows, request: Request, dtype: np.dtype[Any]) -> OpenedRows:
    """The opened rows, of which those with gaps are left out.

    With ``missing="em"`` they count by the values that they have. A use that does not count rows,
    such as predict, gets the rows unchanged.
    """
    may_lack = dtype.kind == "f" or request.weights is not None
    if not (request.use.counted and may_lack):
        return opened
    missing: Missing = "em" if request.use.missing == "em" else "drop"
    return replace(opened, rows=RowsWithGaps(opened.rows, missing, request.weights is None))


def _rows_of(x: Any) -> tuple[NDArray[Any] | da.Array, Cells, Names | None]:
    """All cells as rows, those with gaps among them; the cells; and the names of the features."""
    on_dask = _is_on_dask(x)
    # Coordinates that are no index have chunks of their own, which features should not be cut by.
    arrays, dims, names = _features(
        x.reset_coords(drop=True).chunk().unify_chunks() if on_dask else x
    )
    coords = {k: c for k, c in x.coords.items() if set(c.dims) <= set(dims)}
    shape = tuple(x.sizes[dim] for dim in dims)
    if any(0 in array.shape for array in arrays):
        what = "no cells" if 0 in shape else "no features"
        raise DataError(
            f"the {type(x).__name__} has {what}: its sizes are {dict(x.sizes)}; at least 1 is needed "
            "along each dimension"
        )
    if on_dask:
        return rows_of_cells(arrays), Cells(dims, shape, coords, arrays[0].chunks[:-1]), names
    rows = np.concatenate([a.reshape(-1, a.shape[-1]) for a in arrays], axis=1)
    return rows, Cells(dims, shape, coords), names


def row_weights(
    x: Any, given: Any, names: Sequence[str] | None = None, missing: Missing = "error"
) -> Any:
    """Weights of cells in the order of their rows, (n_cells,).

    In memory they are 0 where a feature has a gap, for which the cell is left out. On Dask they are
    as they were given, since no row is read for them. With ``missing="em"`` they are unchanged as well.

    Parameters
    ----------
    x : xarray.Dataset or xarray.DataArray
    given : xarray.DataArray or array-like
        A DataArray may lack dimensions of the cells, such as areas that depend on the latitude alone.
        Others have a weight for each cell, in the order of the dimensions.
    names : sequence of str, optional
        The variables of a Dataset that are features; all of them by default.
    missing : {"error", "drop", "em"}
        What becomes of cells with gaps.

    Returns
    -------
    ndarray, or Dask array if the cells are on Dask

    Raises
    ------
    DataError
        If they do not lie on the cells, or cannot be brought into the order of the rows.
    """
    rows, cells, _ = _rows_of(decoded(selected(x, names)))
    on_cells = _is_array(given)
    weights = laid_on(cells, decoded(given)) if on_cells else plain_column(given, "sample_weight")
    if not isinstance(rows, da.Array):
        weights = np.asarray(weights)
        are_cut = missing != "em" and rows.dtype.kind == "f" and weights.shape == rows.shape[:1]
        are_cut = are_cut and weights.dtype.kind in _NUMBERS  # others are refused for their dtype
        return np.where(_gaps(rows), 0.0, weights) if are_cut else weights
    if not on_cells:
        assert cells.chunks is not None
        _check_order(tuple(map(len, cells.chunks)), cells.dims)
        if weights.shape != rows.shape[:1]:
            return weights  # which is refused for its length
        weights = da.from_array(weights, chunks=(rows.chunks[0],))
    return weights


def check_laid_on(cells: Cells, given: Any) -> None:
    """Refuse weights along other dimensions or coordinates than the cells have.

    Raises
    ------
    DataError
    """
    if beyond := [dim for dim in given.dims if dim not in cells.dims]:
        raise DataError(
            f"the weights have dimension {beyond[0]!r}, and the cells have {cells.dims}; select or "
            f"average along it, as .isel({beyond[0]}=0)"
        )
    for dim in given.dims:
        size = cells.shape[cells.dims.index(dim)]
        # Asked for a coordinate that it has not, xarray makes one of numbers.
        own, others = dict(given.coords).get(dim), cells.coords.get(dim)
        # Variables are compared, because a coordinate carries scalar coordinates with it, such as a
        # depth that was selected, and these may differ.
        is_same = own is None or others is None or own.variable.equals(others.variable)
        if given.sizes[dim] != size or not is_same:
            raise DataError(
                f"the weights have other coordinates along {dim!r} than the cells; bring them "
                "together with weights.reindex_like(data)"
            )


def laid_on(cells: Cells, given: Any) -> NDArray[Any] | da.Array:
    """Weights along some of the cells' dimensions, as one for each row.

    Raises
    ------
    DataError
        As :func:`check_laid_on`.
    """
    check_laid_on(cells, given)
    own_dims = [dim for dim in cells.dims if dim in given.dims]
    data = given.transpose(*own_dims).data
    index = tuple(slice(None) if dim in own_dims else None for dim in cells.dims)
    if cells.chunks is None:
        return np.broadcast_to(np.asarray(data)[index], cells.shape).reshape(-1)
    of_dims = dict(zip(cells.dims, cells.chunks, strict=True))
    chunks = tuple(of_dims[dim] for dim in own_dims)
    lazy = data.rechunk(chunks) if isinstance(data, da.Array) else da.from_array(data, chunks)
    on_cells = da.broadcast_to(lazy[index], cells.shape, chunks=cells.chunks)
    return rows_of_cells([on_cells[..., None]])[:, 0]


def _is_array(x: Any) -> bool:
    return is_xarray(x) and not hasattr(x, "data_vars")


def _gaps(rows: NDArray[Any]) -> NDArray[np.bool_]:
    gaps: NDArray[np.bool_] = np.isnan(rows).any(axis=1)
    return gaps


def _without_gaps(rows: NDArray[Any]) -> NDArray[Any]:
    return rows[~_gaps(rows)]


def _check_order(n_blocks: tuple[int, ...], dims: tuple[Hashable, ...]) -> None:
    """Refuse weights where rows come in another order than cells: they could not be aligned."""
    cut = [dim for dim, n in zip(dims[1:], n_blocks[1:], strict=True) if n > 1]
    if cut:
        raise DataError(
            f"weights of cells that are in chunks along {', '.join(map(repr, cut))} cannot be "
            f"aligned with rows, which come block after block; give a DataArray of weights, or chunk "
            f"the data along {dims[0]!r} alone, as .chunk({dict.fromkeys(cut, -1)})"
        )


def selected(x: Any, names: Sequence[str] | None) -> Any:
    """The variables of a Dataset that a model knows, which are known by name: they have no order."""
    if names is None or not hasattr(x, "data_vars"):
        return x
    by_name = {str(name): name for name in x.data_vars}
    return x[[by_name[name] for name in names]] if set(names) <= set(by_name) else x


def decoded(x: Any) -> Any:
    """The values that packed codes stand for, as xarray decodes them; others as they are."""
    variables = x.data_vars if hasattr(x, "data_vars") else {x.name: x}
    if not any(_PACKED & set(variable.attrs) for variable in variables.values()):
        return x
    for name, variable in variables.items():
        if variable.dtype.kind == "f" and (scaling := _SCALING & set(variable.attrs)):
            raise DataError(
                f"{_shown(name)} has dtype {variable.dtype} and {min(scaling)}, so that it cannot be "
                "told whether it was decoded; drop the attribute if it was, or else decode it with "
                "xarray.decode_cf"
            )
    from xarray import decode_cf  # here: as above

    if hasattr(x, "data_vars"):
        return decode_cf(x, decode_times=False, decode_coords=False)
    codes = x.to_dataset(name=_CODES)
    return decode_cf(codes, decode_times=False, decode_coords=False)[_CODES].rename(x.name)


def filled(x: Any, cells: Any) -> Any:
    """The same data with other values: those of cells, whose last dimension is that of features."""
    found = filled_variables(x, cells)
    if not hasattr(x, "data_vars"):
        return next(iter(found.values()))
    # Integers have no gaps.
    return decoded(x).assign({k: v for k, v in found.items() if v.dtype.kind == "f"})


def filled_variables(x: Any, cells: Any) -> dict[Hashable, Any]:
    """The variables of a Dataset with the values of cells, by name; a DataArray is one variable.

    They keep their attributes, dimensions and dtypes.
    """
    x = decoded(x)
    if not hasattr(x, "data_vars"):
        return {x.name or cells.name: x.copy(data=cells.data)}
    dim, by_name = cells.dims[-1], {str(name): name for name in x.data_vars}
    found = {}
    for name in map(str, cells[dim].to_numpy()):
        old = x[by_name[name]]
        values = cells.sel({dim: name}).transpose(*old.dims).data
        found[by_name[name]] = old.copy(data=values.astype(old.dtype))
    return found


def _features(x: Any) -> tuple[list[Any], tuple[Hashable, ...], Names | None]:
    """Arrays over cells and features, the dimensions of cells, and the features' names."""
    dims, names = cells_of(x)
    if not hasattr(x, "data_vars"):
        return [x.data], dims, names
    return [v.transpose(*dims).data[..., None] for v in x.data_vars.values()], dims, names


def cells_of(x: Any) -> tuple[tuple[Hashable, ...], Names | None]:
    """The dimensions of cells, and the names of the features.

    Raises
    ------
    DataError
        If features are no numbers, or do not have the same dimensions.
    """
    if not hasattr(x, "data_vars"):
        check_numbers(x)
        return x.dims[:-1], names_of_last_dimension(x)
    variables = dict(x.data_vars)
    if not variables:
        raise DataError("the Dataset has no data variables, which are the features; select some")
    check_numbers(x)
    (first, dims), *_ = ((name, variable.dims) for name, variable in variables.items())
    for name, variable in variables.items():
        if set(variable.dims) != set(dims):
            raise DataError(
                f"variable {name!r} has dimensions {variable.dims}, {first!r} has {dims}: all features "
                f"must have the same; leave it out with .drop_vars({name!r}), or bring them "
                "together with xarray.broadcast"
            )
    if not dims:
        raise DataError(f"variable {first!r} has no dimensions; rows are cells along dimensions")
    return dims, tuple(str(name) for name in variables)


def units_of(x: Any) -> tuple[str, ...] | None:
    """Units of the features, empty where there are none; None if no feature has any.

    Those of a Dataset's variables; those of a coordinate along the last dimension of a DataArray,
    or else of all its values.
    """
    if hasattr(x, "data_vars"):
        units = [variable.attrs.get(UNITS, "") for variable in x.data_vars.values()]
    elif UNITS in x.coords and x.coords[UNITS].dims == x.dims[-1:]:
        units = x.coords[UNITS].to_numpy().tolist()
    else:
        units = [x.attrs.get(UNITS, "")] * x.sizes[x.dims[-1]]
    return tuple(map(str, units)) if any(units) else None


def check_numbers(x: Any) -> None:
    """Refuse features that are no numbers, or are names of classes in numbers.

    Parameters
    ----------
    x : xarray.Dataset or xarray.DataArray

    Raises
    ------
    DataError
    """
    has_others = hasattr(x, "data_vars")  # a DataArray is all that there is
    for name, variable in x.data_vars.items() if has_others else [(x.name, x)]:
        if variable.dtype.kind not in _NUMBERS:
            way = "leave it out, or convert it first" if has_others else "convert it first"
            raise DataError(
                f"{_shown(name)} has dtype {variable.dtype}; features are numbers: {way}"
            )
        if flags := sorted(_FLAGS & set(variable.attrs)):
            way = f"leave it out with .drop_vars({name!r}) or by naming the other variables, or "
            raise DataError(
                f"{_shown(name)} has {flags[0]}, so that its numbers are names of classes; "
                f"{way if has_others else ''}drop {' and '.join(flags)} from its attrs if they are "
                "numbers to fit"
            )


def _shown(name: Hashable) -> str:
    return "the DataArray" if name is None else f"variable {name!r}"


def is_xarray(x: Any) -> bool:
    """Whether data are a Dataset or a DataArray."""
    xarray = sys.modules.get("xarray")  # None unless it was imported, as whoever has such data did
    return xarray is not None and isinstance(x, xarray.DataArray | xarray.Dataset)


def _is_on_dask(x: Any) -> bool:
    if not is_xarray(x):
        return False
    variables = x.data_vars.values() if hasattr(x, "data_vars") else [x]
    return any(variable.chunks is not None for variable in variables)


XARRAY_ON_DASK = Kind("xarray on Dask", _is_on_dask, _open)
XARRAY = Kind("xarray in memory", is_xarray, _open, is_lazy=False)
