"""Prior: a penalty on the log-likelihood, with the M-step that maximises their sum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["Prior", "Ridge"]


class Prior(Protocol):
    """A term that is added to the log-likelihood. Implementations are frozen."""

    def m_step(self, statistics: Statistics) -> Mixture:
        """The mixture that maximises the expected log-likelihood plus the term."""
        ...

    def objective(self, mixture: Mixture, statistics: Statistics) -> float:
        """Log-likelihood plus term per row, in nats, which no accepted pass lowers.

        Parameters
        ----------
        mixture : Mixture
        statistics : Statistics
            Statistics of all rows under ``mixture``.
        """
        ...

    def with_pseudo_rows(self, statistics: Statistics) -> Statistics:
        """The statistics plus those of pseudo-rows that stand for the term.

        The likelihood of the sum has the stationary points of :meth:`m_step`.
        """
        ...


@dataclass(frozen=True)
class Ridge:
    """A constant added to every variance in each M-step, as in scikit-learn.

    Above zero the M-step does not maximise l but ``l - reg_covar / 2 sum_k w_k
    tr(inv(Sigma_k))``, and that except for the penalty's dependence on the weights.

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
        A covariance of the result can be singular; :meth:`Mixture.check` raises for it.
        """
        # As in scikit-learn, so that a component without rows keeps a finite mean. It is scaled
        # by the mean weight of a row: otherwise it would dominate very small weights.
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
        """The statistics with the ridge in their second moments."""
        return replace(statistics, sums=statistics.law.with_ridge(statistics.sums, self.reg_covar))
