"""Deconvolved variances: rows with measurement noise, under Gaussians without correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.completed import Expected

if TYPE_CHECKING:
    from daskgmm.kernel.components.variances import UncorrelatedGaussians

__all__ = ["DeconvolvedVariances"]


class DeconvolvedVariances(Expected):
    """Rows of which each value has a variance of its own."""

    def __init__(
        self, components: UncorrelatedGaussians, x_t: Float64Array, variances_t: Float64Array
    ) -> None:
        self._components, self._variances = components, components.variances()
        is_there = np.isfinite(variances_t)
        self._x_t = np.where(is_there, x_t, 0.0)
        k, (d, n) = components.n_components, x_t.shape
        self._gains, self.log_densities = np.empty((k, d, n)), np.empty((k, n))
        for i, of_values in enumerate(self._variances):
            total = of_values[:, None] + variances_t
            np.divide(of_values[:, None], total, out=self._gains[i])  # 0 where it is missing
            terms = np.square(self._x_t - components.means[i][:, None]) / total
            terms += np.log(2.0 * np.pi * total, where=is_there, out=np.zeros_like(total))
            self.log_densities[i] = -0.5 * terms.sum(axis=0)

    def deviations(self, k: int) -> Float64Array:
        """See :class:`Expected`."""
        found: Float64Array = self._x_t - self._components.means[k][:, None]
        found *= self._gains[k]
        return found

    def add_left(self, second: Float64Array, k: int, r: Float64Array) -> None:
        """See :class:`Expected`."""
        shares = r.sum() - self._gains[k] @ r
        self._components.add_variances(second, k, self._variances[k] * shares)
