"""Tasks on a cluster: how many of a pass are done or were retried, and workers lost.

The scheduler sees all of this. A plugin on it counts the tasks of this client, because the
scheduler may have other users, and is removed when nobody asks any more.
"""

from __future__ import annotations

import contextvars
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

from daskgmm.errors import warn
from daskgmm.events import Underway, teller
from daskgmm.execution.clusters.task_counts import TaskCounts
from daskgmm.execution.dask_rows import is_partition

__all__ = ["ClusterTasks", "cluster_progress"]

_QUESTION = "daskgmm_task_counts"
_POLL_SECONDS = 0.25
_JOIN_SECONDS = 5.0


class _Counter(SchedulerPlugin):
    """The plugin that counts on the scheduler."""

    def __init__(self, name: str, client: str) -> None:
        self.name = name
        self._client = client
        self._pass_key, self._n_tasks, self._began = "", 0, 0.0
        self._of_pass: set[Any] = set()
        self._begun: set[Any] = set()
        self._done: set[Any] = set()
        self._n_retries = self._n_workers_lost = 0

    def start(self, scheduler: Any) -> None:
        """Make the scheduler answer the question."""
        plugins = scheduler.plugins

        def counts(name: str) -> dict[str, Any]:
            return asdict(plugins[name].counts())

        # The scheduler would log every call of Client.run_on_scheduler.
        scheduler.handlers.setdefault(_QUESTION, counts)

    def update_graph(self, scheduler: Any, *, client: str, tasks: list[Any], **kwargs: Any) -> None:
        """Begin to count a new pass, if it is one of this client."""
        partitions = [key for key in tasks if is_partition(key)] if client == self._client else []
        if partitions:
            self._pass_key, self._n_tasks = partitions[0][0], len(partitions)
            self._began = time.monotonic()
            self._of_pass, self._begun, self._done = set(tasks), set(), set()

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Note that a task has changed its state."""
        if key not in self._of_pass:
            return
        if finish == "processing":
            self._n_retries += key in self._begun
            self._begun.add(key)
        elif finish == "memory" and is_partition(key):
            self._done.add(key)

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        """Count a worker that left, unless it was retired, by an adaptive cluster for instance."""
        for _, event in reversed(scheduler.get_events("all")):
            if event.get("action") == "remove-worker" and event.get("worker") == worker:
                self._n_workers_lost += not event.get("expected", False)
                return

    def counts(self) -> TaskCounts:
        return TaskCounts(
            self._pass_key,
            len(self._done),
            self._n_tasks,
            time.monotonic() - self._began,
            self._n_retries,
            self._n_workers_lost,
        )


class ClusterTasks:
    """Asks the scheduler of a client what it has seen since this was made.

    Parameters
    ----------
    client : distributed.Client

    Warns
    -----
    DaskGMMWarning
        If the scheduler cannot count: it must have daskgmm installed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._name = f"daskgmm-{uuid.uuid4().hex}"
        self._is_counted = True
        try:
            client.register_plugin(_Counter(self._name, client.id), name=self._name)
        except Exception as error:  # a scheduler's refusals are of many kinds
            self._is_counted = False
            warn(
                f"the scheduler cannot count tasks ({type(error).__name__}), so progress within a "
                "pass, retries and lost workers stay unknown; install daskgmm where it runs"
            )

    def counts(self) -> TaskCounts | None:
        """The counts at this moment; None if the scheduler cannot tell."""
        if not self._is_counted:
            return None
        try:
            ask = getattr(self._client.scheduler, _QUESTION)
            return TaskCounts(**self._client.sync(ask, name=self._name))
        except Exception:  # the scheduler is gone, and the pass itself raises that
            return None

    def close(self) -> None:
        """Stop counting, and remove the plugin."""
        if self._is_counted:
            self._is_counted = False
            with suppress(Exception):  # a scheduler that is gone counts no more
                self._client.unregister_scheduler_plugin(self._name)


@contextmanager
def cluster_progress(client: Client) -> Iterator[None]:
    """Tell listeners in force how far each pass on a cluster is, as the scheduler sees it."""
    tasks, tell, ended = ClusterTasks(client), teller(), threading.Event()

    def poll() -> None:
        while not ended.wait(_POLL_SECONDS):
            seen = tasks.counts()
            if seen is not None and seen.n_tasks:
                tell(Underway(seen.pass_key, seen.n_done, seen.n_tasks, seen.seconds))

    # Listeners belong to the context of the thread that put them in force.
    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(poll,), name="pass-progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_JOIN_SECONDS)
        tasks.close()
