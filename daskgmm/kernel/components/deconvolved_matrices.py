"""Deconvolved matrices: rows with measurement noise, under Gaussians of correlated features.

The noise of single values is independent. So values are taken one after the other, each as a
measurement that updates what is expected of the row (the scalar updates of a Kalman filter). That
neither inverts nor factors a matrix, and digits are those of a Cholesky factorisation, whether noise
is small or large: of noise 0 the variances of values given those before are its squared pivots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.completed import Expected

if TYPE_CHECKING:
    from daskgmm.kernel.components.matrices import MatrixGaussians

__all__ = ["DeconvolvedMatrices"]


class DeconvolvedMatrices(Expected):
    """Rows of which each has covariances of its own."""

    def __init__(
        self, components: MatrixGaussians, x_t: Float64Array, noise_t: Float64Array
    ) -> None:
        self._components = components
        k, (d, n) = components.n_components, x_t.shape
        covariances = components.covariances.reshape(-1, d, d)
        self._expected, self.log_densities = np.zeros((k, d, n)), np.zeros((k, n))
        self._left = np.empty((len(covariances), d, d, n))
        change = np.empty((d, d, n))
        # All components share one covariance, or each has its own.
        shares = np.split(np.arange(k), len(covariances))
        for which, covariance, left in zip(shares, covariances, self._left, strict=True):
            left[...] = covariance[:, :, None]
            for j, noise in enumerate(noise_t):
                variance = left[j, j] + noise  # of the value given those before
                gains = left[:, j] / variance
                self._measure(which, gains, variance, x_t[j], j)
                np.multiply(gains[:, None], left[j], out=change)
                left -= change

    def _measure(
        self,
        which: np.ndarray,
        gains: Float64Array,
        variance: Float64Array,
        values: Float64Array,
        j: int,
    ) -> None:
        """Let values (n,) of feature j tell some components of all features, by gains (D, n)."""
        is_there = np.isfinite(variance)
        height = np.log(2.0 * np.pi * variance, where=is_there, out=np.zeros_like(variance))
        for k in which:
            rest = values - self._components.means[k, j] - self._expected[k, j]
            rest[~is_there] = 0.0
            self._expected[k] += gains * rest
            self.log_densities[k] -= 0.5 * (height + np.square(rest) / variance)

    def deviations(self, k: int) -> Float64Array:
        """See :class:`Expected`."""
        found: Float64Array = self._expected[k]
        return found

    def add_left(self, second: Float64Array, k: int, r: Float64Array) -> None:
        """See :class:`Expected`."""
        total = self._left[min(k, len(self._left) - 1)] @ r
        matrix = self._components.matrix_of(second, k)
        matrix += 0.5 * (total + total.T)
