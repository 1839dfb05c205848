"""Holding: one process at a time works with a folder, and one that is killed lets go.

A folder on a disk is held by a lock of the operating system, which ends with the process.
Where the file system has no locks, nothing is held. Behind a URL there is a small object that
its owner replaces every few seconds. Whoever finds it watches whether it changes, so that no
two clocks need to agree: if it changes, its owner is at work; if it does not for some time,
its owner was killed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from daskgmm.errors import DaskGMMError, JobRunningError, PointerMovedError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.places.locations import Location
from daskgmm.storage.places.pointer import NO_LOCKS, read_pointer, swap_pointer

__all__ = ["held"]

_BEAT = 10.0
"""Seconds after which an owner gives its next sign."""
_SILENCE = 40.0
"""Seconds after which an owner that gave no sign is taken for dead."""


@contextmanager
def held(folder: Location, name: str = "running") -> Iterator[None]:
    """Hold a folder, which is made if there is none.

    Parameters
    ----------
    folder : Location
    name : str
        Purpose for which it is held; for each, one process can hold it. The lock file
        ``.NAME.lock`` in it, or the object ``.NAME``, is called by it.

    Raises
    ------
    JobRunningError
        If another process holds it.
    StorageError
        If nothing can be written there.
    """
    folder.make_folder()
    with (_locked if folder.is_local else _leased)(folder, name):
        yield


@contextmanager
def _locked(folder: Location, name: str) -> Iterator[None]:
    path = folder.path / f".{name}.lock"
    try:
        file = path.open("ab")
    except OSError as error:
        raise StorageError(
            f"{folder.name} cannot be written: {one_line(error)}; check permissions and space"
        ) from cause_to_show(error)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _running(folder, "") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise StorageError(
                    f"{folder.name} cannot be locked: {one_line(error)}"
                ) from cause_to_show(error)
        yield


def _running(folder: Location, owner: str) -> JobRunningError:
    return JobRunningError(
        f"another process{owner} is at work there: it holds {folder.name}; let it end, or give "
        "each a folder of its own (checkpoint)"
    )


@contextmanager
def _leased(folder: Location, name: str) -> Iterator[None]:
    lease, ended = _Lease(folder, name), threading.Event()
    lease.take()

    def beat() -> None:
        while not ended.wait(_BEAT):
            try:
                lease.renew()
            except PointerMovedError:
                # Another process took this one for dead. The pointer of the checkpoints decides
                # which of the two goes on.
                return
            except DaskGMMError:
                continue  # while the service is away nobody else can take the folder either

    thread = threading.Thread(target=beat, name=f"{name}-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_BEAT)
        lease.end()


class _Lease:
    """The object that says that a folder behind a URL is held."""

    def __init__(self, folder: Location, name: str) -> None:
        self._folder, self._place = folder, folder.child(f".{name}")
        self._text: str | None = None

    def take(self) -> None:
        found = read_pointer(self._place)
        until = time.monotonic() + _SILENCE
        while found is not None and time.monotonic() < until:
            time.sleep(_BEAT / 10)
            now = read_pointer(self._place)
            if now is not None and now != found:
                raise _running(self._folder, f" ({now.partition(' ')[0]:.80})")
            found = now
        self._text = found
        try:
            self.renew()
        except PointerMovedError:
            raise _running(self._folder, "") from None

    def renew(self) -> None:
        text = f"{socket.gethostname()}:{os.getpid()} {secrets.token_hex(8)}"
        swap_pointer(self._place, text, self._text)
        self._text = text

    def end(self) -> None:
        with suppress(DaskGMMError, OSError):  # an object that no longer changes does no harm
            if read_pointer(self._place) == self._text:
                self._place.remove()
