"""Compiled tailed: t components by the loops for Gaussians, which give distances and moments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from daskgmm.kernel import loops
from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Components, Students
from daskgmm.kernel.formulations.compiled import (
    CompiledNatural,
    CompiledWhitened,
    noise_of,
    one_cell,
)
from daskgmm.kernel.formulations.direct import Direct
from daskgmm.kernel.formulations.rounding import FLOAT64
from daskgmm.kernel.formulations.tailed import Tailed, cost_with_tails, gaussian_of
from daskgmm.kernel.fused_arrays import TailSums, WeightedRows, WhitenedSums
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["CompiledTailedNatural", "CompiledTailedWhitened"]

_TAIL_NS = 1.5
"""Measured: what one more logarithm and division take for a component of a row."""


def _tails_of(mixture: Mixture) -> Float64Array:
    """What the loops need of each component: see :class:`daskgmm.kernel.fused_arrays.NaturalArrays`."""
    assert isinstance(mixture.components, Students)
    nu, d = mixture.components.degrees_of_freedom, mixture.n_features
    heights = mixture.log_heights - mixture.log_bound
    return np.stack([heights, 0.5 * (nu + d), 1.0 / nu, (nu + d) / nu, np.log1p(d / nu)], axis=1)


def _finished(
    mixture: Mixture,
    moments: Statistics,
    n_k: Float64Array,
    tails: Float64Array,
    log_density: Float64Array | None,
) -> Statistics:
    """Statistics of t components from moments of Gaussians whose rows count ``r u``.

    The loops measure log densities from ``log_bound``, which is added to their sum, and in place
    to ``log_density``.
    """
    components = mixture.components
    assert isinstance(components, Students)
    if log_density is not None:
        log_density += mixture.log_bound
    others = {"n_k": n_k, "tails": components.completed_tails(n_k, tails)}
    sums = type(components).with_moments(others, moments.sums)
    log_likelihood = moments.log_likelihood + moments.weight * mixture.log_bound
    return replace(
        moments,
        log_likelihood=log_likelihood,
        sums=sums,
        kind=mixture.kind,
        uniform=mixture.uniform,
    )


class CompiledTailedNatural(Tailed):
    """The natural form of the Gaussians under t components, by the compiled loop."""

    name: ClassVar[str] = "compiled tailed natural"

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None:
        super().__init__(mixture, dtype)
        of = CompiledNatural(gaussian_of(mixture), FLOAT64)
        heights = gaussian_of(mixture).log_heights - of.form.offset
        self._form = of.form
        self._arrays = replace(
            of.arrays,
            constant=of.arrays.constant - heights,
            noise=noise_of(mixture, mixture.log_bound, FLOAT64),
            tails=_tails_of(mixture),
        )

    @classmethod
    def cost(cls, law: type[Components], k: int, d: int, dtype: np.dtype[Any]) -> float:
        """Cost of Gaussians and of tails; infinite without loops, or for other components."""
        return cost_with_tails(CompiledNatural.cost, law, k, d, _TAIL_NS)

    def statistics(self, block: Block, log_density: Float64Array | None = None) -> Statistics:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        mixture, k = self.mixture, self.n_components
        n_k, added = np.zeros(k), TailSums(np.zeros(k), np.zeros(k))
        sums = np.zeros(self._arrays.coefficients.shape)
        rows = loops.rows_of(block, log_density)
        cells = one_cell(len(block), k)
        log_likelihood = loops.add_natural(rows, cells, self._arrays, n_k, sums, added)
        n = self._form.quadratic.shape[1]
        products, first = sums[:, :n], sums[:, n:]
        moments = self._form.statistics(block, log_likelihood, added.n_u, first, products)
        return _finished(mixture, moments, n_k, added.tails, log_density)


class CompiledTailedWhitened(Direct):
    """The whitened form of the Gaussians under t components, by the compiled loop."""

    name: ClassVar[str] = "compiled tailed whitened"

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None:
        super().__init__(mixture, dtype)
        self._of = CompiledWhitened(gaussian_of(mixture), FLOAT64)
        self._arrays = replace(
            self._of.arrays,
            heights=np.zeros(mixture.n_components),
            noise=noise_of(mixture, mixture.log_bound, FLOAT64),
            tails=_tails_of(mixture),
        )

    @classmethod
    def cost(cls, law: type[Components], k: int, d: int, dtype: np.dtype[Any]) -> float:
        """See :meth:`CompiledTailedNatural.cost`."""
        return cost_with_tails(CompiledWhitened.cost, law, k, d, _TAIL_NS)

    @classmethod
    def applies(cls, mixture: Mixture, dtype: np.dtype[Any]) -> bool:
        """Whether whitened rows keep their digits."""
        return CompiledWhitened.applies(gaussian_of(mixture), FLOAT64)

    def statistics(self, block: Block, log_density: Float64Array | None = None) -> Statistics:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        mixture, (k, d) = self.mixture, self.mixture.means.shape
        sums, added = WhitenedSums.zero(k, d), TailSums(np.zeros(k), np.zeros(k))
        rows: WeightedRows = loops.rows_of(block, log_density)
        cells = one_cell(len(block), k)
        log_likelihood = loops.add_whitened(rows, cells, self._arrays, sums, added)
        moments = self._of.statistics_of(block, 0.0, sums._replace(n_k=added.n_u))
        moments = replace(moments, log_likelihood=log_likelihood)
        return _finished(mixture, moments, sums.n_k, added.tails, log_density)
