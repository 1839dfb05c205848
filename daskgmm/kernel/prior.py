"""Prior: a penalty on the log-likelihood, with the M-step that maximises their sum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import Components
from daskgmm.kernel.components.base import RidgeLike
from daskgmm.kernel.fixed import NOTHING_FIXED, Fixed
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.moments import Moments
from daskgmm.kernel.noise import Noise
from daskgmm.kernel.statistics import Statistics

__all__ = ["Prior", "RelativeRidge", "Ridge", "least_count"]


class Prior(Protocol):
    """A term that is added to the log-likelihood. Implementations are frozen."""

    @property
    def fixed(self) -> Fixed:
        """Parts that M-steps leave as they are: elsewhere the term is minus infinity."""
        ...

    @property
    def has_density(self) -> bool:
        """Whether the term is a function of the mixture that the M-step climbs exactly.

        It is :meth:`penalty` then, which histories and comparisons have in them.
        """
        ...

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

    def penalty(self, mixture: Mixture, weight: float) -> float:
        """What the term takes off the log-likelihood per row of rows of a weight, in nats.

        0 for a term without a density: log-likelihoods are compared as they are then.
        """
        ...

    def with_pseudo_rows(self, statistics: Statistics, mixture: Mixture) -> Statistics:
        """The statistics plus those of pseudo-rows that stand for the term.

        At the mixture whose means they are about, the gradient of the likelihood is that of the
        objective; so it has the stationary points of :meth:`m_step`.

        Parameters
        ----------
        statistics : Statistics
            Statistics of rows under ``mixture``.
        mixture : Mixture
        """
        ...

    def fixing(self, fixed: Fixed) -> Self:
        """The prior with other parts fixed."""
        ...

    def of_parts(self, n_components: int) -> Self:
        """The prior of a few components of a mixture of so many, which are fitted apart."""
        ...


def least_count(statistics: Statistics) -> float:
    """What counts of components are raised by, so that none is 0 and all means are finite.

    As in scikit-learn; and scaled by the mean weight of a row, because otherwise it would dominate
    very small weights.
    """
    least = 10 * float(np.finfo(np.float64).eps)
    return least * statistics.weight / statistics.n_rows if statistics.n_rows > 0 else least


def mixture_of_counts(n_k: Float64Array, components: Components, found: Statistics) -> Mixture:
    """The mixture whose weights are shares of counts, noise's among them if there is any."""
    total = n_k.sum() + found.n_noise
    noise = None
    if found.uniform is not None:
        noise = Noise(float(found.n_noise / total), found.uniform)
    return Mixture(n_k / total, components, noise)


@dataclass(frozen=True, eq=False)
class Ridge:
    """A constant added to every variance in each M-step, as in scikit-learn.

    Above zero the M-step is not exactly a maximiser: it climbs ``l - sum_k w_k sum_j reg_covar_j
    inv(Sigma_k)_jj / 2``, up to what that depends on the weights, and not l.

    Parameters
    ----------
    reg_covar : float or array of shape (D,), default=0.0
        In squared units of the data, or of each feature. Where a component has one variance for
        all features, their mean counts.
    fixed : Fixed
        Parts that stay as they are.

    References
    ----------
    Dempster, Laird and Rubin (1977); Xu and Jordan (1996), On convergence
    properties of the EM algorithm for Gaussian mixtures.
    """

    reg_covar: RidgeLike = 0.0
    fixed: Fixed = NOTHING_FIXED

    has_density: ClassVar[bool] = False

    def m_step(self, statistics: Statistics) -> Mixture:
        """Weights, means and covariances from sufficient statistics.

        ``mu+ = centre + first / n_k``;
        ``Sigma+ = second / n_k - (mu+ - centre)(mu+ - centre)^T + diag(reg_covar)``.
        A covariance of the result can be singular; :meth:`Mixture.check` raises for it.
        """
        n_k = statistics.n_k + least_count(statistics)
        components = statistics.law.estimated(
            statistics.sums, statistics.centres, n_k, self.reg_covar, self.fixed.means
        )
        return self.fixed.put_into(mixture_of_counts(n_k, components, statistics))

    def objective(self, mixture: Mixture, statistics: Statistics) -> float:
        """Log-likelihood per row, less the ridge's penalty."""
        penalty = 0.5 * float(mixture.weights @ mixture.components.penalised(self.reg_covar))
        return statistics.log_likelihood_per_row - penalty

    def penalty(self, mixture: Mixture, weight: float) -> float:
        """0: as in scikit-learn, log-likelihoods are told and compared without the ridge."""
        return 0.0

    def with_pseudo_rows(self, statistics: Statistics, mixture: Mixture) -> Statistics:
        """The statistics with the ridge in their second moments."""
        return replace(statistics, sums=statistics.law.with_ridge(statistics.sums, self.reg_covar))

    def fixing(self, fixed: Fixed) -> Self:
        """The same ridge, with other parts fixed."""
        return replace(self, fixed=fixed)

    def of_parts(self, n_components: int) -> Self:
        """The same ridge."""
        return self


@dataclass(frozen=True)
class RelativeRidge:
    """A ridge that is a share of each feature's variance over all rows, known once they are.

    The variance counts for no more than a bound, where a few rows lie far away.

    Parameters
    ----------
    share : float, default=1e-6
        Of the variance. Where this is below its bound, the ridge is that of standardised features with
        ``reg_covar=1e-6``: a thousandth of a standard deviation, squared. Rounding to float32 adds as much only to
        features whose mean is more than ten thousand standard deviations.
    is_bounded : bool
        Whether there is a bound. A number that the user gives is a share of the whole variance.
    """

    share: float = 1e-6
    is_bounded: bool = True

    def of(self, moments: Moments, largest: Float64Array) -> Ridge:
        """The ridge for rows of such moments; ``largest`` (D,) is the bound of their variances."""
        variances = moments.variances
        if self.is_bounded:
            variances = np.minimum(variances, largest)
        # One row has none: any number is as good.
        return Ridge(self.share * np.where(variances > 0, variances, 1.0))
