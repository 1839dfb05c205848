"""The Dask scheduler in force, and what it has to offer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import dask
from dask import threaded
from dask.callbacks import Callback
from dask.delayed import Delayed
from dask.system import CPU_COUNT

from daskgmm.em.rows import Additive, tree_sum
from daskgmm.errors import ClusterError, DaskGMMError, MemoryLimitError
from daskgmm.execution.clients import client_in_force
from daskgmm.lazily import Lazily
from daskgmm.redaction import one_line

if TYPE_CHECKING:
    from daskgmm.execution import on_cluster
else:  # where there is a client
    on_cluster = Lazily("daskgmm.execution.on_cluster")

__all__ = ["Scheduler", "in_force"]

T = TypeVar("T", bound=Additive)


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
    n_workers : int
        Workers of the cluster; 0 without one.
    """

    has_workers: bool
    n_threads: int
    total_threads: int
    worker_memory: int | None = None
    worker_resident: int = 0
    n_workers: int = 0

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
            return on_cluster.compute(task)
        if not _has_threads():
            return task.compute(optimize_graph=False)
        # Dask's own pool would go on with the tasks in hand, and those that write
        # results would write them into an output that has been removed.
        own: Any = dask.config.get("pool", None)
        with (
            ThreadPoolExecutor(n_threads or self.n_threads) if own is None else nullcontext(own)
        ) as pool:
            try:
                # Not task.compute: what it does to a graph before took a third of a small pass.
                return threaded.get(task.__dask_graph__(), task.key, pool=pool)
            except BaseException:
                if stop is not None:
                    stop()
                raise

    @property
    def is_unwatched(self) -> bool:
        """Whether tasks run on threads of this process, and no callback of Dask's sees them."""
        return not self.has_workers and _has_threads() and not Callback.active

    def sum_of(
        self,
        terms: Sequence[Callable[[], T]],
        pool: ThreadPoolExecutor,
        stop: Callable[[], None],
    ) -> T:
        """Sum by :func:`daskgmm.em.rows.tree_sum` of what functions return, without a graph.

        A graph of a few tasks takes some milliseconds, of which most are for threads that are
        started and ended. If a function fails or the sum is interrupted, none goes on.

        Parameters
        ----------
        terms : sequence of callable
            Independent of each other.
        pool : ThreadPoolExecutor
            Where they run, if Dask's configuration names no other.
        stop : callable
            As of :meth:`compute`.

        Raises
        ------
        MemoryLimitError
            If the system has no more memory to give.
        """
        pool = dask.config.get("pool", None) or pool
        with _memory_errors():
            running = deque[Future[T]]()
            try:
                for term in terms:
                    running.append(pool.submit(term))
                return tree_sum(_results_of(running))
            except BaseException:
                stop()
                for one in running:
                    one.cancel()
                wait(running)
                raise

    def in_every_process(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Results of ``function(*args)`` in every process that runs tasks and can be reached."""
        client = client_in_force() if self.has_workers else None
        if client is None:
            return [function(*args)]
        return on_cluster.in_every_worker(client, function, *args)


def _results_of(running: deque[Future[T]]) -> Iterator[T]:
    """Results in order; each is let go when it is taken, since a future keeps its result."""
    while running:
        yield running[0].result()
        running.popleft()


def _has_threads() -> bool:
    """Whether Dask's configuration leaves work without a client to threads of this process."""
    return dask.config.get("scheduler", None) in (None, "threads", "threading")


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


_SHARE_BEFORE_SPILLING = 0.6
"""Share of its memory limit at which a worker spills data to disk; at 80% it pauses."""


def in_force() -> Scheduler:
    """The distributed client in force if there is one, else threads of this process."""
    client = client_in_force()
    if client is not None:
        on_cluster.check_usable(client)
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
        len(workers),
    )


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
