"""Grid files: NetCDF files as one grid, whose values are read block by block as they are stored.

Several files follow one another along the one dimension in whose size or coordinate they differ, such
as months along time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskgmm.conversion.inputs import Input
from daskgmm.conversion.reader import imported, reading
from daskgmm.conversion.readers.netcdf import open_netcdf
from daskgmm.errors import DataError

__all__ = ["GridFiles"]

_PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
_NAMING = ("coordinates", "grid_mapping", "bounds")
"""Attributes that name variables without which a variable says less."""
_AS_STORED: Mapping[str, Any] = {"mask_and_scale": False, "decode_coords": False}
_READ_AT_ONCE = 1 << 25
"""Bytes after which a file is opened anew: what is mapped of one of version 3 stays resident."""
_WAY_OUT = "convert them apart, or as rows without their grid (--rows)"


class _Head(NamedTuple):
    """What a file says of itself."""

    sizes: Mapping[str, int]
    variables: Mapping[str, Any]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class GridFiles:
    """Files of variables over the same dimensions.

    Parameters
    ----------
    files : sequence of Input
    member : str or None
        Path of the group in each.
    """

    files: Sequence[Input]
    member: str | None = None

    @cached_property
    def heads(self) -> list[_Head]:
        """Of each file; the values of coordinates along dimensions are read."""
        found = []
        for path in self.files:
            with open_netcdf(path, self.member, **_AS_STORED) as data, reading(path, Exception):
                for name in data.sizes:
                    if name in data.variables:
                        data.variables[name].load()
                variables = {str(name): variable for name, variable in data.variables.items()}
                found.append(_Head(dict(data.sizes), variables, dict(data.attrs)))
        return found

    @cached_property
    def along(self) -> str | None:
        """The dimension along which the files follow one another; None for one file.

        Raises
        ------
        DataError
            If there is none, or there are several.
        """
        first, *others = self.heads
        if not others:
            return None
        found = [dim for dim in first.sizes if any(_differ(first, one, dim) for one in others)]
        if len(found) == 1:
            return found[0]
        said = (
            f"differ along {' and '.join(found)}"
            if found
            else "have the same coordinates along all"
        )
        raise DataError(
            f"{self.files[0]} and {len(others)} more files {said} dimensions, and can follow one another "
            f"along one: {_WAY_OUT}"
        )

    @cached_property
    def order(self) -> list[int]:
        """The files in the order of their coordinate, or else of their names."""
        if self.along is None or self.along not in self.heads[0].variables:
            return list(range(len(self.files)))
        starts = [self.coordinate_of(n)[:1].tolist() for n in range(len(self.files))]
        first = self.coordinate_of(0)
        falls = len(first) > 1 and first[0] > first[-1]
        return sorted(range(len(self.files)), key=starts.__getitem__, reverse=bool(falls))

    def coordinate_of(self, n: int) -> NDArray[Any]:
        """The coordinate of a file along the dimension that joins, in the units of the first file."""
        assert self.along is not None
        first, own = (self.heads[i].variables[self.along] for i in (0, n))
        time = ("units", "calendar")
        if [own.attrs.get(key) for key in time] == [first.attrs.get(key) for key in time]:
            found: NDArray[Any] = own.to_numpy()
            return found
        if not all(" since " in str(one.attrs.get("units", "")) for one in (first, own)):
            raise DataError(
                f"{self.files[n]} has {self.along!r} in {own.attrs.get('units')!r}, which is in "
                f"{first.attrs.get('units')!r} in {self.files[0]}; {_WAY_OUT}"
            )
        conventions = imported("xarray.conventions", "netcdf")
        times = conventions.decode_cf_variable(self.along, own)
        times.encoding = {key: first.attrs[key] for key in time if key in first.attrs}
        times.encoding["dtype"] = np.dtype(np.float64)
        encoded: NDArray[Any] = conventions.encode_cf_variable(times).to_numpy()
        return encoded

    def size(self, dim: str) -> int:
        """Cells along a dimension, of all files together."""
        heads = self.heads if dim == self.along else self.heads[:1]
        return sum(head.sizes[dim] for head in heads)

    def beside(self, names: Sequence[str]) -> list[str]:
        """The names, and those of the coordinates and other variables that belong to them."""
        known, found = self.heads[0].variables, dict.fromkeys(names)
        for name in list(names):
            named = " ".join(str(known[name].attrs.get(key, "")) for key in _NAMING)
            belong = (*map(str, known[name].dims), *named.replace(":", " ").split())
            found |= dict.fromkeys(one for one in belong if one in known)
        for name in list(found):
            bounds = str(known[name].attrs.get("bounds", ""))
            found |= {bounds: None} if bounds in known else {}
        return list(found)

    def check_alike(self, name: str) -> None:
        """Refuse a variable that is not in all files, over the same dimensions and in one unit.

        Raises
        ------
        DataError
        """
        first = self.heads[0].variables[name]
        for path, head in zip(self.files[1:], self.heads[1:], strict=True):
            own = head.variables.get(name)
            if own is None or own.dims != first.dims:
                said = "is not in it" if own is None else f"is over {own.dims}"
                raise DataError(
                    f"{path}: variable {name!r} {said}, but is over {first.dims} in {self.files[0]}; "
                    f"{_WAY_OUT}"
                )
            units = [str(one.attrs.get("units", "")) for one in (first, own)]
            if units[0] != units[1] and name != self.along:
                raise DataError(
                    f"{path} has {name!r} in {units[1]!r}, which is in {units[0]!r} in {self.files[0]}; "
                    f"{_WAY_OUT}"
                )

    def is_packed_alike(self, name: str) -> bool:
        """Whether stored values mean the same in all files."""

        def packing(head: _Head) -> str:
            variable = head.variables[name]
            return str([variable.dtype.str, *(variable.attrs.get(key) for key in _PACKING)])

        return len({packing(head) for head in self.heads}) == 1

    def stored(self, name: str) -> Any:
        """A variable of the first file, for its dtype, dimensions and attributes.

        Values are those that stored ones stand for, where files pack them differently.
        """
        if self.is_packed_alike(name):
            return self.heads[0].variables[name]
        with self._opened(self.files[0], name) as data:
            return data.variables[name]

    def _opened(self, path: Input, name: str) -> Any:
        is_unpacked = not self.is_packed_alike(name)
        return open_netcdf(path, self.member, **{**_AS_STORED, "mask_and_scale": is_unpacked})

    def blocks(
        self, name: str, region: Sequence[int]
    ) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
        """All values of a variable, in regions of a shape: where they belong, and what they are."""
        dims = self.heads[0].variables[name].dims
        axis = dims.index(self.along) if self.along in dims else None
        start = 0
        for n in self.order if axis is not None else self.order[:1]:
            path, shape = self.files[n], self.heads[n].variables[name].shape
            for places in _batches(shape, region, self.heads[n].variables[name].dtype.itemsize):
                with self._opened(path, name) as data, reading(path, Exception):
                    for place in places:
                        values = data.variables[name][place].to_numpy()
                        yield _moved(place, axis, start), values
            start += shape[axis] if axis is not None else 0


def _differ(first: _Head, other: _Head, dim: str) -> bool:
    """Whether two files have other cells along a dimension."""
    if other.sizes.get(dim) != first.sizes[dim]:
        return True
    own, its = first.variables.get(dim), other.variables.get(dim)
    if own is None or its is None:
        return False
    units = [one.attrs.get("units") for one in (own, its)]
    return units[0] != units[1] or not np.array_equal(own.to_numpy(), its.to_numpy())


def _batches(
    shape: Sequence[int], region: Sequence[int], itemsize: int
) -> Iterator[list[tuple[slice, ...]]]:
    """Places of regions in an array, as many at once as a file should be open for."""
    counts = [-(-n // step) for n, step in zip(shape, region, strict=True)]
    each = max(1, _READ_AT_ONCE // max(1, int(np.prod(region)) * itemsize))
    batch: list[tuple[slice, ...]] = []
    for index in np.ndindex(*counts):
        batch.append(
            tuple(
                slice(i * step, min((i + 1) * step, n))
                for i, step, n in zip(index, region, shape, strict=True)
            )
        )
        if len(batch) == each:
            yield batch
            batch = []
    if batch:
        yield batch


def _moved(place: tuple[slice, ...], axis: int | None, by: int) -> tuple[slice, ...]:
    if axis is None:
        return place
    own = place[axis]
    return (*place[:axis], slice(own.start + by, own.stop + by), *place[axis + 1 :])
