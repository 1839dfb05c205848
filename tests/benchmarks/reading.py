"""Reading: a pass over a compressed store against its two parts, decoding and arithmetic.

A pass that overlaps them well takes hardly longer than the longer of the two; a later
pass over staged rows, hardly longer than arithmetic alone.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

from dask.utils import format_bytes

from daskgmm.em import InMemoryRows, PlainEM, Rows, Rules, run, stop_rule_named
from daskgmm.errors import IntegrityWarning
from daskgmm.execution import MixtureSize, Work, in_force
from daskgmm.kernel import Block, Mixture, Ridge
from daskgmm.tables import OpenedRows, Stage, open_input, open_rows

from .made import start_of, truth
from .stores import MadeStore
from .table import Column, Table

__all__ = ["read_table"]

_SHARE_IN_MEMORY = 0.25  # of the limit
_LATER_PASSES = 5


def _count(block: Block) -> int:
    return len(block)


def read_table(store: MadeStore, memory_limit: int, rounds: int, stage: str | None = None) -> Table:
    """Seconds of decoding alone, of arithmetic alone, and of a pass over a store.

    Arithmetic is measured on as many rows as a share of the limit holds, and scaled
    to all of them; where staged passes are held against it, on all of them.
    """
    path = store.made()
    start = start_of(truth(store.n_features, store.n_components), "full")
    with warnings.catch_warnings():
        # Made here, with the codecs that a codec's name stands for and no others.
        warnings.simplefilter("ignore", IntegrityWarning)
        # All before rows are in memory, which a plan would count.
        opened = [
            open_input(
                path,
                Work((MixtureSize("full", store.n_components),), sampled=True),
                memory_limit=memory_limit,
                stage=Stage(where),
            )
            for where in [None, *[stage] * (rounds if stage else 0)]
        ]
    rows = opened[0].rows
    row_bytes = store.n_bytes // store.n_rows
    n_part = min(store.n_rows, max(1, int(_SHARE_IN_MEMORY * memory_limit) // row_bytes))
    if stage:
        n_part = store.n_rows
    part = InMemoryRows(open_rows(path).read(0, n_part), n_threads=in_force().n_threads)
    _one_pass(part, start)  # warms up
    found = []
    for number in range(rounds):
        decode = _seconds(lambda: rows.fold(_count))
        arithmetic = _seconds(lambda: _one_pass(part, start)) * store.n_rows / n_part
        whole = _seconds(lambda: _one_pass(rows, start))
        found.append(
            {
                "round": number + 1,
                "decode_seconds": decode,
                "arithmetic_seconds": arithmetic,
                "pass_seconds": whole,
                "ratio": whole / max(decode, arithmetic),
            }
        )
        if stage:
            found[-1] |= _staged(opened[number + 1], part, start)
    found.append({key: median(row[key] for row in found) for key in found[0]} | {"round": "median"})
    columns = [
        Column("round", "round"),
        Column("decode_seconds", "decoding s", "{:.2f}"),
        Column("arithmetic_seconds", "arithmetic s", "{:.2f}"),
        Column("pass_seconds", "pass s", "{:.2f}"),
        Column("ratio", "pass / larger", "{:.2f}"),
    ]
    if stage:
        columns += [
            Column("first_staged_seconds", "first staged s", "{:.2f}"),
            Column("later_staged_seconds", "later staged s", "{:.2f}"),
            Column("staged_ratio", "later / arithmetic", "{:.2f}"),
            Column("memory_bytes", "in memory", format_bytes),
            Column("disk_bytes", "on disk", format_bytes),
        ]
    notes = [
        f"{store.n_rows:,} rows x {store.n_features} {store.dtype} ({format_bytes(store.n_bytes)}, "
        f"{store.n_bytes / memory_limit:.1f} times the memory limit), codec {store.codec}, chunks "
        f"of {store.chunk_rows:,} rows; {store.n_components} full components; arithmetic measured "
        + (f"on {n_part:,} rows and scaled" if n_part < store.n_rows else "on all rows in memory"),
    ]
    return Table("A pass over a store", columns, found, notes)


def _staged(opened: OpenedRows, in_memory: Rows, start: Mixture) -> dict[str, Any]:
    """The first pass over staged rows, and later ones, each beside one over rows in memory."""
    with opened.staging() as kept:
        first = _seconds(lambda: _one_pass(opened.rows, start))
        pairs = [
            [
                _seconds(lambda rows=rows: _one_pass(rows, start))
                for rows in (opened.rows, in_memory)
            ]
            for _ in range(_LATER_PASSES)
        ]
    return {
        "first_staged_seconds": first,
        "later_staged_seconds": median(later for later, _ in pairs),
        "staged_ratio": median(later / beside for later, beside in pairs),
        "memory_bytes": kept.memory_bytes,
        "disk_bytes": kept.disk_bytes,
    }


def _one_pass(rows: Rows, start: Mixture) -> None:
    run(rows, start, Rules(PlainEM(Ridge()), stop_rule_named("increment"), max_iter=1))


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
