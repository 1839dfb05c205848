"""Coordinates: vectors that stand for mixtures near a given mixture.

Components have the coordinates of their kind (see
:class:`~daskgmm.kernel.components.base.Tangent`), and weights have their logarithms. So every
vector is a valid mixture, and coordinates do not depend on units. Each coordinate is scaled by
the square root of the share of rows that inform it: the information of a row is then about the
identity matrix, and a step of a given length changes the likelihood alike in every direction.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import HasTangent
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.noise import Noise
from daskgmm.kernel.statistics import Statistics

__all__ = ["Coordinates"]

_LEAST_WEIGHT = 1e-12
"""Smallest weight in the scaling, so that no coordinate is divided by 0."""


def _all_weights(mixture: Mixture) -> Float64Array:
    """Weights of the components, and of noise after them, none of which is 0."""
    weights = mixture.weights
    if mixture.noise is not None:
        weights = np.append(weights, mixture.noise.weight)
    return np.maximum(weights, _LEAST_WEIGHT)


class Coordinates:
    """Coordinates about a mixture, which lies at 0.

    A vector holds the logarithms of K weights, and of that of noise where there is any, up to a
    constant, and the coordinates of the components.

    Parameters
    ----------
    origin : Mixture
        Its components must have tangent coordinates.

    Raises
    ------
    TypeError
        If the components have no tangent coordinates.
    numpy.linalg.LinAlgError
        If a covariance has no Cholesky factor.
    """

    def __init__(self, origin: Mixture) -> None:
        if not isinstance(origin.components, HasTangent):
            raise TypeError(f"{origin.kind} components have no tangent coordinates")
        self.origin = origin
        shares = _all_weights(origin)
        self._log_weights = np.log(shares)
        self._tangent = origin.components.tangent(shares[: origin.n_components])
        self.widths: Float64Array = np.concatenate([np.sqrt(shares), self._tangent.widths])

    @property
    def size(self) -> int:
        """Length of a vector."""
        return len(self.widths)

    def _split(self, u: Float64Array) -> tuple[Float64Array, Float64Array]:
        logs, t = np.split(u / self.widths, [len(self._log_weights)])
        return logs, t

    def mixture(self, u: Float64Array) -> Mixture:
        """The mixture at a vector of shape (size,)."""
        logs, t = self._split(u)
        weights = special.softmax(self._log_weights + logs)
        noise, k = self.origin.noise, self.origin.n_components
        if noise is not None:
            noise = Noise(float(weights[k]), noise.uniform)
        return Mixture(weights[:k], self._tangent.components(t), noise)

    def vector(self, mixture: Mixture) -> Float64Array:
        """Vector of a mixture: the inverse of :meth:`mixture`, whose weights are normalised."""
        logs = np.log(_all_weights(mixture)) - self._log_weights
        t = self._tangent.vector(mixture.components)
        vector: Float64Array = np.concatenate([logs, t]) * self.widths
        return vector

    def gradient(self, u: Float64Array, mixture: Mixture, statistics: Statistics) -> Float64Array:
        """Gradient of the log-likelihood per row, in nats, at a vector; of shape (size,).

        Parameters
        ----------
        u : array of shape (size,)
        mixture : Mixture
            The mixture at ``u``.
        statistics : Statistics
            Statistics of rows under that mixture, to which a prior may have added.
        """
        found = statistics.recentre(mixture.means)
        _, t = self._split(u)
        # By Fisher's identity: the derivatives of the expected complete log-likelihood.
        of_weights = [found.n_k - found.weight * mixture.weights]
        if mixture.noise is not None:
            of_weights.append(np.array([found.n_noise - found.weight * mixture.noise.weight]))
        of_components = self._tangent.slopes(t, mixture.components, found.sums)
        slopes = np.concatenate([*of_weights, of_components])
        gradient: Float64Array = slopes / (self.widths * found.weight)
        return gradient
