"""Natural: all components at once, in the exponential family's natural form.

With z = (x - c) / s, a log density is linear in the products of z:

    log w_k + log N(x | mu_k, Sigma_k) = a_k + b_k . z + q_k . products(z),

so that a sub-block costs one matrix product, (K, P) by (P, n), for the densities,
and one, (P, n) by (n, K), for all the statistics: 4 P K flops a row at the speed of
GEMM, P being D(D+3)/2 for full covariances. Nothing is free: q_k . products(z) is a
sum of terms that can be much larger than what remains of it. Their size against the
rounding error decides whether this form is used at all.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from daskgmm.kernel.families.base import Float64Array, Run
from daskgmm.kernel.formulations.sub_blocked import SubBlocked
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics
from daskgmm.kernel.sub_blocks import TILE_PRODUCTS

__all__ = ["LARGEST_ERROR", "Natural", "coordinates", "n_products"]

LARGEST_ERROR = 1e-11
"""What a log density of a typical row may be off by, in nats."""


class Natural(SubBlocked):
    """Densities and statistics as two matrix products over the products of features."""

    name: ClassVar[str] = "natural"

    def __init__(self, mixture: Mixture) -> None:
        k, d = mixture.n_components, mixture.n_features
        family = mixture.family
        self.mixture = mixture
        self._centre, self._scale = coordinates(mixture)
        precisions = family.rescale(family.precisions(mixture.factors), self._scale)
        means = (mixture.means - self._centre) / self._scale
        self._quadratic = family.quadratic(precisions, k, d)
        self._linear = family.multiply(precisions, means)
        heights = mixture.log_heights
        self.offset = float(heights.max())
        half_square = 0.5 * np.einsum("kd,kd->k", means, self._linear)
        self._constant = (heights - self.offset - half_square)[:, None]
        self._tiles = _tiles(family.runs(d))
        self._n_k = np.zeros(k)
        self._first = np.zeros((d, k))
        self._second = np.zeros((self._quadratic.shape[1], k))
        self._n = -1

    @classmethod
    def cost(cls, mixture: Mixture) -> float:
        """Fitted to measurements: building a product, and using it K times twice.

        Infinite where the rounding error of a typical row's log density would show:
        with z of unit variance its terms add up to about ``sum_ij |A_ij|``, A a
        component's precision.
        """
        family = mixture.family
        k, d = mixture.n_components, mixture.n_features
        _, scale = coordinates(mixture)
        precisions = family.rescale(family.precisions(mixture.factors), scale)
        size = 2.0 * np.abs(family.quadratic(precisions, k, d)).sum(axis=1).max()
        if not size * np.finfo(np.float64).eps <= LARGEST_ERROR:
            return np.inf
        p = n_products(family.runs(d)) + d
        return p * (1.1 + 0.1 * k)

    def joint(self, x_t: Float64Array) -> Float64Array:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        self._allocate(x_t.shape[1])
        np.subtract(x_t, self._centre[:, None], out=self._z)
        np.divide(self._z, self._scale[:, None], out=self._z)
        joint, begin = self._joint, 0
        np.matmul(self._linear, self._z, out=joint)
        joint += self._constant
        for runs in self._tiles:
            products = self._fill(runs)
            end = begin + len(products)
            np.matmul(self._quadratic[:, begin:end], products, out=self._term)
            joint += self._term
            begin = end
        return joint

    def add(self, resp: Float64Array) -> None:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        self._n_k += resp.sum(axis=1)
        self._first += self._z @ resp.T
        begin = 0
        for runs in self._tiles:
            # A single tile still holds what joint() filled in.
            products = self._products if len(self._tiles) == 1 else self._fill(runs)
            end = begin + len(products)
            self._second[begin:end] += products @ resp.T
            begin = end

    def _fill(self, runs: tuple[Run, ...]) -> Float64Array:
        """Products of the rows at hand, in scratch."""
        row = 0
        for first, second in runs:
            n_rows = second.stop - second.start
            out = self._products[row : row + n_rows]
            np.multiply(self._z[first], self._z[second], out=out)
            row += n_rows
        return self._products[:row]

    def statistics(self, n_rows: int, log_likelihood: float) -> Statistics:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        mixture, family = self.mixture, self.mixture.family
        second = family.from_products(self._second.T, mixture.n_features)
        about_centre = Statistics(
            n_rows,
            log_likelihood,
            self._n_k,
            self._first.T * self._scale,
            family.rescale(second, self._scale),
            np.broadcast_to(self._centre, mixture.means.shape),
            mixture.covariance_type,
        )
        return about_centre.recentre(mixture.means)

    def _allocate(self, n: int) -> None:
        if n == self._n:
            return
        k, d = self.mixture.means.shape
        self._n = n
        self._z = np.empty((d, n))
        self._joint, self._term = np.empty((k, n)), np.empty((k, n))
        self._products = np.empty((max(n_products(runs) for runs in self._tiles), n))


def n_products(runs: tuple[Run, ...]) -> int:
    """P, how many products the runs have."""
    return sum(second.stop - second.start for _, second in runs)


def _tiles(runs: tuple[Run, ...]) -> tuple[tuple[Run, ...], ...]:
    """Runs in groups of few enough products to stay in cache."""
    tiles: list[tuple[Run, ...]] = [()]
    for run in runs:
        if tiles[-1] and n_products((*tiles[-1], run)) > TILE_PRODUCTS:
            tiles.append(())
        tiles[-1] = (*tiles[-1], run)
    return tuple(tiles)


def coordinates(mixture: Mixture) -> tuple[Float64Array, Float64Array]:
    """Mean (D,) and standard deviation of the mixture as a whole: z has about unit variance.

    The standard deviation has shape (D,), or (1,) where the family allows one scale.
    """
    centre = mixture.weights @ mixture.means
    variances = mixture.family.variances(mixture.covariances, *mixture.means.shape)
    spread = mixture.weights @ (variances + np.square(mixture.means - centre))
    if not mixture.family.scale_equivariant:
        spread = spread.mean(keepdims=True)
    return centre, np.sqrt(spread)
