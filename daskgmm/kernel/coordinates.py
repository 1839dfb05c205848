"""Coordinates: mixtures near a mixture as vectors, any of which is a mixture.

Means move in units of their component's own widths, covariances by a triangular factor
with a logarithmic diagonal, weights by their logarithms; so the coordinates do not
depend on units, and no step leaves the mixtures. Each is scaled by the square root of
the share of rows that tells of it: the information of a row is then about the
identity, and the length of a step means the same in every direction.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, special

from daskgmm.kernel.families.base import Float64Array
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["Coordinates"]

_LEAST_WEIGHT = 1e-12
"""Weights below count as this, so that what is divided by their root stays finite."""


class Coordinates:
    """Coordinates about a mixture, which lies at 0.

    A vector holds the logarithms of K weights, up to a constant; K means of D numbers;
    and as many numbers as the covariances have, of which the upper triangle of a
    matrix counts for nothing.

    Parameters
    ----------
    origin : Mixture
        Raises :class:`numpy.linalg.LinAlgError` if a covariance has no Cholesky factor.
    """

    def __init__(self, origin: Mixture) -> None:
        self.origin = origin
        k, d = self._shape = origin.means.shape
        self._roots = origin.family.roots(origin.covariances)
        self._matrices = origin.family.dense(origin.covariances, k, d)
        self._frames = np.linalg.cholesky(self._matrices)
        shares = np.maximum(origin.weights, _LEAST_WEIGHT)
        self._log_weights = np.log(shares)
        widths = np.broadcast_to(origin.family.widths(shares), origin.covariances.shape)
        self.widths: Float64Array = np.concatenate(
            [np.sqrt(shares), np.repeat(np.sqrt(shares), d), widths.ravel()]
        )

    @property
    def size(self) -> int:
        """Numbers of a vector."""
        return len(self.widths)

    def _split(self, u: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        k, d = self._shape
        logs, means, t = np.split(u, [k, k + k * d])
        return logs, means.reshape(k, d), t.reshape(self.origin.covariances.shape)

    def mixture(self, u: Float64Array) -> Mixture:
        """The mixture at a vector of shape (size,)."""
        logs, m, t = self._split(u / self.widths)
        return Mixture(
            special.softmax(self._log_weights + logs),
            self.origin.means + np.einsum("kij,kj->ki", self._frames, m),
            self.origin.family.move(self._roots, t),
            self.origin.covariance_type,
        )

    def vector(self, mixture: Mixture) -> Float64Array:
        """Inverse of :meth:`mixture`, its weights' logarithms with their own constant."""
        logs = np.log(np.maximum(mixture.weights, _LEAST_WEIGHT)) - self._log_weights
        shift = mixture.means - self.origin.means
        m = np.stack(
            [
                linalg.solve_triangular(a, b, lower=True)
                for a, b in zip(self._frames, shift, strict=True)
            ]
        )
        t = self.origin.family.between(self._roots, mixture.covariances)
        vector: Float64Array = np.concatenate([logs, m.ravel(), t.ravel()]) * self.widths
        return vector

    def gradient(self, u: Float64Array, mixture: Mixture, statistics: Statistics) -> Float64Array:
        """Derivatives of the mean log-likelihood per row, in nats, at a vector.

        Parameters
        ----------
        u : array of shape (size,)
        mixture : Mixture
            At ``u``, by :meth:`mixture`.
        statistics : Statistics
            Of rows under that mixture. Their second moments may have been added to.
        """
        found = statistics.recentre(mixture.means)
        _, _, t = self._split(u / self.widths)
        _, d = self._shape
        # By Fisher's identity: the derivatives of the expected complete log-likelihood.
        pulls = mixture.family.multiply(mixture.family.precisions(mixture.factors), found.first)
        slopes = np.concatenate(
            [
                found.n_k - found.n_rows * mixture.weights,
                np.einsum("kji,kj->ki", self._frames, pulls).ravel(),
                mixture.family.slopes(self._roots, t, found.second, found.n_k, d).ravel(),
            ]
        )
        gradient: Float64Array = slopes / (self.widths * found.n_rows)
        return gradient
