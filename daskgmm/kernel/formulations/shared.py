"""Shared: rows whitened once, for components of one common covariance.

In y = P^T (x - c), with P the factor that all components share, every component has
unit covariance and ``|y - m_k|^2 = |y|^2 - 2 m_k . y + |m_k|^2``: the first term is
the same for all, the second is one matrix product, (K, D) by (D, n). The second
moments depend on the sum of the responsibilities alone, so one product
y y^T serves all components: no work of order K D^2 at all.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Components, SharesWhitening
from daskgmm.kernel.formulations.rounding import FLOAT64, keeps_digits
from daskgmm.kernel.formulations.sub_blocked import Evaluation, SubBlocked
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["Shared"]


class Shared(SubBlocked):
    """Tied covariances in the coordinates in which they are the identity."""

    name: ClassVar[str] = "shared"

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None:
        self.mixture = mixture
        self.n_components = mixture.n_components

    @classmethod
    def cost(cls, law: type[Components], k: int, d: int, dtype: np.dtype[Any]) -> float:
        """Fitted to measurements; infinite where covariances are not shared."""
        if not issubclass(law, SharesWhitening):
            return np.inf
        return 0.12 * d * d + d * (4.0 + 0.1 * k)

    @classmethod
    def applies(cls, mixture: Mixture, dtype: np.dtype[Any]) -> bool:
        """Unless means are so far apart that cancellation of ``|m_k|^2`` would lose digits."""
        size = float(np.square(_white_means(mixture)).sum(axis=1).max()) + mixture.n_features
        return keeps_digits(size, FLOAT64)

    def evaluation(self) -> Evaluation:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        return _White(self.mixture)


class _White(Evaluation):
    """Sums over sub-blocks in white coordinates."""

    def __init__(self, mixture: Mixture) -> None:
        k, d = mixture.n_components, mixture.n_features
        self._mixture = mixture
        self._centre = mixture.shares @ mixture.means
        self._factor = _factor(mixture)
        self._means = _white_means(mixture)
        self.offset = mixture.log_bound
        self.noise = mixture.log_noise - self.offset
        half_square = 0.5 * np.square(self._means).sum(axis=1)
        self._constant = (mixture.log_heights - self.offset - half_square)[:, None]
        self._n_k = np.zeros(k)
        self._first = np.zeros((d, k))
        self._scatter = np.zeros((d, d))

    def joint(self, x_t: Float64Array) -> Float64Array:
        y = self._y = self._factor.T @ (x_t - self._centre[:, None])
        joint: Float64Array = self._means @ y
        joint += self._constant
        joint -= 0.5 * np.square(y).sum(axis=0)
        return joint

    def add(self, resp: Float64Array) -> None:
        self._n_k += resp.sum(axis=1)
        self._first += self._y @ resp.T
        # Responsibilities of a row sum to its weight, or to what noise leaves of that.
        self._scatter += (self._y * resp.sum(axis=0)) @ self._y.T

    def statistics(self, block: Block, log_likelihood: float) -> Statistics:
        mixture = self._mixture
        root = np.linalg.inv(self._factor).T  # y = P^T (x - c), so x - c = P^-T y
        about_centre = Statistics(
            len(block),
            block.total_weight,
            log_likelihood,
            {
                "n_k": self._n_k,
                "first": (root @ self._first).T,
                "second": root @ self._scatter @ root.T,
            },
            np.broadcast_to(self._centre, mixture.means.shape),
            mixture.kind,
            mixture.uniform,
        )
        return about_centre.recentre(mixture.means)


def _white_means(mixture: Mixture) -> Float64Array:
    """``P^T (mu_k - c)``, shape (K, D), c the mean of the components."""
    centre = mixture.shares @ mixture.means
    white: Float64Array = (mixture.means - centre) @ _factor(mixture)
    return white


def _factor(mixture: Mixture) -> Float64Array:
    components = mixture.components
    assert isinstance(components, SharesWhitening), "its cost is infinite"
    return components.common_whitening()
