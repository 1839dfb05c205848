"""Deconvolved matrices: rows with measurement noise, where features or their noise are correlated.

Values are taken one after the other, each as a measurement that updates what is expected of the row
(the scalar updates of a Kalman filter). That neither inverts nor factors a matrix, and digits are
those of a Cholesky factorisation, whether noise is small or large: of noise 0 the variances of values
given those before are its squared pivots.

Where the noise of a row is correlated, what is expected of it stands beside what is expected of the
row, since a value then tells of the noise of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.completed import Expected

if TYPE_CHECKING:
    from daskgmm.kernel.components.gaussian import Gaussians

__all__ = ["DeconvolvedMatrices", "bytes_of_matrices"]


def bytes_of_matrices(n_matrices: int, k: int, d: int, *, is_correlated: bool) -> int:
    """Bytes that each row takes: its matrices, and one more for what changes in them."""
    p = 2 * d if is_correlated else d
    return 8 * ((n_matrices + 1) * p * p + k * (p + 3) + 4 * d)


class DeconvolvedMatrices(Expected):
    """Rows of which each has covariances of its own.

    Parameters
    ----------
    components : Gaussians
    covariances : ndarray of shape (D, D) or (K, D, D)
        One that all components share, or that of each.
    x_t, variances_t : ndarray of shape (D, n)
        Rows, and variances of independent noise: infinite where a value is missing.
    covariances_t : ndarray of shape (D, D, n), optional
        Covariances of correlated noise beside it, 0 in rows and columns of missing values.
    """

    def __init__(
        self,
        components: Gaussians,
        covariances: Float64Array,
        x_t: Float64Array,
        variances_t: Float64Array,
        covariances_t: Float64Array | None = None,
    ) -> None:
        self._components, self._x_t = components, x_t
        k, (d, n) = components.n_components, x_t.shape
        covariances = covariances.reshape(-1, d, d)
        p = d if covariances_t is None else 2 * d
        self._expected, self.log_densities = np.zeros((k, p, n)), np.zeros((k, n))
        self._left, change = np.zeros((len(covariances), p, p, n)), np.empty((p, p, n))
        shares = np.split(np.arange(k), len(covariances))
        for which, covariance, left in zip(shares, covariances, self._left, strict=True):
            left[:d, :d] = covariance[:, :, None]
            if covariances_t is not None:
                left[d:, d:] = covariances_t
            for j, variances in enumerate(variances_t):
                own = slice(j, p, d)  # the value without noise, and its noise
                told = left[:, own].sum(axis=1)
                total = told[own].sum(axis=0) + variances  # given the values before
                gains = told / total
                self._measure(which, j, total, gains)
                np.multiply(gains[:, None], told, out=change)
                left -= change

    def _measure(
        self, which: NDArray[np.intp], j: int, total: Float64Array, gains: Float64Array
    ) -> None:
        """Let values of feature j, of variances (n,), tell some components, by gains (p, n)."""
        is_there = np.isfinite(total)
        height = np.log(2.0 * np.pi * total, where=is_there, out=np.zeros_like(total))
        d = len(self._x_t)
        for k in which:
            rest = self._x_t[j] - self._components.means[k, j] - self._expected[k, j::d].sum(axis=0)
            rest[~is_there] = 0.0
            self._expected[k] += gains * rest
            self.log_densities[k] -= 0.5 * (height + np.square(rest) / total)

    def deviations(self, k: int) -> Float64Array:
        """See :class:`Expected`."""
        found: Float64Array = self._expected[k, : len(self._x_t)]
        return found

    def add_left(self, second: Float64Array, k: int, r: Float64Array) -> None:
        """See :class:`Expected`."""
        d = len(self._x_t)
        total = self._left[min(k, len(self._left) - 1), :d, :d] @ r
        self._components.add_covariance(second, k, 0.5 * (total + total.T))
