"""Computing on the workers of a distributed cluster, whose failures become errors of one line.

It is imported once there is a client: see :mod:`daskgmm.execution.clients`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any

from dask.delayed import Delayed
from dask.utils import format_bytes
from distributed import Client, KilledWorker, rejoin, secede
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError

from daskgmm.errors import ClusterError, WorkersDiedError
from daskgmm.execution.clients import SCHEDULER_LOST, client_in_force

__all__ = ["check_usable", "compute", "in_every_worker"]

_RETRIES = 3
_IDLE_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_LOST_SECONDS = 60.0
"""Seconds without a connection after which a scheduler is lost; Dask's client seeks it for 10."""


def check_usable(client: Client) -> None:
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


def in_every_worker(client: Client, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Results of ``function(*args)`` of every worker that can be reached."""
    try:
        return list(client.run(function, *args, on_error="ignore").values())
    except (OSError, RuntimeError, ClosedClientError):  # the scheduler is gone
        return []


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


def compute(task: Delayed) -> Any:
    """Compute a task on the workers of the client in force.

    Raises
    ------
    ClusterError
        If worker after worker died of the task, or the scheduler is lost.
    """
    with _cluster_errors():
        return _computed(task)


def _computed(task: Delayed) -> Any:
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
