"""This project, as its users get it: an array in memory, on all cores that Dask counts."""

from __future__ import annotations

import time
from typing import Any

from problem import Problem

from daskgmm.em import PlainEM, Rules, run, scan_rows, stop_rule_named
from daskgmm.execution import MixtureSize, Work
from daskgmm.kernel import Ridge, gaussian_mixture
from daskgmm.tables import Weights, open_input

INCLUDES_SETUP = False


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """Passes over the rows that the estimator would open; its scan is setup."""
    return passes(problem, n_iterations, None)


def passes(
    problem: Problem, n_iterations: int, weights: Weights | None
) -> tuple[float, tuple[Any, Any, Any]]:
    """Seconds of so many passes, and what was fitted."""
    start = gaussian_mixture(
        problem.weights, problem.means, problem.covariances, problem.covariance
    )
    opened = open_input(problem.x, Work((MixtureSize.of(start),)), weights=weights)
    rows = opened.rows
    total = scan_rows(rows, opened.n_sampled, seed=0).moments
    rules = Rules(
        PlainEM(Ridge()),
        stop_rule_named("increment"),
        n_iterations,
        total,
        problem.x.dtype.name,
    )
    began = time.perf_counter()
    fitted = run(rows, start, rules).kept
    seconds = time.perf_counter() - began
    return seconds, (fitted.weights, fitted.means, fitted.covariances)
