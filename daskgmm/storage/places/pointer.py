"""Pointer: a small text that names the newest of several things, replaced in one step.

Whoever reads it sees the old text or the new one, never a mixture and never nothing,
whenever the writer is killed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daskgmm.errors import DamagedDataError, DaskGMMError, PointerMovedError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.places.durable import settle_entry
from daskgmm.storage.places.locations import Location
from daskgmm.storage.places.patience import tell_once

__all__ = ["NO_LOCKS", "read_pointer", "swap_pointer"]

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""Errors by which a file system says that it has no locks."""


def read_pointer(place: Location) -> str | None:
    """The text there, or None if there is none.

    Raises
    ------
    DamagedDataError
        If it is not UTF-8.
    StorageError
        If it cannot be read.
    """
    read = _read_local if place.is_local else _read_remote
    try:
        content = read(place)
    except DaskGMMError:
        raise
    except Exception as error:
        raise _failure(place, "read", error) from cause_to_show(error)
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError as error:
        raise DamagedDataError(
            f"{place.name} is not text ({one_line(error)}); remove it to begin anew"
        ) from error


def swap_pointer(place: Location, new: str, expected: str | None) -> None:
    """Put ``new`` where ``expected`` is; None means that nothing is there.

    If several writers expect the same text, one of them wins. On a local disk a lock on a
    file ``.NAME.lock`` sees to that; it stays there. Where the file system has no locks, two
    writers within a millisecond can both believe that they have won. On S3 and Azure it is a
    conditional put. On GCS it is one only where nothing is expected, because gcsfs has no
    other condition. There otherwise, and on other file systems, the text is compared and
    then put, and a writer that comes in between is overwritten.

    Parameters
    ----------
    place : Location
        Its folder must exist.
    new : str
        Text that no other writer and no other swap has, by a random part for instance: a
        put whose answer was lost on the way is recognised by it.
    expected : str or None

    Raises
    ------
    PointerMovedError
        If something else is there.
    StorageError
        If it cannot be written, or if it is not known whether it was.

    Warns
    -----
    DaskGMMWarning
        Once, if a writer that comes in between would be overwritten.
    """
    swap = _swap_local if place.is_local else _swap_remote
    try:
        swap(place, new, expected)
    except DaskGMMError:
        raise
    except Exception as error:
        raise _failure(place, "written", error) from cause_to_show(error)


def _failure(place: Location, what: str, error: Exception) -> StorageError:
    return StorageError(
        f"{place.name} cannot be {what}: {one_line(error)}; check permissions and space"
    )


def _check(place: Location, found: str | None, expected: str | None) -> None:
    if found != expected:
        raise PointerMovedError(
            f"{place.name} holds {found!r:.60} where {expected!r:.60} was expected: another process "
            "is at work there; let one of them end, or give each a place of its own"
        )


def _read_local(place: Location) -> bytes | None:
    try:
        return place.path.read_bytes()
    except FileNotFoundError:
        return None


def _swap_local(place: Location, new: str, expected: str | None) -> None:
    path = place.path
    with _locked(path.with_name(f".{path.name}.lock")):
        _check(place, read_pointer(place), expected)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("xb") as file:
                file.write(new.encode())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        settle_entry(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is never removed: another process may wait for it."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def _read_remote(place: Location) -> bytes | None:
    fs, path = place.filesystem()
    fs.invalidate_cache()
    try:
        content: bytes = fs.cat_file(path)
    except FileNotFoundError:
        return None
    return content


def _swap_remote(place: Location, new: str, expected: str | None) -> None:
    fs, path = place.filesystem()
    condition: dict[str, Any] = {"mode": "create"}
    if expected is not None:
        # Asked for before the text is read, so that the put fails if it changes in between.
        fs.invalidate_cache()
        condition = _condition(fs, path, place)
    _check(place, read_pointer(place), expected)
    try:
        fs.pipe_file(path, new.encode(), **condition)
    except OSError as error:
        found = read_pointer(place)
        if found == new:
            return
        _check(place, found, expected)
        raise _failure(place, "written", error) from cause_to_show(error)


def _condition(fs: Any, path: str, place: Location) -> dict[str, Any]:
    """Arguments of a put that make it fail if the object has been replaced meanwhile."""
    condition = fs.service.condition
    if condition is None:
        scheme = place.address.partition("://")[0]
        tell_once(
            f"puts on {scheme}",
            f"{place.name} cannot be put on a condition over {scheme}://, so of two runs with this "
            "folder one could undo what the other keeps; give each a folder of its own",
        )
        return {}
    try:
        arguments: dict[str, Any] = condition(fs.info(path))
    except FileNotFoundError:
        return {}
    return arguments
