"""Spherical: each component has one variance for all features, (K,)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import RidgeLike
from daskgmm.kernel.components.diag import DiagGaussians
from daskgmm.kernel.components.gaussian import Gaussians
from daskgmm.kernel.components.variances import UncorrelatedGaussians
from daskgmm.kernel.linalg import positive_roots

__all__ = ["SphericalGaussians"]

_ISOTROPIC = 1e-6
"""Relative difference of variances, up to which they are one that was scaled and scaled back."""


@dataclass(frozen=True, eq=False)
class SphericalGaussians(UncorrelatedGaussians):
    """K Gaussians, each with one variance for all features."""

    kind: ClassVar[str] = "spherical"
    dimensions: ClassVar[dict[str, tuple[str, ...]]] = {
        "means": ("component", "feature"),
        "covariances": ("component",),
    }
    long_names: ClassVar[dict[str, str]] = {
        "means": "mean of the component",
        "covariances": "variance of the component, the same in all features",
    }
    needs_sum_only: ClassVar[bool] = True

    @classmethod
    def scaled_family(cls) -> type[Gaussians]:
        """Diag: features that are multiplied by different numbers have different variances."""
        return DiagGaussians

    def scaled(self, scale: Float64Array) -> Gaussians:
        """Those of diag."""
        return DiagGaussians(self.means * scale, self.variances() * np.square(scale))

    @classmethod
    def of_scaled(cls, scaled: Gaussians) -> Gaussians:
        """Spherical ones, if the variances of each component are one but for rounding."""
        if isinstance(scaled, DiagGaussians):
            one = scaled.covariances.mean(axis=1)
            if np.allclose(scaled.covariances, one[:, None], rtol=_ISOTROPIC, atol=0):
                return cls(scaled.means, one)
        return scaled

    @classmethod
    def covariance_shape(cls, k: int, d: int) -> tuple[int, ...]:
        """(K,)."""
        return (k,)

    @classmethod
    def count_covariance_parameters(cls, k: int, d: int) -> int:
        """K variances."""
        return k

    @classmethod
    def factored(cls, covariances: Float64Array) -> Float64Array:
        """``1 / sqrt(variance)``."""
        return np.concatenate([1.0 / positive_roots(c[None], k) for k, c in enumerate(covariances)])

    def _covariances_of(self, features: NDArray[np.intp]) -> Float64Array:
        return self.covariances

    def _log_det(self) -> Float64Array:
        total: Float64Array = self.n_features * np.log(self.factors)
        return total

    @classmethod
    def placed(cls, second: Float64Array, observed: NDArray[np.intp], d: int) -> Float64Array:
        """The traces, as they are."""
        return second.copy()

    @classmethod
    def add_variances(cls, second: Float64Array, k: int, moments: Float64Array) -> None:
        """Their sum is that of the one variance."""
        second[k] += moments.sum()

    @classmethod
    def _add_scatter(
        cls, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        second[k] += (np.square(deviations) @ r).sum()

    @classmethod
    def _recentred_second(
        cls, second: Float64Array, n_k: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        moved = (2.0 * first - n_k[:, None] * shift) * shift
        recentred: Float64Array = second - moved.sum(axis=1)
        return recentred

    @classmethod
    def _covariances(
        cls, second: Float64Array, n_k: Float64Array, ridge: RidgeLike, d: int
    ) -> Float64Array:
        variances: Float64Array = second / (n_k * d) + np.mean(ridge)
        return variances

    @classmethod
    def _ridge_moments(cls, n_k: Float64Array, ridge: RidgeLike, d: int) -> Float64Array:
        moments: Float64Array = float(np.mean(ridge)) * d * n_k
        return moments

    @classmethod
    def prior_scatter(cls, scale: Float64Array, k: int) -> Float64Array:
        """The mean of the scatter's diagonal, for each component: of one variance, not of D."""
        return np.full(k, np.diagonal(scale).mean())

    @classmethod
    def prior_rows(cls, dof: float, k: int, d: int) -> float:
        """``(dof + 2) / D``: each row informs the variance D times."""
        return (dof + 2) / d

    def moments_of(self, n_k: Float64Array) -> Float64Array:
        """``D n_k`` times the variance."""
        moments: Float64Array = self.n_features * n_k * self.covariances
        return moments

    @classmethod
    def _from_products(cls, sums: Float64Array, d: int) -> Float64Array:
        return sums[:, 0]

    def _quadratic(self, precisions: Float64Array) -> Float64Array:
        coefficients: Float64Array = -0.5 * precisions[:, None]
        return coefficients

    def covariance_slopes(
        self, roots: Float64Array, t: Float64Array, second: Float64Array, n_k: Float64Array
    ) -> Float64Array:
        """``second / variance - D n_k``."""
        slopes: Float64Array = second / self.moved(roots, t) - self.n_features * n_k
        return slopes

    @classmethod
    def covariance_widths(cls, shares: Float64Array) -> Float64Array:
        """Each variance is informed by its component's rows."""
        widths: Float64Array = np.sqrt(shares)
        return widths
