"""Grids: which variables of xarray's data are features."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskgmm.errors import DataError
from daskgmm.rules import names_of
from daskgmm.tables.names import known_name
from daskgmm.tables.xarrays import UNITS, check_numbers, decoded

__all__ = ["Choice", "chosen"]

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


def _check_mask(mask: Any, name: Any, variable: Any) -> None:
    """Refuse a mask along other dimensions, sizes or coordinates than a variable has."""
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
        own, others = (dict(of.coords).get(dim) for of in (mask, variable))
        if own is not None and others is not None and not _are_close(own, others):
            raise DataError(
                f"the mask has other coordinates along {dim!r} than variable {name!r}; bring them "
                "together with mask.reindex_like(data), or drop those of the mask with "
                f".drop_vars({dim!r}) if its cells are those of the data in their order"
            )


def _are_close(one: Any, other: Any) -> bool:
    """Whether coordinates are the same, but for a tenth of a step: they may be of another precision."""
    left, right = np.asarray(one), np.asarray(other)
    if left.dtype.kind not in "fiu" or right.dtype.kind not in "fiu":
        return bool(np.array_equal(left, right))
    left, right = left.astype(np.float64), right.astype(np.float64)
    step = np.abs(np.diff(right)).min(initial=np.inf)
    near = 0.1 * step if np.isfinite(step) else 1e-5 * np.abs(right).max()
    return bool(np.allclose(left, right, rtol=0.0, atol=near, equal_nan=True))


def _masked(data: Any, mask: Any) -> Any:
    if not hasattr(mask, "dims"):
        raise DataError(
            f"mask is of type {type(mask).__name__}, and it is laid on the data by its dimensions; "
            "give a DataArray, as data['name'].copy(data=mask), or the name of a variable"
        )
    variables = data.data_vars if hasattr(data, "data_vars") else {data.name: data}
    for name, variable in variables.items():
        _check_mask(mask, name, variable)
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
    check_numbers(data)
    from xarray import concat  # here, since only xarray's users have it

    parts: list[Any] = []
    names: list[str] = []
    units: list[str] = []
    for name, variable in variables.items():
        if dim in variable.dims:
            labels = _labels(variable, dim)
            part = variable.drop_vars(dim, errors="ignore").transpose(..., dim)
            part = part.rename({dim: _FEATURE}) if dim != _FEATURE else part
            names += labels if name is None else [f"{name}_{label}" for label in labels]
        else:
            part = variable.expand_dims(_FEATURE, -1)
            names.append(str(name))
        units += [str(variable.attrs.get(UNITS, ""))] * (len(names) - len(units))
        parts.append(part.rename(None))
    _check_alike(variables, dim)
    joined = concat(parts, _FEATURE, coords="minimal", compat="override", join="override")
    joined = joined.drop_vars(UNITS, errors="ignore")
    coords: dict[str, Any] = {_FEATURE: np.array(names, dtype=object)}
    if any(units):
        coords[UNITS] = (_FEATURE, np.array(units, dtype=object))
    return joined.assign_coords(coords)


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
