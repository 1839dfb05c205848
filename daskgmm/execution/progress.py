"""Progress: how far a pass is, told to listeners while Dask computes it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dask.callbacks import Callback

from daskgmm.events import Underway, teller
from daskgmm.execution.dask_rows import is_partition
from daskgmm.lazily import Lazily

if TYPE_CHECKING:
    from distributed import Client

    from daskgmm.execution.clusters import tasks
else:  # where there is a client
    tasks = Lazily("daskgmm.execution.clusters.tasks")

__all__ = ["pass_progress"]


@contextmanager
def pass_progress(client: Client | None) -> Iterator[None]:
    """Tell listeners in force how far each pass inside the block is.

    Parameters
    ----------
    client : distributed.Client or None
        Client of the cluster that computes the passes; None if threads of this process do.
    """
    with _ThreadsProgress() if client is None else tasks.cluster_progress(client):
        yield


class _ThreadsProgress(Callback):
    """Tells how far a pass on threads of this process is, while used as a context."""

    def __init__(self) -> None:
        super().__init__()
        self._tell = teller()

    def _start(self, dsk: Mapping[Any, Any]) -> None:
        self._began = time.monotonic()
        partitions = [key for key in dsk if is_partition(key)]
        self._done, self._all = 0, len(partitions)
        self._pass_key = partitions[0][0] if partitions else ""
        self._report()

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        if is_partition(key):
            self._done += 1
            self._report()

    def _report(self) -> None:
        if self._all:
            seconds = time.monotonic() - self._began
            self._tell(Underway(self._pass_key, self._done, self._all, seconds))
