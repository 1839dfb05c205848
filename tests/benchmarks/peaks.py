"""Peaks: memory of a fit of rows in each container, by the size of the rows.

Each peak is VmHWM of a fresh process that opens the container and fits, interpreter and imports
included. Containers in memory are left out: they are as large as their rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dask.utils import format_bytes

from .containers import CONTAINERS
from .stores import MadeStore, rows_of
from .table import Column, Table

__all__ = ["LAZY", "peaks_table"]

LAZY = tuple(name for name in CONTAINERS if name != "pandas")

_FIT = """
import sys, json, warnings
from pathlib import Path
from daskgmm import GaussianMixture
from tests.benchmarks.containers import CONTAINERS
from tests.benchmarks.stores import MadeStore

name, fields, limit = json.loads(sys.argv[1])
store = MadeStore(**(fields | {"folder": Path(fields["folder"])}))
warnings.simplefilter("ignore")
model = GaussianMixture(store.n_components, max_iter=2, random_state=0, memory_limit=limit)
model.fit(CONTAINERS[name](store))
(line,) = [s for s in open("/proc/self/status") if s.startswith("VmHWM")]
print(json.dumps({"peak": int(line.split()[1]) * 1024, "passes": len(model.history_)}))
"""


def peaks_table(
    store: MadeStore, containers: Sequence[str], sizes: Sequence[int], memory_limit: int
) -> Table:
    """A fit of each container at each size, under one memory limit.

    ``store`` says what the rows are like; how many there are is said by the sizes.
    """
    stores = [
        replace(store, n_rows=rows_of(size, store.n_features, store.dtype, store.chunk_rows))
        for size in sizes
    ]
    for one in stores:
        one.made()
    found = []
    for name in containers:
        peaks = [_peak(name, one, memory_limit) for one in stores]
        row: dict[str, Any] = {"container": name, "largest": max(peaks) / peaks[0]}
        found.append(row | {f"peak_{i}": peak for i, peak in enumerate(peaks)})
    columns = [
        Column("container", "container"),
        *(Column(f"peak_{i}", format_bytes(size), format_bytes) for i, size in enumerate(sizes)),
        Column("largest", "largest over first", "{:.2f}"),
    ]
    notes = [
        f"peak of a fit of {store.n_components} full components to {store.n_features} features in "
        f"{store.dtype} under {format_bytes(memory_limit)}, in a process of its own"
    ]
    return Table("Peaks of memory", columns, found, notes)


def _peak(name: str, store: MadeStore, memory_limit: int) -> int:
    CONTAINERS[name](store)  # written here, if it is not there yet
    fields = asdict(store) | {"folder": str(store.folder)}
    # Imports are found from the root of the checkout.
    done = subprocess.run(
        [sys.executable, "-c", _FIT, json.dumps([name, fields, memory_limit])],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])
