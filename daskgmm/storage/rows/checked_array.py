"""CheckedArray: reads that give what was stored, or name the chunk that is damaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.buffer.cpu import NDBuffer
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from daskgmm.errors import DamagedDataError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.places.patience import tell_again, tell_once
from daskgmm.storage.places.remote import patient_store
from daskgmm.storage.rows.checked_store import RESTORE_REMEDY, CheckedStore, MissingChunks
from daskgmm.storage.rows.codecs import CodecChain
from daskgmm.storage.rows.stored_grid import StoredGrid

__all__ = ["CheckedArray"]


class CheckedArray:
    """A Zarr array read through a :class:`CheckedStore`; pickles as path and metadata.

    It is opened by its own metadata, whatever a group's consolidated ones said of it.

    Parameters
    ----------
    array : zarr.Array
    name : str
        What messages call it.
    missing_chunks : {"error", "fill"}
    """

    def __init__(
        self, array: zarr.Array[Any], name: str, missing_chunks: MissingChunks = "error"
    ) -> None:
        store = array.store
        if isinstance(store, CheckedStore):
            store = store.wrapped
        store = patient_store(store)
        self.is_remote = isinstance(store, FsspecStore)
        self.name = name
        tell_again(name)
        try:
            self.array: zarr.Array[Any] = zarr.open_array(
                store=CheckedStore(store, name, missing_chunks, CodecChain(array).is_whole),
                path=array.path,
                mode="r",
                zarr_format=array.metadata.zarr_format,
            )
        except (MemoryError, OSError):
            raise
        except Exception as error:  # Zarr's group hands out arrays that it then cannot open
            raise DamagedDataError(
                f"the metadata of array {name} cannot be understood: {one_line(error)}"
            ) from cause_to_show(error)
        self.grid = StoredGrid.of(self.array, name)

    def read(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """The elements of ``selection``, one slice with start and stop per axis."""
        out = np.empty([s.stop - s.start for s in selection], dtype=self.array.dtype)
        self.read_into(out, selection)
        return out

    def read_into(self, out: NDArray[Any], selection: tuple[slice, ...]) -> None:
        """Fill ``out`` with the elements of ``selection``.

        Raises
        ------
        DamagedDataError
            If a chunk is missing, empty, or does not decode; names the first.
        StorageError
            If the store itself fails: no permission, no connection.

        Warns
        -----
        DaskGMMWarning
            Once until the array is opened anew, if a read failed and then worked.
        """
        try:
            self.array.get_basic_selection(selection, out=NDBuffer.from_numpy_array(out))
        except (MemoryError, StorageError):
            raise
        except Exception as error:
            self._read_again(out, selection, error)

    def _read_again(
        self, out: NDArray[Any], selection: tuple[slice, ...], error: Exception
    ) -> None:
        """Fill ``out`` chunk after chunk, or say what is wrong.

        Chunks are read concurrently, so which one failed first is a matter of luck; here the
        first one by position is named. If none fails now, the fault was on the way from the
        disk, and the values that are read now have passed the same checks.
        """
        for coords in self.grid.meeting(selection):
            part = tuple(
                slice(max(r.start, s.start), min(r.stop, s.stop))
                for r, s in zip(self.grid.region(coords), selection, strict=True)
            )
            place = tuple(
                slice(p.start - s.start, p.stop - s.start)
                for p, s in zip(part, selection, strict=True)
            )
            try:
                out[place] = self.array.get_basic_selection(part)
            except (MemoryError, StorageError):
                raise
            except Exception as cause:
                raise self._diagnosis(coords, cause) from cause_to_show(cause)
        tell_once(
            self.name,
            f"array {self.name}: reading rows {selection[0].start}:{selection[0].stop} failed once "
            f"({one_line(error)}) and then worked; the result is not affected, check the storage",
        )

    def _diagnosis(
        self, coords: tuple[int, ...], cause: Exception
    ) -> DamagedDataError | StorageError:
        """The error of a chunk that could not be read twice."""
        rows, *_ = self.grid.region(coords)
        key = self.grid.key(coords)
        where = f"array {self.name}: chunk {key!r} (rows {rows.start}:{rows.stop})"
        if isinstance(cause, DamagedDataError):
            return DamagedDataError(f"{where} {cause}")
        try:
            sync((self.array.store_path / key).get())
        except DamagedDataError as damage:
            return DamagedDataError(f"{where} {damage}")
        except Exception as fault:
            return StorageError(
                f"{where} cannot be fetched: {one_line(fault)}; check permissions and the disk"
            )
        return DamagedDataError(f"{where} does not decode: {one_line(cause)}; {RESTORE_REMEDY}")
