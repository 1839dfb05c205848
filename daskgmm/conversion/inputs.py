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
"""Bytes that are fetched at once where fewer are asked for: a request takes some 50 ms in any case,
in which about as many arrive."""
_MOST_BLOCKS = 4
"""Blocks that a remote file keeps: libraries go back and forth between a few places."""
_BUFFER = 1 << 20
"""Bytes of a buffer for whoever reads a remote file byte by byte."""


class Input:
    """A file to convert; messages call it by ``str``.

    Parameters
    ----------
    place : Location

    Attributes
    ----------
    failure : DaskGMMError or None
        Error of the last read that failed. A library that was reading may have taken it for the
        end of the file, or raised an error of its own in place of it.
    """

    failure: DaskGMMError | None = None

    def __init__(self, place: Location) -> None:
        self.place = place
        self._bytes = Bytes(place.address, place.name, place.is_local)

    def __str__(self) -> str:
        return self.place.name

    @property
    def name(self) -> str:
        """Name of the file, without its folder."""
        return os.path.basename(self.place.address)

    @property
    def suffix(self) -> str:
        """Ending of the name, in small letters."""
        return PurePosixPath(self.name).suffix.lower()

    @cached_property
    def n_bytes(self) -> int:
        """Size of the file.

        Raises
        ------
        StorageError
            If a server does not tell it, or gives no parts of files.
        """
        n_bytes = self._bytes.stat()[0]
        # A server that knows no ranges would answer each read of a part with the whole file.
        if not self.place.is_local and n_bytes and len(self._bytes.read([(0, 1)])[0]) != 1:
            raise StorageError(
                f"{self} is behind a server that gives no parts of files (ranges of HTTP): download it, "
                "and convert the copy"
            )
        return n_bytes

    def between(self, start: int, stop: int) -> bytes:
        """Bytes ``start:stop``, or as many of them as there are."""
        try:
            return self._bytes.read([(start, min(stop, self.n_bytes))])[0]
        except DaskGMMError as error:
            self.failure = error
            raise

    def head(self, n: int) -> bytes:
        """The first n bytes, or all if there are fewer."""
        return self.between(0, n)

    def handle(self) -> str | RemoteFile:
        """What libraries can open: the path of a local file, a file object of a remote one."""
        return self.place.address if self.place.is_local else RemoteFile(self)

    def opened(self) -> IO[bytes]:
        """A file object at the first byte."""
        if self.place.is_local:
            return self.place.path.open("rb")
        return io.BufferedReader(RemoteFile(self), _BUFFER)


class RemoteFile(io.RawIOBase):
    """File object of a file behind a URL; a few blocks of it are kept.

    Parameters
    ----------
    source : Input
    """

    def __init__(self, source: Input) -> None:
        self._source, self._position = source, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def size(self) -> int:
        """Size of the file, under the name by which pyarrow asks for it."""
        return self._source.n_bytes

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position of the next byte to be read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position of the next byte, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size()}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as there are bytes; return how many they are."""
        stop = min(self._position + len(buffer), self.size())
        first = self._position
        while self._position < stop:
            found = self._piece(stop)
            buffer[self._position - first : self._position - first + len(found)] = found
            self._position += len(found)
        return max(0, self._position - first)

    def _piece(self, stop: int) -> bytes:
        """Bytes from the position on, at most to ``stop``, all of one block."""
        n, offset = divmod(self._position, _BLOCK)
        # A block that is asked for as a whole is not kept: no other read wants a part of it.
        if offset == 0 and stop - self._position >= _BLOCK:
            return self._source.between(self._position, self._position + _BLOCK)
        if n not in self._blocks:
            self._blocks[n] = self._source.between(n * _BLOCK, (n + 1) * _BLOCK)
            if len(self._blocks) > _MOST_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(n)
        return self._blocks[n][offset : offset + stop - self._position]
