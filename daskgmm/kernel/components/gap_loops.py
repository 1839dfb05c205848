"""Gap loops: sums over rows with gaps of any patterns, by compiled loops.

They take rows as they come. What is the same for all patterns, the precisions, is found here; the
matrices of missing features are inverted in the loop, for each row, or once for many of one pattern.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.fused_arrays import CorrelatedArrays, SeparateArrays, WeightedRows
from daskgmm.kernel.linalg import from_lower
from daskgmm.kernel.loops import partial

if TYPE_CHECKING:
    from daskgmm.kernel.components.completed_variances import AnyPatterns
    from daskgmm.kernel.components.matrices import MatrixGaussians

__all__ = ["CorrelatedLoop", "GapLoop", "SeparateLoop"]


class GapLoop(Protocol):
    """A loop that was made for a mixture. Immutable.

    Attributes
    ----------
    fewest_of_pattern : ndarray of shape (D + 1,)
        Rows of a grain from which on a pattern is worth a pass over its observed features, by how
        many it lacks.
    """

    fewest_of_pattern: Float64Array

    def sums(self, rows: WeightedRows) -> tuple[float, dict[str, Float64Array]]:
        """Log-likelihood of rows, and their expected sums about the means.

        Of each row one or more features are missing, NaN, and not all.
        """
        ...


class CorrelatedLoop:
    """Gaussians whose covariances are matrices."""

    def __init__(self, components: MatrixGaussians, log_weights: Float64Array) -> None:
        precisions = components.precisions
        heights = log_weights + components.log_peaks
        self._shape = precisions.shape
        k, d = components.means.shape
        self.fewest_of_pattern = _fewest_of_pattern(k, d)
        self._arrays = CorrelatedArrays(components.means, precisions.reshape(-1, d, d), heights)

    def sums(self, rows: WeightedRows) -> tuple[float, dict[str, Float64Array]]:
        """See :class:`GapLoop`."""
        means, precisions, _ = self._arrays
        n_k, first, lower = np.zeros(len(means)), np.zeros(means.shape), np.zeros(precisions.shape)
        log_likelihood = partial.add_correlated(rows, self._arrays, n_k, first, lower)
        second = from_lower(lower).reshape(self._shape)
        return log_likelihood, {"n_k": n_k, "first": first, "second": second}


_OF_PATTERN_NS = 4e5
"""Measured: what a pattern takes that is worked on by itself, whatever its rows are."""


def _fewest_of_pattern(k: int, d: int) -> Float64Array:
    """By measurements of a row and component in the loop, and in a pass over observed features."""
    spared: Float64Array = k * (1.5 + 0.8 * np.arange(d, -1.0, -1.0))
    return _OF_PATTERN_NS / spared


class SeparateLoop:
    """Gaussians without correlations, whose means are near to each other for their widths."""

    def __init__(self, filler: AnyPatterns, log_weights: Float64Array) -> None:
        self._filler = filler
        self.fewest_of_pattern = np.full(filler.centre.size + 1, np.inf)  # it takes as long
        precisions = 1.0 / filler.variances
        linear = precisions * filler.shifts
        there = filler.heights - 0.5 * linear * filler.shifts
        coefficients = np.concatenate([-0.5 * precisions, linear, there], axis=1)
        self._arrays = SeparateArrays(filler.centre, coefficients, log_weights)

    def sums(self, rows: WeightedRows) -> tuple[float, dict[str, Float64Array]]:
        """See :class:`GapLoop`."""
        filler, coefficients = self._filler, self._arrays.coefficients
        n_k, sums = np.zeros(len(coefficients)), np.zeros(coefficients.shape)
        log_likelihood = partial.add_separate(rows, self._arrays, n_k, sums)
        squares, z, there = np.split(sums, 3, axis=1)
        first, moments = filler.about_means(n_k, there, z, squares)
        second = filler.components.moments_of(np.zeros(len(n_k)))
        for k, of_features in enumerate(moments):
            filler.components.add_variances(second, k, of_features)
        return log_likelihood, {"n_k": n_k, "first": first, "second": second}
