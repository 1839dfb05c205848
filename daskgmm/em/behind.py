"""Behind: what rows with measurement noise would be without it, as one Gaussian expects them.

The scale of features, and starts, are made of these expected values. Measured values will not do:
where the noise of some is far wider than the feature itself, these would decide.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from daskgmm.em.drawn import fitted_gaussian
from daskgmm.kernel import Affine, Block, Float64Array, Moments, expected_values, gaussian_mixture

__all__ = ["moments_behind", "values_behind"]

_LEAST_SHARE = 1e-9
"""Share of a feature's measured variance that is added to the variance of noise, by whose inverse a
value is weighted: values without noise would else have infinite weight."""


def moments_behind(sample: Block, weight: float) -> Moments:
    """Moments of all rows without their noise: those of one Gaussian that EM fits to a sample.

    Parameters
    ----------
    sample : Block
        Rows with measurement noise, no feature of which is constant.
    weight : float
        Sum of the weights of all rows.
    """
    mean, variances = _by_precision(sample)
    scale = Affine(mean, np.sqrt(variances))
    centre, covariance = fitted_gaussian(scale.of_block(sample))
    scatter = weight * covariance * scale.scale[:, None] * scale.scale
    return Moments(weight, scale.back(centre[None])[0], scatter)


def values_behind(sample: Block, moments: Moments) -> Block:
    """The rows as the Gaussian of these moments expects them to be without noise.

    A row counts by the share of a feature's variance that its noise leaves, on average over features;
    the sum of the weights stays.
    """
    noise = sample.measurement_noise
    assert noise is not None
    if not (moments.variances > 0).all():  # of one row alone: it is all that is known
        return replace(sample, has_gaps=False, measurement_noise=None)
    covariance = moments.scatter / moments.weight
    one = gaussian_mixture(np.ones(1), moments.mean[None], covariance[None], "full")
    variances = moments.variances
    known = variances / (variances + _variances_of(noise))
    shares = np.where(np.isnan(sample.x), 0.0, known).mean(axis=1)
    weight = sample.weights * shares
    weight *= sample.total_weight / weight.sum()
    values = expected_values(sample.x, noise, one)
    return replace(sample, x=values, weight=weight, has_gaps=False, measurement_noise=None)


def _variances_of(noise: Float64Array) -> Float64Array:
    return noise if noise.ndim == 2 else np.diagonal(noise, axis1=1, axis2=2)


def _by_precision(block: Block) -> tuple[Float64Array, Float64Array]:
    """Mean and variance of each feature, in which a value counts by the inverse variance of its noise."""
    assert block.measurement_noise is not None
    there = ~np.isnan(block.x)
    x, noise = np.where(there, block.x, 0.0), _variances_of(block.measurement_noise)
    weights = there * block.weights[:, None]
    least = _LEAST_SHARE * _weighted(x, weights)[1]
    of_each = zip(noise.T, there.T, strict=True)
    middle = [np.median(of[where]) if where.any() else 1.0 for of, where in of_each]
    return _weighted(x, weights / (noise + np.array(middle) + least))


def _weighted(x: Float64Array, weights: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Weighted mean and variance of each feature; 0 and 1 of one without values in the sample."""
    total = weights.sum(axis=0)
    total[total == 0] = 1.0
    mean = (weights * x).sum(axis=0) / total
    variance = (weights * np.square(x - mean)).sum(axis=0) / total
    return mean, np.where(variance > 0, variance, 1.0)
