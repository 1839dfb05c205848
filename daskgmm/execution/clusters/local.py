"""Worker processes on this machine that may be killed at any moment, the first ones included."""

from __future__ import annotations

from typing import Any

import distributed
from distributed import Nanny, Status

__all__ = ["LastingNanny", "LocalCluster"]

_STARTS = 10
"""How often a worker may die in its first seconds before its host is blamed for that."""


class LastingNanny(Nanny):
    """A nanny whose first worker may die before it has begun.

    Of a worker that had begun, Dask's own nanny starts another; where one is killed in the
    seconds before that, it gives up, and the whole cluster with it.
    """

    async def instantiate(self) -> Status:
        """Start the worker; again, where it was killed meanwhile."""
        status: Status = await super().instantiate()
        for _ in range(_STARTS - 1):
            # Once there was one, a death while the next one starts is seen to by Dask; and
            # where the cluster closes meanwhile, there is to be none.
            if status != Status.stopped or self.status != Status.init:
                break
            status = await super().instantiate()
        return status


class LocalCluster(distributed.LocalCluster):
    """Dask's, with nannies that last."""

    def __init__(self, *, processes: bool = True, **options: Any) -> None:
        kind = {"worker_class": LastingNanny} if processes else {"processes": False}
        super().__init__(**kind, **options)
