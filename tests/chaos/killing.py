"""What killed workers cost a fit: at most the work that they took along, and their restarts."""

from __future__ import annotations

import importlib
import os
import random
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm import GaussianMixture
from daskgmm.em import Iteration
from daskgmm.events import Event, listening
from daskgmm.execution.clusters import open_cluster
from daskgmm.execution.clusters.tasks import ClusterTasks

from .faults import worker_processes
from .sites import LOCAL_CLUSTER

__all__ = ["killing"]

_N_COMPONENTS, _N_FEATURES, _CHUNK_ROWS = 16, 8, 50_000


@dataclass(frozen=True)
class _Fit:
    """A fit on two worker processes.

    Attributes
    ----------
    seconds : float
        From before the cluster to after it.
    task_seconds : float
        That a worker works on a task, as far as passes tell: median.
    n_killed, n_retries : int
        Workers, and tasks that were begun again for that.
    means : ndarray
    """

    seconds: float
    task_seconds: float
    n_killed: int
    n_retries: int
    means: np.ndarray


def killing(work: Path, every: float, n_rows: int, n_passes: int, seed: int) -> list[str]:
    """Fit undisturbed and with a worker killed every so many seconds.

    Returns
    -------
    list of str
        Lines to print.

    Raises
    ------
    AssertionError
        If the bits are others, or it took longer than work and workers that were lost.
    """
    data, config = work / "data.zarr", work / "cluster.yaml"
    _make_data(data, n_rows, seed)
    config.write_text(LOCAL_CLUSTER)
    restart = _restart_seconds(config)
    calm = _fit(data, config, n_passes, None)
    disturbed = _fit(data, config, n_passes, random.Random(seed), every)
    lost, restarts = disturbed.n_retries * calm.task_seconds, disturbed.n_killed * restart
    most = calm.seconds + lost + restarts
    lines = [
        f"{n_rows:,} rows x {_N_FEATURES}, {_N_COMPONENTS} components, {n_passes} passes",
        f"undisturbed          {calm.seconds:7.1f} s",
        f"disturbed            {disturbed.seconds:7.1f} s, a worker killed every {every:g} s",
        f"workers killed       {disturbed.n_killed:7d}",
        f"lost work            {lost:7.1f} s: {disturbed.n_retries} tasks of "
        f"{calm.task_seconds:.2f} s begun again",
        f"restarts             {restarts:7.1f} s, {restart:.1f} s each",
        f"at most              {most:7.1f} s: undisturbed, lost work and restarts",
    ]
    assert np.array_equal(calm.means, disturbed.means), "\n".join(["other bits", *lines])
    assert disturbed.seconds <= most, "\n".join(["too long", *lines])
    return lines


def _make_data(path: Path, n_rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(_N_COMPONENTS, _N_FEATURES))
    array = zarr.create_array(
        path,
        shape=(n_rows, _N_FEATURES),
        dtype="float64",
        chunks=(_CHUNK_ROWS, _N_FEATURES),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
    )
    for start in range(0, n_rows, _CHUNK_ROWS):
        n = min(_CHUNK_ROWS, n_rows - start)
        rows = centres[rng.integers(_N_COMPONENTS, size=n)] + rng.normal(size=(n, _N_FEATURES))
        array[start : start + n] = rows


def _restart_seconds(config: Path) -> float:
    """Seconds from the death of all workers until one has imported what a fit needs."""
    found = []
    with open_cluster(str(config)) as client:
        client.wait_for_workers(2)
        for _ in range(3):
            for process in worker_processes(os.getpid()):
                process.kill()
            began = time.perf_counter()
            # Of two that restart at once each takes longer than of one: not less, at any rate.
            client.submit(importlib.import_module, "daskgmm.job", pure=False).result()
            found.append(time.perf_counter() - began)
            client.wait_for_workers(2)
    return median(found)


def _fit(
    data: Path, config: Path, n_passes: int, chance: random.Random | None, every: float = 0.0
) -> _Fit:
    passes: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, Iteration):
            passes.append(event.seconds)

    model = GaussianMixture(
        _N_COMPONENTS, tol=0.0, max_iter=n_passes, random_state=0, progressive=False
    )
    began = time.perf_counter()
    with (
        _killed(chance, every) as killed,
        open_cluster(str(config)) as client,
        warnings.catch_warnings(),
        listening(hear),
    ):
        warnings.simplefilter("ignore", UserWarning)  # not converged
        tasks = ClusterTasks(client)
        model.fit(data)
        counts = tasks.counts()
        tasks.close()
    assert counts is not None
    seconds = time.perf_counter() - began
    task_seconds = 2 * median(passes) / counts.n_tasks
    return _Fit(seconds, task_seconds, len(killed), counts.n_retries, model.means_)


@contextmanager
def _killed(chance: random.Random | None, every: float) -> Iterator[list[int]]:
    """Workers that are killed meanwhile, one every so many seconds."""
    killed: list[int] = []
    ended = threading.Event()

    def kill(chance: random.Random) -> None:
        while not ended.wait(every):
            workers = worker_processes(os.getpid())
            with suppress(psutil.NoSuchProcess):
                if workers:
                    victim = chance.choice(workers)
                    victim.kill()
                    killed.append(victim.pid)

    thread = threading.Thread(target=kill, args=(chance,))
    if chance is not None:
        thread.start()
    try:
        yield killed
    finally:
        ended.set()
        if chance is not None:
            thread.join()
