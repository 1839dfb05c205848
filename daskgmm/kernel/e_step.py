"""E-step: a block of rows under a mixture.

Rows are processed in sub-blocks that stay in the processor's cache: temporaries
depend on the features and components alone, and nothing of size (rows x K) is
made except where it is the answer. Each is transposed once to feature-major, so that
sums over features or components run along contiguous memory; in float64 whatever the
dtype of the block, unless statistics are asked for in float32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import DataError
from daskgmm.kernel.families.base import Float64Array
from daskgmm.kernel.formulations import formulation_of
from daskgmm.kernel.formulations.sub_blocked import normalise
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics, add_rows
from daskgmm.kernel.sub_blocks import sub_blocks
from daskgmm.kernel.truncated import Neighbourhoods, truncated_statistics

__all__ = [
    "e_step",
    "labels",
    "log_density",
    "log_density_sums",
    "responsibilities",
    "weighted_statistics",
]


_FLOAT64 = np.dtype(np.float64)


def e_step(
    x: NDArray[Any],
    mixture: Mixture,
    dtype: np.dtype[Any] = _FLOAT64,
    neighbourhoods: Neighbourhoods | None = None,
) -> Statistics:
    """Sufficient statistics of one block of rows.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_features), any real dtype
    mixture : Mixture
    dtype : dtype, default=float64
        Of the arithmetic on single rows. With float32, which takes half the time,
        statistics are good to 1e-5, relative; where the mixture would lose more, float64
        is used all the same. Sums over rows are float64 in any case.
    neighbourhoods : Neighbourhoods, optional
        Compare each row with the components near it alone. The log-likelihood is then a
        lower bound; see :mod:`daskgmm.kernel.truncated`.

    Returns
    -------
    Statistics
        In float64, about the mixture's means. ``e_step(a) + e_step(b)`` equals
        ``e_step(vstack([a, b]))`` up to rounding.

    Raises
    ------
    DataError
        If the rows have another number of features than the mixture.
    SingularComponentError
        ``error.component`` names the covariance that could not be factored.

    References
    ----------
    Xu and Jordan (1996), On convergence properties of the EM algorithm for
    Gaussian mixtures.
    """
    if x.shape[1] != mixture.n_features:
        raise DataError(f"rows have {x.shape[1]} features, the mixture {mixture.n_features}")
    if neighbourhoods is not None:
        return truncated_statistics(x, mixture, neighbourhoods, dtype)
    return formulation_of(mixture, dtype).statistics(x)


def weighted_statistics(
    x: NDArray[Any], resp: Float64Array, centres: Float64Array, covariance_type: str
) -> Statistics:
    """Statistics of rows whose responsibilities are given, with log-likelihood 0.

    Parameters
    ----------
    x : ndarray of shape (n_rows, n_features)
    resp : ndarray of shape (n_rows, K)
    centres : ndarray of shape (K, n_features)
        What the moments are taken about; best near the components.
    covariance_type : str
    """
    total = Statistics.zero(centres, covariance_type)
    for span, x_t in sub_blocks(x, len(centres)):
        add_rows(total, x_t, np.ascontiguousarray(resp[span].T))
    return replace(total, n_rows=len(x))


def log_density(x: NDArray[Any], mixture: Mixture) -> Float64Array:
    """Log density of each row, in nats, shape (n_rows,), float64; raises as :func:`e_step`."""
    return formulation_of(mixture, _FLOAT64).log_densities(x)


def responsibilities(x: NDArray[Any], mixture: Mixture) -> Float64Array:
    """Probability of each component given each row, shape (n_rows, K), float64.

    Rows sum to 1 up to rounding. Raises as :func:`e_step`.
    """
    evaluation = formulation_of(mixture, _FLOAT64).evaluation()
    out = np.empty((len(x), mixture.n_components))
    for span, x_t in sub_blocks(x, mixture.n_components):
        resp, _ = normalise(evaluation.joint(x_t))
        out[span] = resp.T
    return out


def labels(x: NDArray[Any], mixture: Mixture) -> NDArray[np.int64]:
    """Most probable component of each row, shape (n_rows,); raises as :func:`e_step`."""
    evaluation = formulation_of(mixture, _FLOAT64).evaluation()
    out = np.empty(len(x), dtype=np.int64)
    for span, x_t in sub_blocks(x, mixture.n_components):
        np.argmax(evaluation.joint(x_t), axis=0, out=out[span])
    return out


def log_density_sums(x: NDArray[Any], mixture: Mixture) -> tuple[float, float]:
    """Sums over rows of the log density and of the log responsibility of the likeliest component.

    The first is the log-likelihood; the second, at most 0, is how decided the
    assignment is: ``ICL = BIC - 2 * second``. Raises as :func:`e_step`.
    """
    evaluation = formulation_of(mixture, _FLOAT64).evaluation()
    log_likelihood, log_decided = 0.0, 0.0
    for _, x_t in sub_blocks(x, mixture.n_components):
        resp, log_total = normalise(evaluation.joint(x_t))
        log_likelihood += float(log_total.sum())
        log_decided += float(np.log(resp.max(axis=0)).sum())
    return log_likelihood + len(x) * evaluation.offset, log_decided
