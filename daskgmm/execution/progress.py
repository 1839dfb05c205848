"""Progress: events as lines of text, and how far a pass is as a bar on a terminal."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from dask.callbacks import Callback
from tqdm import tqdm

from daskgmm.em import (
    FitBegan,
    Iteration,
    RareComponent,
    Resumed,
    ScanDone,
    StartsFitted,
    StartsUnderway,
)
from daskgmm.execution.dask_rows import PARTITION_KEY
from daskgmm.execution.events import Event, Failed, Message, Underway, teller

__all__ = [
    "PassProgress",
    "ProgressBar",
    "ProgressLines",
    "Seldom",
    "duration",
    "is_partition",
    "passes",
]

_SILENCE_SECONDS = 5.0
_WORTH_A_LINE = 1.0
"""Seconds of what is no pass: below, nobody waited for it."""
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} parts [{elapsed}<{remaining}]"


def duration(seconds: float) -> str:
    """Seconds for people: ``0.42 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole} s" if minutes else f"{whole} s"


def passes(n: int) -> str:
    """So many passes, for people."""
    return f"{n} pass" if n == 1 else f"{n} passes"


class Seldom:
    """Lets one event of a pass under way through, every few seconds of it."""

    def __init__(self) -> None:
        self._pass_key = ""
        self._spoke = 0.0

    def __call__(self, event: Underway) -> bool:
        """Whether this one is to be told."""
        if event.pass_key != self._pass_key:
            self._pass_key, self._spoke = event.pass_key, 0.0
        if event.seconds - self._spoke < _SILENCE_SECONDS or not 0 < event.n_done < event.n_tasks:
            return False
        self._spoke = event.seconds
        return True


class ProgressLines:
    """Listener that prints a line for the scan, one for every ``interval``-th pass, and messages.

    Parameters
    ----------
    interval : int
    stream : text stream, optional
        Standard error by default.
    is_timed : bool
        Whether lines begin with the time, UTC.
    """

    def __init__(
        self, interval: int = 1, stream: TextIO | None = None, *, is_timed: bool = False
    ) -> None:
        self._interval = interval
        self._stream = stream or sys.stderr
        self._is_timed = is_timed
        self._began: FitBegan | None = None
        self._last: Iteration | None = None
        self._is_time = Seldom()
        self._lock = threading.RLock()  # notes come from the threads of clusters, too

    def __call__(self, event: Event) -> None:
        """Print the event, if it is worth a line."""
        with self._lock:
            if isinstance(event, Underway):
                self._underway(event)
                return
            if isinstance(event, FitBegan):
                self._began, self._last = event, None
            line = self._line(event)
            if line is not None:
                self._print(line)

    def _line(self, event: Event) -> str | None:
        match event:
            case Resumed():
                return f"resumed: {passes(event.n_passes)} need not be made again"
            case ScanDone():
                return (
                    f"scan: {event.n_rows:,} rows, {event.n_sampled:,} sampled, "
                    f"{event.n_rows / event.seconds:,.0f} rows/s, {duration(event.seconds)}"
                )
            case StartsUnderway():
                return (
                    f"starts: {event.n_starts} fitted to {event.n_rows:,} sampled rows so far, "
                    f"{duration(event.seconds)}"
                )
            case StartsFitted() if event.seconds >= _WORTH_A_LINE:
                return (
                    f"starts: {event.n_starts} fitted to {event.n_rows:,} sampled rows, "
                    f"best of them: {event.n_left}, {duration(event.seconds)}"
                )
            case RareComponent():
                return str(event)
            case Iteration():
                return self._line_of_pass(event)
            case Message():
                return event.message if event.level == "info" else f"note: {event.message}"
            case Failed():
                return f"Error: {event.message}"
        return None

    def _line_of_pass(self, event: Iteration) -> str | None:
        before, self._last = self._last, event
        if event.n_iter % self._interval:
            return None
        gain = "" if math.isinf(event.gain) else f"  gain {event.gain:.3g}"
        remaining = self._remaining_passes(before, event)
        left = "" if remaining is None else f"  about {duration(remaining * event.seconds)} left"
        return (
            f"pass {event.n_iter}: log-likelihood per row {event.log_likelihood:.9g}{gain}"
            f"  {event.n_rows / event.seconds:,.0f} rows/s{left}"
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

    def _underway(self, event: Underway) -> None:
        if self._is_time(event):
            percent = 100 * event.n_done // event.n_tasks
            self._print(f"  {percent}% of this pass, about {duration(event.seconds_left)} left")

    def _print(self, line: str) -> None:
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} " if self._is_timed else ""
        print(f"{when}{line}", file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing more will come."""


class ProgressBar(ProgressLines):
    """The same on a terminal, with a bar for the pass in hand below the lines."""

    def __init__(self, interval: int = 1, stream: TextIO | None = None) -> None:
        super().__init__(interval, stream)
        self._bar: tqdm[Any] | None = None
        self._pass_key = ""
        self._name = "reading"

    def _line(self, event: Event) -> str | None:
        match event:
            case FitBegan():
                self._name = "scan"
            case ScanDone():
                self._end_bar("pass 1")
            case Resumed():
                self._end_bar(f"pass {event.n_passes}")
            case Iteration():
                self._end_bar(f"pass {event.n_iter + 1}")
        return super()._line(event)

    def _underway(self, event: Underway) -> None:
        if event.pass_key != self._pass_key:
            self._end_bar(self._name)
            self._pass_key = event.pass_key
            if event.n_done == event.n_tasks:  # it ended before it was first heard of
                return
            self._bar = tqdm(
                desc=self._name,
                total=event.n_tasks,
                file=self._stream,
                leave=False,
                miniters=0,
                bar_format=_BAR,
                # tqdm would show nothing on a terminal that does not tell its size.
                ncols=os.get_terminal_size(self._stream.fileno()).columns or 80,
                nrows=24,
            )
        if self._bar is not None:
            self._bar.update(event.n_done - self._bar.n)

    def _end_bar(self, next_name: str) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._name = next_name

    def _print(self, line: str) -> None:
        if self._bar is None:
            super()._print(line)
            return
        self._bar.clear()
        super()._print(line)
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar off."""
        with self._lock:
            self._end_bar(self._name)


class PassProgress(Callback):
    """Tells listeners how far a pass on threads of this process is, while used as a context.

    Passes on a cluster are seen by :func:`daskgmm.execution.cluster_progress`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tell = teller()

    def _start(self, dsk: Mapping[Any, Any]) -> None:
        self._began = time.monotonic()
        partitions = [key for key in dsk if is_partition(key)]
        self._done, self._all = 0, len(partitions)
        self._pass_key = partitions[0][0] if partitions else ""
        self._report()

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        if is_partition(key):
            self._done += 1
            self._report()

    def _report(self) -> None:
        if self._all:
            seconds = time.monotonic() - self._began
            self._tell(Underway(self._pass_key, self._done, self._all, seconds))


def is_partition(key: Any) -> bool:
    """Whether a task of this key reads rows."""
    return str(key[0] if isinstance(key, tuple) else key).startswith(PARTITION_KEY)
