"""M-step: the mixture that maximises the expected log-likelihood, from statistics."""

from __future__ import annotations

import numpy as np

from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["m_step"]


def m_step(statistics: Statistics, reg_covar: float = 0.0) -> Mixture:
    """Weights, means and covariances from sufficient statistics.

    Parameters
    ----------
    statistics : Statistics
    reg_covar : float
        Added to every variance, in squared units of the data, as in scikit-learn.
        Above zero the M-step is not exactly the maximiser.

    Returns
    -------
    Mixture
        ``mu+ = centre + first / n_k``;
        ``Sigma+ = second / n_k - (mu+ - centre)(mu+ - centre)^T + reg_covar I``.
        A covariance can be singular: whoever factors it says so.

    References
    ----------
    Dempster, Laird and Rubin (1977); Xu and Jordan (1996), On convergence
    properties of the EM algorithm for Gaussian mixtures.
    """
    # As scikit-learn: a component without rows keeps a finite mean.
    n_k = statistics.n_k + 10 * np.finfo(np.float64).eps
    means = statistics.centres + statistics.first / n_k[:, None]
    second = statistics.recentre(means).second
    d = means.shape[1]
    covariances = statistics.family.covariances(second, n_k, reg_covar, d)
    return Mixture(n_k / n_k.sum(), means, covariances, statistics.covariance_type)
