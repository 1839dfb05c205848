"""Driver: what a pass costs beside its rows.

Partitions of one row each under a kernel that does nothing: what is left is building
the graph, scheduling, and the sum of statistics as large as a real fit's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from numpy.typing import NDArray

from daskgmm.execution import DaskRows, array_of_source
from daskgmm.kernel import Mixture, Statistics

from .made import start_of, truth
from .table import Column, Table

__all__ = ["PARTITIONS", "SCHEDULERS", "driver_table"]

PARTITIONS = (100, 1_000, 10_000)


class _NoRows:
    """A source whose reads cost nothing."""

    name = "rows that cost nothing"
    dtype = np.dtype(np.float32)
    unit_rows = 1
    unit_overhead = 0

    def __init__(self, n_rows: int, n_features: int) -> None:
        self.shape = (n_rows, n_features)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Zeros."""
        return np.zeros((stop - start, self.shape[1]), self.dtype)


def _nothing(x: NDArray[Any], start: int, mixture: Mixture) -> Statistics:
    return Statistics.zero(mixture.means, mixture.covariance_type)


@contextmanager
def _threads() -> Iterator[None]:
    yield


@contextmanager
def _distributed() -> Iterator[None]:
    with (
        LocalCluster(n_workers=CPU_COUNT, threads_per_worker=1, dashboard_address=None) as cluster,
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
            times = _times(mixture, partitions, rounds)
        medians = np.array([median(times[n]) for n in partitions])
        line = np.polynomial.Polynomial.fit(partitions, medians, 1, w=1 / medians).convert()
        fixed, each = line.coef
        rows += [
            {
                "scheduler": scheduler,
                "partitions": n,
                "seconds": seconds,
                "milliseconds_per_partition": 1e3 * seconds / n,
                "fixed_milliseconds": 1e3 * fixed,
                "milliseconds_each": 1e3 * each,
                "rounds": times[n],
            }
            for n, seconds in zip(partitions, medians.tolist(), strict=True)
        ]
    columns = [
        Column("scheduler", "scheduler"),
        Column("partitions", "partitions", "{:,}"),
        Column("seconds", "seconds", "{:.4f}"),
        Column("milliseconds_per_partition", "ms/partition", "{:.3f}"),
        Column("milliseconds_each", "line: ms/partition", "{:.3f}"),
        Column("fixed_milliseconds", "line: fixed ms", "{:.1f}"),
    ]
    notes = [f"statistics of {n_components} full components x {n_features} features"]
    return Table("A pass without work", columns, rows, notes)


def _times(mixture: Mixture, partitions: Sequence[int], rounds: int) -> dict[int, list[float]]:
    folds = {
        n: DaskRows(array_of_source(_NoRows(n, mixture.n_features), partition_rows=1), grain=1)
        for n in partitions
    }
    folds[partitions[0]].fold(_nothing, mixture)  # workers import what they need
    times: dict[int, list[float]] = {n: [] for n in partitions}
    for _ in range(rounds):
        for n, rows in folds.items():
            began = time.perf_counter()
            rows.fold(_nothing, mixture)
            times[n].append(time.perf_counter() - began)
    return times
