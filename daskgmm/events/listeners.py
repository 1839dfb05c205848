"""Listeners: functions of an event, in force for the fits made inside a block.

Text lines, JSON logs, progress bars and metrics are listeners. Whoever tells an event gets the
function for it from :func:`teller`. The algorithm lies below this room, so its callers hand that
function down as the argument ``tell``; it need not know who listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TypeAlias

from daskgmm.events.events import Message
from daskgmm.telling import Event

__all__ = ["Listener", "listening", "tell_message_once", "teller"]

Listener: TypeAlias = Callable[[Event], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("daskgmm-listeners", default=())


@contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """Tell listeners of every event of the fits made inside the block.

    A listener that raises an exception ends the fit with it.

    Examples
    --------
    >>> import numpy as np
    >>> from daskgmm import GaussianMixture
    >>> from daskgmm.events import listening
    >>> told = []
    >>> with listening(told.append):
    ...     _ = GaussianMixture(1, random_state=0).fit(np.random.default_rng(0).normal(size=(99, 2)))
    >>> print(*(event.name for event in told[:3]))
    fit_began scan_done starts_fitted
    """
    token = _listeners.set((*_listeners.get(), *listeners))
    try:
        yield
    finally:
        _listeners.reset(token)


def teller(*listeners: Listener) -> Listener:
    """Function that tells an event to these listeners, then to those in force at that moment.

    Parameters
    ----------
    *listeners : Listener
        Listeners that hear the function's events only, such as the lines that ``verbose`` prints.
    """

    def tell(event: Event) -> None:
        for listener in (*listeners, *_listeners.get()):
            listener(event)

    return tell


@lru_cache(maxsize=64)
def tell_message_once(text: str) -> None:
    """Tell a message that this process has not told before."""
    teller()(Message(text))
