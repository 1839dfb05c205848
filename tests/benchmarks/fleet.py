"""Fleet: the real scheduler in a process of its own, and workers in another that do no work.

What is real: Dask's scheduler, with work stealing and its memory manager; the client; each
worker's state machine, heartbeats and connection to the scheduler, over tcp on loopback; and the
last sum, which travels to the client. What is not: tasks are answered at once, and what one
worker fetches from another is handed over within the process and counted. All workers share one
array of statistics, so that 1,000 of them fit into a laptop, and one core, so that a pass takes
longer here than on 1,000 machines: the scheduler's own seconds are its CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, ClassVar

import dask
from dask.sizeof import sizeof
from distributed import Client, Scheduler, SchedulerPlugin, Worker
from distributed.worker_state_machine import (
    ExecuteSuccessEvent,
    GatherDepSuccessEvent,
    StateMachineEvent,
)

from daskgmm.execution.dask_rows import is_partition
from daskgmm.kernel import Mixture, Statistics

__all__ = ["Clock", "fleet", "transfers"]

_AT_ONCE = 50
_START_SECONDS = 600.0
_SAID_SECONDS = 1.0
"""Seconds that workers say a task took: the scheduler spreads tasks and has them stolen by it."""
_WITHOUT_WATCHING = {
    # Each of 1,000 workers would watch this process, many times a second.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1h",
    "distributed.admin.system-monitor.interval": "1h",
    "distributed.admin.system-monitor.gil.enabled": False,
    # They would log what each was told: who holds the parameters, 1,000 names for each task.
    "distributed.admin.low-level-log-length": 8,
    # A core that all of them share may leave one without a word for long.
    "distributed.scheduler.worker-ttl": None,
    "distributed.comm.timeouts.connect": "120s",
    "distributed.comm.timeouts.tcp": "600s",
}


class _IdleWorker(Worker):
    """A worker that answers without doing work, and fetches without moving anything."""

    workers: ClassVar[dict[str, _IdleWorker]] = {}
    fetched: ClassVar[Counter[str]] = Counter()
    shared: ClassVar[dict[tuple[int, int], Statistics]] = {}

    async def execute(self, key: Any, *, stimulus_id: str) -> StateMachineEvent:
        """The parameters themselves, their empty statistics, or one of the terms of a sum."""
        task = self.state.tasks[key]
        data = {needed.key: self.data[needed.key] for needed in task.dependencies}
        if is_partition(key):
            (work,) = data.values()
            value = self._statistics_of(work.args[0])
        else:
            value = next(iter(data.values())) if data else task.run_spec({})
        now = time.time()  # what is said to take no time at all would spoil the estimates of others
        return ExecuteSuccessEvent(
            key=key,
            run_id=task.run_id,
            value=value,
            start=now - _SAID_SECONDS,
            stop=now,
            nbytes=sizeof(value),
            type=type(value),
            stimulus_id=f"answered-{stimulus_id}",
        )

    def _statistics_of(self, mixture: Mixture) -> Statistics:
        shape = mixture.means.shape
        if shape not in self.shared:
            self.shared.clear()
            self.shared[shape] = Statistics.zero(mixture.means, mixture.kind)
        return self.shared[shape]

    async def gather_dep(
        self, worker: str, to_gather: Collection[Any], total_nbytes: int, *, stimulus_id: str
    ) -> StateMachineEvent:
        """What another worker holds, counted by what it is."""
        held = self.workers[worker].data
        found = {key: held[key] for key in to_gather if key in held}
        self.fetched.update(type(value).__name__ for value in found.values())
        return GatherDepSuccessEvent(
            worker=worker,
            total_nbytes=total_nbytes,
            data=found,
            stimulus_id=f"fetched-{stimulus_id}",
        )


def transfers() -> dict[str, int]:
    """Values that workers fetched from each other since this was last asked, by their class.

    It is run in the process of the workers.
    """
    found = dict(_IdleWorker.fetched)
    _IdleWorker.fetched.clear()
    return found


class Clock(SchedulerPlugin):
    """When a pass came to the scheduler, when its last partition and its last sum were done."""

    name = "clock-of-passes"

    def __init__(self) -> None:
        self.times = {"came": 0.0, "folded": 0.0, "summed": 0.0}
        self.cpu = 0.0

    def start(self, scheduler: Any) -> None:
        """Answer questions for what was seen."""
        scheduler.handlers["times_of_pass"] = self.seen

    async def seen(self) -> dict[str, float]:
        """Seconds since the epoch, and CPU seconds of the scheduler's process."""
        return {**self.times, "cpu": time.process_time()}

    def update_graph(self, scheduler: Any, **kwargs: Any) -> None:
        """A pass came."""
        self.times["came"] = time.time()

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """A task is done."""
        if finish == "memory" and start == "processing":
            self.times["folded" if is_partition(key) else "summed"] = time.time()


@contextmanager
def fleet(n_workers: int) -> Iterator[Client]:
    """A client, the default one, of a scheduler with so many idle workers of one thread each."""
    with dask.config.set(_WITHOUT_WATCHING), tempfile.TemporaryDirectory() as folder:
        scheduler, address = _begun(_schedule)
        try:
            workers, _ = _begun(_serve, address, n_workers, folder)
            try:
                with Client(address, timeout="120s") as client:
                    client.wait_for_workers(n_workers, timeout=_START_SECONDS)
                    client.register_plugin(Clock())
                    yield client
            finally:
                _ended(workers)
        finally:
            _ended(scheduler)


def _begun(function: Any, *args: Any) -> tuple[Any, Any]:
    """A process that runs the function, and what it says once it is ready."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=function, args=(there, *args), daemon=True)
    process.start()
    there.close()
    if not here.poll(_START_SECONDS):
        _ended(process)
        raise TimeoutError(f"{function.__name__} was not ready within {_START_SECONDS:g} s")
    return process, here.recv()


def _ended(process: Any) -> None:
    """End a process at once: 1,000 workers would take a minute to say goodbye."""
    process.kill()
    process.join()


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with dask.config.set(_WITHOUT_WATCHING):
        asyncio.run(main())


def _schedule(told: Connection) -> None:
    async def run() -> None:
        async with Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            told.send(scheduler.address)
            await scheduler.finished()

    _run(run)


def _serve(told: Connection, address: str, n_workers: int, folder: str) -> None:
    async def run() -> None:
        workers = [
            _IdleWorker(
                address,
                nthreads=1,
                memory_limit=0,
                host="127.0.0.1",
                name=i,
                local_directory=folder,
            )
            for i in range(n_workers)
        ]
        for first in range(0, n_workers, _AT_ONCE):
            await asyncio.gather(*workers[first : first + _AT_ONCE])
        _IdleWorker.workers.update({worker.address: worker for worker in workers})
        gc.freeze()  # 1,000 workers are a million objects to look through
        told.send(n_workers)
        await asyncio.gather(*(worker.finished() for worker in workers))

    _run(run)
