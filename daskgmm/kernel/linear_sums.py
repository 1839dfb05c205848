"""Linear sums: a pass with one covariance for all components, at no work of order D^2.

With one covariance Sigma, the quadratic term of a log density is the same for all
components: it cancels in the responsibilities. Its sum over rows follows from the
scatter of all rows, T = sum (x - c)(x - c)^T, which the scan found and no pass changes;
and so do the second moments, which do not depend on the responsibilities since these
sum to 1. What remains for each row are K products with D coefficients, twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import SharesWhitening
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.moments import Moments
from daskgmm.kernel.statistics import Statistics, added

__all__ = ["LinearSums"]


@dataclass(frozen=True, eq=False)
class LinearSums:
    """Partial statistics of a pass for which the scatter of all rows is known. Additive.

    Parameters
    ----------
    n_rows, weight
        As of :class:`~daskgmm.kernel.Statistics`.
    linear_log_likelihood : float
        The log-likelihood without its quadratic term, which all components share.
    sums : mapping
        ``n_k`` (K,), and ``first`` (K, D) about ``centre``.
    centre : array of shape (D,)
    """

    n_rows: int
    weight: float
    linear_log_likelihood: float
    sums: Mapping[str, Float64Array]
    centre: Float64Array

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.n_rows + other.n_rows,
            self.weight + other.weight,
            self.linear_log_likelihood + other.linear_log_likelihood,
            added(self.sums, other.sums),
            self.centre,
        )

    def completed(self, mixture: Mixture, total: Moments) -> Statistics:
        """Statistics about the mixture's means.

        Parameters
        ----------
        mixture : Mixture
            Mixture of the pass; the sums are over all rows.
        total : Moments
            Moments of the same rows.
        """
        components = mixture.components
        assert isinstance(components, SharesWhitening)
        offset = total.mean - self.centre
        scatter = total.scatter + total.weight * np.multiply.outer(offset, offset)
        quadratic = -0.5 * float(np.vdot(components.common_precision(), scatter))
        return Statistics(
            self.n_rows,
            self.weight,
            self.linear_log_likelihood + quadratic,
            {**self.sums, "second": scatter},
            np.broadcast_to(self.centre, mixture.means.shape),
            mixture.kind,
        ).recentre(mixture.means)
