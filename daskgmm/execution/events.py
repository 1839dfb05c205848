"""Events: what happens in a fit, told to whoever listens.

Logs, progress bars and metrics are listeners: functions of an event. They are put in force
by :func:`listening`, so that neither the algorithm nor the estimator knows of any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from daskgmm.em import (
    FitBegan,
    FitEnded,
    Iteration,
    RareComponent,
    Resumed,
    ScanDone,
    StartsFitted,
    StartsUnderway,
)

__all__ = ["Event", "Failed", "Listener", "Message", "Underway", "listening", "teller"]


@dataclass(frozen=True)
class Underway:
    """Event: how far a pass is.

    Attributes
    ----------
    pass_key : str
        The same for all events of one pass.
    n_done, n_tasks : int
        Tasks that have read their rows, and all that will.
    seconds : float
        Since the pass began.
    """

    pass_key: str
    n_done: int
    n_tasks: int
    seconds: float

    @property
    def seconds_left(self) -> float:
        """At the rate so far; once a task is done."""
        return self.seconds * (self.n_tasks - self.n_done) / self.n_done


@dataclass(frozen=True)
class Message:
    """Event: a sentence for people; a ``level`` of logging, in small letters."""

    message: str
    level: str = "info"


@dataclass(frozen=True)
class Failed:
    """Event: the command ends with an exit status that is not 0."""

    message: str
    status: int
    level: str = "error"
    traceback: str | None = None


Event: TypeAlias = (
    FitBegan
    | ScanDone
    | StartsUnderway
    | StartsFitted
    | Resumed
    | RareComponent
    | Iteration
    | FitEnded
    | Underway
    | Message
    | Failed
)
Listener: TypeAlias = Callable[[Event], None]

_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("daskgmm-listeners", default=())


@contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """Tell listeners of every event of the fits made inside the block.

    Examples
    --------
    >>> import numpy as np
    >>> from daskgmm import GaussianMixture
    >>> from daskgmm.execution import listening
    >>> told = []
    >>> with listening(told.append):
    ...     _ = GaussianMixture(1, random_state=0).fit(np.random.default_rng(0).normal(size=(99, 2)))
    >>> print(*(type(event).__name__ for event in told[:3]))
    FitBegan ScanDone StartsFitted
    """
    token = _listeners.set((*_listeners.get(), *listeners))
    try:
        yield
    finally:
        _listeners.reset(token)


def teller(*listeners: Listener) -> Listener:
    """Function that tells an event to these listeners and to those in force."""

    def tell(event: Event) -> None:
        for listener in (*listeners, *_listeners.get()):
            listener(event)

    return tell
