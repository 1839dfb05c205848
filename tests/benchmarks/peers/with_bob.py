"""bob.learn.em, on Dask's threads. Its call copies the data into memory first."""

from __future__ import annotations

import logging
import time
from typing import Any

import dask.array as da
from bob.learn.em import GMMMachine
from dask.system import CPU_COUNT
from problem import Problem

INCLUDES_SETUP = True

_PARTITIONS_PER_CORE = 4

logging.disable(logging.WARNING)


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """Maximum likelihood of all parameters, without a threshold."""
    machine = GMMMachine(
        len(problem.weights),
        trainer="ml",
        convergence_threshold=None,
        max_fitting_steps=n_iterations,
        weights=problem.weights.copy(),
        update_means=True,
        update_variances=True,
        update_weights=True,
    )
    machine.means = problem.means.copy()
    machine.variances = problem.covariances.copy()
    partition = -(-len(problem.x) // (_PARTITIONS_PER_CORE * CPU_COUNT))
    x = da.from_array(problem.x, chunks=(partition, problem.x.shape[1]))
    began = time.perf_counter()
    machine.fit(x)
    seconds = time.perf_counter() - began
    return seconds, (machine.weights, machine.means, machine.variances)
