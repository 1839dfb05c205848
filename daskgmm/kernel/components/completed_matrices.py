"""Completed matrices: rows with missing features, under Gaussians whose features are correlated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import Sums
from daskgmm.kernel.components.completed import Completed, Filler, inverses_of, scattered
from daskgmm.kernel.patterns import Group, groups

if TYPE_CHECKING:
    from daskgmm.kernel.components.matrices import MatrixGaussians

__all__ = ["MatrixLift", "matrix_fillers", "may_use_precisions"]

_LARGEST_INFLATION = 1e4
"""Largest ``L_jj S_jj = 1 / (1 - R_j^2)``, of a precision L and its covariance S, with which
products with L are taken: they lose as many digits, here four of sixteen, where a feature is nearly
a sum of others."""
_FEW_MISSING = 4
"""Missing features up to which products are made entry by entry, for all rows at once."""


def may_use_precisions(
    components: MatrixGaussians, largest_inflation: float = _LARGEST_INFLATION
) -> bool:
    """Whether products with the precisions keep enough digits."""
    diagonals = np.diagonal(components.precisions, axis1=-2, axis2=-1)
    variances = np.diagonal(components.covariances, axis1=-2, axis2=-1)
    return bool((diagonals * variances).max() <= largest_inflation)


def matrix_fillers(
    components: MatrixGaussians, gaps: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.intp], Filler]]:
    """See :class:`~daskgmm.kernel.components.completed.CompletesRows`."""
    precisions = components.precisions
    n_precisions = 1 if precisions.ndim == 2 else len(precisions)
    for group in groups(gaps, n_precisions, together=may_use_precisions(components)):
        if len(group.missing) == 1:
            yield group.rows, _OnePattern(components, group.missing[0])
        else:
            yield group.rows, _Patterns(components, precisions, group)


class MatrixLift:
    """Lifts sums by regression: ``B S_oo``, and ``B S_oo B^T + n_k Cov[x_m | x_o]``."""

    def __init__(
        self,
        components: MatrixGaussians,
        observed: NDArray[np.intp],
        missing: NDArray[np.intp],
    ) -> None:
        self._observed, self._missing = observed, missing
        self._coefficients, rest = components.regressed(observed, missing)
        self._left = rest.covariances
        self._shape = components.covariances.shape

    def of(self, sums: Sums) -> dict[str, Float64Array]:
        """See :class:`Lift`."""
        o, m = self._observed, self._missing
        n_k, of_observed = sums["n_k"], sums["second"]
        first = np.empty((len(n_k), self._shape[-1]))
        first[:, o] = sums["first"]
        first[:, m] = np.einsum("kmo,ko->km", self._coefficients, sums["first"])
        is_shared = of_observed.ndim == 2
        b = self._coefficients[0] if is_shared else self._coefficients
        rows = n_k.sum() if is_shared else n_k[:, None, None]
        second = np.empty(self._shape)
        crossed = b @ of_observed
        second[..., o[:, None], o] = of_observed
        second[..., m[:, None], o] = crossed
        second[..., o[:, None], m] = np.swapaxes(crossed, -1, -2)
        of_missing = crossed @ np.swapaxes(b, -1, -2) + rows * self._left
        second[..., m[:, None], m] = 0.5 * (of_missing + np.swapaxes(of_missing, -1, -2))
        return {"n_k": n_k, "first": first, "second": second}


class _OnePattern:
    """Rows of one pattern, by the regression of the missing features on the observed ones."""

    def __init__(self, components: MatrixGaussians, missing: NDArray[np.intp]) -> None:
        self.components, self.missing = components, missing
        self.observed = np.setdiff1d(np.arange(components.n_features), missing)
        self.coefficients, self.rest = components.regressed(self.observed, missing)
        self.given = components.marginal(self.observed)

    def completed(self, x_t: Float64Array, span: slice) -> Completed:
        """See :class:`Filler`."""
        return _OfOnePattern(self, x_t[self.observed])


class _OfOnePattern(Completed):
    """A run of the rows of :class:`_OnePattern`."""

    def __init__(self, filler: _OnePattern, x_t: Float64Array) -> None:
        self._filler, self._x_t = filler, x_t
        self.log_densities = filler.given.log_densities(x_t)

    def deviations(self, k: int) -> Float64Array:
        filler = self._filler
        found = np.empty((filler.components.n_features, self._x_t.shape[1]))
        observed = self._x_t - filler.given.means[k][:, None]
        found[filler.observed] = observed
        found[filler.missing] = filler.coefficients[k] @ observed
        return found

    def add_left(self, second: Float64Array, k: int, r: Float64Array) -> None:
        filler = self._filler
        places = np.ix_(filler.missing, filler.missing)
        filler.components.matrix_of(second, k)[places] += r.sum() * filler.rest.dense()[k]

    def coloured(self, k: int, white: Float64Array) -> Float64Array:
        filler, found = self._filler, np.zeros_like(white)
        # The upper triangular root, as _Patterns has it: a row is drawn the same in either class.
        flipped = filler.rest.dense()[k][::-1, ::-1]
        upper = np.linalg.cholesky(flipped)[::-1, ::-1]
        found[filler.missing] = upper @ white[filler.missing]
        return found


class _Patterns:
    """Rows of several patterns that lack as many features, by the precisions."""

    def __init__(self, components: MatrixGaussians, precisions: Float64Array, group: Group) -> None:
        self.components, self.missing, self.which = components, group.missing, group.which
        self.precisions = precisions if precisions.ndim == 3 else precisions[None]
        inverses = [inverses_of(one, group.missing) for one in self.precisions]
        self.roots = [roots for roots, _ in inverses]
        self.left = [np.swapaxes(roots, 1, 2) @ roots for roots, _ in inverses]
        self.log_dets = [log_det for _, log_det in inverses]

    def completed(self, x_t: Float64Array, span: slice) -> Completed:
        """See :class:`Filler`."""
        return _OfPatterns(self, x_t, self.which[span])


class _OfPatterns(Completed):
    """A run of the rows of :class:`_Patterns`."""

    def __init__(self, filler: _Patterns, x_t: Float64Array, which: NDArray[np.intp]) -> None:
        self._filler, self._which = filler, which
        gaps = np.isnan(x_t)
        self._there, self._x_t = (~gaps).astype(np.float64), np.where(gaps, 0.0, x_t)
        self._places = filler.missing[which].T, np.arange(x_t.shape[1])
        components = filler.components
        k, m = components.n_components, filler.missing.shape[1]
        self.log_densities = np.empty((k, x_t.shape[1]))
        self._expected = np.empty((k, *self._places[0].shape))
        for j in range(k):
            i = self._index_of(j)
            deviations = self._observed(j)
            product = filler.precisions[i] @ deviations
            of_missing = product[self._places]
            self._expected[j] = -_multiplied(filler.left[i], which, of_missing)
            distances = np.einsum("dn,dn->n", deviations, product)
            distances += np.einsum("mn,mn->n", self._expected[j], of_missing)
            self.log_densities[j] = -0.5 * (distances + filler.log_dets[i][which])
        peaks = components.log_peaks + 0.5 * m * np.log(2.0 * np.pi)
        self.log_densities += peaks[:, None]

    def _index_of(self, k: int) -> int:
        """Index of component k's precision: all share one, or each has its own."""
        return min(k, len(self._filler.precisions) - 1)

    def _observed(self, k: int) -> Float64Array:
        """Deviations of the observed features, and 0."""
        deviations: Float64Array = self._x_t - self._filler.components.means[k][:, None]
        deviations *= self._there
        return deviations

    def deviations(self, k: int) -> Float64Array:
        found = self._observed(k)
        found[self._places] = self._expected[k]
        return found

    def add_left(self, second: Float64Array, k: int, r: Float64Array) -> None:
        filler, left = self._filler, self._filler.left[self._index_of(k)]
        of_patterns = np.bincount(self._which, r, len(left))
        left = of_patterns[:, None, None] * left
        matrix = filler.components.matrix_of(second, k)
        matrix += scattered(left, filler.missing, len(matrix))

    def coloured(self, k: int, white: Float64Array) -> Float64Array:
        roots, found = self._filler.roots[self._index_of(k)][self._which], np.zeros_like(white)
        of_missing = white[self._places].T[:, :, None]
        found[self._places] = np.matmul(np.swapaxes(roots, 1, 2), of_missing)[:, :, 0].T
        return found


def _multiplied(
    matrices: Float64Array, which: NDArray[np.intp], vectors: Float64Array
) -> Float64Array:
    """``A_p(i) v_i`` of matrices (P, M, M) and vectors (M, n), of which i has the matrix ``which``."""
    m = len(vectors)
    if m > _FEW_MISSING:
        products = np.matmul(matrices[which], vectors.T[:, :, None])[:, :, 0].T
        return np.ascontiguousarray(products)
    found: Float64Array = np.zeros_like(vectors)
    for a in range(m):
        for b in range(m):
            found[a] += matrices[:, a, b][which] * vectors[b]
    return found
