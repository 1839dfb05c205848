"""The Dask scheduler in force, and what it has to offer."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import dask
from dask.delayed import Delayed
from dask.system import CPU_COUNT
from distributed import Client, get_client
from distributed.client import ClosedClientError

__all__ = ["Scheduler", "in_force"]


@dataclass(frozen=True)
class Scheduler:
    """Where tasks will run.

    Attributes
    ----------
    has_workers : bool
        Whether tasks run on the workers of a distributed cluster.
    n_threads : int
        Tasks at once in one process.
    total_threads : int
        Tasks at once in all.
    worker_memory : int or None
        Bytes that the smallest worker may use before Dask interferes; None if unbounded.
    """

    has_workers: bool
    n_threads: int
    total_threads: int
    worker_memory: int | None = None

    @property
    def local_threads(self) -> int:
        """Threads for work in memory, which stays in this process."""
        return CPU_COUNT if self.has_workers else self.n_threads

    def compute(
        self,
        task: Delayed,
        n_threads: int | None = None,
        stop: Callable[[], None] | None = None,
    ) -> Any:
        """The result of a task, computed there; when it is interrupted, nothing runs on.

        Parameters
        ----------
        task : Delayed
        n_threads : int, optional
            Tasks at once, where they run on threads of this process.
        stop : callable, optional
            Tells those threads that what they do is for nothing, when one has failed or
            this one is interrupted.
        """
        if self.has_workers:
            try:
                return task.compute(optimize_graph=False, retries=_RETRIES)
            except BaseException:
                _wait_until_idle()
                raise
        if dask.config.get("scheduler", None) not in (None, "threads", "threading"):
            return task.compute(optimize_graph=False)
        # Dask's own pool would go on with the tasks in hand, and those that write
        # results would write them into an output that has been removed.
        with ThreadPoolExecutor(n_threads or self.n_threads) as pool:
            try:
                return task.compute(optimize_graph=False, scheduler="threads", pool=pool)
            except BaseException:
                if stop is not None:
                    stop()
                raise

    def in_every_process(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Results of ``function(*args)`` in each process that runs tasks and can be reached."""
        client = _client() if self.has_workers else None
        if client is None:
            return [function(*args)]
        try:
            return list(client.run(function, *args, on_error="ignore").values())
        except (OSError, RuntimeError, ClosedClientError):  # the scheduler is gone
            return []


_RETRIES = 3
_IDLE_SECONDS = 60.0
# Of its limit a worker spills at 60% and pauses at 80%: stay below the first.
_SHARE_BEFORE_SPILLING = 0.6


def in_force() -> Scheduler:
    """The distributed client in force if there is one, else threads of this process."""
    client = _client()
    if client is None:
        chosen = dask.config.get("scheduler", None)
        if chosen in ("synchronous", "sync", "single-threaded"):
            return Scheduler(False, 1, 1)
        n_threads = int(dask.config.get("num_workers", None) or CPU_COUNT)
        return Scheduler(False, n_threads, n_threads)
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [w["memory_limit"] for w in workers if w["memory_limit"]]
    threads = [int(w["nthreads"]) for w in workers] or [1]
    return Scheduler(
        True,
        max(threads),
        sum(threads),
        int(_SHARE_BEFORE_SPILLING * min(limits)) if limits else None,
    )


def _wait_until_idle() -> None:
    """Let the tasks in hand on workers end, within a minute; what waits was cancelled."""
    client, until = _client(), time.monotonic() + _IDLE_SECONDS
    while client is not None and any(client.processing().values()):
        if time.monotonic() > until:
            return
        time.sleep(0.1)


def _client() -> Client | None:
    if dask.config.get("scheduler", None) not in (None, "dask.distributed", "distributed"):
        return None
    try:
        return get_client()
    except ValueError:
        return None
