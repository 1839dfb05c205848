"""Reads of the data that fail now and then, in the processes that the variable reaches.

Dask's workers load this module as a preload, and so do it, too; or alone, where a read of the driver
should not fail, as nobody makes it again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
from pathlib import Path
from typing import Any

import dask
from zarr.storage import LocalStore

__all__ = ["environment", "install"]

_VARIABLE = "DASKGMM_CHAOS_FAILING_READS"
_ERRORS = (
    lambda: OSError(errno.EIO, os.strerror(errno.EIO)),
    lambda: MemoryError("a chunk wants more than there is"),
    lambda: RuntimeError("a task broke"),
)


def environment(
    tally: Path, share: float, at_most: int, *, on_workers: bool = False
) -> dict[str, str]:
    """Variables under which a share of reads fails, until there is a byte for each in a file."""
    return {_VARIABLE: f"{share} {at_most} {int(on_workers)} {tally}"}


def install(*, is_worker: bool = False) -> None:
    """Make reads fail here and on workers that are started from here, if the variable says so."""
    if _VARIABLE not in os.environ:
        return
    share, at_most, on_workers, tally = os.environ[_VARIABLE].split(maxsplit=3)
    dask.config.set({"distributed.worker.preload": [__name__]})
    if int(on_workers) and not is_worker:
        return
    read, chance = LocalStore.get, random.Random(os.getpid())

    async def get(self: LocalStore, key: str, *args: Any, **options: Any) -> Any:
        is_chunk = key.startswith("c/") and self.root.name == "data.zarr"
        if is_chunk and chance.random() < float(share) and _count(tally, int(at_most)):
            raise chance.choice(_ERRORS)()
        return await read(self, key, *args, **options)

    LocalStore.get = get  # type: ignore[method-assign]


def _count(tally: str, at_most: int) -> bool:
    """Count one more, among all processes, unless there are enough."""
    with open(tally, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.tell() >= at_most:
            return False
        file.write(b"x")
        return True


def dask_setup(worker: object) -> None:
    """Called by a worker that begins."""
    install(is_worker=True)
