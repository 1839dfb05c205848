"""Deconvolution: the E-step of rows that were measured with noise of their own.

What is fitted is the distribution of values without noise. The density of a row is that of its
measured values, and expected statistics are those of the values behind them. They are sums over
rows like all others, so that EM on them climbs the log-likelihood of what was measured.

A missing value is one of infinite noise.

References
----------
Bovy, Hogg and Roweis (2011), Extreme deconvolution: inferring complete distribution functions from
noisy, heterogeneous and incomplete observations.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import loops
from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Deconvolves, components_named
from daskgmm.kernel.components.completed import Expected
from daskgmm.kernel.components.noise_loops import NoiseLoop
from daskgmm.kernel.expected import expected_statistics, means_given
from daskgmm.kernel.formulations.sub_blocked import normalise
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = [
    "bytes_with_noise",
    "can_deconvolve",
    "deconvolved_rows",
    "deconvolved_statistics",
    "expected_values",
]

_SPAN_BYTES = 4 * 2**20
_IN_CACHE = 2**16
"""Values of the matrices of a component that are worked on at a time: they stay in cache."""
_MOST_ROWS = 4096


def can_deconvolve(mixture: Mixture) -> bool:
    """Whether a mixture has a density of rows with measurement noise."""
    return isinstance(mixture.components, Deconvolves) and mixture.noise is None


def bytes_with_noise(kind: str, n_rows: int, k: int, d: int, *, is_correlated: bool) -> int:
    """Most bytes that one thread needs beside those of rows without noise, for a grain.

    They are copies of its rows and their noise, and what is expected of some of them.
    """
    law, of_row = components_named(kind), 0
    if issubclass(law, Deconvolves):
        of_row = law.deconvolved_bytes(k, d, is_correlated=is_correlated)
    n_values = d + (d * d if is_correlated else d)
    return n_rows * 2 * 8 * n_values + 2 * max(_SPAN_BYTES, of_row)


def deconvolved_rows(
    x: NDArray[Any], noise: Float64Array, mixture: Mixture
) -> Iterator[tuple[slice, Expected, Float64Array]]:
    """Rows with measurement noise as the components expect them to be, some at a time.

    Parameters
    ----------
    x : ndarray of shape (n, D)
        NaN where a value is missing.
    noise : ndarray of shape (n, D) or (n, D, D)
        Variances, or covariances.
    mixture : Mixture

    Yields
    ------
    rows : slice
    expected : Expected
    joint : ndarray of shape (K, m)
        ``log w_k + log N(x_i | mu_k, S_k + N_i)``, in nats.

    Raises
    ------
    SingularComponentError
        If a row has no density, because a covariance cannot be factored.
    """
    components = mixture.components
    assert isinstance(components, Deconvolves)
    k, d = mixture.means.shape
    is_correlated = noise.ndim == 3
    fit = _SPAN_BYTES // components.deconvolved_bytes(k, d, is_correlated=is_correlated)
    at_once = max(1, min(_MOST_ROWS, _IN_CACHE // (d + d * is_correlated) ** 2, fit))
    for start in range(0, len(x), at_once):
        rows = slice(start, start + at_once)
        x_t = np.ascontiguousarray(x[rows].T, np.float64)
        variances_t, covariances_t = _as_features(noise[rows], np.isnan(x_t))
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = components.deconvolved(x_t, variances_t, covariances_t)
        if not np.isfinite(expected.log_densities).all():
            mixture.check()
        yield rows, expected, expected.log_densities + mixture.log_weights[:, None]


def _as_features(
    noise: Float64Array, is_missing: NDArray[np.bool_]
) -> tuple[Float64Array, Float64Array | None]:
    """Noise as components are given it: of independent variances, and of covariances, if any."""
    if noise.ndim == 2:
        return np.where(is_missing, np.inf, noise.T), None
    covariances_t = np.ascontiguousarray(noise.transpose(1, 2, 0))
    covariances_t[is_missing[:, None] | is_missing[None]] = 0.0
    return np.where(is_missing, np.inf, 0.0), covariances_t


def deconvolved_statistics(
    block: Block, mixture: Mixture, log_density: Float64Array | None = None
) -> Statistics:
    """Statistics of rows with measurement noise, in float64; those of weight 0 add nothing.

    Parameters
    ----------
    block : Block
        Rows may have gaps, too.
    mixture : Mixture
        Of Gaussians, without noise.
    log_density : ndarray of shape (n,), optional
        Where the log density of each row is written.

    Returns
    -------
    Statistics
        About the mixture's means, with the sums that rows without noise have.
    """
    noise = block.measurement_noise
    assert noise is not None
    loop = None if loops.VARIANT is None or noise.ndim == 3 else _noise_loop_of(mixture)
    if loop is not None:
        rows = loops.weighted_rows(block.x, block.weight, log_density)
        log_likelihood, sums = loop.sums(rows, np.ascontiguousarray(noise, np.float64))
        weight, means = block.total_weight, mixture.means
        return Statistics(len(block), weight, log_likelihood, sums, means, mixture.kind)
    parts = deconvolved_rows(block.x, noise, mixture)
    return expected_statistics(block, mixture, parts, log_density)


@lru_cache(maxsize=8)  # asked for with every grain, by all threads
def _noise_loop_of(mixture: Mixture) -> NoiseLoop | None:
    components = mixture.components
    assert isinstance(components, Deconvolves)
    return components.noise_loop(mixture.log_weights)


def expected_values(x: NDArray[Any], noise: Float64Array, mixture: Mixture) -> Float64Array:
    """The values behind rows with measurement noise, as a mixture expects them, (n, D)."""
    found = np.empty(x.shape)
    for rows, expected, joint in deconvolved_rows(x, noise, mixture):
        resp, _ = normalise(joint, bounded=False)
        found[rows] = means_given(expected, resp, mixture.means).T
    return found
