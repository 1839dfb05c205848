"""Passes: this project and its peers on the same rows from the same start, in turn.

Every contestant makes one pass, E-step and M-step, in so many seconds; rounds
interleave, each begins with another contestant, and a ratio is taken within a round, so that
a machine that drifts between rounds does not tilt it.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from .agreement import TOLERANCE, differences, fitted_log_likelihood
from .floor import measured_rates
from .grid import Point
from .made import draw, start_of, truth, write_start
from .peers import THIS_PROJECT, Peer
from .table import Column, Table
from .workers import Worker, WorkerFailedError

__all__ = [
    "Contestant",
    "at_work",
    "contestants_of",
    "measured_grid",
    "measured_point",
    "pass_tables",
]

_CHECKED_ITERATIONS = 3
_JUDGED_ROWS = 20_000
_MEASURED_SECONDS = 0.5
_MOST_ITERATIONS = 20
_REST_SECONDS = 0.1


@dataclass(frozen=True)
class Contestant:
    """Who runs, with what.

    Attributes
    ----------
    name : str
    peer : Peer
    python : Path
    cores : int or None
        How many it may use; all if None.
    start : Path or None
        A start in place of everyone's: a wrong one, to see it reported.
    """

    name: str
    peer: Peer
    python: Path
    cores: int | None = None
    start: Path | None = None


Field = list[tuple[Contestant, Worker]]


def contestants_of(
    peers: Iterable[Peer], pythons: dict[str, Path], threads: Sequence[int] = ()
) -> list[Contestant]:
    """This project first, on the most cores asked for; then on fewer; then its peers."""
    ours = pythons[THIS_PROJECT.name]
    most, *fewer = sorted(threads, reverse=True) or [None]
    return [
        Contestant(THIS_PROJECT.name, THIS_PROJECT, ours, most),
        *(Contestant(f"{THIS_PROJECT.name}@{n}", THIS_PROJECT, ours, n) for n in fewer),
        *(Contestant(p.name, p, pythons[p.name]) for p in peers if p.name in pythons),
    ]


@dataclass
class _Run:
    """One contestant at one point."""

    contestant: Contestant
    worker: Worker
    n_iterations: int = 1
    log_likelihood: float = math.nan
    seconds: list[float] = field(default_factory=list)
    failure: str | None = None

    def attempt(self, step: Callable[[_Run], None]) -> None:
        """Take one step, unless an earlier one failed."""
        if self.failure is None:
            try:
                step(self)
            except WorkerFailedError as error:
                self.failure = str(error)


@contextmanager
def at_work(contestants: Iterable[Contestant]) -> Iterator[Field]:
    """Contestants with the processes that serve them, the first the one held against."""
    with ExitStack() as stack:
        yield [
            (c, stack.enter_context(Worker(c.peer.script, c.python, c.cores))) for c in contestants
        ]


def measured_point(point: Point, contestants: Field, rounds: int) -> dict[str, Any]:
    """Measure one point of the grid; the first contestant is what others are held against.

    Returns
    -------
    dict
        The point; ``NAME_seconds`` a pass, median; ``NAME_ratio`` of its seconds to the
        first one's, median over rounds; ``floor_share``; ``differences`` of
        log-likelihoods; ``disagree`` and ``failed`` by name; all ``rounds``.
    """
    with tempfile.TemporaryDirectory(prefix="daskgmm-pass-") as name:
        folder = Path(name)
        data, start = _write_problem(point, folder)
        runs = [_Run(c, worker) for c, worker in contestants if c.peer.runs(point)]

        def load(run: _Run) -> None:
            run.worker.ask(
                "load",
                data=str(data),
                start=str(run.contestant.start or start),
                covariance=point.covariance,
                dtype=run.contestant.peer.dtype_of(point),
            )

        def judge(run: _Run) -> None:
            fitted = folder / f"{run.contestant.name}.npz"
            run.worker.ask("fit", n_iterations=_CHECKED_ITERATIONS, output=str(fitted))
            judged = np.load(data, mmap_mode="r")[:_JUDGED_ROWS]
            run.log_likelihood = fitted_log_likelihood(judged, fitted, point.covariance)

        def warm_up(run: _Run) -> None:
            seconds = run.worker.ask("pass", n_iterations=1)["seconds"]
            wanted = math.ceil(_MEASURED_SECONDS / max(seconds, 1e-6))
            run.n_iterations = min(wanted, _MOST_ITERATIONS)

        def time_passes(run: _Run) -> None:
            run.seconds.append(run.worker.ask("pass", n_iterations=run.n_iterations)["seconds"])

        for run in runs:
            for step in (load, judge, warm_up):
                run.attempt(step)
        rates = []
        for i in range(rounds):
            rates.append(measured_rates(point.dtype))
            # Threads of the BLAS spin for a while when they have no more to do, here and in
            # the contestants: whoever comes next has to share a core with them.
            for run in [*runs[i % len(runs) :], *runs[: i % len(runs)]]:
                time.sleep(_REST_SECONDS)
                run.attempt(time_passes)
    floors = [
        r.seconds(point.covariance, point.n_rows, point.n_features, point.n_components)
        for r in rates
    ]
    return {
        **vars(point),
        "gemm_gflops": median(r.gemm for r in rates) / 1e9,
        "exp_per_second": median(r.exp for r in rates),
        "floor_seconds": median(floors),
        **_compared(point, runs, floors),
    }


def _write_problem(point: Point, folder: Path) -> tuple[Path, Path]:
    mixture = truth(point.n_features, point.n_components)
    data, start = folder / "data.npy", folder / "start.npz"
    np.save(data, draw(mixture, point.n_rows, np.random.default_rng(2), point.dtype))
    write_start(start, start_of(mixture, point.covariance))
    return data, start


def _compared(point: Point, runs: Sequence[_Run], floors: Sequence[float]) -> dict[str, Any]:
    first = runs[0]
    row: dict[str, Any] = {
        "failed": {run.contestant.name: run.failure for run in runs if run.failure},
        "rounds": {run.contestant.name: run.seconds for run in runs},
    }
    done = [run for run in runs if run.failure is None]
    for run in done:
        row[f"{run.contestant.name}_seconds"] = median(run.seconds)
    if first.failure is not None:
        return {**row, "differences": {}, "disagree": []}
    row["floor_share"] = median(f / s for f, s in zip(floors, first.seconds, strict=True))
    for run in done[1:]:
        ratios = [t / s for t, s in zip(run.seconds, first.seconds, strict=True)]
        row[f"{run.contestant.name}_ratio"] = median(ratios)
    name = first.contestant.name
    judged = [run for run in done if run.contestant.peer.takes_start]
    found = differences({run.contestant.name: run.log_likelihood for run in judged}, name)
    coarsest = {
        run.contestant.name: max(
            TOLERANCE[point.dtype], TOLERANCE[run.contestant.peer.dtype_of(point)]
        )
        for run in done
    }
    row["differences"] = found
    # Not "greater than": NaN disagrees.
    row["disagree"] = [name for name, by in found.items() if not by <= coarsest[name]]
    return row


def measured_grid(
    points: Sequence[Point],
    contestants: Sequence[Contestant],
    rounds: int,
    on_row: Callable[[dict[str, Any]], None],
) -> None:
    """Measure all points; ``on_row`` is told of each as it is done."""
    with at_work(contestants) as field:
        for point in points:
            on_row(measured_point(point, field, rounds))


def pass_tables(
    rows: Sequence[dict[str, Any]],
    contestants: Sequence[Contestant],
    reasons: dict[str, str],
) -> list[Table]:
    """The points, and their geometric means by family and dtype."""
    names = [contestant.name for contestant in contestants]
    others = [name for name in names[1:] if any(f"{name}_seconds" in row for row in rows)]
    columns = [
        Column("covariance", "family"),
        Column("dtype", "dtype"),
        Column("n_features", "D"),
        Column("n_components", "K"),
        Column("n_rows", "rows", "{:,}"),
        Column(f"{names[0]}_seconds", f"{names[0]} s", "{:.4f}"),
        Column("floor_share", "floor", "{:.0%}"),
        *(
            column
            for name in others
            for column in (
                Column(f"{name}_seconds", f"{name} s", "{:.4f}"),
                Column(f"{name}_ratio", "ratio", "{:.2f}"),
            )
        ),
        Column("disagree", "agree", lambda names: "NO: " + " ".join(names) if names else "yes"),
    ]
    notes = [
        "seconds are of a pass, medians; ratio is a contestant's seconds over "
        f"{names[0]}'s, median over rounds; floor is the share of the floor's speed",
        *(f"{name} is left out: {reason}" for name, reason in reasons.items()),
        *(
            f"{name} failed at {_point_of(row)}: {why}"
            for row in rows
            for name, why in row["failed"].items()
        ),
        *(
            f"{name} DISAGREES at {_point_of(row)}: its log-likelihood differs by "
            f"{row['differences'][name]:.1e}, relative"
            for row in rows
            for name in row["disagree"]
        ),
    ]
    points = Table("Seconds per pass", columns, list(rows), notes)
    return [points, _summary(rows, others)]


def _point_of(row: dict[str, Any]) -> Point:
    return Point(**{name: row[name] for name in Point.__dataclass_fields__})


def _summary(rows: Sequence[dict[str, Any]], others: Sequence[str]) -> Table:
    means = []
    groups = dict.fromkeys((row["covariance"], row["dtype"]) for row in rows)
    for (covariance, dtype), name in ((group, name) for group in groups for name in others):
        found = [
            row[f"{name}_ratio"]
            for row in rows
            if (row["covariance"], row["dtype"]) == (covariance, dtype) and f"{name}_ratio" in row
        ]
        if found:
            means.append(
                {
                    "covariance": covariance,
                    "dtype": dtype,
                    "contestant": name,
                    "points": len(found),
                    # A difference of two noisy times may be 0 or below at tiny sizes.
                    "geometric_mean": geometric_mean(found) if min(found) > 0 else None,
                    "smallest": min(found),
                    "slower_at": sum(ratio < 1 for ratio in found),
                }
            )
    columns = [
        Column("covariance", "family"),
        Column("dtype", "dtype"),
        Column("contestant", "against"),
        Column("points", "points"),
        Column("geometric_mean", "geometric mean", "{:.2f}"),
        Column("smallest", "smallest", "{:.2f}"),
        Column("slower_at", "points slower"),
    ]
    return Table("Ratios over the points", columns, means)
