"""Tailed: t components by the matrix products of Gaussians' natural form.

Matrix products with the products of features give the log densities of Gaussians, and so the squared
distances ``delta``. Each responsibility times ``u`` then weights the same products of features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Components, Students
from daskgmm.kernel.formulations.natural import Natural
from daskgmm.kernel.formulations.rounding import FLOAT64
from daskgmm.kernel.formulations.sub_blocked import Evaluation, SubBlocked
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["Tailed", "cost_with_tails", "gaussian_of"]

_TAIL_NS = 12.0
"""Measured: what one more logarithm and exponential take for a component of a row."""


class Tailed(SubBlocked):
    """The natural form of the Gaussians under t components."""

    name: ClassVar[str] = "tailed"

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None:
        self.mixture = mixture
        self.n_components = mixture.n_components
        self._gaussians = Natural(gaussian_of(mixture), FLOAT64)

    @classmethod
    def cost(cls, law: type[Components], k: int, d: int, dtype: np.dtype[Any]) -> float:
        """Cost of the natural form and of the tails; infinite for other components."""
        return cost_with_tails(Natural.cost, law, k, d, _TAIL_NS)

    @classmethod
    def applies(cls, mixture: Mixture, dtype: np.dtype[Any]) -> bool:
        """Whether squared distances keep their digits."""
        return Natural.applies(gaussian_of(mixture), FLOAT64)

    def evaluation(self) -> Evaluation:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        return _Tails(self.mixture, self._gaussians)


def cost_with_tails(
    cost: Callable[[type[Components], int, int, np.dtype[Any]], float],
    law: type[Components],
    k: int,
    d: int,
    tail_ns: float,
) -> float:
    """Cost of a formulation with the tails of t components; infinite for other components.

    Parameters
    ----------
    cost : callable
        Cost of the formulation for the Gaussians under the components.
    law : type
        The kind of components.
    k, d : int
        Numbers of components and of features.
    tail_ns : float
        Nanoseconds that the tail of one component takes a row.
    """
    if not issubclass(law, Students):
        return np.inf
    return cost(law.family(), k, d, FLOAT64) + tail_ns * k


@lru_cache(maxsize=4)  # asked for to see whether it applies, then to make the formulation
def gaussian_of(mixture: Mixture) -> Mixture:
    """The mixture of the Gaussians under t components, of weights that are nowhere 0."""
    components = mixture.components
    assert isinstance(components, Students)
    k = mixture.n_components
    return Mixture(np.full(k, 1.0 / k), components.gaussians)


class _Tails(Evaluation):
    """Sums over sub-blocks: those of the products of features, and of tails."""

    def __init__(self, mixture: Mixture, gaussians: Natural) -> None:
        assert isinstance(mixture.components, Students)
        self._mixture, self._components = mixture, mixture.components
        self._products = gaussians.evaluation()
        heights = gaussian_of(mixture).log_heights - self._products.offset
        self._heights = heights[:, None]
        self.offset = mixture.log_bound
        self.noise = mixture.log_noise - self.offset
        with np.errstate(divide="ignore"):
            self._log_weights = (np.log(mixture.weights) - self.offset)[:, None]
        zero = np.zeros(mixture.n_components)
        self._tails = {"n_k": zero, "tails": zero.copy()}

    def joint(self, x_t: Float64Array) -> Float64Array:
        squared = self._products.joint(x_t)
        np.subtract(self._heights, squared, out=squared)
        squared *= 2.0
        joint, self._logs = self._components.densities_and_logs(squared)
        joint += self._log_weights
        return joint

    def add(self, resp: Float64Array) -> None:
        u, tails = self._components.scales(self._logs)
        self._components.add_tails(self._tails, resp, tails)
        self._products.add(np.multiply(resp, u, out=u))

    def statistics(self, block: Block, log_likelihood: float) -> Statistics:
        moments = self._products.statistics(block, log_likelihood)
        sums = type(self._components).with_moments(self._tails, moments.sums)
        kind, uniform = self._mixture.kind, self._mixture.uniform
        return replace(moments, sums=sums, kind=kind, uniform=uniform)
