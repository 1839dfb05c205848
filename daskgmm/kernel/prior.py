"""Prior: what is added to the log-likelihood, with the M-step that maximises the sum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["Prior", "Ridge"]


class Prior(Protocol):
    """A term beside the log-likelihood. Frozen."""

    def m_step(self, statistics: Statistics) -> Mixture:
        """The mixture that maximises the expected log-likelihood and the term."""
        ...

    def objective(self, mixture: Mixture, statistics: Statistics) -> float:
        """Log-likelihood and term per row, in nats: what accepted passes never lower.

        ``statistics`` are those of a pass under the mixture.
        """
        ...

    def with_pseudo_rows(self, statistics: Statistics) -> Statistics:
        """The statistics with what the term adds to them.

        Their likelihood has the stationary points of the M-step.
        """
        ...


@dataclass(frozen=True)
class Ridge:
    """A constant added to every variance in each M-step, as in scikit-learn.

    Above zero the M-step is not exactly a maximiser: it climbs ``l - reg_covar / 2 sum_k w_k
    tr(inv(Sigma_k))``, up to what that depends on the weights, and not l.

    Parameters
    ----------
    reg_covar : float, default=0.0
        In squared units of the data.

    References
    ----------
    Dempster, Laird and Rubin (1977); Xu and Jordan (1996), On convergence
    properties of the EM algorithm for Gaussian mixtures.
    """

    reg_covar: float = 0.0

    def m_step(self, statistics: Statistics) -> Mixture:
        """Weights, means and covariances from sufficient statistics.

        ``mu+ = centre + first / n_k``;
        ``Sigma+ = second / n_k - (mu+ - centre)(mu+ - centre)^T + reg_covar I``.
        A covariance can be singular: :meth:`Mixture.check` says so.
        """
        # As scikit-learn: a component without rows keeps a finite mean. In units of a row's
        # mean weight, so that small weights are not drowned by it.
        least = 10 * np.finfo(np.float64).eps
        if statistics.n_rows > 0:
            least *= statistics.weight / statistics.n_rows
        n_k = statistics.n_k + least
        components = statistics.law.estimated(
            statistics.sums, statistics.centres, n_k, self.reg_covar
        )
        return Mixture(n_k / n_k.sum(), components)

    def objective(self, mixture: Mixture, statistics: Statistics) -> float:
        """Log-likelihood per row, less the ridge's penalty."""
        traces = mixture.components.precision_traces
        penalty = 0.5 * self.reg_covar * float(mixture.weights @ traces)
        return statistics.log_likelihood_per_row - penalty

    def with_pseudo_rows(self, statistics: Statistics) -> Statistics:
        """With second moments that add the ridge to maximum-likelihood variances."""
        return replace(statistics, sums=statistics.law.with_ridge(statistics.sums, self.reg_covar))
