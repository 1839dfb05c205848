"""Inputs: files that are converted, on a disk or behind a URL, as the readers' libraries take them."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from functools import cached_property
from pathlib import PurePosixPath
from typing import IO

from daskgmm.errors import DaskGMMError, StorageError
from daskgmm.storage import Bytes, Location

__all__ = ["Input", "RemoteFile"]

_BLOCK = 1 << 22
"""Bytes that are fetched at once where fewer are asked for: as many are on their way in 50 ms."""
_BLOCKS = 4
_BUFFER = 1 << 20


class Input:
    """A file to convert; messages call it by ``str``.

    Parameters
    ----------
    place : Location

    Attributes
    ----------
    failure : DaskGMMError or None
        What a service answered in the end: a library that was reading may have lost it.
    """

    failure: DaskGMMError | None = None

    def __init__(self, place: Location) -> None:
        self.place = place
        self._bytes = Bytes(place.address, place.name, place.is_local)

    def __str__(self) -> str:
        return self.place.name

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return os.path.basename(self.place.address)

    @property
    def suffix(self) -> str:
        """The ending of its name, in small letters."""
        return PurePosixPath(self.name).suffix.lower()

    @cached_property
    def n_bytes(self) -> int:
        """Its size.

        Raises
        ------
        StorageError
            If a server does not tell it, or gives no parts of files.
        """
        n_bytes = self._bytes.stat()[0]
        if not self.place.is_local and n_bytes and len(self._bytes.read([(0, 1)])[0]) != 1:
            raise StorageError(
                f"{self} is behind a server that gives no parts of files (ranges of HTTP): download it, "
                "and convert the copy"
            )
        return n_bytes

    def between(self, start: int, stop: int) -> bytes:
        """Bytes of it."""
        try:
            return self._bytes.read([(start, min(stop, self.n_bytes))])[0]
        except DaskGMMError as error:
            self.failure = error
            raise

    def head(self, n: int) -> bytes:
        """Its first bytes."""
        return self.between(0, n)

    def handle(self) -> str | RemoteFile:
        """What libraries open: a path, or a file of Python."""
        return self.place.address if self.place.is_local else RemoteFile(self)

    def opened(self) -> IO[bytes]:
        """Its bytes, from the first on."""
        if self.place.is_local:
            return self.place.path.open("rb")
        return io.BufferedReader(RemoteFile(self), _BUFFER)


class RemoteFile(io.RawIOBase):
    """A file behind a URL, of which a few blocks are kept.

    Parameters
    ----------
    of : Input
    """

    def __init__(self, of: Input) -> None:
        self._of, self._at = of, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def size(self) -> int:
        """Bytes of it, as pyarrow asks for them."""
        return self._of.n_bytes

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on elsewhere."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size()}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, as far as there are bytes."""
        stop = min(self._at + len(buffer), self.size())
        first = self._at
        while self._at < stop:
            found = self._piece(stop)
            buffer[self._at - first : self._at - first + len(found)] = found
            self._at += len(found)
        return max(0, self._at - first)

    def _piece(self, stop: int) -> bytes:
        """Bytes from here on, at most to ``stop``."""
        n, offset = divmod(self._at, _BLOCK)
        if offset == 0 and stop - self._at >= _BLOCK:
            return self._of.between(self._at, self._at + _BLOCK)
        if n not in self._blocks:
            self._blocks[n] = self._of.between(n * _BLOCK, (n + 1) * _BLOCK)
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(n)
        return self._blocks[n][offset : offset + stop - self._at]
