"""Imputing: numbers in place of missing features, by what a mixture says given the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.completed import Completed
from daskgmm.kernel.expected import means_given
from daskgmm.kernel.formulations.sub_blocked import normalise
from daskgmm.kernel.gap_rows import gap_rows
from daskgmm.kernel.gaps import completed_rows
from daskgmm.kernel.mixture import Mixture

__all__ = ["imputed"]


def imputed(x: NDArray[Any], mixture: Mixture, uniform: Float64Array | None = None) -> NDArray[Any]:
    """Rows (n, D) with numbers for NaN, of the dtype of ``x``; rows of NaN alone stay as they are.

    Parameters
    ----------
    x : ndarray of shape (n, D), float32 or float64
    mixture : Mixture
        Of Gaussians, without noise.
    uniform : ndarray of shape (n, 1 + D), optional
        Random numbers from 0 to 1, both excluded: missing features are drawn from their
        distribution given the observed ones. Without, they are its means.
    """
    found, some = x.copy(), gap_rows(x)
    if some is None:
        return found
    some = some.take(~some.are_empty)
    for rows, completed, joint in completed_rows(x, some, mixture):
        resp, _ = normalise(joint, bounded=False)
        if uniform is None:
            values = means_given(completed, resp, mixture.means)
        else:
            values = _draws(completed, resp, mixture.means, uniform[rows])
        found[rows] = np.where(np.isnan(x[rows]), values.T, x[rows])
    return found


def _draws(
    completed: Completed, resp: Float64Array, means: Float64Array, uniform: Float64Array
) -> Float64Array:
    reached = np.cumsum(resp, axis=0) >= uniform[:, 0] * resp.sum(axis=0)
    chosen = np.argmax(reached, axis=0)
    white = ndtri(uniform[:, 1:]).T
    found: Float64Array = np.empty_like(white)
    for k in np.unique(chosen):
        of_k = chosen == k
        drawn = means[k][:, None] + completed.deviations(k) + completed.coloured(k, white)
        found[:, of_k] = drawn[:, of_k]
    return found
