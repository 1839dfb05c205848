"""This project, as its users get it: an array in memory, on all cores that Dask counts."""

from __future__ import annotations

import time
from typing import Any

from problem import Problem

from daskgmm.em import PlainEM, run, scan_rows, stop_rule_named
from daskgmm.execution import MixtureSize, Work
from daskgmm.kernel import Mixture
from daskgmm.tables import open_input

INCLUDES_SETUP = False


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """Passes over the rows that the estimator would open; its scan is setup."""
    start = Mixture(problem.weights, problem.means, problem.covariances, problem.covariance)
    opened = open_input(problem.x, Work((MixtureSize.of(start),)))
    rows = opened.rows
    total = scan_rows(rows, opened.n_sampled, seed=0).moments
    began = time.perf_counter()
    result = run(
        rows,
        start,
        stepper=PlainEM(reg_covar=0.0),
        stop=stop_rule_named("increment"),
        tol=0.0,
        max_iter=n_iterations,
        total=total,
        precision=problem.x.dtype.name,
    )
    seconds = time.perf_counter() - began
    fitted = result.mixture
    return seconds, (fitted.weights, fitted.means, fitted.covariances)
