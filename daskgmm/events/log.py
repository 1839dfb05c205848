"""Logs: events of a command as lines of text or of JSON, on standard error and in a file."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from daskgmm.errors import StorageError
from daskgmm.events.bar import ProgressBar
from daskgmm.events.events import Message
from daskgmm.events.json_lines import JsonLines
from daskgmm.events.lines import ProgressLines
from daskgmm.events.listeners import listening
from daskgmm.redaction import on_one_line, redacted
from daskgmm.telling import Event

__all__ = ["LOG_FORMATS", "Log", "log_opened"]


class _Lines(Protocol):
    """Listener that writes to one stream."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None:
        """Put away what the listener holds, but leave the stream open."""


def _text_on(stream: TextIO) -> ProgressLines:
    return (ProgressBar if stream.isatty() else ProgressLines)(stream=stream)


LOG_FORMATS: dict[str, tuple[Callable[[TextIO], _Lines], Callable[[TextIO], _Lines]]] = {
    "text": (_text_on, lambda stream: ProgressLines(stream=stream, is_timed=True)),
    "json": (JsonLines, JsonLines),
}
"""For each format, the listener that writes to standard error and the one that writes to a file."""


@dataclass(frozen=True)
class _Sink:
    """A stream with its name in messages, and the listener that writes to it."""

    name: str
    stream: TextIO
    lines: _Lines


class Log:
    """Listener that writes the events of a command to standard error and to files.

    A stream that takes no more lines, on a full disk or a closed terminal, is given up with a
    note on the others: the fit is worth more than its log.

    Parameters
    ----------
    log_format : str
        A key of :data:`LOG_FORMATS`.
    """

    def __init__(self, log_format: str) -> None:
        on_screen, self._lines_in_file = LOG_FORMATS[log_format]
        self._screen = _Sink("standard error", sys.stderr, on_screen(sys.stderr))
        self._sinks = [self._screen]
        self._lock = threading.RLock()  # clusters tell events from threads of their own

    def append_to(self, file: str) -> None:
        """Write to a local file, too, from now on.

        Raises
        ------
        StorageError
            If the file cannot be written.
        """
        stream = _opened(file)
        self._sinks.append(_Sink(file, stream, self._lines_in_file(stream)))

    def __call__(self, event: Event) -> None:
        """Write the event everywhere."""
        self._write(event, self._sinks)

    def write_to_files(self, event: Event) -> None:
        """Write the event everywhere but to standard error, which shows it in another way."""
        self._write(event, [sink for sink in self._sinks if sink is not self._screen])

    def _write(self, event: Event, sinks: Sequence[_Sink]) -> None:
        event = event.redacted()
        with self._lock:
            for sink in list(sinks):
                try:
                    sink.lines(event)
                except (OSError, ValueError) as error:  # ValueError: the stream is closed
                    self._sinks.remove(sink)
                    text = f"the log {redacted(sink.name)} takes no more lines ({error})"
                    self._write(Message(text, "warning"), self._sinks)

    def close(self) -> None:
        """Close the files, and take a bar off the terminal."""
        for sink in self._sinks:
            with suppress(OSError):  # a full disk refuses what is still buffered
                sink.lines.close()
                if sink is not self._screen:
                    sink.stream.close()


@contextmanager
def log_opened(log_format: str) -> Iterator[Log]:
    """Write what happens inside the block: events, warnings, and records of Dask's loggers.

    Parameters
    ----------
    log_format : str
        A key of :data:`LOG_FORMATS`.
    """
    with (
        closing(Log(log_format)) as log,
        listening(log),
        _warnings_to(log),
        _records_to(log),
    ):
        yield log


def _opened(file: str) -> TextIO:
    try:
        return open(file, "a", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"log: {redacted(file)} cannot be written ({error.strerror}); name a file in a local "
            "folder that exists"
        ) from None


@contextmanager
def _warnings_to(log: Log) -> Iterator[None]:
    """Tell the log warnings as messages; the filters of :mod:`warnings` say which ones."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        log(Message(on_one_line(message), "warning"))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


class _Records(logging.Handler):
    """Handler that tells the log records of loggers as messages."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "warning" if record.levelno < logging.ERROR else "error"
        self._log(Message(f"{record.name}: {on_one_line(record.getMessage())}", level))


@contextmanager
def _records_to(log: Log) -> Iterator[None]:
    """Tell the log the records of every logger that has handlers, and have no other handler.

    Dask's loggers write to standard error by themselves otherwise. Loggers of worker processes
    stay as they are.
    """
    handler = _Records(log)
    named = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    writing = [logger for logger in named if logger.handlers]
    before = [(logger, logger.handlers) for logger in (logging.root, *writing)]
    for logger, _ in before:
        # A logger that passes its records to its parents would tell them twice.
        is_last = logger is logging.root or not logger.propagate
        logger.handlers = [handler] if is_last else []
    try:
        yield
    finally:
        for logger, handlers in before:
            logger.handlers = handlers
