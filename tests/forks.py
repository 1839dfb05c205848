"""Processes forked from one that has imported what takes seconds to import."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess

FORKS = multiprocessing.get_context("forkserver")


def preload() -> None:
    """Name what the one process imports, before it is started by the first that is asked for.

    Commands import what they need when they need it, a second and more: here it is all there.
    """
    FORKS.set_forkserver_preload(
        [
            "daskgmm.cli",
            "daskgmm.batch",
            "daskgmm.job",
            "daskgmm.selection",
            "s3fs",
            "distributed.cli.dask_scheduler",
            "distributed.cli.dask_worker",
        ]
    )


preload()


@contextmanager
def dask_process(name: str, *arguments: object) -> Iterator[ForkServerProcess]:
    """``dask scheduler`` or ``dask worker``; it is killed at the end of the block.

    A worker that is asked politely sometimes takes 30 s.
    """
    process = FORKS.Process(target=_dask, args=(name, *map(str, arguments)), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _dask(name: str, *arguments: str) -> None:
    from distributed.cli import dask_scheduler, dask_worker

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    main = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[name]
    main(arguments, prog_name=f"dask {name}")
