"""scikit-learn. Its call checks the data before the iterations and labels them after."""

from __future__ import annotations

import time
import warnings
from typing import Any

from problem import Problem
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

INCLUDES_SETUP = True

warnings.simplefilter("ignore", ConvergenceWarning)


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """With tol=0 no gain is small enough to stop at."""
    model = GaussianMixture(
        len(problem.weights),
        covariance_type=problem.covariance,
        tol=0.0,
        reg_covar=0.0,
        max_iter=n_iterations,
        weights_init=problem.weights,
        means_init=problem.means,
        precisions_init=problem.precisions,
    )
    began = time.perf_counter()
    model.fit(problem.x)
    seconds = time.perf_counter() - began
    return seconds, (model.weights_, model.means_, model.covariances_)
