"""Noise loops: sums over rows with independent measurement noise, by compiled loops.

Of a row of component k, T = V_k + S with the covariance S of its noise, h = inv(T) (x - mu_k). The
value behind it is expected at V_k h, and left with a covariance of V_k - V_k inv(T) V_k. So with
H = sum r (h h^T - inv(T)) of all rows, their second moments are n_k V_k + V_k H V_k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.fused_arrays import MeasuredArrays, WeightedRows
from daskgmm.kernel.linalg import from_lower
from daskgmm.kernel.loops import partial

if TYPE_CHECKING:
    from daskgmm.kernel.components.matrices import MatrixGaussians
    from daskgmm.kernel.components.variances import UncorrelatedGaussians

__all__ = ["CorrelatedNoiseLoop", "NoiseLoop", "SeparateNoiseLoop"]


class NoiseLoop(Protocol):
    """A loop that was made for a mixture. Immutable."""

    def sums(
        self, rows: WeightedRows, noise: Float64Array
    ) -> tuple[float, dict[str, Float64Array]]:
        """Log-likelihood of rows, and expected sums about the means of the values behind them.

        Of rows with variances of noise (n, D); NaN is missing.
        """
        ...


class CorrelatedNoiseLoop:
    """Gaussians whose covariances are matrices."""

    def __init__(self, components: MatrixGaussians, log_weights: Float64Array) -> None:
        self._components = components
        d = components.n_features
        covariances = components.covariances.reshape(-1, d, d)
        self._arrays = MeasuredArrays(components.means, covariances, log_weights)

    def sums(
        self, rows: WeightedRows, noise: Float64Array
    ) -> tuple[float, dict[str, Float64Array]]:
        """See :class:`NoiseLoop`."""
        means, covariances, _ = self._arrays
        n_k, first, lower = np.zeros(len(means)), np.zeros(means.shape), np.zeros(covariances.shape)
        log_likelihood = partial.add_measured(rows, noise, self._arrays, (n_k, first, lower))
        changes = covariances @ from_lower(lower) @ covariances
        second = self._components.moments_of(n_k)
        second += 0.5 * (changes + np.swapaxes(changes, 1, 2)).reshape(second.shape)
        expected = np.matmul(covariances, first[:, :, None])[:, :, 0]
        return log_likelihood, {"n_k": n_k, "first": expected, "second": second}


class SeparateNoiseLoop:
    """Gaussians without correlations."""

    def __init__(self, components: UncorrelatedGaussians, log_weights: Float64Array) -> None:
        self._components = components
        variances = np.ascontiguousarray(components.variances())
        self._arrays = MeasuredArrays(components.means, variances, log_weights)

    def sums(
        self, rows: WeightedRows, noise: Float64Array
    ) -> tuple[float, dict[str, Float64Array]]:
        """See :class:`NoiseLoop`."""
        shape = self._arrays.means.shape
        n_k, first, moments = np.zeros(shape[0]), np.zeros(shape), np.zeros(shape)
        log_likelihood = partial.add_measured(rows, noise, self._arrays, (n_k, first, moments))
        second = self._components.moments_of(np.zeros(len(n_k)))
        for k, of_features in enumerate(moments):
            self._components.add_variances(second, k, of_features)
        return log_likelihood, {"n_k": n_k, "first": first, "second": second}
