"""Small and wide tables, in memory: default fits, and fits of one start, beside scikit-learn's.

scikit-learn makes one start. So does this project with ``progressive=False``; by default it goes on
to look for a better optimum. All fit the same rows as their users call them, in turns; seconds are
medians over rounds after a first fit that is not counted. All have scikit-learn's ``reg_covar``: where a component has fewer
rows than features, that number alone decides the log-likelihood.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as ScikitLearns

from daskgmm import GaussianMixture
from daskgmm.errors import DaskGMMWarning

from .table import Column, Table

__all__ = ["TABLE_SHAPES", "shapes_rows", "shapes_table"]

TABLE_SHAPES = (
    (3, 500, 2),
    (20, 1000, 2),
    (100, 2, 3),
    (100, 30, 2),
    (300, 5, 10),
    (300, 1000, 2),
    (1000, 2, 2),
    (1000, 10, 10),
    (1000, 200, 3),
    (2000, 4, 60),
    (2000, 300, 4),
    (5000, 8, 20),
    (20_000, 2, 5),
    (20_000, 16, 60),
    (20_000, 64, 10),
)
"""Rows, features and components: what a table of each shape takes is compared."""

_SIDES: dict[str, tuple[type, dict[str, Any]]] = {
    "default": (GaussianMixture, {}),
    "one": (GaussianMixture, {"progressive": False}),
    "sklearn": (ScikitLearns, {}),
}


def shapes_rows(
    shapes: tuple[tuple[int, int, int], ...], rounds: int, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Seconds and log-likelihoods of each shape, as it is done.

    Parameters
    ----------
    shapes : tuple of (n_rows, n_features, n_components)
    rounds : int
        How often each side fits, in turns, each time from another seed.
    say : callable
        Told of each shape as it is done.
    """
    for n, d, k in shapes:
        x = _made(n, d, k)
        fits = [
            {name: _fitted(kind, options, x, k, seed) for name, (kind, options) in _SIDES.items()}
            for seed in range(rounds + 1)
        ][1:]
        row = {"n_rows": n, "n_features": d, "n_components": k}
        row |= {f"{name}_seconds": median(fit[name][0] for fit in fits) for name in _SIDES}
        for name in ("default", "one"):
            row[f"{name}_ratio"] = median(fit["sklearn"][0] / fit[name][0] for fit in fits)
            row[f"{name}_gain"] = median(fit[name][1] - fit["sklearn"][1] for fit in fits)
        say(f"{n} x {d}, K = {k}: " + ", ".join(f"{s} {row[f'{s}_seconds']:.3f} s" for s in _SIDES))
        yield row


def _made(n: int, d: int, k: int) -> NDArray[np.float64]:
    """Rows of clusters that touch each other."""
    rng = np.random.default_rng([n, d, k])
    centres = rng.normal(size=(k, d)) * 3 / np.sqrt(d)
    made: NDArray[np.float64] = centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    return made


def _fitted(
    kind: type, options: dict[str, Any], x: NDArray[np.float64], k: int, seed: int
) -> tuple[float, float]:
    """Seconds of a fit, and its log-likelihood per row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DaskGMMWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        began = time.perf_counter()
        model = kind(n_components=k, random_state=seed, reg_covar=1e-6, **options).fit(x)
        seconds = time.perf_counter() - began
    return seconds, float(model.score(x))


def shapes_table(rows: list[dict[str, Any]]) -> Table:
    """All sides by shape."""
    seconds, ratio, gain = "{:.3f}", "{:.2f}", "{:+.4f}"
    columns = [
        Column("n_rows", "rows", "{:,}"),
        Column("n_features", "D", "{:,}"),
        Column("n_components", "K"),
        Column("sklearn_seconds", "sklearn s", seconds),
        Column("one_seconds", "one start s", seconds),
        Column("one_ratio", "ratio", ratio),
        Column("one_gain", "gain", gain),
        Column("default_seconds", "default s", seconds),
        Column("default_ratio", "ratio", ratio),
        Column("default_gain", "gain", gain),
    ]
    notes = [
        "medians of fits with reg_covar=1e-6; one start is progressive=False; ratio is scikit-learn's "
        "seconds over daskgmm's; gain is daskgmm's log-likelihood per row less scikit-learn's, in nats",
        *(f"{what} slower by more than a fifth: {_slower(rows, name)}" for name, what in _NAMES),
    ]
    return Table("Fits of small and wide tables", columns, rows, notes)


_NAMES = (("one", "one start"), ("default", "default"))


def _slower(rows: list[dict[str, Any]], name: str) -> str:
    slower = [row for row in rows if row[f"{name}_ratio"] < 1 / 1.2]
    return ", ".join(f"{row['n_rows']} x {row['n_features']}" for row in slower) or "none"
