"""Progress: events of a fit as lines of text."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from dask.callbacks import Callback

from daskgmm.em import Iteration, RareComponent, Resumed, ScanDone

__all__ = ["PassProgress", "ProgressLines", "duration"]

_SILENCE_SECONDS = 5.0


def duration(seconds: float) -> str:
    """Seconds for people: ``0.42 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole} s" if minutes else f"{whole} s"


class ProgressLines:
    """Prints a line for the scan and one for every ``interval``-th pass.

    Parameters
    ----------
    tol : float or None
        Remaining gain that the fit stops at, to estimate what is left; None if it stops
        by another rule.
    max_iter : int
    interval : int
    stream : text stream, optional
        Standard error by default.
    """

    def __init__(
        self, tol: float | None, max_iter: int, interval: int = 1, stream: TextIO | None = None
    ) -> None:
        self._tol, self._max_iter, self._interval = tol, max_iter, interval
        self._stream = stream or sys.stderr
        self._last: Iteration | None = None

    def __call__(self, event: ScanDone | Resumed | RareComponent | Iteration) -> None:
        """Print the event."""
        if isinstance(event, Resumed):
            self._print(f"resumed: {event.n_passes} passes need not be made again")
            return
        if isinstance(event, RareComponent):
            self._print(str(event))
            return
        if isinstance(event, ScanDone):
            self._print(
                f"scan: {event.n_rows:,} rows, {event.n_sampled:,} sampled, "
                f"{event.n_rows / event.seconds:,.0f} rows/s, {duration(event.seconds)}"
            )
            return
        before, self._last = self._last, event
        if event.n_iter % self._interval:
            return
        gain = "" if math.isinf(event.gain) else f"  gain {event.gain:.3g}"
        remaining = self._remaining_passes(before, event)
        left = "" if remaining is None else f"  about {duration(remaining * event.seconds)} left"
        self._print(
            f"pass {event.n_iter}: log-likelihood per row {event.log_likelihood:.9g}{gain}"
            f"  {event.n_rows / event.seconds:,.0f} rows/s{left}"
        )

    def _remaining_passes(self, before: Iteration | None, now: Iteration) -> int | None:
        """Passes until the remaining gain is below tol, if gains go on shrinking as they do."""
        most = self._max_iter - now.n_iter
        if before is None or self._tol is None or math.isinf(now.remaining_gain):
            return None
        if now.remaining_gain <= self._tol:
            return None
        rate = abs(now.gain / before.gain)
        if self._tol <= 0 or not 0 < rate < 1:
            return most
        return min(most, math.ceil(math.log(self._tol / now.remaining_gain) / math.log(rate)))

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class PassProgress(Callback):
    """Prints how far a pass is, every few seconds of it, while used as a context.

    Sees the passes on threads of this process; a cluster has its dashboard.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr

    def _start(self, dsk: Mapping[Any, Any]) -> None:
        self._began = self._spoke = time.monotonic()
        self._done, self._all = 0, sum(map(_is_partition, dsk))

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        now = time.monotonic()
        self._done += _is_partition(key)
        if now - self._spoke > _SILENCE_SECONDS and 0 < self._done < self._all:
            self._spoke = now
            left = (now - self._began) * (self._all - self._done) / self._done
            print(
                f"  {100 * self._done // self._all}% of this pass, about {duration(left)} left",
                file=self._stream,
                flush=True,
            )


def _is_partition(key: Any) -> bool:
    return str(key[0] if isinstance(key, tuple) else key).startswith("fold-")
