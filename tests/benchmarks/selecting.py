"""Selecting: all candidates on shared passes, beside a fit of its own for each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from daskgmm import GaussianMixture, select

from .made import draw, truth
from .table import Column, Table

__all__ = ["select_table"]

_FEATURES, _COMPONENTS = 8, 6


def select_table(
    n_rows: int, components: Sequence[int], covariance: Sequence[str], rounds: int
) -> Table:
    """Seconds of ``select`` and of the separate fits with their BIC, a row a round."""
    mixture = truth(_FEATURES, _COMPONENTS)
    x = draw(mixture, n_rows, np.random.default_rng(0), "float64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of candidates that do not converge
        rows = [_round(n + 1, x, components, covariance) for n in range(rounds)]
    columns = [
        Column("round", "round"),
        Column("chosen", "select chose"),
        Column("n_passes", "passes"),
        Column("seconds", "select s", "{:.1f}"),
        Column("separate_chosen", "separate fits chose"),
        Column("separate_seconds", "separate fits s", "{:.1f}"),
        Column("ratio", "share", "{:.2f}"),
    ]
    note = (
        f"{n_rows:,} rows x {_FEATURES}, drawn from {_COMPONENTS} full components; candidates: "
        f"{len(components) * len(covariance)}, by BIC"
    )
    return Table("Choosing a model", columns, rows, [note])


def _round(
    number: int, x: Any, components: Sequence[int], covariance: Sequence[str]
) -> dict[str, Any]:
    began = time.perf_counter()
    chosen = select(x, components, covariance_type=covariance, criterion="bic", random_state=0)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    fits = [
        GaussianMixture(k, covariance_type=family, random_state=0).fit(x)
        for family in covariance
        for k in components
    ]
    best = min(fits, key=lambda fit: fit.bic(x))
    separate = time.perf_counter() - began
    return {
        "round": number,
        "chosen": f"{chosen.best.n_components} {chosen.best.covariance_type}",
        "n_passes": chosen.model.n_passes_,
        "seconds": seconds,
        "separate_chosen": f"{best.n_components} {best.covariance_type}",
        "separate_seconds": separate,
        "ratio": seconds / separate,
    }
