"""Patience: what fails for a while is tried again, until it works or has taken too long.

Services restart and network file systems lose their server for a moment. A fit of hours
must not end by that, nor hang when what is away stays away.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import TypeVar

from daskgmm.errors import DaskGMMWarning, ParameterError, UnreachableError
from daskgmm.redaction import cause_to_show, one_line

__all__ = [
    "TIMEOUT_VARIABLE",
    "Tries",
    "patiently",
    "patiently_async",
    "storage_timeout",
    "tell_again",
    "tell_once",
]

TIMEOUT_VARIABLE = "DASKGMM_STORAGE_TIMEOUT"
"""Environment variable: seconds that a store may be away."""

_TIMEOUT = 60.0
_LONGEST_WAIT = 10.0
_FIRST_WAIT = 0.25
"""For a service."""
_FIRST_LOCAL_WAIT = 0.01
"""For a file system: a stale handle, say, is gone when the file is opened again."""
_TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        # What NFS, Lustre and FUSE answer while a server restarts or a mount is taken over.
        *("ESTALE", "EIO", "EREMOTEIO", "ETIMEDOUT", "EAGAIN", "EBUSY", "EINTR", "ENOLINK"),
        *("ECONNRESET", "ECONNABORTED", "ECONNREFUSED", "ENOTCONN", "ESHUTDOWN", "EPIPE"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET"),
    )
    if hasattr(errno, name)
)
"""Errors of a local file system after which the next try may work."""

_jitter = random.Random()
_away: set[str] = set()
"""Places that were waited for in vain and have not answered since.

Not waited for again: what is cleaned up, and tasks that are tried again, would make
minutes of one.
"""
_told: set[str] = set()
"""Places that a warning was given of."""

T = TypeVar("T")


def storage_timeout() -> float:
    """Seconds that a store may be away, from the environment.

    Raises
    ------
    ParameterError
        If it is no positive number.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text or _TIMEOUT)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ParameterError(
            f"{TIMEOUT_VARIABLE} must be a number of seconds above 0; got {text!r}"
        )
    return seconds


class Tries:
    """The tries of one call, from its begin.

    Parameters
    ----------
    place : str
        What answers or does not: those that wait for the same one share what they know.
    timeout : float
        Seconds after which it is given up. Two tries are made at least.
    first_wait : float
        Seconds, at most, between the first two.
    """

    def __init__(self, place: str, timeout: float, first_wait: float = _FIRST_WAIT) -> None:
        self._place, self._timeout, self._first_wait = place, timeout, first_wait
        self._began = time.monotonic()
        self._n_failed = 0

    def failed(self, shown: str, error: Exception) -> float:
        """Seconds to wait before the next try: doubling, and scattered.

        Scattered so that clients do not come in step.

        Raises
        ------
        UnreachableError
            If it has taken too long; ``shown`` is what could not be had.
        """
        self._n_failed += 1
        longest = min(self._first_wait * 2 ** (self._n_failed - 1), _LONGEST_WAIT)
        wait = longest * _jitter.uniform(0.5, 1)
        is_over = time.monotonic() - self._began + wait > self._timeout and self._n_failed > 1
        if is_over or self._place in _away:
            _away.add(self._place)
            raise UnreachableError(
                f"{shown}: no answer for {self._timeout:g} s ({one_line(error)}); check network "
                f"and storage and try again, or wait longer by {TIMEOUT_VARIABLE}=SECONDS in the "
                "environment"
            ) from cause_to_show(error)
        tell_once(
            self._place,
            f"{shown} gives no answer ({one_line(error)}); trying again for up to "
            f"{self._timeout:g} s",
        )
        return wait

    def worked(self) -> None:
        """Note that there was an answer."""
        _away.discard(self._place)


def tell_once(place: str, message: str) -> None:
    """Warn of a place, unless that was done before."""
    if place in _told:
        return
    _told.add(place)
    warnings.warn(message, DaskGMMWarning, stacklevel=2)


def tell_again(place: str) -> None:
    """Let the next warning of a place be given."""
    _told.discard(place)


def _is_transient(error: OSError) -> bool:
    # An error of ours has no number: what raised it has been patient itself.
    return error.errno in _TRANSIENT


def patiently(read: Callable[[], T], place: str, timeout: float, shown: str) -> T:
    """What ``read`` gives, on a local file system that may be away for a while.

    Parameters
    ----------
    read : callable
        May be called again.
    place, timeout
        As of :class:`Tries`.
    shown : str
        What is read, for messages.

    Raises
    ------
    UnreachableError
        If it stays away. What is no matter of time comes as it is.
    """
    tries = Tries(place, timeout, _FIRST_LOCAL_WAIT)
    while True:
        try:
            result = read()
        except OSError as error:
            if not _is_transient(error):
                raise
            wait = tries.failed(shown, error)
        else:
            tries.worked()
            return result
        time.sleep(wait)


async def patiently_async(
    read: Callable[[], Awaitable[T]], place: str, timeout: float, shown: str
) -> T:
    """As :func:`patiently`, and others go on meanwhile."""
    tries = Tries(place, timeout, _FIRST_LOCAL_WAIT)
    while True:
        try:
            result = await read()
        except OSError as error:
            if not _is_transient(error):
                raise
            wait = tries.failed(shown, error)
        else:
            tries.worked()
            return result
        await asyncio.sleep(wait)
