"""open_rows: what a path and its options, or xarray's data and a choice of them, mean as rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from daskgmm.errors import ParameterError
from daskgmm.events import tell_message_once
from daskgmm.keywords import suggesting
from daskgmm.storage import Location, has_variables, open_source
from daskgmm.tables.grids import Choice, chosen
from daskgmm.tables.stored_grids import Grid, open_grid
from daskgmm.tables.weights import weights_beside
from daskgmm.tables.xarrays import is_xarray

__all__ = ["open_as_fitted", "open_rows", "weights_named"]


@suggesting()
def open_rows(  # noqa: PLR0913 (each is an option of commands, by its name)
    data: Any,
    *,
    member: str | None = None,
    missing_chunks: Literal["error", "fill"] = "error",
    variables: str | Sequence[str] | None = None,
    feature_dim: str | None = None,
    mask: Any = None,
    columns: str | Sequence[str] | None = None,
) -> Any:
    """Open stored rows, or choose from xarray's data, for :class:`daskgmm.GaussianMixture`.

    Parameters
    ----------
    data : str, Path, zarr.Array, zarr.Group, xarray.Dataset or xarray.DataArray
        Path or URL of a Zarr array, of a group with a single array, of a group of variables, of a
        ``.npy`` file, or of Parquet files: one, a folder of them, or a glob; or something already
        open.
    member : str, optional
        Name of the array within a group of several.
    missing_chunks : {"error", "fill"}
        What a chunk that is not in the store means: damage, or the array's fill value, which
        Zarr does not store by default.
    variables : str or sequence of str, optional
        Names of the variables of a Dataset, or of a group at a path or URL, that are the features.
        Each cell of their dimensions is a row; xarray opens the group.
    feature_dim : str, optional
        Dimension along which the values of variables are features, such as levels of a profile.
    mask : str or xarray.DataArray, optional
        Cells in which it is 0 or missing are left out: a variable beside the others, by its name.
    columns : str or sequence of str, optional
        Names of the columns of Parquet files that are the features, in this order. By default they
        are all: of the files, or at predict those that the model knows.

    Returns
    -------
    Source, Grid, xarray.Dataset or xarray.DataArray
        What fits, scores and predictions take; no rows are read yet.

    Raises
    ------
    NotFoundError, DataError, DamagedDataError
    ParameterError
        If options contradict each other or the kind of data.
    """
    choice = Choice(variables, feature_dim, mask)
    if is_xarray(data):
        if member is not None or columns is not None:
            raise ParameterError(
                "member and columns are for stored rows; name variables of xarray's data"
            )
        return chosen(data, choice)
    if not choice.is_any:
        how: dict[str, Any] = {"missing_chunks": missing_chunks, "columns": columns}
        return open_source(data, member=member, **how)
    for name, value in (("member", member), ("columns", columns)):
        if value is not None:
            raise ParameterError(
                f"{name} is for tables of rows, and variables, feature_dim and mask are for grids; give "
                "one of the two"
            )
    return open_grid(data, choice, missing_chunks)


def open_as_fitted(
    data: str | os.PathLike[str], read_as: Mapping[str, Any] | None, **how: Any
) -> Any:
    """Open stored rows as those of a fit were read, unless it is said how.

    Parameters
    ----------
    data : path or URL
    read_as : mapping or None
        What said which values the rows of the fit were: see :class:`OpenedRows`.
    **how
        As of :func:`open_rows`. Where it says what the features are, nothing is taken of the fit; a
        mask alone is another one for the same features.

    Returns
    -------
    Source or Grid

    Raises
    ------
    NotFoundError, DataError, DamagedDataError, ParameterError
        As :func:`open_rows`.
    """
    how = {name: value for name, value in how.items() if value is not None}
    is_said = not how.keys().isdisjoint(("variables", "feature_dim", "member", "columns"))
    if read_as and not is_said and has_variables(data, read_as["variables"]):
        how = {**read_as, **how}
        tell_message_once(_said(data, how))
    return open_rows(data, **how)


def _said(data: str | os.PathLike[str], how: Mapping[str, Any]) -> str:
    """What the model's own record chose, in a line."""
    along = f" along {how['feature_dim']}" if how.get("feature_dim") else ""
    behind = f", behind the mask {how['mask']}" if how.get("mask") else ""
    return (
        f"{Location.parse(data).name} is read as the rows of the model's fit were: variables "
        f"{', '.join(how['variables'])}{along}{behind}; variables, feature_dim and mask (--variables and so "
        "on) name others"
    )


def weights_named(rows: Any, data: Any, name: str) -> Any:
    """Weights that a command line or a job names: a variable of the group, or as for other rows.

    Parameters
    ----------
    rows : Source or Grid
        What :func:`open_rows` gave.
    data : path or URL
        What it was given.
    name : str

    Returns
    -------
    Beside, StoredSource, path or URL
    """
    return rows.beside(name) if isinstance(rows, Grid) else weights_beside(data, name, rows)
