"""Made data: mixtures, rows drawn from them, and a start for EM.

Components are at some three standard deviations from their neighbours at any D and
K, so that responsibilities are neither all alike nor all 0 and 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import Block, Mixture, Ridge, gaussian_mixture, weighted_statistics

__all__ = ["draw", "start_of", "truth", "write_start"]

_SEPARATION = 3.0
_START_ROWS = 20_000
_START_SHARE = 0.5


def truth(
    n_features: int, n_components: int, seed: int = 0, separation: float = _SEPARATION
) -> Mixture:
    """A mixture of full covariances near the identity, neighbours so many widths apart."""
    rng = np.random.default_rng([seed, n_features, n_components])
    d, k = n_features, n_components
    # Neighbours among k points of a d-dimensional normal are nearer as k grows: by k^(1/d).
    spread = separation * k ** (1.0 / d) / np.sqrt(2.0 * d)
    roots = np.eye(d) + 0.5 * rng.standard_normal((k, d, d)) / np.sqrt(d)
    covariances = roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(d)
    weights = rng.uniform(0.5, 1.5, k)
    means = spread * rng.standard_normal((k, d))
    return gaussian_mixture(weights / weights.sum(), means, covariances, "full")


def _drawn(
    mixture: Mixture, n_rows: int, rng: np.random.Generator, dtype: Any
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    component = rng.choice(mixture.n_components, size=n_rows, p=mixture.weights)
    z = rng.standard_normal((n_rows, mixture.n_features), dtype=dtype)
    x = np.empty_like(z)
    for k, root in enumerate(np.linalg.cholesky(mixture.covariances).astype(dtype)):
        rows = np.flatnonzero(component == k)
        x[rows] = z[rows] @ root.T + mixture.means[k].astype(dtype)
    return x, component


def draw(mixture: Mixture, n_rows: int, rng: np.random.Generator, dtype: str) -> NDArray[Any]:
    """Rows of a mixture of full covariances, float32 or float64."""
    return _drawn(mixture, n_rows, rng, np.dtype(dtype).type)[0]


def start_of(mixture: Mixture, covariance: str) -> Mixture:
    """A start of any family, some way from the mixture that the rows are drawn from.

    The M-step of rows whose responsibilities are half their component's and half
    everyone's, so that the start is valid whatever the family.
    """
    x, component = _drawn(mixture, _START_ROWS, np.random.default_rng(1), np.float64)
    k = mixture.n_components
    resp = np.full((len(x), k), _START_SHARE / k)
    resp[np.arange(len(x)), component] += 1.0 - _START_SHARE
    return Ridge(0.0).m_step(weighted_statistics(Block(x), resp, mixture.means, covariance))


def write_start(path: Path, start: Mixture) -> None:
    """Write a start where a peer's script can read it."""
    np.savez(
        path,
        weights=start.weights,
        means=start.means,
        covariances=start.covariances,
        precisions=start.components.precisions,
    )
