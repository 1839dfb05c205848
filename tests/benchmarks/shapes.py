"""Small and wide tables, in memory: default fits beside scikit-learn's default fits.

Each side fits the same rows as its users call it, in turns; seconds are medians over rounds after
a first fit that is not counted. Both have scikit-learn's ``reg_covar``: where a component has fewer
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
        for kind in (GaussianMixture, ScikitLearns):
            _fitted(kind, x, k, 0)
        pairs = [
            (_fitted(GaussianMixture, x, k, seed), _fitted(ScikitLearns, x, k, seed))
            for seed in range(1, rounds + 1)
        ]
        ours, theirs = (median(seconds for seconds, _ in side) for side in zip(*pairs, strict=True))
        row = {
            "n_rows": n,
            "n_features": d,
            "n_components": k,
            "seconds": ours,
            "sklearn_seconds": theirs,
            "ratio": median(theirs / ours for (ours, _), (theirs, _) in pairs),
            "gain": median(mine - other for (_, mine), (_, other) in pairs),
        }
        say(f"{n} x {d}, K = {k}: {ours:.3f} s, scikit-learn {theirs:.3f} s")
        yield row


def _made(n: int, d: int, k: int) -> NDArray[np.float64]:
    """Rows of clusters that touch each other."""
    rng = np.random.default_rng([n, d, k])
    centres = rng.normal(size=(k, d)) * 3 / np.sqrt(d)
    made: NDArray[np.float64] = centres[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    return made


def _fitted(kind: type, x: NDArray[np.float64], k: int, seed: int) -> tuple[float, float]:
    """Seconds of a default fit, and its log-likelihood per row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DaskGMMWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        began = time.perf_counter()
        model = kind(n_components=k, random_state=seed, reg_covar=1e-6).fit(x)
        seconds = time.perf_counter() - began
    return seconds, float(model.score(x))


def shapes_table(rows: list[dict[str, Any]]) -> Table:
    """Both sides by shape."""
    columns = [
        Column("n_rows", "rows", "{:,}"),
        Column("n_features", "D", "{:,}"),
        Column("n_components", "K"),
        Column("seconds", "daskgmm s", "{:.3f}"),
        Column("sklearn_seconds", "sklearn s", "{:.3f}"),
        Column("ratio", "ratio", "{:.2f}"),
        Column("gain", "gain, nats a row", "{:+.4f}"),
    ]
    slower = [f"{row['n_rows']} x {row['n_features']}" for row in rows if row["ratio"] < 1 / 1.2]
    notes = [
        "seconds of a fit by defaults but reg_covar=1e-6, medians; ratio is scikit-learn's seconds over daskgmm's; gain is "
        "daskgmm's log-likelihood per row less scikit-learn's, which makes one start",
        f"slower by more than a fifth: {', '.join(slower) or 'none'}",
    ]
    return Table("Default fits of small and wide tables", columns, rows, notes)
