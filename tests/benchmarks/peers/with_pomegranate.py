"""pomegranate, on PyTorch. One iteration of its fit is what is called here."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from pomegranate.distributions import Normal
from pomegranate.gmm import GeneralMixtureModel
from problem import Problem

INCLUDES_SETUP = False


def fit(problem: Problem, n_iterations: int) -> tuple[float, tuple[Any, Any, Any]]:
    """Its own loop, without the rule that may end it."""
    components = [
        Normal(mean, covariance, covariance_type=problem.covariance, check_data=False)
        for mean, covariance in zip(
            torch.from_numpy(problem.means), torch.from_numpy(problem.covariances), strict=True
        )
    ]
    model = GeneralMixtureModel(
        components, priors=torch.from_numpy(problem.weights), check_data=False
    )
    x = torch.from_numpy(problem.x)
    began = time.perf_counter()
    for _ in range(n_iterations):
        model.summarize(x)
        model.from_summaries()
    seconds = time.perf_counter() - began
    return seconds, (
        model.priors.numpy(),
        np.stack([normal.means.numpy() for normal in model.distributions]),
        np.stack([normal.covs.numpy() for normal in model.distributions]),
    )
