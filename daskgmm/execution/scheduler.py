"""The Dask scheduler in force, and what it has to offer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import dask
from dask.delayed import Delayed
from dask.system import CPU_COUNT
from dask.utils import format_bytes
from distributed import Client, KilledWorker, get_client, rejoin, secede
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError

from daskgmm.errors import ClusterError, DaskGMMError, MemoryLimitError, WorkersDiedError
from daskgmm.redaction import one_line

__all__ = ["SCHEDULER_LOST", "Scheduler", "client_in_force", "in_force"]

SCHEDULER_LOST = (
    "the connection to the cluster's scheduler is lost: it ended, or the network did; "
    "see its log, start it again, and run this again"
)


@dataclass(frozen=True)
class Scheduler:
    """Where tasks will run.

    Attributes
    ----------
    has_workers : bool
        Whether tasks run on the workers of a distributed cluster.
    n_threads : int
        Tasks that run at once in one process.
    total_threads : int
        Tasks that run at once in all processes.
    worker_memory : int or None
        Bytes that the smallest worker may use before Dask interferes; None if unbounded.
    worker_resident : int
        Resident bytes of the largest worker when the workers last told; 0 if none has.
    """

    has_workers: bool
    n_threads: int
    total_threads: int
    worker_memory: int | None = None
    worker_resident: int = 0

    @property
    def local_threads(self) -> int:
        """Threads for work on rows in memory, which is done in this process."""
        return CPU_COUNT if self.has_workers else self.n_threads

    def compute(
        self,
        task: Delayed,
        n_threads: int | None = None,
        stop: Callable[[], None] | None = None,
    ) -> Any:
        """Compute a task where this scheduler runs tasks.

        If the computation fails or is interrupted, no task of it goes on.

        Parameters
        ----------
        task : Delayed
        n_threads : int, optional
            Tasks that may run at once, where they run on threads of this process.
        stop : callable, optional
            Called when a task has failed or this thread is interrupted, to tell the other
            threads that their work is for nothing.

        Raises
        ------
        ClusterError
            If worker after worker died of the task, or the scheduler is lost.
        MemoryLimitError
            If the system has no more memory to give.
        """
        with _memory_errors():
            return self._compute(task, n_threads, stop)

    def _compute(
        self, task: Delayed, n_threads: int | None, stop: Callable[[], None] | None
    ) -> Any:
        if self.has_workers:
            with _cluster_errors():
                return _on_cluster(task)
        if dask.config.get("scheduler", None) not in (None, "threads", "threading"):
            return task.compute(optimize_graph=False)
        # Dask's own pool would go on with the tasks in hand, and those that write
        # results would write them into an output that has been removed.
        own: Any = dask.config.get("pool", None)
        with (
            ThreadPoolExecutor(n_threads or self.n_threads) if own is None else nullcontext(own)
        ) as pool:
            try:
                return task.compute(optimize_graph=False, scheduler="threads", pool=pool)
            except BaseException:
                if stop is not None:
                    stop()
                raise

    def in_every_process(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Results of ``function(*args)`` in every process that runs tasks and can be reached."""
        client = client_in_force() if self.has_workers else None
        if client is None:
            return [function(*args)]
        try:
            return list(client.run(function, *args, on_error="ignore").values())
        except (OSError, RuntimeError, ClosedClientError):  # the scheduler is gone
            return []


def _threads_of_pool() -> int | None:
    """Tasks that the pool of Dask's configuration runs at once; None if there is none.

    Raises
    ------
    ClusterError
        If it is none of threads: tasks share what they write to.
    """
    pool = dask.config.get("pool", None)
    if pool is None:
        return None
    if not isinstance(pool, ThreadPoolExecutor):
        raise ClusterError(
            f"pool={type(pool).__name__} of Dask's configuration is no "
            "concurrent.futures.ThreadPoolExecutor: give one, or leave pool out and set num_workers"
        )
    return pool._max_workers


_RETRIES = 3
_IDLE_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_LOST_SECONDS = 60.0
"""Seconds without a connection after which a scheduler is lost; Dask's client seeks it for 10."""
_SHARE_BEFORE_SPILLING = 0.6
"""Share of its memory limit at which a worker spills data to disk; at 80% it pauses."""


def in_force() -> Scheduler:
    """The distributed client in force if there is one, else threads of this process."""
    client = client_in_force()
    if client is not None:
        _check_usable(client)
    else:
        chosen = dask.config.get("scheduler", None)
        if chosen in ("synchronous", "sync", "single-threaded"):
            return Scheduler(False, 1, 1)
        n_threads = _threads_of_pool() or int(dask.config.get("num_workers", None) or CPU_COUNT)
        return Scheduler(False, n_threads, n_threads)
    # A scheduler that has just been lost names no workers; the next task raises the error.
    workers = client.scheduler_info(n_workers=-1).get("workers", {}).values()
    limits = [w["memory_limit"] for w in workers if w["memory_limit"]]
    threads = [int(w["nthreads"]) for w in workers] or [1]
    return Scheduler(
        True,
        max(threads),
        sum(threads),
        int(_SHARE_BEFORE_SPILLING * min(limits)) if limits else None,
        max((int(w.get("metrics", {}).get("memory", 0)) for w in workers), default=0),
    )


def _check_usable(client: Client) -> None:
    """Refuse a client that a fit, which waits for its passes, would wait for forever.

    Raises
    ------
    ClusterError
    """
    if client.asynchronous:
        raise ClusterError(
            "the distributed client in force is asynchronous, and would never hand over a pass to "
            "whoever waits for it in its event loop: fit in another thread, by "
            "await asyncio.to_thread(...), or use a client without asynchronous=True"
        )
    if client.loop.asyncio_loop.is_closed():
        raise ClusterError(
            "the event loop of the distributed client in force is closed: close the client, and "
            "make another one"
        )


@contextmanager
def _seceded() -> Iterator[None]:
    """Lend the thread to other tasks, where this is one, as Dask's own ``compute`` does.

    Tasks that wait for tasks could otherwise hold all threads of the workers.
    """
    try:
        secede()
    except Exception:  # whatever it raises where this is no task
        yield
        return
    try:
        yield
    finally:
        rejoin()


def _on_cluster(task: Delayed) -> Any:
    """Compute a task on workers, or raise the error that it will never be done.

    ``task.compute`` waits forever where the client has lost its scheduler and, for whatever
    reason, neither finds it again nor cancels the computation.
    """
    client, ended = client_in_force(), threading.Event()
    if client is None:
        raise CommClosedError("there is no client any more")
    future = client.compute(task, optimize_graph=False, retries=_RETRIES)
    try:
        future.add_done_callback(lambda _: ended.set())
        connected = time.monotonic()
        with _seceded():
            while not ended.wait(_LOOK_SECONDS):
                if client.status == "running":
                    connected = time.monotonic()
                elif client.status == "closed" or time.monotonic() - connected > _LOST_SECONDS:
                    raise CommClosedError(f"the client is {client.status}")
            return future.result()
    finally:
        future.release()


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turn a failed allocation, here or on a worker, into one line that says what to do."""
    try:
        yield
    except DaskGMMError:
        raise
    except MemoryError as error:
        raise MemoryLimitError(
            f"the system gave no more memory in the middle of a pass ({one_line(error)}); lower "
            f"--memory-limit (memory_limit) or the number of threads, or end what else takes it"
        ) from error


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """Turn a failure of the cluster into one line; after any error, leave no task running."""
    try:
        yield
    except (CancelledError, ClosedClientError, CommClosedError) as error:
        raise ClusterError(SCHEDULER_LOST) from error
    except KilledWorker as error:
        _wait_until_idle()
        worker = error.last_worker
        limit = f"{format_bytes(worker.memory_limit)} of " if worker.memory_limit else "unlimited "
        raise WorkersDiedError(
            f"{error.allowed_failures + 1} workers died while they ran the same task, the last "
            f"at {worker.address} with {limit}memory for {worker.nthreads} threads; most likely "
            f"they wanted more (their logs tell): give a worker more memory or fewer threads, "
            f"or lower --memory-limit (memory_limit)"
        ) from error
    except BaseException:
        _wait_until_idle()
        raise


def _wait_until_idle() -> None:
    """Wait up to a minute for running tasks to end; those that waited have been cancelled."""
    client, until = client_in_force(), time.monotonic() + _IDLE_SECONDS
    with suppress(OSError):  # if the scheduler is lost as well, the first error says more
        while client is not None and any(client.processing().values()):
            if time.monotonic() > until:
                return
            time.sleep(0.1)


def client_in_force() -> Client | None:
    """The distributed client that tasks go to, if there is one."""
    if dask.config.get("scheduler", None) not in (None, "dask.distributed", "distributed"):
        return None
    try:
        return get_client()
    except ValueError:
        return None
