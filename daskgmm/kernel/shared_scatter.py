"""Shared scatter: a pass with one covariance for all components, at no work of order D^2.

With one covariance Sigma, the quadratic term of a log density is the same for all
components: it cancels in the responsibilities. Its sum over rows follows from the
scatter of all rows, T = sum (x - c)(x - c)^T, which the scan found and no pass changes;
and so do the second moments, which do not depend on the responsibilities since these
sum to 1. What is left of a row are K products with D coefficients, twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.formulations import linear_formulation_of
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.moments import Moments
from daskgmm.kernel.statistics import Statistics

__all__ = ["can_share_scatter", "linear_statistics", "with_scatter"]

_FLOAT64 = np.dtype(np.float64)


def can_share_scatter(mixture: Mixture) -> bool:
    """Whether :func:`linear_statistics` applies to a mixture and keeps its digits."""
    return mixture.family.shared and linear_formulation_of(mixture, _FLOAT64) is not None


def linear_statistics(
    x: NDArray[Any], mixture: Mixture, dtype: np.dtype[Any] = _FLOAT64
) -> Statistics:
    """Statistics of a block but for what all components share: see :func:`with_scatter`.

    Additive, as those of :func:`daskgmm.kernel.e_step`; parameters are the same.
    """
    formulation = linear_formulation_of(mixture, dtype)
    assert formulation is not None, "ask can_share_scatter first"
    return formulation.statistics(x)


def with_scatter(found: Statistics, mixture: Mixture, total: Moments) -> Statistics:
    """Complete the sum over all rows of :func:`linear_statistics`.

    Parameters
    ----------
    found : Statistics
        About one centre for all components, over the rows of ``total``.
    mixture : Mixture
        Under which they were found.
    total : Moments
        Of the same rows.

    Returns
    -------
    Statistics
        As :func:`daskgmm.kernel.e_step`'s, about the mixture's means.
    """
    offset = total.mean - found.centres[0]
    scatter = total.scatter + total.n_rows * np.multiply.outer(offset, offset)
    precision = mixture.family.precisions(mixture.factors)
    quadratic = -0.5 * float(np.vdot(precision, scatter))
    whole = replace(found, second=scatter, log_likelihood=found.log_likelihood + quadratic)
    return whole.recentre(mixture.means)
