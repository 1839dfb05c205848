"""Pieces: runs of rows kept in memory or on a local disk, and got back as they were."""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.execution.memory import PIECE_OVERHEAD

__all__ = ["Piece", "PiecesInMemory", "PiecesOnDisk"]

_MARGIN_BYTES = 2**30
"""Bytes of a disk that are left to others, whatever the limit."""
_PAGE = 4096

Piece = tuple[int, int]
"""First row of a piece and the one after its last."""


class PiecesInMemory:
    """Pieces in memory, as they were read.

    Parameters
    ----------
    limit : int
        Bytes that the process may keep for all fits together: one whose driver was lost
        may still hold some.

    Attributes
    ----------
    n_bytes : int
        Bytes of the pieces of this fit.
    bytes_of_process : int
        Bytes of the pieces of all fits.
    """

    bytes_of_process: ClassVar[int] = 0
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._blocks: dict[Piece, NDArray[Any]] = {}
        self.n_bytes = 0

    def get(self, piece: Piece) -> NDArray[Any] | None:
        """The piece itself, not a copy; None if it is not there."""
        return self._blocks.get(piece)

    def put(self, piece: Piece, block: NDArray[Any]) -> bool:
        """Keep the piece if there is room, and tell whether it is kept."""
        size = block.nbytes + PIECE_OVERHEAD
        if block.base is not None:  # a view would keep all of the array that it is of
            block = block.copy(order="K")
        with self._lock:
            if PiecesInMemory.bytes_of_process + size > self._limit:
                return False
            if piece not in self._blocks:
                self._blocks[piece] = block
                self.n_bytes += size
                PiecesInMemory.bytes_of_process += size
        return True

    def empty(self) -> int:
        """Drop all pieces and keep no more; return the bytes that they had."""
        with self._lock:
            n_bytes, self.n_bytes, self._limit = self.n_bytes, 0, 0
            self._blocks.clear()
            PiecesInMemory.bytes_of_process -= n_bytes
        return n_bytes


class PiecesOnDisk:
    """Pieces in a file without a name.

    Read with ordinary reads: a memory map would count its pages as this process's
    memory, and turn a disk's error into SIGBUS.

    Parameters
    ----------
    folder : str or None
        The temporary folder if None.
    limit : int or None
        Bytes to write at most; by default until half of what is free now is.

    Raises
    ------
    OSError
        If no file can be made there.
    """

    def __init__(self, folder: str | None, limit: int | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (in __del__)
        self._limit = limit
        free = self._free()
        self._floor = max(_MARGIN_BYTES, 0 if limit is not None else free // 2)
        self._places: dict[Piece, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._is_full = False
        self.n_bytes = 0
        self.n_lost = 0
        self.problem: str | None = None

    def __del__(self) -> None:
        # Not in empty(): while a thread still reads, another file must not get the number
        # of this one's descriptor.
        if hasattr(self, "_file"):
            self._file.close()

    def empty(self) -> None:
        """Give the space back now, whoever still holds this; keep no more."""
        with self._lock, suppress(OSError):
            self._is_full = True
            os.ftruncate(self._file.fileno(), 0)

    def get(
        self, piece: Piece, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any] | None:
        """A copy of the piece; None if it is not there, or not as it was."""
        place = self._places.get(piece)
        if place is None:
            return None
        offset, check = place
        block: NDArray[Any] = np.empty(shape, dtype)
        raw = block.reshape(-1).view(np.uint8)
        try:
            n_read = _transfer(os.preadv, self._file.fileno(), raw, offset)
        except OSError:
            n_read = -1
        if n_read == raw.nbytes and _check_of(raw) == check:
            return block
        with self._lock:
            self._places.pop(piece, None)
            self.n_lost += 1
        return None

    def put(self, piece: Piece, block: NDArray[Any]) -> None:
        """Write the piece if there is room."""
        # Only as it will be read: in another order the sums could have other bits.
        if not block.flags.c_contiguous:
            return
        raw = block.reshape(-1).view(np.uint8)
        size = -(-raw.nbytes // _PAGE) * _PAGE
        try:
            with self._lock:
                self._is_full |= self._limit is not None and self.n_bytes + size > self._limit
                self._is_full |= self._free() - size < self._floor
                if self._is_full:
                    return
                offset = self.n_bytes
                self.n_bytes += size
            if _transfer(os.pwritev, self._file.fileno(), raw, offset) == raw.nbytes:
                self._places[piece] = (offset, _check_of(raw))
        except OSError as error:
            # Whatever it is, the pass goes on, and others would fail the same way.
            self._is_full = True
            self.problem = f"{type(error).__name__}: {error.strerror}"

    def _free(self) -> int:
        disk = os.fstatvfs(self._file.fileno())
        return disk.f_bavail * disk.f_frsize


def _transfer(call: Any, file: int, raw: NDArray[np.uint8], offset: int) -> int:
    """Bytes read or written: all, or those before the end of the file."""
    done = 0
    while done < raw.nbytes:
        n_bytes = call(file, [raw[done:]], offset + done)
        if n_bytes == 0:
            break
        done += n_bytes
    return done


def _check_of(raw: NDArray[np.uint8]) -> int:
    """Sum of bytes as 64-bit words: no flipped bit and no page that became zeros leaves it.

    Two pages in each other's place would, which crc32c sees. But it costs as much as
    the read itself (from the page cache), and this a third.
    """
    whole = raw.nbytes // 8 * 8
    words = np.add.reduce(raw[:whole].view(np.uint64), dtype=np.uint64)
    return int(words) + int(np.add.reduce(raw[whole:], dtype=np.uint64))
