"""Additions: what a pass costs with a prior, fixed parts, noise or tails, beside a plain one.

As users call them: passes of a fit from a given start, as its history tells their seconds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from daskgmm import GaussianMixture

from .made import draw, start_of, truth
from .table import Column, Table

__all__ = ["ADDITIONS", "additions_table", "passes_with_additions"]

ADDITIONS: dict[str, dict[str, Any]] = {
    "prior": {"prior": "auto"},
    "fixed": {"fixed": {"means": [0]}},
    "noise": {"noise": True},
    "t": {"tails": "t"},
}
_PASSES = 6


def _seconds(x: np.ndarray, how: dict[str, Any]) -> float:
    """The median pass of a fit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a tolerance of 0 is not reached
        model = GaussianMixture(**how, stepper="plain", tol=0.0, max_iter=_PASSES).fit(x)
    return median(one.seconds for one in model.history_[1:])


def passes_with_additions(
    shapes: Sequence[tuple[int, int]], kinds: Sequence[str], dtype: str, n_values: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """Medians over rounds of the ratio to a plain pass, contestants in turns."""
    for kind in kinds:
        for d, k in shapes:
            mixture = truth(d, k)
            x = draw(mixture, n_values // d, np.random.default_rng(0), dtype)
            start = start_of(mixture, kind)
            given = {
                "n_components": k,
                "covariance_type": kind,
                "weights_init": start.weights,
                "means_init": start.means,
                "precisions_init": start.components.precisions,
                "precision": dtype,
            }
            found: dict[str, list[float]] = {name: [] for name in ("plain", *ADDITIONS)}
            for _ in range(rounds):
                for name in found:
                    found[name].append(_seconds(x, given | ADDITIONS.get(name, {})))
            plain = found["plain"]
            ratios = {
                name: median(s / p for s, p in zip(found[name], plain, strict=True))
                for name in ADDITIONS
            }
            yield {"kind": kind, "dtype": dtype, "d": d, "k": k, "rows": len(x)} | {
                "plain": 1e9 * median(plain) / len(x),
                **ratios,
            }


def additions_table(rows: list[dict[str, Any]]) -> Table:
    """Ratios to a plain pass."""
    columns = [
        Column("kind", "covariance"),
        Column("dtype", "dtype"),
        Column("d", "D"),
        Column("k", "K"),
        Column("plain", "ns a row", "{:.1f}"),
        *(Column(name, name, "{:.2f}") for name in ADDITIONS),
    ]
    notes = [
        "rows in memory, on all cores; seconds of passes, M-steps included, over a plain one's"
    ]
    return Table("Passes with additions", columns, rows, notes)
