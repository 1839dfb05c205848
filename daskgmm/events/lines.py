"""Lines: each event as a line of text for people."""

from __future__ import annotations

import math
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from statistics import median
from typing import TextIO

from daskgmm.events.events import Underway
from daskgmm.history import FitBegan, Iteration
from daskgmm.telling import Event, duration

__all__ = ["ProgressLines", "Seldom"]

_SILENCE_SECONDS = 5.0
_STEADY_PASSES = 5
"""Passes whose median is the time of those to come: one that had to wait changes nothing."""


class Seldom:
    """Filter that lets one event of a pass under way through, every few seconds of the pass."""

    def __init__(self) -> None:
        self._pass_key = ""
        self._spoke = 0.0

    def __call__(self, event: Underway) -> bool:
        """Whether this event is to be told."""
        if event.pass_key != self._pass_key:
            self._pass_key, self._spoke = event.pass_key, 0.0
        if event.seconds - self._spoke < _SILENCE_SECONDS or not event.is_partial:
            return False
        self._spoke = event.seconds
        return True


class ProgressLines:
    """Listener that prints the line of each event that has one.

    Iterations have a line for every ``interval``-th pass only, and passes under way have one
    every few seconds.

    Parameters
    ----------
    interval : int
        Passes from one line of an iteration to the next.
    stream : text stream, optional
        Standard error by default; what that does not take is lost, and the fit is not.
    is_timed : bool
        Whether lines begin with the time, UTC.
    """

    def __init__(
        self, interval: int = 1, stream: TextIO | None = None, *, is_timed: bool = False
    ) -> None:
        self._interval = interval
        self._stream = stream or sys.stderr
        self._may_fail = stream is None
        self._is_timed = is_timed
        self._began: FitBegan | None = None
        self._last: Iteration | None = None
        self._seconds: deque[float] = deque(maxlen=_STEADY_PASSES)
        self._is_time = Seldom()
        self._lock = threading.RLock()  # clusters tell events from threads of their own

    def __call__(self, event: Event) -> None:
        """Print the event, if it is worth a line."""
        with self._lock:
            if isinstance(event, Underway):
                self._underway(event)
            else:
                self._happened(event)

    def _underway(self, event: Underway) -> None:
        if self._is_time(event):
            self._print(event.text())

    def _happened(self, event: Event) -> None:
        if isinstance(event, FitBegan):
            self._began, self._last = event, None
            self._seconds.clear()
        if not isinstance(event, Iteration):
            self._print(event.text())
            return
        before, self._last = self._last, event
        self._seconds.append(event.seconds)
        if event.n_iter % self._interval == 0:
            self._print(event.text() + self._time_left(before, event))

    def _time_left(self, before: Iteration | None, now: Iteration) -> str:
        """The end of an iteration's line; empty if the remaining passes are not known."""
        remaining = self._remaining_passes(before, now)
        return (
            ""
            if remaining is None
            else f"  about {duration(remaining * median(self._seconds))} left"
        )

    def _remaining_passes(self, before: Iteration | None, now: Iteration) -> int | None:
        """Passes until the remaining gain is below tol, if gains go on shrinking as they do."""
        fit = self._began
        if fit is None or before is None or fit.stopping != "gap":
            return None
        if math.isinf(before.gain) or math.isinf(now.remaining_gain):  # no rate can be told yet
            return None
        if now.remaining_gain <= fit.tol:
            return None
        most = fit.max_iter - now.n_iter
        rate = abs(now.gain / before.gain)
        if fit.tol <= 0 or not 0 < rate < 1:
            return most
        return min(most, math.ceil(math.log(fit.tol / now.remaining_gain) / math.log(rate)))

    def _print(self, line: str | None) -> None:
        if line is not None:
            when = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} " if self._is_timed else ""
            try:
                if self._stream is not None:  # as where Python began without standard error
                    print(f"{when}{line}", file=self._stream, flush=True)
            except (OSError, ValueError):
                if not self._may_fail:
                    raise

    def close(self) -> None:
        """Nothing has to be put away."""
