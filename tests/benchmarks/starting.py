"""Starting: CPU seconds of commands that should answer at once, imports included.

Each runs in a process of its own. CPU seconds are those of all its threads and of the processes
that it started.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .table import Column, Table

__all__ = ["starting_table"]

_DASKGMM = [sys.executable, "-m", "daskgmm"]
_FIRST_FIT = """
import numpy as np
from daskgmm import GaussianMixture
x = np.random.default_rng(0).normal(size=(1000, 8))
GaussianMixture(3, random_state=0).fit(x)
"""
_COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "python alone": ([sys.executable, "-c", "pass"], None),
    "--version": ([*_DASKGMM, "--version"], 0.3),
    "--help": ([*_DASKGMM, "--help"], 0.3),
    "info MODEL": ([*_DASKGMM, "info", "model.zarr"], 1.0),
    "check DATA": ([*_DASKGMM, "check", "rows.npy"], None),
    "a first fit of 1,000 rows": ([sys.executable, "-c", _FIRST_FIT], 5.0),
    "demo --small": ([*_DASKGMM, "demo", "--small"], 10.0),
}
"""What is run, and the CPU seconds that it should take at most."""


def starting_table(rounds: int) -> Table:
    """Medians of the commands, which take turns."""
    found: dict[str, list[float]] = {name: [] for name in _COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "rows.npy", np.random.default_rng(0).normal(size=(1000, 8)))
        fit = [*_DASKGMM, "fit", "rows.npy", "--components", "2", "--output", "model.zarr"]
        _seconds_of(fit, folder)
        for _ in range(rounds):
            for name, (command, _) in _COMMANDS.items():
                found[name].append(_seconds_of(command, folder))
    rows: list[dict[str, Any]] = [
        {"command": name, "seconds": median(found[name]), "least": min(found[name]), "aim": aim}
        for name, (_, aim) in _COMMANDS.items()
    ]
    columns = [
        Column("command", "command"),
        Column("seconds", "CPU seconds", "{:.2f}"),
        Column("least", "least", "{:.2f}"),
        Column("aim", "aim", "{:g}"),
    ]
    return Table("What starts at once", columns, rows, [f"medians of {rounds} rounds"])


def _seconds_of(command: list[str], folder: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"TMPDIR": folder}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
