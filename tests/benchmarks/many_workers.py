"""Many workers: what a pass costs a scheduler, a driver and a network, by the size of statistics.

See :mod:`tests.benchmarks.fleet` for what is real of the workers, and what is not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from distributed import Client
from distributed.protocol import serialize_bytelist
from distributed.utils import nbytes

from daskgmm.em.rows import tree_sum
from daskgmm.execution import DaskRows, array_of_source
from daskgmm.execution.fold_tasks import FoldWork
from daskgmm.kernel import Block, Mixture, Ridge, Statistics, count_sums, e_step

from .driver import NoRows, task_of
from .fleet import fleet, transfers
from .made import start_of, truth
from .table import Column, Table

__all__ = ["SHAPES", "many_workers_table"]

SHAPES = {1_000: (9, 11), 10_000: (31, 10), 100_000: (99, 10), 1_000_000: (99, 101)}
"""Features and full components whose statistics have about so many numbers."""

_PARTITIONS_EACH = 32
_ROWS_EACH = 2**20
"""Rows of a partition: several small ones would share a task."""
_FAN_IN = 16
_RIDGE = 1e-6


def many_workers_table(n_workers: int, numbers: Sequence[int], rounds: int) -> Table:
    """Seconds of passes without work over 32 partitions for each worker, and bytes that travel."""
    rows = []
    with fleet(n_workers) as client:
        for size in numbers:
            n_features, n_components = SHAPES[size]
            mixture = start_of(truth(n_features, n_components), "full")
            found = [_measured(client, n_workers, mixture) for _ in range(rounds)]
            passed = {name: median(one[name] for one in found) for name in found[0]}
            rows.append({"workers": n_workers, **passed, **_sizes(mixture)})
    for row in rows:
        row["adding_seconds"] *= row["levels"]
        row["moved_bytes"] = row["terms_fetched"] * row["term_bytes"]
    notes = [
        f"{n_workers} workers that do no work, of one thread, in one process; "
        f"{_PARTITIONS_EACH} partitions each; medians of {rounds}",
        "seconds: of the pass, on this machine, where all workers share a core; of it until the "
        "graph has come to the scheduler, until the last partition, the last sum, the end",
        f"adding: {_FAN_IN} terms at each level of the tree, what no number of workers shortens",
        "terms fetched: by one worker from another, for the tree; the driver gets one term",
    ]
    return Table(f"A pass without work on {n_workers} workers", _COLUMNS, rows, notes)


_COLUMNS = [
    Column("numbers", "numbers", "{:,}"),
    Column("tasks", "tasks", "{:,.0f}"),
    Column("seconds", "seconds", "{:.2f}"),
    Column("graph_seconds", "graph", "{:.2f}"),
    Column("folds_seconds", "partitions", "{:.2f}"),
    Column("sums_seconds", "sums", "{:.2f}"),
    Column("result_seconds", "result", "{:.2f}"),
    Column("scheduler_cpu_seconds", "scheduler: CPU s", "{:.2f}"),
    Column("scheduler_milliseconds_per_task", "ms/task", "{:.3f}"),
    Column("driver_cpu_seconds", "driver: CPU s", "{:.2f}"),
    Column("m_step_seconds", "M-step s", "{:.4f}"),
    Column("adding_seconds", "adding s", "{:.4f}"),
    Column("graph_bytes", "graph MB", lambda n: f"{n / 1e6:.2f}"),
    Column("term_bytes", "term MB", lambda n: f"{n / 1e6:.3f}"),
    Column("terms_fetched", "terms fetched", "{:,.0f}"),
    Column("moved_bytes", "GB", lambda n: f"{n / 1e9:.2f}"),
    Column("parameters_fetched", "parameters fetched", "{:,.0f}"),
    Column("parameters_bytes", "GB", lambda n: f"{n / 1e9:.2f}"),
]


def _measured(client: Client, n_workers: int, mixture: Mixture) -> dict[str, float]:
    """One pass: when it got where, CPU seconds, and what workers fetched."""
    source = NoRows(_PARTITIONS_EACH * n_workers * _ROWS_EACH, mixture.n_features)
    rows = DaskRows(array_of_source(source, _ROWS_EACH), grain=_ROWS_EACH, source=source)
    anyone = next(iter(client.scheduler_info(n_workers=-1)["workers"]))
    client.run(transfers, workers=[anyone])  # from now on
    before = client.sync(client.scheduler.times_of_pass)
    began, cpu = time.time(), time.process_time()
    task = task_of(rows, mixture)
    ended, cpu = time.time(), time.process_time() - cpu
    seen = client.sync(client.scheduler.times_of_pass)
    (fetched,) = client.run(transfers, workers=[anyone]).values()
    at = [began, *(seen[name] for name in ("came", "folded", "summed")), ended]
    names = ("graph_seconds", "folds_seconds", "sums_seconds", "result_seconds")
    sums = {key[0] for key in task.dask if isinstance(key, tuple) and key[0].startswith("sum-")}
    of_scheduler = seen["cpu"] - before["cpu"]
    (work,) = (value for key, value in task.dask.items() if str(key).startswith("work-"))
    n_parameters = fetched.get(FoldWork.__name__, 0)
    return {
        "tasks": len(task.dask),
        "levels": len(sums),
        "seconds": ended - began,
        **{name: at[i + 1] - at[i] for i, name in enumerate(names)},
        "scheduler_cpu_seconds": of_scheduler,
        "scheduler_milliseconds_per_task": 1e3 * of_scheduler / len(task.dask),
        "driver_cpu_seconds": cpu,
        "graph_bytes": _bytes(dict(task.dask)),
        "terms_fetched": fetched.get("Statistics", 0),
        "parameters_fetched": n_parameters,
        "parameters_bytes": n_parameters * _bytes(work),
    }


def _sizes(mixture: Mixture) -> dict[str, Any]:
    """Size of the statistics, and seconds that adding and the M-step take here."""
    k, d = mixture.means.shape
    term = Statistics.zero(mixture.means, mixture.kind)
    began = time.perf_counter()
    tree_sum([term] * _FAN_IN)
    adding = time.perf_counter() - began
    found = e_step(Block(mixture.means.repeat(2, axis=0)), mixture)
    began = time.perf_counter()
    Ridge(_RIDGE).m_step(found)
    return {
        "numbers": count_sums(mixture.kind, k, d),
        "term_bytes": _bytes(term),
        "adding_seconds": adding,
        "m_step_seconds": time.perf_counter() - began,
    }


def _bytes(value: Any) -> int:
    """Bytes of a value on its way."""
    return sum(nbytes(frame) for frame in serialize_bytelist(value))
