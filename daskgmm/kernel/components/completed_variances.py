"""Completed variances: rows with missing features, under Gaussians without correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import Sums
from daskgmm.kernel.components.completed import Completed

if TYPE_CHECKING:
    from daskgmm.kernel.components.variances import UncorrelatedGaussians

__all__ = ["AnyPatterns", "OfClose", "VarianceLift"]

_FARTHEST = 1e4
"""Largest squared distance of a mean to the centre, in variances: four digits of sixteen cancel."""


class VarianceLift:
    """Lifts sums: missing features deviate by 0, and have their variances."""

    def __init__(
        self,
        components: UncorrelatedGaussians,
        observed: NDArray[np.intp],
        missing: NDArray[np.intp],
    ) -> None:
        self._components, self._observed = components, observed
        self._left = np.zeros((components.n_components, components.n_features))
        self._left[:, missing] = components.variances()[:, missing]

    def of(self, sums: Sums) -> dict[str, Float64Array]:
        """See :class:`~daskgmm.kernel.components.completed.Lift`."""
        n_k, first = sums["n_k"], np.zeros_like(self._left)
        first[:, self._observed] = sums["first"]
        second = self._components.placed(sums["second"], self._observed, first.shape[1])
        for k, n in enumerate(n_k):
            self._components.add_variances(second, k, n * self._left[k])
        return {"n_k": n_k, "first": first, "second": second}


class AnyPatterns:
    """Completes rows of any patterns."""

    def __init__(self, components: UncorrelatedGaussians) -> None:
        self.components = components
        self.variances = components.variances()
        self.heights = -0.5 * np.log(2.0 * np.pi * self.variances)
        self.centre = components.means.mean(axis=0)
        self.shifts = components.means - self.centre
        distances = np.square(self.shifts) / self.variances
        self.are_close = bool(distances.max() <= _FARTHEST)

    def about_means(
        self, n_k: Float64Array, there: Float64Array, z: Float64Array, squares: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """First and second expected moments of each feature about the means, each (K, D).

        From sums (K,) of responsibilities, and sums (K, D) over observed features of these, and of
        these times z and its square.
        """
        first = z - self.shifts * there
        second = squares - self.shifts * (z + first)
        second += self.variances * (n_k[:, None] - there)
        return first, second

    def completed(self, x_t: Float64Array, span: slice) -> Completed:
        """See :class:`~daskgmm.kernel.components.completed.Filler`."""
        return OfClose(self, x_t) if self.are_close else _OfAny(self, x_t)


class _OfAny(Completed):
    """Rows of any patterns, whose deviations from each mean are found first."""

    def __init__(self, filler: AnyPatterns, x_t: Float64Array) -> None:
        self._filler, gaps = filler, np.isnan(x_t)
        self._there, self._x_t = (~gaps).astype(np.float64), np.where(gaps, 0.0, x_t)
        self.log_densities = self._heights()

    def _heights(self) -> Float64Array:
        found: Float64Array = self._filler.heights @ self._there
        for k, variances in enumerate(self._filler.variances):
            found[k] -= 0.5 * (np.square(self.deviations(k)).T @ (1.0 / variances))
        return found

    def deviations(self, k: int) -> Float64Array:
        found: Float64Array = self._x_t - self._filler.components.means[k][:, None]
        found *= self._there
        return found

    def add_left(self, second: Float64Array, k: int, r: Float64Array) -> None:
        missing = r.sum() - self._there @ r
        self._filler.components.add_variances(second, k, self._filler.variances[k] * missing)

    def coloured(self, k: int, white: Float64Array) -> Float64Array:
        deviations = np.sqrt(self._filler.variances[k])[:, None] * white
        return np.where(self._there > 0, 0.0, deviations)


class OfClose(_OfAny):
    """Rows under components whose means are near to each other for their widths.

    Sums of z = x - centre and of its squares then lose no digits, and serve all components.
    """

    def _heights(self) -> Float64Array:
        filler = self._filler
        self._z = (self._x_t - filler.centre[:, None]) * self._there
        self._squares = np.square(self._z)
        precisions = 1.0 / filler.variances
        linear = precisions * filler.shifts
        found: Float64Array = (filler.heights - 0.5 * linear * filler.shifts) @ self._there
        found += linear @ self._z
        found -= 0.5 * (precisions @ self._squares)
        return found

    def moments(self, resp: Float64Array) -> tuple[Float64Array, Float64Array]:
        """First and second expected moments of each feature about the means, each (K, D)."""
        there, z, squares = resp @ self._there.T, resp @ self._z.T, resp @ self._squares.T
        return self._filler.about_means(resp.sum(axis=1), there, z, squares)
