"""Variances: Gaussians without correlations, the base of diag and spherical."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import Run, Sums
from daskgmm.kernel.components.completed import Expected, Filler, Lift
from daskgmm.kernel.components.completed_variances import AnyPatterns, OfClose, VarianceLift
from daskgmm.kernel.components.deconvolved_matrices import DeconvolvedMatrices, bytes_of_matrices
from daskgmm.kernel.components.deconvolved_variances import DeconvolvedVariances
from daskgmm.kernel.components.gap_loops import GapLoop, SeparateLoop
from daskgmm.kernel.components.gaussian import Gaussians
from daskgmm.kernel.components.noise_loops import NoiseLoop, SeparateNoiseLoop

__all__ = ["UncorrelatedGaussians"]


@dataclass(frozen=True, eq=False)
class UncorrelatedGaussians(Gaussians):
    """Gaussians whose covariances are variances, (K, D) or (K,)."""

    fewest_of_pattern: ClassVar[int] = 1024

    @classmethod
    def precisions_of(cls, factors: Float64Array) -> Float64Array:
        """The squares of ``1 / sqrt(variance)``."""
        precisions: Float64Array = np.square(factors)
        return precisions

    def _each(self, values: Float64Array) -> Float64Array:
        """Values (K, D) for each feature, from values of the covariances' shape."""
        columns = values if values.ndim == 2 else values[:, None]
        return np.broadcast_to(columns, self.means.shape)

    def dense(self) -> Float64Array:
        """The covariances as K diagonal matrices, (K, D, D)."""
        matrices: Float64Array = self.variances()[:, :, None] * np.eye(self.n_features)
        return matrices

    def _diagonals(self, matrices: Float64Array) -> Float64Array:
        return self._each(matrices)

    def _whiten(self, k: int, deviations: Float64Array, out: Float64Array) -> None:
        np.multiply(self._each(self.factors)[k][:, None], deviations, out=out)

    def regressed(
        self, observed: NDArray[np.intp], missing: NDArray[np.intp]
    ) -> tuple[Float64Array, Self]:
        """Coefficients of 0, and the missing features as they are."""
        none = np.zeros((self.n_components, len(missing), len(observed)))
        return none, self.marginal(missing)

    def fillers(self, gaps: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], Filler]]:
        """All rows at once: without correlations, missing features are as without the others."""
        yield np.arange(len(gaps)), AnyPatterns(self)

    def deconvolved(
        self,
        x_t: Float64Array,
        variances_t: Float64Array,
        covariances_t: Float64Array | None = None,
    ) -> Expected:
        """Feature by feature, which do not tell of each other unless their noise does."""
        if covariances_t is None:
            return DeconvolvedVariances(self, x_t, variances_t)
        return DeconvolvedMatrices(self, self.dense(), x_t, variances_t, covariances_t)

    def noise_loop(self, log_weights: Float64Array) -> NoiseLoop | None:
        """Of features one by one; not of variances of 0, of which single rows have no density."""
        is_wide = bool(self.covariances.min() > 0.0)
        return SeparateNoiseLoop(self, log_weights) if is_wide else None

    @classmethod
    def deconvolved_bytes(cls, k: int, d: int, *, is_correlated: bool) -> int:
        """What each component makes of each value, or of each pair of values."""
        if is_correlated:
            return bytes_of_matrices(k, k, d, is_correlated=True)
        return 8 * (k * (d + 3) + 4 * d)

    @classmethod
    def add_covariance(cls, second: Float64Array, k: int, matrix: Float64Array) -> None:
        """Add its diagonal, in place."""
        cls.add_variances(second, k, np.diagonal(matrix))

    def add_rows(self, sums: Sums, expected: Expected, resp: Float64Array) -> None:
        """As that of all, by products over all components at once where digits allow it."""
        if not isinstance(expected, OfClose):
            super().add_rows(sums, expected, resp)
            return
        first, moments = expected.moments(resp)
        sums["n_k"][...] += resp.sum(axis=1)
        sums["first"][...] += first
        for k, of_features in enumerate(moments):
            self.add_variances(sums["second"], k, of_features)

    def gap_loop(self, log_weights: Float64Array) -> GapLoop | None:
        """Of features one by one, where means are near to each other for their widths."""
        filler = AnyPatterns(self)
        return SeparateLoop(filler, log_weights) if filler.are_close else None

    def lift(self, observed: NDArray[np.intp], missing: NDArray[np.intp]) -> Lift:
        """Missing features have their variances, and deviate by 0."""
        return VarianceLift(self, observed, missing)

    @classmethod
    @abstractmethod
    def placed(cls, second: Float64Array, observed: NDArray[np.intp], d: int) -> Float64Array:
        """Second moments of observed features as those of all D, in which others have none."""

    @classmethod
    @abstractmethod
    def add_variances(cls, second: Float64Array, k: int, moments: Float64Array) -> None:
        """Add second moments (D,) of single features to those of component k, in place."""

    def _coloured(self, k: int, white: Float64Array) -> Float64Array:
        coloured: Float64Array = white * np.sqrt(self.variances()[k])
        return coloured

    # -- the natural form: one product for each feature ------------------------------

    @classmethod
    def product_runs(cls, d: int) -> tuple[Run, ...]:
        """The squares of the features."""
        return ((slice(0, d), slice(0, d)),)

    @classmethod
    def _rescaled(cls, matrices: Float64Array, scale: Float64Array) -> Float64Array:
        rescaled: Float64Array = matrices * np.square(scale)
        return rescaled

    def _multiplied(self, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
        products: Float64Array = self._each(matrices) * vectors
        return products

    # -- tangent coordinates -----------------------------------------------------------

    def roots(self) -> Float64Array:
        """Standard deviations."""
        roots: Float64Array = np.sqrt(self.covariances)
        return roots

    def times(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k v_k``."""
        product: Float64Array = self._each(roots) * vectors
        return product

    def solved(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k^-1 v_k``."""
        quotient: Float64Array = vectors / self._each(roots)
        return quotient

    def times_transposed(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k^T v_k``."""
        return self.times(roots, vectors)

    @classmethod
    def moved(cls, roots: Float64Array, t: Float64Array) -> Float64Array:
        """``(R exp(t))^2``, with R standard deviations."""
        variances: Float64Array = np.square(roots * np.exp(t))
        return variances

    @classmethod
    def between(cls, roots: Float64Array, covariances: Float64Array) -> Float64Array:
        """Inverse of :meth:`moved`."""
        t: Float64Array = np.log(np.sqrt(covariances) / roots)
        return t
