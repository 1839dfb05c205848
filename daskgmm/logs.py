"""Logs: events of a command as lines of text or of JSON, on standard error and in a file."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

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
from daskgmm.errors import StorageError
from daskgmm.execution import (
    Event,
    Failed,
    Message,
    ProgressBar,
    ProgressLines,
    Seldom,
    Underway,
    listening,
)
from daskgmm.redaction import on_one_line, redacted
from daskgmm.storage import enclosing_node, plain_json

__all__ = ["LOG_FORMATS", "JsonLines", "Log", "log_opened"]

_NAMES: dict[type, str] = {
    FitBegan: "fit_began",
    ScanDone: "scan_done",
    StartsUnderway: "starts_underway",
    StartsFitted: "starts_fitted",
    Resumed: "resumed",
    RareComponent: "rare_component_found",
    Iteration: "pass_done",
    FitEnded: "fit_ended",
    Underway: "pass_underway",
    Message: "message",
    Failed: "failed",
}


class JsonLines:
    """Listener that writes an event as one line of JSON.

    Each line has ``time`` (UTC, ISO 8601), ``level``, ``event``, and the event's own fields;
    what is not finite is null.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_time = Seldom()
        self._lock = threading.Lock()  # notes come from the threads of clusters, too

    def __call__(self, event: Event) -> None:
        """Write the event; how far a pass is only every few seconds."""
        if isinstance(event, Underway) and not self._is_time(event):
            return
        fields = asdict(_redacted(event))
        fields.pop("history", None)
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": fields.pop("level", "info"),
            "event": _NAMES[type(event)],
            **fields,
        }
        text = json.dumps(plain_json(line))
        with self._lock:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing more will come."""


class _Lines(Protocol):
    """A listener that has something to put away in the end."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


def _text_on(stream: TextIO) -> ProgressLines:
    return (ProgressBar if stream.isatty() else ProgressLines)(stream=stream)


LOG_FORMATS: dict[str, tuple[Callable[[TextIO], _Lines], Callable[[TextIO], _Lines]]] = {
    "text": (_text_on, lambda stream: ProgressLines(stream=stream, is_timed=True)),
    "json": (JsonLines, JsonLines),
}
"""How events are written to standard error, and to a file."""


@dataclass(frozen=True)
class _Sink:
    """Where lines go."""

    name: str
    stream: TextIO
    lines: _Lines


class Log:
    """Where the events of a command go: standard error, and files.

    One of them that takes no more, on a full disk or a closed terminal, is given up: what is
    told is worth less than the fit that tells it.

    Parameters
    ----------
    log_format : str
        A key of :data:`LOG_FORMATS`.
    """

    def __init__(self, log_format: str) -> None:
        on_screen, self._lines_in_file = LOG_FORMATS[log_format]
        self._screen = _Sink("standard error", sys.stderr, on_screen(sys.stderr))
        self._sinks = [self._screen]
        self._lock = threading.RLock()  # notes come from the threads of clusters, too

    def append_to(self, file: str | None) -> None:
        """Write to a file, too, from now on; None is no file.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        if file is None:
            return
        stream = _opened(file)
        self._sinks.append(_Sink(file, stream, self._lines_in_file(stream)))

    def __call__(self, event: Event) -> None:
        """Write the event everywhere."""
        self._write(event, self._sinks)

    def write_to_files(self, event: Event) -> None:
        """Write what is shown on standard error in another way."""
        self._write(event, [sink for sink in self._sinks if sink is not self._screen])

    def _write(self, event: Event, sinks: Sequence[_Sink]) -> None:
        event = _redacted(event)
        with self._lock:
            for sink in list(sinks):
                try:
                    sink.lines(event)
                except (OSError, ValueError) as error:  # ValueError: of a closed stream
                    self._sinks.remove(sink)
                    text = f"the log {redacted(sink.name)} takes no more lines ({error})"
                    self._write(Message(text, "warning"), self._sinks)

    def close(self) -> None:
        """Nothing more will come."""
        for sink in self._sinks:
            with suppress(OSError):  # of a full disk, for the last time
                sink.lines.close()
                if sink is not self._screen:
                    sink.stream.close()


@contextmanager
def log_opened(log_format: str, file: str | None) -> Iterator[Log]:
    """Write what happens inside the block: events, warnings, and records of Dask's loggers.

    Parameters
    ----------
    log_format : str
        A key of :data:`LOG_FORMATS`.
    file : str or None
        Path of a file that lines are appended to, too.

    Raises
    ------
    StorageError
        If the file cannot be written.
    """
    with closing(Log(log_format)) as log:
        log.append_to(file)
        with listening(log), _warnings_to(log), _records_to(log):
            yield log


def _opened(file: str) -> TextIO:
    node = enclosing_node(file)
    if node is not None:
        raise StorageError(f"log: {redacted(file)} is inside {node}, which is Zarr; name another")
    try:
        return open(file, "a", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"log: {redacted(file)} cannot be written ({error.strerror}); name a file in a local "
            "folder that exists"
        ) from None


@contextmanager
def _warnings_to(log: Log) -> Iterator[None]:
    """Warnings as events; which ones are shown is for filters to say."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        log(Message(on_one_line(message), "warning"))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


class _Records(logging.Handler):
    """Records of loggers as events."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "warning" if record.levelno < logging.ERROR else "error"
        self._log(Message(f"{record.name}: {on_one_line(record.getMessage())}", level))


@contextmanager
def _records_to(log: Log) -> Iterator[None]:
    """Records of every logger that writes somewhere: Dask's write to standard error by themselves.

    Worker processes have their own.
    """
    handler = _Records(log)
    named = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    writing = [logger for logger in named if logger.handlers]
    before = [(logger, logger.handlers) for logger in (logging.root, *writing)]
    for logger, _ in before:
        # One that passes its records on must not tell them twice.
        is_last = logger is logging.root or not logger.propagate
        logger.handlers = [handler] if is_last else []
    try:
        yield
    finally:
        for logger, handlers in before:
            logger.handlers = handlers


def _redacted(event: Event) -> Event:
    texts: dict[str, Any] = {
        name: redacted(text) for name, text in vars(event).items() if isinstance(text, str)
    }
    return replace(event, **texts)
