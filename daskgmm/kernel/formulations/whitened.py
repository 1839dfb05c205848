"""Whitened: component by component, deviations first. Exact for every mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from daskgmm.kernel.families.base import Float64Array
from daskgmm.kernel.formulations.sub_blocked import Evaluation, SubBlocked
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

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None:
        self.mixture = mixture
        self.n_components = mixture.n_components

    @classmethod
    def cost(cls, mixture: Mixture, dtype: np.dtype[Any]) -> float:
        """Fitted to measurements: passes over the features, and a matrix product if there is one."""
        k, d = mixture.n_components, mixture.n_features
        return 2.0 * d + k * (8.0 + 3.0 * d + 0.15 * mixture.family.n_parameters(1, d))

    def evaluation(self) -> Evaluation:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        return _Deviations(self.mixture)


class _Deviations(Evaluation):
    """Sums over sub-blocks of deviations from the means."""

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture
        heights = mixture.log_heights
        self.offset = float(heights.max())
        self._heights = (heights - self.offset)[:, None]
        self._total = Statistics.zero(mixture.means, mixture.covariance_type)

    def joint(self, x_t: Float64Array) -> Float64Array:
        mixture = self._mixture
        joint = np.empty((mixture.n_components, x_t.shape[1]))
        deviations, white = np.empty_like(x_t), np.empty_like(x_t)
        for k in range(mixture.n_components):
            np.subtract(x_t, mixture.means[k][:, None], out=deviations)
            mixture.family.whiten(mixture.factors, k, deviations, white)
            np.square(white, out=white)
            np.sum(white, axis=0, out=joint[k])
        joint *= -0.5
        joint += self._heights
        self._x_t = x_t
        return joint

    def add(self, resp: Float64Array) -> None:
        add_rows(self._total, self._x_t, resp)

    def statistics(self, n_rows: int, log_likelihood: float) -> Statistics:
        return replace(self._total, n_rows=n_rows, log_likelihood=log_likelihood)
