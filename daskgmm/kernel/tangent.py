"""Coordinates: vectors that stand for mixtures near a given mixture.

Components have the coordinates of their kind (see
:class:`~daskgmm.kernel.components.base.Tangent`), and weights have their logarithms. So every
vector is a valid mixture, and coordinates do not depend on units. Each coordinate is scaled by
the square root of the share of rows that inform it: the information of a row is then about the
identity matrix, and a step of a given length changes the likelihood alike in every direction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import HasTangent
from daskgmm.kernel.fixed import NOTHING_FIXED, Fixed
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
    fixed : Fixed
        Parts that the origin has and no vector moves: their coordinates are 0.

    Raises
    ------
    TypeError
        If the components have no tangent coordinates.
    numpy.linalg.LinAlgError
        If a covariance has no Cholesky factor.
    """

    def __init__(self, origin: Mixture, fixed: Fixed = NOTHING_FIXED) -> None:
        if not isinstance(origin.components, HasTangent):
            raise TypeError(f"{origin.kind} components have no tangent coordinates")
        self.origin, self._fixed = origin, fixed
        shares = _all_weights(origin)
        self._log_weights = np.log(shares)
        self._tangent = origin.components.tangent(shares[: origin.n_components])
        self.widths: Float64Array = np.concatenate([np.sqrt(shares), self._tangent.widths])
        self._free_weights = fixed.free_weights(origin)
        self._moving: NDArray[np.bool_] | None = None
        if not fixed.is_nothing:
            of_components = self._tangent.moving(*fixed.free_components(origin))
            self._moving = np.concatenate([self._free_weights, of_components])

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
        return self._fixed.put_into(Mixture(weights[:k], self._tangent.components(t), noise))

    def vector(self, mixture: Mixture) -> Float64Array:
        """Vector of a mixture: the inverse of :meth:`mixture`, whose weights are normalised."""
        logs = np.log(_all_weights(mixture)) - self._log_weights
        t = self._tangent.vector(mixture.components)
        return self._within(np.concatenate([logs, t]) * self.widths)

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
        counts, weights = found.n_k, mixture.weights
        if mixture.noise is not None:
            counts = np.append(counts, found.n_noise)
            weights = np.append(weights, mixture.noise.weight)
        of_components = self._tangent.slopes(t, mixture.components, found.sums)
        slopes = np.concatenate(
            [
                counts - self._rows_for_weights(found.weight, counts, weights) * weights,
                of_components,
            ]
        )
        return self._within(slopes / (self.widths * found.weight))

    def _rows_for_weights(
        self, weight: float, counts: Float64Array, weights: Float64Array
    ) -> float:
        """Rows of the free weights, over their sum: all rows where no weight is fixed."""
        free = self._free_weights
        if free.all() or not free.any():
            return weight
        return float(counts[free].sum() / weights[free].sum())

    def _within(self, vector: Float64Array) -> Float64Array:
        """The vector with 0 in place of what does not move."""
        return vector if self._moving is None else np.where(self._moving, vector, 0.0)
