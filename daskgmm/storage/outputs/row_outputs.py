"""Row outputs: one result per row, written by many tasks, shown when complete."""

from __future__ import annotations

import math
import os
from types import TracebackType
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.sync import sync

from daskgmm.errors import DaskGMMError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.outputs.atomic_output import AtomicOutput, atomic_output
from daskgmm.storage.places.locations import Location
from daskgmm.storage.rows.listing import stored_objects
from daskgmm.storage.rows.stored_grid import StoredGrid

__all__ = ["RowOutput", "RowWriter", "chunk_rows"]

_CHUNK_BYTES = 4 * 2**20


def chunk_rows(n_rows: int, partition_rows: int, row_bytes: int) -> int:
    """Rows of a chunk such that every multiple of ``partition_rows`` is a chunk's edge.

    It is the divisor of ``partition_rows`` that brings a chunk nearest to 4 MiB, by ratio.

    Examples
    --------
    >>> chunk_rows(10**9, 10**6, 64)
    62500
    """
    wanted = _CHUNK_BYTES / row_bytes
    if partition_rows >= n_rows:
        return max(1, min(n_rows, int(wanted)))
    small = [d for d in range(1, math.isqrt(partition_rows) + 1) if partition_rows % d == 0]
    divisors = {*small, *(partition_rows // d for d in small)}
    return min(sorted(divisors), key=lambda rows: abs(math.log(rows / wanted)))


class RowWriter:
    """Writes blocks of rows; small to pickle, so that tasks carry it.

    Parameters
    ----------
    array : zarr.Array
    name : str
        Name of the output, for messages.
    """

    def __init__(self, array: zarr.Array[Any], name: str) -> None:
        self._array = array
        self._name = name

    def write(self, start: int, values: NDArray[Any]) -> None:
        """Store ``values`` as the rows from ``start`` on.

        Writing the same rows twice stores the last values, so that a task may run again.

        Raises
        ------
        ValueError
            If shape or dtype do not fit, or the block does not start and end at the edges
            of chunks: two tasks that share a chunk would overwrite each other.
        StorageError
            If the store refuses, or the output has been finished or aborted.
        """
        n_rows, *columns = self._array.shape
        stop = start + len(values)
        if list(values.shape[1:]) != columns or not 0 <= start <= stop <= n_rows:
            raise ValueError(
                f"{self._name}: values of shape {values.shape} at row {start} do not fit into "
                f"{self._array.shape}"
            )
        if not np.can_cast(values.dtype, self._array.dtype, "same_kind"):
            raise ValueError(
                f"{self._name}: {values.dtype} values do not fit into {self._array.dtype}"
            )
        rows = self._array.chunks[0]
        if start % rows or (stop % rows and stop != n_rows):
            raise ValueError(
                f"{self._name}: rows {start}:{stop} are not aligned to chunks of {rows} rows"
            )
        try:
            # Zarr would make the folder of an aborted output anew, and it would stay there.
            is_open = sync((self._array.store_path / "zarr.json").exists())
            if is_open:
                self._array[start:stop] = values
        except MemoryError:
            raise
        except Exception as error:
            raise StorageError(
                f"{self._name}: rows {start}:{stop} cannot be written: {one_line(error)}; "
                "check permissions and space"
            ) from cause_to_show(error)
        if not is_open:
            raise StorageError(
                f"{self._name}: rows {start}:{stop} came after the output was finished or aborted"
            )


class RowOutput:
    """A Zarr array of one result per row, which appears when all of it is written.

    It is made by :meth:`create`. As a context manager it commits on success and aborts on
    anything else, KeyboardInterrupt included.

    Attributes
    ----------
    name : str
        Name of the output, for messages.
    writer : RowWriter
        Writes the blocks; tasks carry it.
    """

    def __init__(self, output: AtomicOutput, array: zarr.Array[Any]) -> None:
        self.name = output.target.name
        self.writer = RowWriter(array, self.name)
        self._output = output
        self._array = array

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        n_rows: int,
        columns: int | None = None,
        dtype: DTypeLike,
        partition_rows: int,
        overwrite: bool = False,
    ) -> RowOutput:
        """Prepare an output of shape (n_rows,) or (n_rows, columns).

        Parameters
        ----------
        path : str or path
            Path or URL; its folder must exist.
        n_rows : int
        columns : int, optional
            The output is one-dimensional if None.
        dtype : dtype
        partition_rows : int
            Rows of a write: each starts and ends at a multiple of it, or ends with the rows.
        overwrite : bool, default=False
            Whether a Zarr array or group that is there may be replaced.

        Raises
        ------
        OutputExistsError
            If something is there that must not be replaced; nothing was written.
        NotFoundError
            If the parent folder does not exist.
        StorageError
            If nothing can be written there.
        """
        tail = () if columns is None else (columns,)
        row_bytes = np.dtype(dtype).itemsize * math.prod(tail)
        output = atomic_output(Location.parse(path), overwrite=overwrite)
        try:
            array = zarr.create_array(
                output.draft.store(read_only=False),
                shape=(n_rows, *tail),
                chunks=(chunk_rows(n_rows, partition_rows, row_bytes), *tail),
                dtype=dtype,
                zarr_format=3,
                compressors=[ZstdCodec(level=1), Crc32cCodec()],
                # A chunk that is left out could not be told from a chunk that is lost.
                config={"write_empty_chunks": True},
            )
        except BaseException as error:
            output.abort()
            if isinstance(error, OSError) and not isinstance(error, DaskGMMError):
                raise StorageError(
                    f"{output.target.name} cannot be written: {one_line(error)}"
                ) from cause_to_show(error)
            raise
        return cls(output, array)

    def commit(self) -> None:
        """Show the output under its name.

        Raises
        ------
        StorageError
            If rows were never written, or the output cannot be renamed. Nothing of it is left
            then, and an output that was there before still is.
        """
        try:
            self._check_complete()
        except BaseException:
            self._output.abort()
            raise
        self._output.commit()

    def _check_complete(self) -> None:
        grid = StoredGrid.of(self._array, self.name)
        try:
            objects = stored_objects(self._array.store, self._array.path, grid.object_keys)
        except OSError as error:
            raise StorageError(
                f"{self.name} cannot be listed: {one_line(error)}; check permissions and the disk"
            ) from cause_to_show(error)
        missing = [
            key for key in grid.object_keys() if key not in objects or not objects[key].n_bytes
        ]
        if missing:
            raise StorageError(
                f"{self.name}: {len(missing)} of {grid.n_objects} chunks were not written, "
                f"the first is {missing[0]!r}; nothing was kept"
            )

    def abort(self) -> None:
        """Remove what was written; what was there before stays."""
        self._output.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.commit()
        else:
            self.abort()
