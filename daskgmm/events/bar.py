"""Bar: how far the pass in hand is, below the lines on a terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TextIO

from daskgmm.events.events import Underway
from daskgmm.events.lines import ProgressLines
from daskgmm.lazily import Lazily
from daskgmm.telling import Event

if TYPE_CHECKING:
    import tqdm
else:
    tqdm = Lazily("tqdm")

__all__ = ["ProgressBar"]

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} parts [{elapsed}<{remaining}]"


class ProgressBar(ProgressLines):
    """Listener that prints lines on a terminal, with a bar for the pass in hand below them.

    Parameters
    ----------
    interval : int
        Passes from one line of an iteration to the next.
    stream : text stream, optional
        A terminal; standard error by default.
    """

    def __init__(self, interval: int = 1, stream: TextIO | None = None) -> None:
        super().__init__(interval, stream)
        self._bar: tqdm.tqdm[Any] | None = None
        self._pass_key = ""
        self._name = "reading"

    def _happened(self, event: Event) -> None:
        if event.next_pass is not None:
            self._end_bar(event.next_pass)
        super()._happened(event)

    def _underway(self, event: Underway) -> None:
        if event.pass_key != self._pass_key:
            self._end_bar(self._name)
            self._pass_key = event.pass_key
            if event.n_done == event.n_tasks:  # the pass ended before anything was heard of it
                return
            self._bar = tqdm.tqdm(
                desc=self._name,
                total=event.n_tasks,
                file=self._stream,
                leave=False,
                miniters=0,
                bar_format=_FORMAT,
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

    def _print(self, line: str | None) -> None:
        if self._bar is None or line is None:
            super()._print(line)
            return
        self._bar.clear()
        super()._print(line)
        self._bar.refresh()

    def close(self) -> None:
        """Take the bar off the terminal."""
        with self._lock:
            self._end_bar(self._name)
