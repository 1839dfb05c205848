"""Another checkout of this project, by public names alone: the folder in DASKGMM_CHECKOUT."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import numpy as np

sys.path.insert(0, os.environ["DASKGMM_CHECKOUT"])

from problem import Problem

from daskgmm import GaussianMixture

INCLUDES_SETUP = False


def _inverted(covariances: np.ndarray, covariance: str) -> np.ndarray:
    return np.linalg.inv(covariances) if covariance in ("full", "tied") else 1.0 / covariances


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """Passes as the history tells them: without the scan, and without what is between passes."""
    model = GaussianMixture(
        len(problem.weights),
        covariance_type=problem.covariance,
        weights_init=problem.weights,
        means_init=problem.means,
        precisions_init=_inverted(problem.covariances, problem.covariance),
        reg_covar=0.0,
        stepper="plain",
        stopping="increment",
        tol=0.0,
        max_iter=n_iterations,
        precision=problem.x.dtype.name,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a tolerance of 0 is not reached
        model.fit(problem.x)
    seconds = sum(iteration.seconds for iteration in model.history_)
    return seconds, (model.weights_, model.means_, model.covariances_)
