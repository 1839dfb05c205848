"""This project with a weight of 1 for each row: what weights cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from problem import Problem
from with_daskgmm import INCLUDES_SETUP as INCLUDES_SETUP
from with_daskgmm import passes

from daskgmm.tables.weights import weights_of


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """Passes over the rows and their weights, which are checked before."""
    return passes(problem, n_iterations, weights_of(np.ones(len(problem.x))))
