"""Metrics: a line of JSON for each pass of a fit, in a file that monitoring can follow.

Fields of a line: ``fit`` (when it began: what tells fits in one file apart), ``pass`` (0 is
the scan), ``time``, ``log_likelihood`` and ``gain`` and ``remaining_gain`` per row in nats,
``accepted``, ``n_rows``, ``seconds``, ``rows_per_second``; and of all processes together, since
the line before, ``bytes_read`` (as stored: what is staged is not read), ``retries``,
``workers_lost``; and ``peak_memory_bytes``, the most that any process ever had. What cannot
be known is null.
"""

from __future__ import annotations

import json
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daskgmm.em import FitBegan, Iteration, Resumed, ScanDone
from daskgmm.errors import DaskGMMWarning, ParameterError, StorageError
from daskgmm.execution import (
    ClusterTasks,
    Event,
    TaskCounts,
    client_in_force,
    in_force,
    listening,
    peak_memory_bytes,
)
from daskgmm.redaction import redacted
from daskgmm.storage import bytes_read, enclosing_node, plain_json

__all__ = ["MetricsFile", "metrics_written"]

_PROCESS = uuid.uuid4().hex
"""Of this process: numbers of processes are used again, addresses of workers too."""

_BEGINNING = b'{"fit": '
"""Of each line."""


def _probe() -> tuple[str, int, int]:
    """In any process: which it is, the bytes of rows it has read, its peak memory."""
    return _PROCESS, bytes_read(), peak_memory_bytes()


@dataclass(eq=False)
class _Meter:
    """What the processes of a fit have used, from one reading to the next."""

    is_stored: bool
    tasks: ClusterTasks | None
    _read_before: dict[str, int] = field(default_factory=dict)
    _counts_before: TaskCounts = field(default_factory=TaskCounts)

    def reading(self) -> dict[str, Any]:
        """Fields of a line."""
        found = dict.fromkeys(("bytes_read", "retries", "workers_lost"))
        scheduler = in_force()
        probes = [_probe()]
        if scheduler.has_workers:
            probes += scheduler.in_every_process(_probe)
        if self.is_stored:
            read = {process: n_bytes for process, n_bytes, _ in probes}
            before, self._read_before = self._read_before, self._read_before | read
            found["bytes_read"] = sum(n - before.get(process, 0) for process, n in read.items())
        counts = TaskCounts() if self.tasks is None else self.tasks.counts()
        if counts is not None:
            last, self._counts_before = self._counts_before, counts
            found["retries"] = counts.n_retries - last.n_retries
            found["workers_lost"] = counts.n_workers_lost - last.n_workers_lost
        return {**found, "peak_memory_bytes": max(peak for _, _, peak in probes)}


class MetricsFile:
    """Listener that appends a line for each pass.

    A fit that goes on from a checkpoint goes on with the last fit in the file: passes that are
    there are not written again, and those that are missing are, as far as the checkpoint
    knows them.

    Parameters
    ----------
    path : path
        Of a local file; made if it does not exist.

    Raises
    ------
    StorageError
        If it cannot be written.
    ParameterError
        If it holds anything else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        node = enclosing_node(path)
        if node is not None:
            raise ParameterError(f"metrics: {path} is inside {node}, which is Zarr; name another")
        self._path = Path(path)
        self._fit = ""
        self._written: set[int] = set()
        self._meter = _Meter(False, None)
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
        """Write a line, if the event is a pass."""
        match event:
            case FitBegan():
                self._begin(event)
            case Resumed():
                self._go_on(event)
            case ScanDone():
                self._write(_line_of_scan(event), self._meter.reading())
            case Iteration():
                self._write(_line_of_pass(event), self._meter.reading())

    def _begin(self, event: FitBegan) -> None:
        self._fit, self._written = datetime.now(UTC).isoformat(), set()
        self._end_meter()
        client = client_in_force()
        tasks = None if client is None else ClusterTasks(client)
        self._meter = _Meter(event.is_stored, tasks)
        self._meter.reading()  # what was read before is not this fit's

    def _go_on(self, event: Resumed) -> None:
        if self._lines:
            self._fit = self._lines[-1]["fit"]
            self._written = {line["pass"] for line in self._lines if line["fit"] == self._fit}
        unknown = dict.fromkeys(("bytes_read", "retries", "workers_lost", "peak_memory_bytes"))
        for iteration in event.history:
            self._write(_line_of_pass(iteration), unknown)

    def _write(self, *parts: dict[str, Any]) -> None:
        line: dict[str, Any] = {"fit": self._fit, "time": datetime.now(UTC).isoformat()}
        for part in parts:
            line |= part
        if self._file is None or line["pass"] in self._written:
            return
        self._written.add(line["pass"])
        try:
            # One call, so that no reader sees half a line.
            os.write(self._file, (json.dumps(plain_json(line)) + "\n").encode())
        except OSError as error:
            self._close_file()
            warnings.warn(
                f"metrics: {self._path} takes no more lines ({error.strerror}); the fit goes on",
                DaskGMMWarning,
                stacklevel=2,
            )

    def _end_meter(self) -> None:
        if self._meter.tasks is not None:
            self._meter.tasks.close()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        """Write no more."""
        self._end_meter()
        self._close_file()


@contextmanager
def metrics_written(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Write metrics of the fits made inside the block, unless the path is None."""
    if path is None:
        yield
        return
    metrics = MetricsFile(path)
    try:
        with listening(metrics):
            yield
    finally:
        metrics.close()


def _line_of_scan(event: ScanDone) -> dict[str, Any]:
    return {
        "pass": 0,
        **dict.fromkeys(("log_likelihood", "gain", "remaining_gain", "accepted")),
        **_speed(event),
    }


def _line_of_pass(event: Iteration) -> dict[str, Any]:
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
    """What a file holds; a last line that was cut off is taken off."""
    if not path.is_file():  # a device or a pipe, too: it has no lines, or no end
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
