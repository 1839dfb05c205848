"""HDF5: a dataset of two dimensions, or a table of fields with names, as PyTables and pandas write."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from daskgmm.conversion.choice import chosen
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.options import How
from daskgmm.conversion.reader import BLOCK_BYTES, Block, Column, dtype_of, imported, reading
from daskgmm.errors import DataError

__all__ = ["Hdf5Reader"]

_EXTRA = "netcdf"
_NUMBERS = "biuf"


class Hdf5Reader:
    """Rows of HDF5 files; see :class:`daskgmm.conversion.reader.Reader`.

    Raises
    ------
    DataError
        If a file has no such dataset, or several and none is named.
    """

    kept = None
    n_ragged = 0

    def __init__(self, files: Sequence[Input], how: How) -> None:
        self._h5py, self._files, self._member = imported("h5py", _EXTRA), files, how.member
        with self._dataset(files[0]) as dataset:
            all_columns, self.is_named = _columns(dataset)
        found, self.left_out = chosen(all_columns, how.columns, files[0], "--columns")
        self.columns, self._positions = tuple(all_columns[j] for j in found), found
        self.dtype = dtype_of(how.dtype, [np.dtype(c.type) for c in self.columns])
        for path in files[1:]:
            with self._dataset(path) as dataset:
                columns, _ = _columns(dataset)
            if [c.name for c in columns] != [c.name for c in all_columns]:
                raise DataError(
                    f"{path} has other columns than {files[0]}: {len(columns)} here, "
                    f"{len(all_columns)} there, or other names; convert them apart"
                )

    @contextmanager
    def _dataset(self, path: Input) -> Iterator[Any]:
        with reading(path, Exception), self._h5py.File(path.handle(), "r") as file:
            yield self._found(file, path)

    def _found(self, file: Any, path: Input) -> Any:
        member = self._member
        if member is not None and member in file and self._is_table(file[member]):
            return file[member]
        known: list[str] = []
        file.visititems(lambda name, node: known.append(name) if self._is_table(node) else None)
        if member is None and len(known) == 1:
            return file[known[0]]
        said = f"; its datasets that are rows: {', '.join(known)}" if known else ""
        if member is not None:
            raise DataError(
                f"{path} has no dataset {member!r} with two dimensions{said}; name one with --member"
                if known
                else f"{path} has no dataset of two dimensions, so that nothing in it can be rows"
            )
        if not known:
            raise DataError(
                f"{path} has no dataset of two dimensions; NetCDF, which ends in .nc, may have others"
            )
        raise DataError(
            f"{path} has {len(known)} datasets{said}; name one, as --member {shlex.quote(known[0])}"
        )

    def _is_table(self, node: Any) -> bool:
        if not isinstance(node, self._h5py.Dataset):
            return False
        return (node.ndim == 1 and node.dtype.names is not None) or node.ndim == 2

    def blocks(self) -> Iterator[Block]:
        """All rows."""
        for part, path in enumerate(self._files):
            with self._dataset(path) as dataset:
                row_bytes = max(1, dataset.dtype.itemsize) * (
                    dataset.shape[1] if dataset.ndim == 2 else 1
                )
                step = max(1, BLOCK_BYTES // row_bytes)
                for start in range(0, len(dataset), step):
                    yield Block(self._values(dataset[start : start + step]), part, start)

    def _values(self, stored: Any) -> Any:
        values = np.empty((len(stored), len(self.columns)), self.dtype)
        for j, (column, at) in enumerate(zip(self.columns, self._positions, strict=True)):
            values[:, j] = stored[column.name] if stored.dtype.names else stored[:, at]
        return values

    def place(self, part: int, row: int) -> str:
        """The file and the row, counted from 0."""
        return f"{self._files[part]}, row {row}"


def _columns(dataset: Any) -> tuple[list[Column], bool]:
    """All columns, and whether they have names."""
    if dataset.dtype.names:
        return [_column(name, dataset.dtype[name]) for name in dataset.dtype.names], True
    names = _scale(dataset)
    is_named = names is not None
    names = names or [str(j) for j in range(dataset.shape[1])]
    return [_column(name, dataset.dtype) for name in names], is_named


def _column(name: str, dtype: np.dtype[Any]) -> Column:
    is_number = dtype.kind in _NUMBERS and dtype.shape == ()
    return Column(name, str(dtype), "", "" if is_number else f"is of type {dtype}", is_number)


def _scale(dataset: Any) -> list[str] | None:
    """Names of columns that a dimension scale holds."""
    for scale in dataset.dims[1].values():
        if scale.shape == dataset.shape[1:] and scale.dtype.kind in "OS":
            labels = scale.asstr()[:] if scale.dtype.kind == "O" else np.char.decode(scale[:])
            return [str(label) for label in labels]
    return None
