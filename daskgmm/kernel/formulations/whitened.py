"""Whitened: component by component, deviations first. Exact for every mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from daskgmm.kernel.families.base import Float64Array
from daskgmm.kernel.formulations.sub_blocked import SubBlocked
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics, add_rows

__all__ = ["Whitened"]


class Whitened(SubBlocked):
    """``log N = log |P_k| - |P_k^T (x - mu_k)|^2 / 2 - D log(2 pi) / 2``.

    The mean is subtracted before anything is multiplied, so that nothing cancels
    however far a component is from the origin for its width. Costs K products of
    (D, D) by (D, n), and as many for the statistics.
    """

    name: ClassVar[str] = "whitened"

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        self._family = mixture.family
        self._factors = mixture.factors
        heights = mixture.log_heights
        self.offset = float(heights.max())
        self._heights = (heights - self.offset)[:, None]
        self._total = Statistics.zero(mixture.means, mixture.covariance_type)

    @classmethod
    def cost(cls, mixture: Mixture) -> float:
        """Fitted to measurements: passes over the features, and a matrix product if there is one."""
        k, d = mixture.n_components, mixture.n_features
        return k * (8.0 + 3.0 * d + 0.15 * mixture.family.n_parameters(1, d))

    def joint(self, x_t: Float64Array) -> Float64Array:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        mixture = self.mixture
        joint = np.empty((mixture.n_components, x_t.shape[1]))
        deviations, white = np.empty_like(x_t), np.empty_like(x_t)
        for k in range(mixture.n_components):
            np.subtract(x_t, mixture.means[k][:, None], out=deviations)
            self._family.whiten(self._factors, k, deviations, white)
            np.square(white, out=white)
            np.sum(white, axis=0, out=joint[k])
        joint *= -0.5
        joint += self._heights
        self._x_t = x_t
        return joint

    def add(self, resp: Float64Array) -> None:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        add_rows(self._total, self._x_t, resp)

    def statistics(self, n_rows: int, log_likelihood: float) -> Statistics:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        return replace(self._total, n_rows=n_rows, log_likelihood=log_likelihood)
