"""NetCDF: variables over the same dimensions, of which each cell is a row, read by xarray."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from daskgmm.conversion.choice import chosen
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.options import How
from daskgmm.conversion.reader import (
    BLOCK_BYTES,
    Block,
    Column,
    check_units,
    dtype_of,
    imported,
    reading,
)
from daskgmm.conversion.readers.grids import cell_of, cuts
from daskgmm.errors import DamagedDataError, DataError
from daskgmm.rules import words_of

__all__ = ["NetcdfReader", "of_most_dimensions", "open_netcdf"]

_EXTRA = "netcdf"
_NUMBERS = "biuf"
_FLAGS = ("flag_values", "flag_masks", "flag_meanings")
_ENGINES = {b"\x89HDF": "h5netcdf", b"CDF": "scipy"}
"""What reads files that begin so: NetCDF 4, and the versions before it."""


class NetcdfReader:
    """Cells of NetCDF files; see :class:`daskgmm.conversion.reader.Reader`.

    Values are decoded as CF says; those that are missing are NaN. Times stay the numbers they are
    stored as. Cells are in the order of the dimensions, the last one fastest.

    Raises
    ------
    DataError
        If variables that are asked for are over other dimensions, or another file has others.
    """

    is_named = True
    n_ragged = 0
    kept = None

    def __init__(self, files: Sequence[Input], how: How) -> None:
        self._files, self._member = files, how.member
        with self._opened(files[0]) as data:
            names = how.variables or of_most_dimensions(data, files[0])
            known = how.variables or []
            columns = [
                _column(name, data[name], data[names[0]] if names[0] in data.variables else None)
                for name in map(str, (*data.data_vars, *(k for k in known if k in data.coords)))
            ]
            found, self.left_out = chosen(columns, how.variables, files[0], "--variables")
            self.columns = tuple(columns[j] for j in found)
            first = data[self.columns[0].name]
            self._dims = first.dims
            self.dtype = dtype_of(how.dtype, [data[c.name].dtype for c in self.columns])
        self._shapes = [self._shape(path) for path in files]

    def _opened(self, path: Input) -> Any:
        return open_netcdf(path, self._member)

    def _shape(self, path: Input) -> tuple[int, ...]:
        """Of the cells of a file, whose variables are checked."""
        with self._opened(path) as data:
            for column in self.columns:
                variable = data.variables.get(column.name)
                if variable is None or set(variable.dims) != set(self._dims):
                    said = (
                        "is not in it" if variable is None else f"is over {_listed(variable.dims)}"
                    )
                    raise DataError(
                        f"{path}: variable {column.name!r} {said}, but is over {_listed(self._dims)} in "
                        f"{self._files[0]}; convert them apart, or leave it out of --variables"
                    )
                check_units(
                    path,
                    column,
                    str(variable.attrs.get("units", "")),
                    self._files[0],
                    "--variables",
                )
            return tuple(data.sizes[dim] for dim in self._dims)

    def blocks(self) -> Iterator[Block]:
        """All cells, block after block along the first dimension."""
        names = [column.name for column in self.columns]
        most = max(1, BLOCK_BYTES // (8 * len(names)))
        for part, (path, shape) in enumerate(zip(self._files, self._shapes, strict=True)):
            if 0 in shape:
                continue
            start = 0
            with self._opened(path) as data, reading(path, Exception):
                for selection in cuts(shape, most):
                    where = dict(zip(self._dims, selection, strict=True))
                    values = np.empty(
                        (math.prod(s.stop - s.start for s in selection), len(names)), self.dtype
                    )
                    for j, name in enumerate(names):
                        found = data[name].isel(where).transpose(*self._dims).to_numpy()
                        values[:, j] = found.reshape(-1)
                    yield Block(values, part, start)
                    start += len(values)

    def place(self, part: int, row: int) -> str:
        """The file and the indices of the cell."""
        indices = cell_of(row, self._shapes[part])
        cell = ", ".join(f"{dim} {i}" for dim, i in zip(self._dims, indices, strict=True))
        return f"{self._files[part]}, {cell} (counted from 0)"


def _engine(path: Input) -> str:
    with reading(path):
        first = path.head(8)
    engine = next((engine for magic, engine in _ENGINES.items() if first.startswith(magic)), None)
    if engine is None:
        raise DamagedDataError(
            f"{path} is no NetCDF, or its beginning is damaged; restore it from a copy, or unpack it if "
            "it is compressed"
        )
    imported(engine, _EXTRA)
    if engine == "scipy" and not path.place.is_local:  # it would hold each variable whole
        raise DataError(
            f"{path} is NetCDF of version 3, which is read from local files alone: download it, and "
            "convert the copy"
        )
    return engine


def open_netcdf(path: Input, member: str | None = None, **how: Any) -> Any:
    """A file, or a group of it, as a Dataset that reads values when they are asked for.

    Parameters
    ----------
    path : Input
    member : str, optional
        Path of the group.
    **how
        As of ``xarray.open_dataset``. Times stay the numbers that they are stored as.

    Raises
    ------
    DataError, DamagedDataError, MissingDependencyError
    """
    xarray, engine = imported("xarray", _EXTRA), _engine(path)
    # What is raised for a damaged file depends on the library, and is of any kind.
    with reading(path, Exception):
        if engine == "h5netcdf":  # which prints an error of its own when it gives up
            imported("h5py", _EXTRA).File(path.handle(), "r").close()
        as_stored = {"decode_times": False, "decode_timedelta": False, "cache": False}
        return xarray.open_dataset(path.handle(), engine=engine, group=member, **(as_stored | how))


def of_most_dimensions(data: Any, path: object, without: Collection[str] = ()) -> list[str]:
    """Data variables of numbers over as many dimensions as any of them, but for some by name.

    Raises
    ------
    DataError
        If there is none, or they are over other dimensions, of which the choice is the user's.
    """
    fit = {
        str(name): v.dims
        for name, v in data.data_vars.items()
        if not _unfit(v) and v.dims and name not in without
    }
    if not fit:
        known = "; ".join(
            f"{name!r} {_unfit(v) or 'is a scalar'}" for name, v in data.data_vars.items()
        )
        raise DataError(
            f"{path} has no variable that is numbers over dimensions"
            + (f": {known}" if known else "")
            + "; name variables with --variables, or their group with --member"
        )
    most = max(map(len, fit.values()))
    names = [name for name, dims in fit.items() if len(dims) == most]
    others = [name for name in names if set(fit[name]) != set(fit[names[0]])]
    if others:
        raise DataError(
            f"{path}: {names[0]!r} is over {_listed(fit[names[0]])}, {others[0]!r} over "
            f"{_listed(fit[others[0]])}, and features must be over the same; choose those that are, as "
            f"--variables {words_of([n for n in names if n not in others])}"
        )
    return names


def _column(name: str, variable: Any, first: Any) -> Column:
    unfit, is_number = _unfit(variable), variable.dtype.kind in _NUMBERS
    if is_number and first is not None and set(variable.dims) != set(first.dims):
        unfit = f"is over {_listed(variable.dims)}, not {_listed(first.dims)}"
        if variable.dims and set(variable.dims) < set(first.dims):
            unfit += ", and can be a mask or weights of the grid"
        is_number = False
    units = str(variable.attrs.get("units", ""))
    return Column(name, str(variable.dtype), units, unfit, is_number)


def _unfit(variable: Any) -> str:
    """Why a variable is no feature, unless it is asked for; empty if it is one."""
    if variable.dtype.kind not in _NUMBERS:
        return f"is of type {variable.dtype}"
    if any(flag in variable.attrs for flag in _FLAGS):
        return "holds names of classes, as numbers"
    if " since " in str(variable.attrs.get("units", "")):
        return f"is of times ({variable.attrs['units']})"
    return ""


def _listed(dims: Sequence[Any]) -> str:
    return f"({', '.join(map(str, dims))})"
