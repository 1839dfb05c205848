"""Large K: a pass over many components, with what is zero to rounding skipped, and truncated.

CPU seconds of the E-step of all rows on one thread, in memory. Where components overlap so much
that nothing can be skipped, a dense pass takes what it always takes: separations are there
to be compared. Of truncated passes also how far the bound is below the log-likelihood.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image

from daskgmm.em import InMemoryRows
from daskgmm.kernel import (
    Block,
    LinearSums,
    Mixture,
    Neighbourhoods,
    Pass,
    Ridge,
    Statistics,
    e_step,
    responsibilities,
    weighted_statistics,
)

from .made import draw, truth
from .table import Column, Table

__all__ = ["large_k_table", "measured_large_k"]

_VALUES = 1 << 21
_JUDGED_ROWS = 2_000
_ACTIVE = 1e-16
_STEPS = 3


@dataclass(frozen=True)
class _Case:
    """Rows, and a mixture that they are worked on with."""

    name: str
    x: NDArray[Any]
    mixture: Mixture


def _made(d: int, k: int, separation: float, n_rows: int) -> _Case:
    mixture = truth(d, k, separation=separation)
    x = draw(mixture, n_rows, np.random.default_rng(0), "float64")
    return _Case(f"{separation:g} apart", x, mixture)


def _pixels(k: int, n_rows: int) -> _Case:
    """Colours of a picture, and a mixture after some steps of EM from random colours."""
    x = load_sample_image("china.jpg").reshape(-1, 3).astype(np.float64)
    rng = np.random.default_rng(0)
    x = rng.permutation(x)[:n_rows]
    means = rng.permutation(np.unique(x, axis=0))[:k]
    near = np.argmin(np.square(means).sum(axis=1) - 2.0 * x[:20_000] @ means.T, axis=1)
    resp = np.full((len(near), k), 0.01 / k)
    resp[np.arange(len(near)), near] += 0.99
    mixture = Ridge(1.0).m_step(weighted_statistics(Block(x[:20_000]), resp, means, "full"))
    for _ in range(_STEPS):
        mixture = Ridge(1.0).m_step(e_step(Block(x), mixture))
    return _Case("pixels", x, mixture)


def _e_step(
    block: Block, mixture: Mixture, neighbourhoods: Neighbourhoods | None
) -> Statistics | LinearSums:
    return Pass(mixture, neighbourhoods=neighbourhoods).of(block)


def _cases(
    features: Iterable[int],
    components: Iterable[int],
    separations: Iterable[float],
    rows: int | None,
) -> Iterator[_Case]:
    for d, k in product(features, components):
        for separation in separations:
            yield _made(d, k, separation, rows or _VALUES // (d * k) * 64)
    for k in components:
        yield _pixels(k, rows or 100_000)


def measured_large_k(
    features: Iterable[int],
    components: Iterable[int],
    separations: Iterable[float],
    candidates: Sequence[int],
    rows: int | None,
    rounds: int,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """A row of the table for each case."""
    for case in _cases(features, components, separations, rows):
        say(f"{case.name}: D={case.x.shape[1]} K={case.mixture.n_components}")
        yield _measured(case, candidates, rounds)


def _measured(case: _Case, candidates: Sequence[int], rounds: int) -> dict[str, Any]:
    mixture, rows = case.mixture, InMemoryRows(case.x)
    began = time.perf_counter()
    tables = {g: Neighbourhoods.of(mixture, g) for g in candidates if g < mixture.n_components}
    chosen_in = (time.perf_counter() - began) / max(len(tables), 1)
    seconds: dict[int | None, list[float]] = {g: [] for g in (None, *tables)}
    found: dict[int | None, Statistics] = {}
    for _ in range(rounds + 1):  # the first is not counted
        for g, times in seconds.items():
            began = time.process_time()
            found[g] = rows.fold(_e_step, mixture, tables.get(g) if g else None)
            times.append(time.process_time() - began)
    resp = responsibilities(case.x[:_JUDGED_ROWS], mixture)
    dense = found[None]
    row: dict[str, Any] = {
        "data": case.name,
        "n_features": mixture.n_features,
        "n_components": mixture.n_components,
        "n_rows": rows.n_rows,
        "active": float((resp > _ACTIVE).sum(axis=1).mean()),
        "dense_ns": 1e9 * median(seconds[None][1:]) / rows.n_rows,
        "choosing_seconds": chosen_in,
    }
    for g in tables:
        ratios = [a / b for a, b in zip(seconds[None][1:], seconds[g][1:], strict=True)]
        row |= {
            f"ratio_{g}": median(ratios),
            f"gap_{g}": (dense.log_likelihood - found[g].log_likelihood) / rows.n_rows,
        }
    return row


def large_k_table(rows: list[dict[str, Any]], candidates: Sequence[int]) -> Table:
    """Nanoseconds a row; and of truncated passes, how many times faster and how far below."""
    columns = [
        Column("data", "data"),
        Column("n_features", "D"),
        Column("n_components", "K"),
        Column("n_rows", "rows", "{:,}"),
        Column("active", "active", "{:.1f}"),
        Column("dense_ns", "dense ns/row", "{:,.0f}"),
    ]
    for g in candidates:
        columns += [
            Column(f"ratio_{g}", f"G={g}: ratio", "{:.2f}"),
            Column(f"gap_{g}", "gap", "{:.1e}"),
        ]
    columns.append(Column("choosing_seconds", "choosing s", "{:.2f}"))
    notes = [
        "active: components of a row whose responsibility is not zero to rounding",
        "ratio: dense seconds over truncated ones, of one round, median; gap: nats per row that "
        "the bound is below the log-likelihood; choosing: neighbourhoods, on the driver",
    ]
    return Table("A pass over many components, one thread, float64", columns, rows, notes)
