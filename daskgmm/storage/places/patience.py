"""Patience: what fails for a while is tried again, until it works or has taken too long.

Services restart and network file systems lose their server for a moment. A fit of hours
must not fail because of that, nor hang where a service does not come back.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from daskgmm.errors import ParameterError, UnreachableError, warn
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.settings import TIMEOUT_VARIABLE

__all__ = [
    "Tries",
    "patiently",
    "patiently_async",
    "storage_timeout",
    "tell_again",
    "tell_once",
]

_TIMEOUT = 60.0
_LONGEST_WAIT = 10.0
_FIRST_WAIT = 0.25
"""Seconds before a service is asked again."""
_FIRST_LOCAL_WAIT = 0.01
"""Seconds before a file system is: opening the file again cures a stale handle, say."""
_TRANSIENT = frozenset(
    getattr(errno, name)
    for name in (
        # NFS, Lustre and FUSE raise these while a server restarts or a mount is taken over.
        *("ESTALE", "EIO", "EREMOTEIO", "ETIMEDOUT", "EAGAIN", "EBUSY", "EINTR", "ENOLINK"),
        *("ECONNRESET", "ECONNABORTED", "ECONNREFUSED", "ENOTCONN", "ESHUTDOWN", "EPIPE"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET"),
    )
    if hasattr(errno, name)
)
"""Errors of a local file system after which the next try may work."""

_jitter = random.Random()
_away: dict[str, float] = {}
"""Places that did not answer in time, and how many seconds they were given; without those that
have answered since.

They are not waited for again, unless for longer: cleaning up, and tasks that are tried again, would
each take another minute.
"""
_told: set[str] = set()
"""Places that have been warned of."""

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
    """The tries of one call, counted from its beginning.

    Parameters
    ----------
    place : str
        Name of what should answer. Calls to the same place share whether it does.
    timeout : float
        Seconds after which the call is given up. At least two tries are made.
    first_wait : float
        Most seconds between the first two tries.
    """

    def __init__(self, place: str, timeout: float, first_wait: float = _FIRST_WAIT) -> None:
        self._place, self._timeout, self._first_wait = place, timeout, first_wait
        self._began = time.monotonic()
        self._n_failed = 0

    def failed(self, shown: str, error: Exception) -> float:
        """Seconds to wait before the next try.

        They double from try to try, and are drawn at random around that, so that many
        clients do not try at the same moments.

        Parameters
        ----------
        shown : str
            What could not be had, for messages.
        error : Exception
            The error of this try.

        Raises
        ------
        UnreachableError
            If the tries have taken too long.
        """
        self._n_failed += 1
        longest = min(self._first_wait * 2 ** (self._n_failed - 1), _LONGEST_WAIT)
        wait = longest * _jitter.uniform(0.5, 1)
        is_over = time.monotonic() - self._began + wait > self._timeout and self._n_failed > 1
        waited_before = _away.get(self._place, 0.0)
        if is_over or waited_before >= self._timeout:
            _away[self._place] = max(waited_before, self._timeout)
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
        _away.pop(self._place, None)


def tell_once(place: str, message: str) -> None:
    """Warn of a place, unless it has been warned of before."""
    if place in _told:
        return
    _told.add(place)
    warn(message)


def tell_again(place: str) -> None:
    """Let the next warning of a place be given."""
    _told.discard(place)


def _is_transient(error: OSError) -> bool:
    # Errors of ours have no number: whoever raised one has been patient already.
    return error.errno in _TRANSIENT


def patiently(read: Callable[[], T], place: str, timeout: float, shown: str) -> T:
    """The result of ``read``, on a local file system that may be away for a while.

    Parameters
    ----------
    read : callable
        May be called again.
    place, timeout
        As in :class:`Tries`.
    shown : str
        What is read, for messages.

    Raises
    ------
    UnreachableError
        If the file system stays away. Errors that time does not cure are raised as they are.
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
    """Do as :func:`patiently`, while other coroutines go on."""
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
