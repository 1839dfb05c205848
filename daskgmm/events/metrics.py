"""Metrics: a line of JSON for each pass of a fit, in a file that monitoring can follow.

Fields of a line: ``fit`` (when the fit began, which tells fits in one file apart), ``pass`` (0
is the scan; there is no line 0 where pass 1 made the scan), ``time``, ``log_likelihood`` and ``gain`` and ``remaining_gain`` per row in nats,
``accepted``, ``n_rows``, ``seconds``, ``rows_per_second``, and the fields of :class:`Usage`.
What cannot be known is null.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from daskgmm.errors import ParameterError, StorageError, warn
from daskgmm.history import FitBegan, Iteration, Resumed, ScanDone
from daskgmm.plain_json import plain_json
from daskgmm.redaction import redacted
from daskgmm.telling import Event

__all__ = ["Meter", "MetricsFile", "Usage"]

_BEGINNING = b'{"fit": '
"""First fields of each line."""


@dataclass(frozen=True)
class Usage:
    """What all processes of a fit together have used since the line before.

    Attributes
    ----------
    bytes_read : int or None
        Bytes of rows as they are stored. Rows that are staged are not read again.
    retries : int or None
        Tasks that were begun again.
    workers_lost : int or None
        Workers that left without having been asked to.
    peak_memory_bytes : int or None
        The most memory that any process ever had.
    """

    bytes_read: int | None = None
    retries: int | None = None
    workers_lost: int | None = None
    peak_memory_bytes: int | None = None


class Meter(Protocol):
    """Measures what fits use, wherever their tasks run."""

    def begin(self, *, is_stored: bool) -> None:
        """Measure a new fit, whose rows are read from a store or are not."""

    def reading(self) -> Usage:
        """What was used since the last reading."""

    def close(self) -> None:
        """Measure no more."""


class MetricsFile:
    """Listener that appends a line for each pass.

    A fit that goes on from a checkpoint continues the last fit in the file. Passes that have
    a line are not written again; those that miss one are written as far as the checkpoint
    knows them.

    Parameters
    ----------
    path : path
        A local file, which is made if it does not exist.
    meter : Meter
        Measures what each pass used.

    Raises
    ------
    StorageError
        If the file cannot be written.
    ParameterError
        If the file holds anything but metrics.
    """

    def __init__(self, path: str | os.PathLike[str], meter: Meter) -> None:
        self._path = Path(path)
        self._meter = meter
        self._fit = ""
        self._written: set[int] = set()
        try:
            self._lines = _lines_of(self._path)
            self._file: int | None = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666
            )
        except OSError as error:
            raise StorageError(
                f"metrics: {redacted(str(path))} cannot be written ({error.strerror}); name a file "
                "in a local folder that exists"
            ) from None

    def __call__(self, event: Event) -> None:
        """Write a line, if the event is the end of a pass."""
        match event:
            case FitBegan():
                self._fit, self._written = datetime.now(UTC).isoformat(), set()
                self._meter.begin(is_stored=event.is_stored)
            case Resumed():
                self._go_on(event)
            case ScanDone() if not event.is_pass:  # else pass 1 tells of the same read
                self._write(_fields_of_scan(event), self._meter.reading())
            case Iteration():
                self._write(_fields_of_iteration(event), self._meter.reading())

    def _go_on(self, event: Resumed) -> None:
        if self._lines:
            self._fit = self._lines[-1]["fit"]
            self._written = {line["pass"] for line in self._lines if line["fit"] == self._fit}
        for iteration in event.history:
            self._write(_fields_of_iteration(iteration), Usage())

    def _write(self, fields: dict[str, Any], usage: Usage) -> None:
        line = {
            "fit": self._fit,
            "time": datetime.now(UTC).isoformat(),
            **fields,
            **asdict(usage),
        }
        if self._file is None or line["pass"] in self._written:
            return  # the file was given up, or an interrupted run has written the line
        self._written.add(line["pass"])
        try:
            # One call, so that no reader sees half a line.
            os.write(self._file, (json.dumps(plain_json(line)) + "\n").encode())
        except OSError as error:
            self._close_file()
            warn(f"metrics: {self._path} takes no more lines ({error.strerror}); the fit goes on")

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        """Write and measure no more."""
        self._meter.close()
        self._close_file()


def _fields_of_scan(event: ScanDone) -> dict[str, Any]:
    return {
        "pass": 0,
        **dict.fromkeys(("log_likelihood", "gain", "remaining_gain", "accepted")),
        **_speed(event),
    }


def _fields_of_iteration(event: Iteration) -> dict[str, Any]:
    return {
        "pass": event.n_iter,
        "log_likelihood": event.log_likelihood,
        "gain": event.gain,
        "remaining_gain": event.remaining_gain,
        "accepted": event.accepted,
        **_speed(event),
    }


def _speed(event: ScanDone | Iteration) -> dict[str, Any]:
    return {
        "n_rows": event.n_rows,
        "seconds": event.seconds,
        "rows_per_second": event.n_rows / event.seconds,
    }


def _lines_of(path: Path) -> list[dict[str, Any]]:
    """Lines of a file; a last one that was cut off is removed from the file."""
    if not path.is_file():  # a device or a pipe has no lines, or no end
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        ours = all(line["fit"] and line["pass"] >= 0 for line in lines)
    except (ValueError, TypeError, KeyError, RecursionError):
        ours = False
    cut_off = content[len(whole) :]
    if not ours or not (cut_off.startswith(_BEGINNING) or _BEGINNING.startswith(cut_off)):
        raise ParameterError(
            f"metrics: {path} holds something else than metrics; name another file"
        )
    if cut_off:
        os.truncate(path, len(whole))
    return lines
