"""Direct: log densities by the components' own method, accurate for every mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Components
from daskgmm.kernel.formulations.sub_blocked import Evaluation, SubBlocked
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["Direct"]


class Direct(SubBlocked):
    """Component by component, deviations from the mean first.

    The mean is subtracted before anything is multiplied, so that nothing cancels
    however far a component is from the origin for its width. Costs K products of
    (D, D) by (D, n) for full covariances, and as many for the statistics.
    """

    name: ClassVar[str] = "direct"

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None:
        self.mixture = mixture
        self.n_components = mixture.n_components

    @classmethod
    def cost(cls, law: type[Components], k: int, d: int, dtype: np.dtype[Any]) -> float:
        """Fitted to measurements: sweeps over the features, and the matrix product of full ones."""
        n_second = law.count_parameters(1, d) - d
        return 2.0 * d + k * (8.0 + 3.0 * d + 0.15 * n_second)

    @classmethod
    def applies(cls, mixture: Mixture, dtype: np.dtype[Any]) -> bool:
        """Always: nothing cancels."""
        return True

    def evaluation(self) -> Evaluation:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        return _Deviations(self.mixture)


class _Deviations(Evaluation):
    """Sums over sub-blocks by the components' own methods."""

    def __init__(self, mixture: Mixture) -> None:
        self._components = mixture.components
        self.offset = mixture.log_bound
        self.noise = mixture.log_noise - self.offset
        with np.errstate(divide="ignore"):
            self._log_weights = (np.log(mixture.weights) - self.offset)[:, None]
        self._total = Statistics.zero(mixture.means, mixture.kind, mixture.uniform)

    def joint(self, x_t: Float64Array) -> Float64Array:
        joint = self._components.log_densities(x_t)
        joint += self._log_weights
        self._x_t = x_t
        return joint

    def add(self, resp: Float64Array) -> None:
        self._components.add_expected(self._total.sums, self._x_t, resp)

    def statistics(self, block: Block, log_likelihood: float) -> Statistics:
        return replace(
            self._total,
            n_rows=len(block),
            weight=block.total_weight,
            log_likelihood=log_likelihood,
        )
