"""Meter: what the processes of a fit read and use, from one pass to the next."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from daskgmm.events import Usage
from daskgmm.execution.clients import client_in_force
from daskgmm.execution.clusters.task_counts import TaskCounts
from daskgmm.execution.process_memory import peak_memory_bytes
from daskgmm.execution.scheduler import in_force
from daskgmm.lazily import Lazily

if TYPE_CHECKING:
    from daskgmm.execution.clusters import tasks
else:  # where there is a client
    tasks = Lazily("daskgmm.execution.clusters.tasks")

__all__ = ["Meter"]


class Meter:
    """Measures what fits use, in this process and on the workers of the cluster in force.

    Parameters
    ----------
    bytes_read : callable
        Bytes of stored rows that the process which calls it has read so far. It is sent to
        workers, so it must be picklable.
    """

    def __init__(self, bytes_read: Callable[[], int]) -> None:
        self._probe = partial(_probe, bytes_read)
        self._is_stored = False
        self._tasks: tasks.ClusterTasks | None = None
        self._read_before: dict[str, int] = {}
        self._counts_before = TaskCounts()

    def begin(self, *, is_stored: bool) -> None:
        """Measure a new fit, whose rows are read from a store or are not."""
        self.close()
        client = client_in_force()
        self._tasks = None if client is None else tasks.ClusterTasks(client)
        self._is_stored = is_stored
        self._read_before, self._counts_before = {}, TaskCounts()
        self.reading()  # the new fit has not read what was read before

    def reading(self) -> Usage:
        """What was used since the last reading; None for what cannot be known."""
        scheduler = in_force()
        probes = [self._probe()]
        if scheduler.has_workers:
            probes += scheduler.in_every_process(self._probe)
        retries, workers_lost = self._made_again()
        return Usage(
            self._newly_read({process: n_bytes for process, n_bytes, _ in probes}),
            retries,
            workers_lost,
            max(peak for _, _, peak in probes),
        )

    def _newly_read(self, read: dict[str, int]) -> int | None:
        if not self._is_stored:
            return None
        before, self._read_before = self._read_before, self._read_before | read
        return sum(n_bytes - before.get(process, 0) for process, n_bytes in read.items())

    def _made_again(self) -> tuple[int | None, int | None]:
        """Retries and lost workers; on threads of this process there are none."""
        counts = TaskCounts() if self._tasks is None else self._tasks.counts()
        if counts is None:
            return None, None
        before, self._counts_before = self._counts_before, counts
        return (
            counts.n_retries - before.n_retries,
            counts.n_workers_lost - before.n_workers_lost,
        )

    def close(self) -> None:
        """Measure no more."""
        if self._tasks is not None:
            self._tasks.close()


def _probe(bytes_read: Callable[[], int]) -> tuple[str, int, int]:
    """Name of the process it runs in, the bytes of rows read there, its peak memory."""
    return _process(os.getpid()), bytes_read(), peak_memory_bytes()


@cache
def _process(pid: int) -> str:
    """Name of this process.

    It is drawn anew for each pid, because a fork inherits its parent's name and pids are reused.
    """
    return uuid.uuid4().hex
