"""Driver: what a pass costs beside its rows.

Partitions of one row each under a kernel that does nothing: what is left is building
the graph, scheduling, and the sum of statistics as large as a real fit's. Twice: of
stored rows, of which a task folds a run of partitions, and of a Dask array, of which it
computes and folds a run of blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from dask.callbacks import Callback
from dask.delayed import Delayed
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from numpy.typing import NDArray

from daskgmm.execution import DaskRows, array_of_source
from daskgmm.execution.scheduler import Scheduler
from daskgmm.kernel import Block, Mixture, Statistics

from .made import start_of, truth
from .table import Column, Table

__all__ = ["PARTITIONS", "SCHEDULERS", "NoRows", "driver_table", "nothing", "task_of"]

PARTITIONS = (100, 1_000, 10_000)


class NoRows:
    """A source whose reads cost nothing."""

    name = "rows that cost nothing"
    dtype = np.dtype(np.float32)
    unit_rows = 1
    unit_overhead = 0

    def __init__(self, n_rows: int, n_features: int) -> None:
        self.shape = (n_rows, n_features)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Zeros, which take no memory."""
        return np.broadcast_to(self.dtype.type(0), (stop - start, self.shape[1]))


def nothing(block: Block, mixture: Mixture) -> Statistics:
    """A kernel that costs nothing: the statistics of no rows."""
    return Statistics.zero(mixture.means, mixture.kind)


@contextmanager
def _threads() -> Iterator[None]:
    yield


@contextmanager
def _distributed() -> Iterator[None]:
    with (
        LocalCluster(
            n_workers=CPU_COUNT, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster),
    ):
        yield


SCHEDULERS = {"threads": _threads, "distributed": _distributed}
"""Who runs the tasks: the threads of this process, or a worker process on each core."""


def driver_table(
    schedulers: Sequence[str],
    partitions: Sequence[int],
    *,
    n_features: int,
    n_components: int,
    rounds: int,
) -> Table:
    """Milliseconds per partition, and the part that does not depend on partitions.

    A line is fitted to the medians, ``seconds = fixed + partitions * each``, each
    point weighted by its inverse so that the many partitions do not drown the few.
    """
    rows = []
    for scheduler in schedulers:
        with SCHEDULERS[scheduler]():
            mixture = start_of(truth(n_features, n_components), "full")
            found = [_measured(mixture, n, rounds) for n in partitions]
        for kind in _KINDS:
            medians = np.array([row[f"{kind}_seconds"] for row in found])
            line = np.polynomial.Polynomial.fit(partitions, medians, 1, w=1 / medians).convert()
            fixed, each = (1e3 * float(c) for c in line.coef)
            for row in found:
                row |= {
                    f"{kind}_fixed_milliseconds": fixed,
                    f"{kind}_milliseconds_each": each,
                }
        rows += [{"scheduler": scheduler, **row} for row in found]
    columns = [
        Column("scheduler", "scheduler"),
        Column("partitions", "partitions", "{:,}"),
    ]
    for kind in _KINDS:
        columns += [
            Column(f"{kind}_tasks", f"{kind}: tasks", "{:,}"),
            Column(f"{kind}_seconds", "seconds", "{:.4f}"),
            Column(f"{kind}_milliseconds_per_partition", "ms/partition", "{:.3f}"),
            Column(f"{kind}_milliseconds_per_task", "ms/task", "{:.3f}"),
            Column(f"{kind}_milliseconds_each", "line: ms/partition", "{:.3f}"),
            Column(f"{kind}_fixed_milliseconds", "fixed ms", "{:.1f}"),
        ]
    notes = [
        f"statistics of {n_components} full components x {n_features} features",
        "tasks: those that fold runs of partitions, those that sum, and one of parameters",
    ]
    return Table("A pass without work", columns, rows, notes)


_KINDS = ("stored", "array")


def _measured(mixture: Mixture, n: int, rounds: int) -> dict[str, Any]:
    """Tasks and seconds of a pass over ``n`` partitions, of either kind, in turns."""
    source = NoRows(n, mixture.n_features)
    array = array_of_source(source, partition_rows=1)
    folds = {"stored": DaskRows(array, grain=1, source=source), "array": DaskRows(array, grain=1)}
    row: dict[str, Any] = {"partitions": n}
    for kind, rows in folds.items():  # also for workers to import what they need
        row[f"{kind}_tasks"] = len(task_of(rows, mixture).dask)
    times: dict[str, list[float]] = {kind: [] for kind in folds}
    for _ in range(rounds):
        for kind, rows in folds.items():
            began = time.perf_counter()
            rows.fold(nothing, mixture)
            times[kind].append(time.perf_counter() - began)
    for kind, seconds in times.items():
        row |= {
            f"{kind}_rounds": seconds,
            f"{kind}_seconds": median(seconds),
            f"{kind}_milliseconds_per_partition": 1e3 * median(seconds) / n,
            f"{kind}_milliseconds_per_task": 1e3 * median(seconds) / row[f"{kind}_tasks"],
        }
    return row


def task_of(rows: DaskRows, mixture: Mixture) -> Delayed:
    """A pass as a scheduler gets it, which it does here once.

    Threads of this process get it where a callback watches; without, they are handed the tasks alone.
    """
    with (
        Callback(),
        patch.object(Scheduler, "compute", autospec=True, side_effect=Scheduler.compute) as seen,
    ):
        rows.fold(nothing, mixture)
    return seen.call_args.args[1]
