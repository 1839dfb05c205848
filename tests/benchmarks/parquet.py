"""Parquet: rows a second of a read and of a pass, beside Zarr's and pyarrow's own scan.

The same rows are in both, and all are read in each round. The peak is that of a fit by a
process of its own, under the memory limit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from dask.utils import format_bytes

from daskgmm.em import PlainEM, Rows, Rules, run, stop_rule_named
from daskgmm.errors import IntegrityWarning
from daskgmm.execution import MixtureSize, Work
from daskgmm.kernel import Block, Mixture, Ridge
from daskgmm.tables import open_input, open_rows

from .made import start_of, truth
from .stores import MadeStore
from .table import Column, Table

__all__ = ["counted", "one_pass", "parquet_of", "parquet_table", "seconds_of"]

_PEAK = """
import sys
from daskgmm.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code, stop.code
(line,) = [s for s in open("/proc/self/status") if s.startswith("VmHWM")]
print(int(line.split()[1]) * 1024)
"""


def parquet_table(store: MadeStore, group_rows: int, memory_limit: int, rounds: int) -> Table:
    """Reads and passes over the same rows in Parquet and in Zarr, and pyarrow's scan."""
    zarr_path = store.made()
    path = parquet_of(store, group_rows)
    start = start_of(truth(store.n_features, store.n_components), "full")
    work = Work((MixtureSize("full", store.n_components),), sampled=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IntegrityWarning)
        in_parquet, in_zarr = (open_input(place, work).rows for place in (path, zarr_path))
    measured: dict[str, Callable[[], Any]] = {
        "parquet_read": lambda: in_parquet.fold(counted),
        "pyarrow_scan": lambda: _scan(path, store.n_rows),
        "zarr_read": lambda: in_zarr.fold(counted),
        "parquet_pass": lambda: one_pass(in_parquet, start),
        "zarr_pass": lambda: one_pass(in_zarr, start),
    }
    in_parquet.fold(counted)  # warms up
    found = []
    for number in range(rounds):
        row: dict[str, Any] = {"round": number + 1}
        for name, work_of in measured.items():
            seconds, processor = seconds_of(work_of)
            row |= {name: store.n_rows / seconds, f"{name}_core": store.n_rows / processor}
        found.append(_with_shares(row))
    found.append({key: median(row[key] for row in found) for key in found[0]} | {"round": "median"})
    rate = "{:,.0f}"
    columns = [
        Column("round", "round"),
        Column("parquet_read", "read rows/s", rate),
        Column("pyarrow_scan", "pyarrow rows/s", rate),
        Column("share", "share", "{:.2f}"),
        Column("share_core", "by core-seconds", "{:.2f}"),
        Column("zarr_read", "Zarr read rows/s", rate),
        Column("parquet_pass", "pass rows/s", rate),
        Column("zarr_pass", "Zarr pass rows/s", rate),
    ]
    notes = [
        f"{store.n_rows:,} rows x {store.n_features} {store.dtype} ({format_bytes(store.n_bytes)}); "
        f"Parquet in row groups of {group_rows:,}, snappy, {format_bytes(path.stat().st_size)}; Zarr "
        f"in chunks of {store.chunk_rows:,}, {store.codec}; pass of {store.n_components} full "
        f"components; peak of a fit under {format_bytes(memory_limit)}: "
        f"{format_bytes(_peak(path, memory_limit))}",
    ]
    return Table("Rows in Parquet", columns, found, notes)


def _with_shares(row: dict[str, Any]) -> dict[str, Any]:
    return row | {
        "share": row["parquet_read"] / row["pyarrow_scan"],
        "share_core": row["parquet_read_core"] / row["pyarrow_scan_core"],
    }


def parquet_of(store: MadeStore, group_rows: int) -> Path:
    """The rows of a store in one Parquet file, written once."""
    path = store.path.with_suffix(f".{group_rows}.parquet")
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    source = open_rows(store.path)
    names = [f"x{j}" for j in range(store.n_features)]
    schema = pa.schema([(name, pa.from_numpy_dtype(source.dtype)) for name in names])
    with pq.ParquetWriter(partial, schema) as writer:
        for start in range(0, store.n_rows, group_rows):
            x = source.read(start, min(start + group_rows, store.n_rows))
            writer.write_table(pa.table(list(x.T.copy()), schema=schema), group_rows)
    return partial.rename(path)


def counted(block: Block) -> int:
    """Rows of a block, which was read and nothing more."""
    return len(block)


def _scan(path: Path, n_rows: int) -> None:
    assert sum(batch.num_rows for batch in ds.dataset(path).to_batches()) == n_rows


def one_pass(rows: Rows, start: Mixture) -> None:
    """An iteration of EM."""
    run(rows, start, Rules(PlainEM(Ridge()), stop_rule_named("increment"), max_iter=1))


def seconds_of(work: Callable[[], Any]) -> tuple[float, float]:
    """By the clock, and of all cores."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def _peak(path: Path, memory_limit: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = ["fit", path, "--components", 4, "--covariance", "diag", "--max-iter", 2]
        command += ["--output", f"{folder}/m.zarr", "--memory-limit", memory_limit]
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, *map(str, command)],
            capture_output=True,
            text=True,
            check=True,
        )
    return int(done.stdout.splitlines()[-1])
