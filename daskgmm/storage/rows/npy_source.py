"""Rows in a NumPy .npy file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import (
    DamagedDataError,
    DaskGMMError,
    DataError,
    NotFoundError,
    ParameterError,
    StorageError,
)
from daskgmm.redaction import one_line
from daskgmm.storage.places.locations import Location
from daskgmm.storage.places.patience import patiently, storage_timeout, tell_again
from daskgmm.storage.rows.checked_store import MissingChunks
from daskgmm.storage.rows.fingerprint import fingerprint_of, state_of
from daskgmm.storage.rows.opening import Opening
from daskgmm.storage.rows.preflight import Preflight
from daskgmm.storage.rows.row_layout import ROWS, Layout
from daskgmm.storage.rows.traffic import count_read

__all__ = ["NpyFormat", "NpySource"]

_HEADER_READERS: dict[tuple[int, int], Callable[[Any], tuple[Any, bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

T = TypeVar("T")


class _Header(NamedTuple):
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    n_bytes: int


def _header(path: Path, name: str) -> _Header:
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            reader = _HEADER_READERS.get(version)
            if reader is not None:
                return _Header(*reader(file), file.tell())
    except ValueError as error:
        raise DamagedDataError(
            f"{name} has no valid .npy header: {one_line(error)}; restore the file from a copy"
        ) from error
    raise DataError(
        f"{name} is .npy of version {version}; only (1, 0) and (2, 0) hold plain numbers - save "
        "the array again with numpy.save"
    )


class NpySource:
    """Rows of a two-dimensional array in a local .npy file, in C or Fortran order.

    Rows are read with ordinary reads. A memory map would count the pages it has
    touched as this process's memory, and turn a truncated file into SIGBUS.

    Parameters
    ----------
    path : Path
        Absolute path of the file.
    name : str
        Name of the data, for messages.

    Raises
    ------
    DataError
        If shape or dtype cannot be used; pickled objects are refused.
    DamagedDataError
        If the file is shorter than its header says, or has no header.
    """

    missing_chunks: MissingChunks = "error"
    is_plain = True
    is_remote = False
    unit_rows = 1
    unit_overhead = 0

    def __init__(self, path: Path, name: str, layout: Layout = ROWS) -> None:
        self.name = name
        self._path = path
        self._timeout = storage_timeout()
        tell_again(name)
        header = self._patiently(lambda: _header(path, name), "its header")
        self.shape = layout.shape(name, header.shape)
        self.dtype = layout.dtype(name, header.dtype)
        self._header = header
        self._check_size()

    def __repr__(self) -> str:
        return f"<NpySource {self.name} {self.shape} {self.dtype}>"

    def _patiently(self, read: Callable[[], T], what: str) -> T:
        try:
            return patiently(read, self.name, self._timeout, f"{self.name}: {what}")
        except DaskGMMError:
            raise
        except OSError as error:
            raise StorageError(
                f"{self.name} cannot be read: {one_line(error)}; check permissions and the disk"
            ) from error

    def _expected_bytes(self) -> int:
        return self._header.n_bytes + math.prod(self.shape) * self._header.dtype.itemsize

    def _stat(self) -> os.stat_result:
        return self._patiently(self._path.stat, "the file")

    def _check_size(self) -> None:
        size = self._stat().st_size
        if size < self._expected_bytes():
            raise DamagedDataError(
                f"{self.name} is truncated: {size} bytes, {self._expected_bytes()} expected for "
                f"shape {self.shape} and dtype {self._header.dtype}; restore it from a copy"
            )

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop``, in this machine's byte order.

        Raises
        ------
        DamagedDataError
            If the file ends before them.
        StorageError
            If the file cannot be read.
        """
        n_rows, n_features = self.shape
        if not 0 <= start <= stop <= n_rows:
            raise IndexError(f"{self.name}: rows {start}:{stop} asked for, there are {n_rows}")
        dtype, itemsize = self._header.dtype, self._header.dtype.itemsize
        block: NDArray[Any] = np.empty(
            (stop - start, n_features), dtype, order="F" if self._header.is_fortran else "C"
        )
        # Each run is contiguous both in the file and in the block.
        runs = (
            [(j * n_rows + start, block[:, j]) for j in range(n_features)]
            if self._header.is_fortran
            else [(start * n_features, block.reshape(-1))]
        )

        def is_whole() -> bool:
            with self._path.open("rb") as file:
                for first, run in runs:
                    file.seek(self._header.n_bytes + first * itemsize)
                    if file.readinto(run.view(np.uint8).data) != run.nbytes:
                        return False
            return True

        if not self._patiently(is_whole, f"rows {start}:{stop}"):
            raise DamagedDataError(
                f"{self.name} ends before rows {start}:{stop} of {n_rows}; it was truncated after "
                "it was opened - restore it from a copy"
            )
        count_read(block.nbytes)
        native: NDArray[Any] = block.astype(self.dtype, copy=False)
        return native

    def survey(self) -> Preflight:
        """Compare the file's size with what its header implies."""
        size = self._stat().st_size
        truncated = (self._path.name,) if size < self._expected_bytes() else ()
        return Preflight(
            name=self.name,
            format="npy",
            shape=self.shape,
            dtype=str(self._header.dtype),
            chunks=None,
            shards=None,
            codecs=(),
            n_chunks=1,
            stored_bytes=size,
            n_missing_chunks=0,
            missing=(),
            n_empty=0,
            empty=(),
            n_wrong_size=len(truncated),
            wrong_size=truncated,
            has_checksum=False,
        )

    def fingerprint(self) -> str:
        """Hash of shape, dtype, order, size, time of writing and a few rows."""
        return fingerprint_of(self, *self._layout_and_version())

    def state(self) -> str | None:
        """See :class:`~daskgmm.storage.rows.preflight.StoredSource`."""
        return state_of(self, *self._layout_and_version())

    def _layout_and_version(self) -> tuple[list[Any], list[str]]:
        found = self._stat()
        return [self._header.is_fortran, found.st_size], [str(found.st_mtime_ns)]


class NpyFormat:
    """Paths that end in .npy."""

    name = "npy"
    has_columns = False

    def matches(self, data: object) -> bool:
        """Whether ``data`` is a path or URL that ends in .npy and is not a folder."""
        if not isinstance(data, str | os.PathLike):
            return False
        location = Location.parse(data)
        is_folder = location.is_local and location.path.is_dir()
        return location.address.endswith(".npy") and not is_folder

    def open(self, data: Any, how: Opening) -> NpySource:
        """Open the file; a file has no chunks to miss."""
        location, member = Location.parse(data), how.member
        if not location.is_local:
            raise DataError(
                f"{location.name}: a .npy file must be local; copy it here, or convert it to Zarr"
            )
        if member is not None:
            raise ParameterError(f"{location.name} is a .npy file and has no member {member!r}")
        if not location.path.exists():
            raise NotFoundError(f"{location.name} does not exist; check the path")
        return NpySource(location.path, location.name, how.layout)
