"""Billion: a billion rows, fitted by the command line in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Any

import psutil
from dask.utils import format_bytes

from .machine import on_cores, peak_bytes
from .stores import MadeStore
from .table import Column, Table

__all__ = ["FitFailedError", "billion_table"]

_LOOK_SECONDS = 0.1


class FitFailedError(Exception):
    """The command line did not fit; its messages are on standard error."""


def billion_table(store: MadeStore, *, memory_limit: int, cores: int, options: list[str]) -> Table:
    """Fit ``store`` with ``daskgmm fit``; report passes, seconds and peak memory.

    Parameters
    ----------
    store : MadeStore
        Made first, where it is not there yet.
    memory_limit : int
        Given to the command, and what the peak of all processes is held against.
    cores : int
        To which the command and its children are confined.
    options : list of str
        More options of the command.
    """
    data = store.made()
    model = store.folder / "model.zarr"
    command = [
        *(sys.executable, "-c", "from daskgmm.cli import main; main()"),
        *("fit", str(data), "--components", str(store.n_components)),
        *("--memory-limit", str(memory_limit), "--output", str(model), "--overwrite", "--json"),
        *options,
    ]
    result, peak, seconds = _watched(command, cores)
    row = {
        "n_rows": result["n_rows"],
        "n_passes": result["n_passes"],
        "seconds": seconds,
        "seconds_per_pass": result["seconds"] / result["n_passes"],
        "seconds_per_iteration": median(i["seconds"] for i in result["history"]),
        "peak_memory_bytes": peak,
        "within_limit": peak <= memory_limit,
        "stop_reason": result["stop_reason"],
        "log_likelihood_per_row": result["log_likelihood_per_row"],
    }
    columns = [
        Column("n_rows", "rows", "{:,}"),
        Column("n_passes", "passes"),
        Column("seconds", "seconds in all", "{:.1f}"),
        Column("seconds_per_pass", "s/pass, all counted", "{:.1f}"),
        Column("seconds_per_iteration", "s/pass of EM, median", "{:.1f}"),
        Column("peak_memory_bytes", "peak, all processes", format_bytes),
        Column("within_limit", "within limit", lambda yes: "yes" if yes else "NO"),
        Column("stop_reason", "stopped"),
        Column("log_likelihood_per_row", "log-likelihood per row", "{:.6f}"),
    ]
    notes = [
        f"{data}: {format_bytes(store.n_bytes)} decoded, codec {store.codec}; "
        f"{store.n_components} full components, {cores} cores, limit {format_bytes(memory_limit)}"
    ]
    return Table("A fit out of core", columns, [row], notes)


def _watched(command: list[str], cores: int) -> tuple[dict[str, Any], int, float]:
    """The JSON that a command prints, the sum of its processes' peaks, and its seconds."""
    peaks: dict[int, int] = {}
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        with on_cores(cores):
            process = subprocess.Popen(command, stdout=said)
        family = psutil.Process(process.pid)
        while process.poll() is None:
            for pid in (process.pid, *_children(family)):
                peaks[pid] = max(peaks.get(pid, 0), peak_bytes(pid))
            time.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            raise FitFailedError(f"{' '.join(command)}: exit status {process.returncode}")
        said.seek(0)
        return json.load(said), sum(peaks.values()), seconds


def _children(process: psutil.Process) -> list[int]:
    try:
        return [child.pid for child in process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
