"""Measurement noise: a variance for each value of the rows, opened before the first pass.

The variances are as many as the values, so that no read is spent on them alone: what is in them is
checked where the rows are read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray

from daskgmm.errors import DataError
from daskgmm.execution import array_of_source, row_blocks
from daskgmm.execution.dask_blocks import checked_blocks
from daskgmm.kernel import Float64Array
from daskgmm.storage import PairedSource, StoredSource, open_source
from daskgmm.tables.plain import plain_array

__all__ = ["MeasurementNoise", "noise_of"]

_NAME = "measurement_noise"


@dataclass(frozen=True, eq=False)
class _InMemory:
    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        n_rows, n_columns = self.array.shape
        return n_rows, n_columns

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self.array[start:stop]


@dataclass(frozen=True, eq=False)
class MeasurementNoise:
    """Variances of the noise of values, one for each.

    Attributes
    ----------
    given : ndarray, Dask array or StoredSource, of shape (n_rows, D) or (n_rows, D * D)
        Variances, or covariances of D features, row by row of the matrix.
    fingerprint : callable or None
        Gives a hash by which they are known again; None for those on Dask.
    """

    given: NDArray[Any] | da.Array | StoredSource
    fingerprint: Callable[[], str] | None = None

    def check_shape(self, shape: tuple[int, int], data: str) -> None:
        """Raise DataError if there is neither a variance for each value, nor a matrix for each row."""
        n_rows, d = shape
        if tuple(self.given.shape) not in ((n_rows, d), (n_rows, d * d)):
            raise DataError(
                f"{_NAME} has shape {tuple(self.given.shape)}, but {data} has {n_rows} rows of {d} "
                f"features; give {d} variances for each row, in the same order, or a covariance of "
                f"{d} x {d}"
            )

    def in_memory(self) -> Float64Array:
        """All of them, (n_rows, D) or (n_rows, D * D), float64."""
        given = self.given
        if isinstance(given, da.Array):
            given = given.compute()
        found = given if isinstance(given, np.ndarray) else given.read(0, given.shape[0])
        return np.ascontiguousarray(found, np.float64)

    def beside(self, array: da.Array) -> da.Array:
        """Blocks of rows (n, D) with their noise in further columns."""
        given = self.given
        chunks = array.chunks[0], (given.shape[1],)
        if isinstance(given, da.Array):
            noise = checked_blocks(given).rechunk(chunks)
        elif isinstance(given, np.ndarray):
            noise = da.from_array(given, chunks=chunks)
        else:
            noise = array_of_source(given, chunks[0])
        return da.concatenate([checked_blocks(array), noise], axis=1).rechunk({1: -1})

    def beside_source(self, source: StoredSource) -> PairedSource:
        """Stored rows with their variances beside them.

        Raises
        ------
        DataError
            If they are blocks of a Dask array, which cannot be read by range.
        """
        if isinstance(self.given, da.Array):
            raise DataError(
                f"{_NAME} is on Dask and {source.name} is stored; write {_NAME} to Zarr, and give its "
                "path"
            )
        given = _InMemory(self.given) if isinstance(self.given, np.ndarray) else self.given
        return PairedSource(source, given)


def noise_of(given: Any) -> MeasurementNoise:
    """Open measurement noise; no value is read of what is lazy.

    Parameters
    ----------
    given : array-like, data frame, Dask array or DataFrame, zarr.Array, Source, path or URL
        Variances, of shape (n_rows, D); or covariances, of shape (n_rows, D * D), or (n_rows, D, D)
        where it is an array in memory or on Dask.

    Raises
    ------
    DataError
        If they are no numbers in rows.
    """
    if isinstance(given, str | os.PathLike | zarr.Array | zarr.Group):
        given = open_source(given)
    if hasattr(given, "unit_rows") and hasattr(given, "read"):
        given.survey().raise_for_damage(given.missing_chunks)
        return MeasurementNoise(given, given.fingerprint)
    if hasattr(given, "to_dask_array"):  # a Dask DataFrame
        given = given.to_dask_array()
    if isinstance(given, da.Array):
        _check_plain(given.ndim, given.shape, given.dtype)
        if given.ndim == 3:
            given = checked_blocks(given).rechunk({1: -1, 2: -1})
            given = given.reshape(given.shape[0], given.shape[1] * given.shape[2])
        return MeasurementNoise(row_blocks(given)[0])
    if isinstance(given, np.ma.MaskedArray):
        raise DataError(
            f"{_NAME} is masked; give inf where a value is not known, and say so by missing='em'"
        )
    array = plain_array(given, _NAME)
    if array.dtype == object:
        with suppress(TypeError, ValueError):  # what is no number is named by its dtype
            array = array.astype(np.float64)
    _check_plain(array.ndim, array.shape, array.dtype)
    array = array.reshape(len(array), -1) if array.size else array
    return MeasurementNoise(array, lambda: hashlib.sha256(array.tobytes()).hexdigest()[:16])


def _check_plain(ndim: int, shape: tuple[float, ...], dtype: np.dtype[Any]) -> None:
    if ndim != 2 and not (ndim == 3 and shape[1] == shape[2]):
        raise DataError(
            f"{_NAME} must be a 2D array, (n_rows, n_features), of one variance for each value, or a "
            f"3D one of a covariance for each row; got shape {shape}"
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{_NAME} has dtype {dtype}; variances are numbers: convert them first")
