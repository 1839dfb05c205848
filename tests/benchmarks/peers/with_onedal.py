"""oneDAL, by daal4py. Its call copies tables in and out."""

from __future__ import annotations

import time
from typing import Any

import daal4py
import numpy as np
from problem import Problem

INCLUDES_SETUP = True

# What oneDAL calls the family, and the shape in which it takes a component's covariance.
_FAMILIES = {
    "full": ("full", lambda covariance: covariance),
    "diag": ("diagonal", lambda variances: variances[None]),
}
_FP_TYPES = {"float64": "double", "float32": "float"}


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """With a threshold of 0 no gain is small enough to stop at."""
    storage, table = _FAMILIES[problem.covariance]
    algorithm = daal4py.em_gmm(
        nComponents=len(problem.weights),
        fptype=_FP_TYPES[problem.x.dtype.name],
        maxIterations=n_iterations,
        accuracyThreshold=0.0,
        covarianceStorage=storage,
    )
    covariances = [np.ascontiguousarray(table(c)) for c in problem.covariances]
    began = time.perf_counter()
    result = algorithm.compute(problem.x, problem.weights[None], problem.means, covariances)
    seconds = time.perf_counter() - began
    if int(result.nIterations[0, 0]) != n_iterations:
        raise RuntimeError(
            f"oneDAL made {int(result.nIterations[0, 0])} iterations of {n_iterations}"
        )
    fitted = np.stack(result.covariances).reshape(problem.covariances.shape)
    return seconds, (result.weights[0], result.means, fitted)
