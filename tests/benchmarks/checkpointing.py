"""Checkpointing: what keeping a checkpoint after every pass costs, as a share of the pass."""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from daskgmm import GaussianMixture
from daskgmm.checkpoints import Checkpoints
from daskgmm.em import Course, Iteration
from daskgmm.errors import DaskGMMWarning
from daskgmm.events import Event, listening

from .stores import MadeStore
from .table import Column, Table

__all__ = ["checkpoint_table"]

_PASSES = 5


def checkpoint_table(store: MadeStore, memory_limit: int, rounds: int) -> Table:
    """Seconds of a pass and of the checkpoint after it, medians of a fit's, a row a round.

    A checkpoint is timed itself: the difference of two fits is mostly what the machine drifts.
    """
    path = store.made()
    found = [_round(number + 1, path, store, memory_limit) for number in range(rounds)]
    found.append({key: median(row[key] for row in found) for key in found[0]} | {"round": "median"})
    columns = [
        Column("round", "round"),
        Column("pass_seconds", "pass s", "{:.2f}"),
        Column("checkpoint_seconds", "checkpoint s", "{:.4f}"),
        Column("share", "share of the pass", "{:.2%}"),
        Column("kept_bytes", "bytes kept", "{:,}"),
    ]
    note = f"{store.n_rows:,} rows x {store.n_features} {store.dtype}, {store.n_components} full"
    return Table("A checkpoint after every pass", columns, found, [f"{note} components"])


def _round(number: int, path: Path, store: MadeStore, memory_limit: int) -> dict[str, Any]:
    passes: list[float] = []
    checkpoints: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, Iteration):
            passes.append(event.seconds)

    keep_pass = Checkpoints.keep_pass

    def timed(self: Checkpoints, courses: Sequence[Course]) -> None:
        began = time.perf_counter()
        keep_pass(self, courses)
        checkpoints.append(time.perf_counter() - began)

    folder = Path(tempfile.mkdtemp(dir=path.parent))
    Checkpoints.keep_pass = timed  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings(), listening(hear):
            # Not converged, and made here without checksums.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("ignore", DaskGMMWarning)
            GaussianMixture(
                store.n_components,
                tol=0.0,
                max_iter=_PASSES,
                random_state=0,
                memory_limit=memory_limit,
                checkpoint=folder,
            ).fit(path)
        kept = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    finally:
        Checkpoints.keep_pass = keep_pass  # type: ignore[method-assign]
        shutil.rmtree(folder)
    return {
        "round": number,
        "pass_seconds": median(passes),
        "checkpoint_seconds": median(checkpoints),
        "share": median(checkpoints) / median(passes),
        "kept_bytes": kept,
    }
