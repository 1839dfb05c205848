"""Weights: how often each row counts, opened and checked before the first pass."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray

from daskgmm.em import InMemoryRows, Rows
from daskgmm.em.rows import grain_rows
from daskgmm.errors import DataError, warn
from daskgmm.execution import (
    DaskRows,
    Weighting,
    array_of_source,
    in_force,
    partition_starts,
    row_blocks,
)
from daskgmm.kernel import Block, Float64Array
from daskgmm.source import cuts_of
from daskgmm.storage import COLUMN, Location, ParquetSource, StoredSource, has_columns, open_source
from daskgmm.tables.names import means_place
from daskgmm.tables.plain import plain_column

__all__ = [
    "Weights",
    "fingerprint_of",
    "is_scale_of_counts",
    "open_column",
    "opened_column",
    "weights_beside",
    "weights_of",
]

_NAME = "sample_weight"
_READ_ROWS = 2**19
"""Number of weights in one partition while they are checked: 4 MiB of float64."""
_MOST_SQUARES = 1e280
"""The sum of squared weights must lie between this and its inverse, so that float64 keeps its digits."""
_TOO_SMALL = 0.5
"""A sum of weights below this share of the effective number of rows cannot be a number of rows."""
_TOO_LARGE = 1e6
"""Mean weight from which weights are taken for something else than counts of rows."""


def is_scale_of_counts(scale: float) -> bool:
    """Whether weights that :meth:`Weights.as_counts` multiplied by this can have been counts."""
    return 1.0 <= scale <= 1.0 / _TOO_SMALL


@dataclass(frozen=True)
class _Summed:
    """What one read of the weights finds. Additive, later rows on the right."""

    n_rows: int
    total: float
    squares: float
    bad: tuple[int, float] | None

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.n_rows + other.n_rows,
            self.total + other.total,
            self.squares + other.squares,
            self.bad or other.bad,
        )

    @classmethod
    def of(cls, block: Block, may_lack: bool) -> Self:
        weights = block.x[:, 0].astype(np.float64)
        if may_lack:
            weights = np.where(np.isnan(weights), 0.0, weights)
        wrong = ~((weights >= 0) & (weights < np.inf))  # NaN, too
        if wrong.any():
            first = int(np.argmax(wrong))
            return cls(len(block), 0.0, 0.0, (block.start + first, float(weights[first])))
        with np.errstate(over="ignore"):  # sums that are too large are refused when all are known
            return cls(len(block), float(weights.sum()), float(np.vdot(weights, weights)), None)


def _sum_of(block: Block, may_lack: bool) -> _Summed:
    return _Summed.of(block, may_lack)


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of rows, each finite and none negative, and not all of them 0.

    Attributes
    ----------
    given : ndarray of shape (n_rows,), Dask array of shape (n_rows,), or StoredSource
        The weights as they were given; in float64, unless they are stored.
    name : str
        What messages call them.
    n_rows : int
    total : float
        Their sum.
    n_effective : float
        ``(sum w)^2 / sum w^2`` (Kish 1965): the number of equally weighted rows that carry as much
        information.
    scale : float
        What they are multiplied by where rows are fitted.
    fingerprint : callable or None
        Gives a hash by which weights are known again; None for those on Dask.
    """

    given: NDArray[Any] | da.Array | StoredSource
    name: str
    n_rows: int
    total: float
    n_effective: float
    scale: float = 1.0
    fingerprint: Callable[[], str] | None = field(default=None, repr=False)

    def check_length(self, n_rows: int, data: str) -> None:
        """Raise DataError if there is not one weight for each row."""
        if self.n_rows != n_rows:
            raise DataError(
                f"{self.name} has {self.n_rows} weights, but {data} has {n_rows} rows; give one "
                "weight for each row, in the same order"
            )

    def as_counts(self) -> Weights:
        """The same weights on the scale of counts, so that no fit depends on their unit.

        Weights that sum to less than their effective number of rows are scaled to sum to it:
        how precise a fit is, and how few rows make no component, follow from their sum. Counts
        of rows never sum to less, and are left as they are. So are weights of a million or more on
        the average scaled, such as areas in square metres: what they count is no rows.
        """
        scale = self.n_effective / self.total
        if self.total < _TOO_LARGE * self.n_rows:
            scale = max(1.0, scale)
        return Weights(
            self.given,
            self.name,
            self.n_rows,
            self.total,
            self.n_effective,
            scale,
            self.fingerprint,
        )

    @property
    def are_counts(self) -> bool:
        """Whether their sum can be a number of rows."""
        is_enough = self.total >= _TOO_SMALL * self.n_effective
        return is_enough and self.total < _TOO_LARGE * self.n_rows

    def said_of_scale(self) -> str | None:
        """For people: what weights on the scale of counts were multiplied by, if by anything."""
        if self.scale == 1.0:
            return None
        return (
            f"the weights sum to {self.total:.4g} and tell as much as {self.n_effective:.4g} rows: all "
            f"figures are of weights multiplied by {self.scale:.4g}"
        )

    def warn_if_no_counts(self) -> None:
        """Warn where criteria would take a sum that is no number of rows for one.

        Warns
        -----
        DaskGMMWarning
        """
        if not self.are_counts:
            warn(
                f"AIC, BIC and ICL take the sum of the weights, {self.total:.4g}, for the number "
                f"of rows, but the weights tell as much as {self.n_effective:.4g} rows; multiply "
                f"them by {self.n_effective / self.total:.4g} to compare models"
            )

    def in_memory(self) -> Float64Array:
        """All weights, (n_rows,), float64."""
        if isinstance(self.given, da.Array):
            weights = np.asarray(self.given.compute(), np.float64)
        elif isinstance(self.given, np.ndarray):
            weights = self.given
        else:
            weights = self.given.read(0, self.n_rows)[:, 0].astype(np.float64)
        return weights if self.scale == 1.0 else weights * self.scale

    def in_chunks(self, chunks: tuple[int, ...]) -> Weighting:
        """For the rows of a Dask array in these row chunks."""
        if isinstance(self.given, np.ndarray):
            lazy = da.from_array(self.given, chunks=(chunks,))
        elif isinstance(self.given, da.Array):
            lazy = self.given.rechunk((chunks,))
        else:
            return self.by_range()
        return Weighting(lazy if self.scale == 1.0 else lazy * self.scale, self.counted)

    @property
    def is_lazy(self) -> bool:
        """Whether they cannot be read by range, but only block by block."""
        return isinstance(self.given, da.Array)

    def by_range(self) -> Weighting:
        """For the rows of a source: weights in memory, or stored."""
        assert not isinstance(self.given, da.Array)
        if isinstance(self.given, np.ndarray):
            return Weighting(_InMemory(self.in_memory()), self.counted)
        return Weighting(_Stored(self.given, self.scale), self.counted)

    @property
    def counted(self) -> float:
        """Sum of the weights as rows are fitted with them."""
        return self.total * self.scale


@dataclass(frozen=True, eq=False)
class _InMemory:
    weights: Float64Array

    def read(self, start: int, stop: int) -> Float64Array:
        return self.weights[start:stop]


@dataclass(frozen=True, eq=False)
class _Stored:
    source: StoredSource
    scale: float

    def read(self, start: int, stop: int) -> Float64Array:
        return self.source.read(start, stop)[:, 0].astype(np.float64) * self.scale


def open_column(place: Any) -> StoredSource:
    """Stored numbers, one for each row; nothing is read yet.

    Parameters
    ----------
    place : path, URL, zarr.Array or zarr.Group
        Source of an array of shape (n_rows,), in Zarr or in a ``.npy`` file.

    Raises
    ------
    NotFoundError, DataError, DamagedDataError
    """
    return open_source(place, layout=COLUMN)


def weights_of(given: Any, *, may_lack: bool = False) -> Weights:
    """Check weights, which are in the order of the rows: one read of them, and none of the rows.

    Parameters
    ----------
    given : array-like, Dask array or Series, xarray.DataArray, zarr.Array, Source, path or URL
        Weights of shape (n_rows,).
    may_lack : bool
        Whether weights may be NaN, for rows with gaps, which passes find when they read the rows.

    Raises
    ------
    DataError
        If they are not one finite number of 0 or more for each row, or all are 0.
    """
    opened, rows, name = opened_column(given)
    summed = rows.fold(_sum_of, may_lack)
    if summed.bad is not None:
        row, value = summed.bad
        raise DataError(
            f"{name} has {value:g} at row {row}; weights must be finite and 0 or more: 0 leaves a "
            "row out"
        )
    if summed.total == 0.0:
        raise DataError(f"{name} is zero for each of {summed.n_rows} rows; none is left to fit")
    if not 1.0 / _MOST_SQUARES < summed.squares < _MOST_SQUARES:
        raise DataError(
            f"{name} has a sum of squares of {summed.squares:.3g}, and float64 keeps the digits of "
            f"such sums between {1.0 / _MOST_SQUARES:g} and {_MOST_SQUARES:g}; multiply all weights "
            "by one factor: no fit depends on it"
        )
    return Weights(
        opened,
        name,
        summed.n_rows,
        summed.total,
        summed.total**2 / summed.squares,
        fingerprint=fingerprint_of(opened),
    )


def opened_column(
    given: Any, name: str = _NAME, what: str = "weight"
) -> tuple[NDArray[Any] | da.Array | StoredSource, Rows, str]:
    """One number for each row, as rows of one feature, and what messages call them.

    Parameters
    ----------
    given : as for :func:`weights_of`
    name : str
        What messages call it, if it has no name of its own.
    what : str
        What a number is.

    Raises
    ------
    DataError
        If it is no column of numbers.
    """
    if isinstance(given, str | os.PathLike | zarr.Array | zarr.Group):
        given = open_column(given)
    if hasattr(given, "unit_rows") and hasattr(given, "read"):
        given.survey().raise_for_damage(given.missing_chunks)
        grain = grain_rows(1, given.unit_rows)
        array = array_of_source(given, grain * max(1, _READ_ROWS // grain))
        rows, cuts = DaskRows(array, grain, source=given), cuts_of(given)
        if cuts is not None:
            rows = rows.in_partitions(partition_starts(cuts, given.dtype.itemsize, grain))
        return given, rows, given.name
    if hasattr(given, "to_dask_array"):  # a column of a Dask DataFrame
        given = given.to_dask_array()
    is_numpy = isinstance(given, np.ndarray | np.generic)  # whose data of dates raise an error
    if not is_numpy and isinstance(getattr(given, "data", None), da.Array):  # an xarray.DataArray
        given = given.data
    if isinstance(given, da.Array):
        return _on_dask(given, name, what)
    return _in_memory(given, name, what)


def fingerprint_of(
    opened: NDArray[Any] | da.Array | StoredSource,
) -> Callable[[], str] | None:
    """Gives a hash by which a column is known again; None for one on Dask."""
    if isinstance(opened, da.Array):
        return None
    if isinstance(opened, np.ndarray):
        array = opened
        return lambda: hashlib.sha256(array.tobytes()).hexdigest()[:16]
    return opened.fingerprint


def _on_dask(given: da.Array, name: str, what: str) -> tuple[da.Array, Rows, str]:
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    _check_plain(given.ndim, given.shape, given.dtype, name, what)
    column, _ = row_blocks(given[:, None])  # counts the rows of chunks of unknown size
    return column[:, 0].astype(np.float64), DaskRows(column), name


def _in_memory(given: Any, name: str, what: str) -> tuple[NDArray[Any], Rows, str]:
    array = plain_column(given, name, what)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    _check_plain(array.ndim, array.shape, array.dtype, name, what)
    array = np.ascontiguousarray(array, np.float64)
    return array, InMemoryRows(array[:, None], n_threads=in_force().local_threads), name


def _check_plain(
    ndim: int, shape: tuple[float, ...], dtype: np.dtype[Any], name: str, what: str
) -> None:
    if ndim != 1:
        raise DataError(
            f"{name} must be a 1D array, (n_rows,), of one {what} for each row; got shape {shape}"
        )
    if shape[0] == 0:
        raise DataError(f"{name} is empty; give one {what} for each row")
    if dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {dtype}; {what}s are numbers: convert them first")


def weights_beside(data: Any, name: str, source: Any = None) -> str | StoredSource:
    """Where weights lie that a command line names: beside the rows, or somewhere else.

    Parameters
    ----------
    data : path or URL
        Path or URL of the rows: a group, or an array in one.
    name : str
        Name of a member of the group, or of a column; or a path or URL.
    source : StoredSource, optional
        The rows, if they are open.

    Returns
    -------
    str or StoredSource
        The path or URL, or the column.

    Raises
    ------
    DataError, ParameterError
        If the rows have named columns, and neither a column nor a file is of that name.
    """
    column = _column_beside(data if source is None else source, name)
    if column is not None:
        return column
    if "/" in name or os.sep in name or not isinstance(data, str | os.PathLike):
        return name
    place = os.fspath(data).rstrip("/")  # str(data) of a Location is no address
    parent = place.rpartition("/")[0]
    for group in (place, parent):
        if group and _is_node(f"{group}/{name}"):
            return f"{group}/{name}"
    return name


def _column_beside(data: Any, name: Any) -> StoredSource | None:
    """The column of the rows that has this name.

    None if the rows have no named columns, or if the name is a path or a URL.
    """
    if not isinstance(name, str):
        return None
    if isinstance(data, str | os.PathLike) and has_columns(data):
        data = open_source(data)
    if not isinstance(data, ParquetSource) or means_place(name, data.has(name)):
        return None
    return data.column(name)


def _is_node(place: str) -> bool:
    return any(Location.parse(place).child(n).exists() for n in ("zarr.json", ".zarray"))
