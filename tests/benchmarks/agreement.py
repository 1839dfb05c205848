"""Agreement: whether contestants that were timed found the same mixture.

The parameters of each, after the same iterations from the same start, are judged by
one log-likelihood, computed here component by component: what a contestant says of
itself is not asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import logsumexp

from daskgmm.kernel import Mixture, gaussian_mixture

__all__ = ["TOLERANCE", "differences", "fitted_log_likelihood"]

TOLERANCE = {"float64": 1e-6, "float32": 1e-4}
"""Relative difference of log-likelihoods, by the dtype of what was computed."""


def log_likelihood(x: NDArray[Any], mixture: Mixture) -> float:
    """Log-likelihood per row of rows (n, D), in nats."""
    rows = x.astype(np.float64)
    k, d = mixture.means.shape
    covariances = mixture.components.dense()
    joint = np.empty((k, len(rows)))
    for i, (mean, covariance) in enumerate(zip(mixture.means, covariances, strict=True)):
        lower = cholesky(covariance, lower=True)
        white = solve_triangular(lower, (rows - mean).T, lower=True)
        log_det = np.log(np.diagonal(lower)).sum()
        joint[i] = -0.5 * np.square(white).sum(axis=0) - log_det - 0.5 * d * np.log(2 * np.pi)
    with np.errstate(divide="ignore"):  # a weight of 0 has its logarithm
        joint += np.log(mixture.weights)[:, None]
    return float(logsumexp(joint, axis=0).mean())


def fitted_log_likelihood(x: NDArray[Any], fitted: Path, covariance: str) -> float:
    """Log-likelihood per row of parameters that a contestant left in a file."""
    with np.load(fitted) as stored:
        parts = {name: stored[name].astype(np.float64) for name in stored.files}
    parts["weights"] /= parts["weights"].sum()  # float32 sums to 1 up to 1e-7 K
    return log_likelihood(x, gaussian_mixture(**parts, kind=covariance))


def differences(log_likelihoods: dict[str, float], reference: str) -> dict[str, float]:
    """Relative difference of each from the reference, in size; NaN where one is NaN."""
    expected = log_likelihoods[reference]
    return {
        name: abs(value - expected) / max(abs(expected), 1.0)
        for name, value in log_likelihoods.items()
        if name != reference
    }
