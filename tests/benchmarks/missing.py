"""Missing values: what a pass costs where some rows have gaps, beside a pass over complete rows.

And what one costs over rows all of whose values have measurement noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import InMemoryRows, Rows, RowsWithGaps, statistics_of
from daskgmm.kernel import Block, Mixture, gaussian_mixture

from .table import Column, Table

__all__ = ["PATTERNS", "missing_rows", "missing_table"]

Gaps = NDArray[np.bool_]
Generator = np.random.Generator


def _four(n: int, d: int, rng: Generator) -> Gaps:
    patterns = rng.random((4, d)) < 0.3
    patterns[:, 0], patterns[:, -1] = True, False
    chosen: Gaps = patterns[rng.integers(0, 4, n)]
    return chosen


def _one_or_two(n: int, d: int, rng: Generator) -> Gaps:
    gaps = np.zeros((n, d), bool)
    for _ in range(2):
        gaps[np.arange(n), rng.integers(0, d, n)] = True
    return gaps


def _any(n: int, d: int, rng: Generator) -> Gaps:
    gaps = rng.random((n, d)) < 0.3
    gaps[:, 0], gaps[:, -1] = True, False
    return gaps


PATTERNS: dict[str, Callable[[int, int, Generator], Gaps]] = {
    "four": _four,
    "one or two": _one_or_two,
    "any": _any,
}
"""Patterns of missing features: four, of one or two features, or of any, as many as rows."""

_FEWER = 10
"""Passes over noisy rows are as many times longer, and are timed over so many times fewer rows."""
_SHAPES = ((4, 4), (10, 8), (20, 16), (50, 8))


def _mixture(x: NDArray[np.float64], k: int, kind: str) -> Mixture:
    d = x.shape[1]
    dense = 0.7 * np.eye(d) + 0.3
    covariances = {
        "full": np.broadcast_to(dense, (k, d, d)),
        "tied": dense,
        "diag": np.ones((k, d)),
        "spherical": np.ones(k),
    }[kind]
    return gaussian_mixture(np.full(k, 1 / k), x[:k], covariances, kind)


def _seconds(rows: Rows, mixture: Mixture, rounds: int) -> float:
    """Least processor time of a pass, on one thread."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        statistics_of(rows, mixture)
        found.append(time.process_time() - began)
    return min(found)


def missing_rows(n_rows: int, share: float, rounds: int) -> Iterator[dict[str, Any]]:
    """Passes over rows of which a share has gaps, in ratio to a pass over complete rows."""
    for kind in ("full", "tied", "diag", "spherical"):
        for d, k in _SHAPES:
            rng = np.random.default_rng(0)
            n = max(20_000, 4 * n_rows // d)
            x = rng.normal(size=(n, d)) + 3.0 * rng.normal(size=(k, d))[rng.integers(0, k, n)]
            mixture = _mixture(x, k, kind)
            plain = _seconds(InMemoryRows(x), mixture, rounds)
            row: dict[str, Any] = {"kind": kind, "d": d, "k": k, "plain": 1e9 * plain / n}
            some = np.flatnonzero(rng.random(n) < share)
            for name, pattern in PATTERNS.items():
                with_gaps = x.copy()
                with_gaps[some] = np.where(pattern(len(some), d, rng), np.nan, x[some])
                rows = RowsWithGaps(InMemoryRows(with_gaps), "em")
                row[name] = _seconds(rows, mixture, rounds) / plain
            few = x[::_FEWER]
            noisy = Block(few, measurement_noise=rng.uniform(0.1, 2.0, few.shape))
            seconds = _seconds(InMemoryRows.of(noisy), mixture, rounds)
            row["noise"] = seconds / len(few) / (plain / n)
            yield row


def missing_table(rows: list[dict[str, Any]], share: float) -> Table:
    """Ratios to a pass over complete rows, by patterns of missing features."""
    columns = [
        Column("kind", "covariance"),
        Column("d", "D"),
        Column("k", "K"),
        Column("plain", "ns a row", "{:.0f}"),
        *(Column(name, name, "{:.2f}") for name in PATTERNS),
        Column("noise", "noise", "{:.0f}"),
    ]
    notes = [
        "processor time of one thread, rows in memory, as a ratio to complete rows",
        "noise: where each value of every row has measurement noise, without gaps",
    ]
    return Table(f"Passes where {share:.0%} of the rows have gaps", columns, rows, notes)
