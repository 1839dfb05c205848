"""Worker processes on this machine that may be killed at any moment, the first ones included."""

from __future__ import annotations

from typing import Any

import distributed
from distributed import Nanny, Status

__all__ = ["LastingNanny", "LocalCluster"]

_STARTS = 10
"""How often a worker may die while it starts before its host is blamed for it."""


class LastingNanny(Nanny):
    """A nanny whose first worker may die while it starts.

    Dask's own nanny replaces a worker that dies once it has started. If one is killed in the
    seconds before, that nanny gives up, and the whole cluster with it.
    """

    async def instantiate(self) -> Status:
        """Start the worker, and start it again if it is killed meanwhile."""
        status: Status = await super().instantiate()
        for _ in range(_STARTS - 1):
            # Once a worker has started, Dask itself replaces it; and a cluster that is being
            # closed needs no worker.
            if status != Status.stopped or self.status != Status.init:
                break
            status = await super().instantiate()
        return status


class LocalCluster(distributed.LocalCluster):
    """Dask's LocalCluster, with nannies that do not give up at once."""

    def __init__(self, *, processes: bool = True, **options: Any) -> None:
        kind = {"worker_class": LastingNanny} if processes else {"processes": False}
        super().__init__(**kind, **options)
