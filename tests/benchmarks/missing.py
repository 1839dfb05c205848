"""Missing values: what a pass costs where some rows have gaps, beside a pass over complete rows.

And what one costs over rows all of whose values have measurement noise.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import InMemoryRows, Rows, RowsWithGaps
from daskgmm.kernel import Block, Mixture, Pass, gaussian_mixture

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

_KINDS = ("full", "tied", "diag", "spherical")
_FEWER = 10
"""Passes over noisy rows are as many times longer, and are timed over so many times fewer rows."""
_SHAPES = ((4, 4), (8, 8), (16, 8), (20, 16), (50, 8))
"""Numbers of features and of components."""


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


def _of_block(block: Block, one: Pass) -> Any:
    return one.of(block)


def _seconds(all_rows: list[Rows], mixture: Mixture, rounds: int) -> NDArray[np.float64]:
    """Least processor time of a pass over each of some rows, in turns, on one thread."""
    one = Pass(mixture, "auto")
    found = np.full(len(all_rows), np.inf)
    for _ in range(rounds):
        for i, rows in enumerate(all_rows):
            began = time.process_time()
            one.complete(rows.fold(_of_block, one))
            found[i] = min(found[i], time.process_time() - began)
    return found


def missing_rows(n_rows: int, share: float, rounds: int) -> Iterator[dict[str, Any]]:
    """Passes over rows of which a share has gaps, in ratio to a pass over complete rows."""
    for kind, (d, k), dtype in itertools.product(_KINDS, _SHAPES, ("float64", "float32")):
        rng = np.random.default_rng(0)
        n = max(20_000, 4 * n_rows // d)
        x = rng.normal(size=(n, d)) + 3.0 * rng.normal(size=(k, d))[rng.integers(0, k, n)]
        mixture, x = _mixture(x, k, kind), x.astype(dtype)
        some = np.flatnonzero(rng.random(n) < share)
        all_rows: list[Rows] = [InMemoryRows(x)]
        for pattern in PATTERNS.values():
            with_gaps = x.copy()
            with_gaps[some] = np.where(pattern(len(some), d, rng), np.nan, x[some])
            all_rows.append(RowsWithGaps(InMemoryRows(with_gaps), "em"))
        plain, *others = _seconds(all_rows, mixture, rounds)
        few = x[::_FEWER]
        noisy = Block(few, measurement_noise=rng.uniform(0.1, 2.0, few.shape))
        (with_noise,) = _seconds([InMemoryRows.of(noisy)], mixture, rounds)
        yield {
            **{"kind": kind, "d": d, "k": k, "dtype": dtype, "plain": 1e9 * plain / n},
            **{name: seconds / plain for name, seconds in zip(PATTERNS, others, strict=True)},
            "noise": with_noise / len(few) / (plain / n),
        }


def missing_table(rows: list[dict[str, Any]], share: float) -> Table:
    """Ratios to a pass over complete rows, by patterns of missing features."""
    columns = [
        Column("kind", "covariance"),
        Column("d", "D"),
        Column("k", "K"),
        Column("dtype", "dtype"),
        Column("plain", "ns a row", "{:.0f}"),
        *(Column(name, name, "{:.2f}") for name in PATTERNS),
        Column("noise", "noise", "{:.0f}"),
    ]
    notes = [
        "processor time of one thread, rows in memory, as a ratio to complete rows",
        "noise: where each value of every row has measurement noise, without gaps",
    ]
    return Table(f"Passes where {share:.0%} of the rows have gaps", columns, rows, notes)
