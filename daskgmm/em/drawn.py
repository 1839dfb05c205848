"""Drawn: random numbers that depend on a row's index and a seed alone, and values drawn for gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import special

from daskgmm.kernel import (
    Block,
    Float64Array,
    Mixture,
    Moments,
    e_step,
    gaussian_mixture,
    hash_rows,
    imputed,
)

__all__ = [
    "covariance_with_gaps",
    "drawn_by_moments",
    "fitted_gaussian",
    "poisson_of_rows",
    "uniform_of_rows",
]

_ROWS_OF_CORRELATIONS = 20_000
"""About how many rows of a sample correlations are computed from; their errors are then about 0.01."""
_MOST_STEPS, _SMALL_CHANGE = 50, 1e-3
"""Most steps of EM for correlations; and the largest change of one at which it ends."""
_RIDGE = 1e-6
"""Added to variances of standardised features: where few rows have two of them together, their
covariance can be singular."""
_POISSON: Float64Array = special.pdtr(np.arange(20), 1.0)
"""Entry k is the probability that a Poisson number of mean 1 is at most k; the last rounds to 1."""


def uniform_of_rows(start: int, n_rows: int, n_each: int, seed: int) -> Float64Array:
    """Random numbers above 0 and below 1 by the index of their row, (n_rows, n_each)."""
    hashes = hash_rows(start * n_each, n_rows * n_each, seed)
    found: Float64Array = ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    # Adding a half to the largest of these integers rounds to the next one, which would give 1.
    return np.minimum(found, 1.0 - 2.0**-53).reshape(n_rows, n_each)


def poisson_of_rows(start: int, n_rows: int, seed: int) -> Float64Array:
    """Poisson numbers of mean 1 by the index of their row, (n_rows,): quantiles of uniform ones."""
    uniform = uniform_of_rows(start, n_rows, 1, seed)[:, 0]
    return np.searchsorted(_POISSON, uniform).astype(np.float64)


def covariance_with_gaps(
    sample: Block, mean: Float64Array, variances: Float64Array
) -> Float64Array:
    """Covariance (D, D) of one Gaussian that is fitted by EM to rows with gaps, standardised.

    Parameters
    ----------
    sample : Block
    mean, variances : arrays of shape (D,)
        Mean and variance of each feature, by which the rows are standardised first.
    """
    return fitted_gaussian(replace(sample, x=(sample.x - mean) / np.sqrt(variances)))[1]


def fitted_gaussian(sample: Block) -> tuple[Float64Array, Float64Array]:
    """Mean (D,) and covariance (D, D) of one Gaussian that EM fits to rows of about unit variances."""
    block = sample.thinned(max(1, len(sample) // _ROWS_OF_CORRELATIONS))
    block = replace(block, known=None)  # one Gaussian has no components to be known
    d = block.n_features
    covariance, centre = np.eye(d), np.zeros(d)
    for _ in range(_MOST_STEPS if len(block) > 0 else 0):
        found = e_step(block, _one_gaussian(centre, covariance))
        centre = centre + found["first"][0] / found.n_k[0]
        moved = found.recentre(centre[None])["second"][0] / found.n_k[0] + _RIDGE * np.eye(d)
        change = np.abs(moved - covariance).max()
        covariance = moved
        if change < _SMALL_CHANGE:
            break
    return centre, covariance


def drawn_by_moments(sample: Block, moments: Moments) -> Block:
    """The rows with values drawn in place of missing ones, from the Gaussian of these moments."""
    one = _one_gaussian(moments.mean, moments.scatter / moments.weight)
    uniform = uniform_of_rows(0, len(sample), n_each=1 + sample.n_features, seed=0)
    return replace(sample, x=imputed(sample.x, one, uniform), has_gaps=False)


def _one_gaussian(mean: Float64Array, covariance: Float64Array) -> Mixture:
    return gaussian_mixture(np.ones(1), mean[None], covariance[None], "full")
