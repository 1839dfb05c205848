"""Compiled: forms fused into one loop over the rows, compiled when the package was built.

Products, densities and responsibilities of a short run of rows never leave the first
caches, in loops that hold a tile of both factors in registers. The interpreter lock is
released for the whole block, so that threads scale better than with many short NumPy
calls. The NumPy formulations are the reference, and are used where
no loops were built.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import loops
from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Components, HasNaturalForm, WhitensEach
from daskgmm.kernel.formulations.direct import Direct
from daskgmm.kernel.formulations.natural import (
    Natural,
    NaturalForm,
    coordinates,
    n_products,
    n_products_and_terms,
)
from daskgmm.kernel.formulations.rounding import FLOAT32, FLOAT64, keeps_digits
from daskgmm.kernel.fused_arrays import (
    Cells,
    NaturalArrays,
    WhitenedArrays,
    WhitenedSums,
)
from daskgmm.kernel.linalg import from_lower
from daskgmm.kernel.linear_sums import LinearSums
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["CompiledNatural", "CompiledWhitened", "noise_of", "one_cell"]

_ROW_NS, _COMPONENT_NS = 0.6, 1.5
"""Measured: to load a feature; to exponentiate and normalise a component of a row."""


class CompiledNatural(Natural):
    """The natural form: for many components, or few features."""

    name: ClassVar[str] = "compiled natural"
    dtypes: ClassVar[tuple[np.dtype[Any], ...]] = (FLOAT32, FLOAT64)

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any], scatter_known: bool = False) -> None:
        super().__init__(mixture, dtype, scatter_known)
        form, d = self.form, mixture.n_features
        n = n_products(form.runs)
        first_of, second_of = _factors_of_products(form.law, d)
        self._coefficients = np.concatenate([form.quadratic, form.linear], axis=1)
        self.arrays = NaturalArrays(
            form.centre,
            np.ones(d) / form.scale,
            first_of[:n],
            second_of[:n],
            self._coefficients,
            form.constant,
            noise_of(mixture, form.offset, dtype),
        )
        self._lost = self._lost_by_rounding(mixture, scatter_known) if dtype != FLOAT64 else None
        self._dtype = dtype

    @classmethod
    def cost(
        cls,
        law: type[Components],
        k: int,
        d: int,
        dtype: np.dtype[Any],
        scatter_known: bool = False,
    ) -> float:
        """Fitted to measurements; infinite without loops, and where Natural's is.

        A product costs more to make where a tile of them exceeds the second cache.
        """
        if loops.VARIANT is None or not issubclass(law, HasNaturalForm):
            return np.inf
        made, used = (0, 0) if scatter_known else n_products_and_terms(law, d)
        made_ns = 0.2 if used + d <= _PRODUCTS_IN_CACHE else 0.6
        cost = _ROW_NS * d + _COMPONENT_NS * k + made_ns * (made + d) + 0.08 * k * (used + d)
        return cost * dtype.itemsize / 8

    def statistics(self, block: Block, log_density: Float64Array | None = None) -> Statistics:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        cells = one_cell(len(block), self.n_components)
        return self.statistics_by_cell(block, cells, log_density)

    def statistics_by_cell(
        self, block: Block, cells: Cells, log_density: Float64Array | None = None
    ) -> Statistics:
        """Statistics of a block in the order of cells, each with its own candidates."""
        log_likelihood, n_k, sums = self._sums(block, cells, log_density)
        n = self.form.quadratic.shape[1]
        products, first = sums[:, :n], sums[:, n:]  # np.split takes longer than all of these
        return self.form.statistics(block, log_likelihood, n_k, first, products)

    def linear_sums(self, block: Block) -> LinearSums:
        """See :meth:`Natural.linear_sums`."""
        found = self._sums(block, one_cell(len(block), self.n_components))
        return self.form.linear_sums(block, *found)

    def _sums(
        self, block: Block, cells: Cells, log_density: Float64Array | None = None
    ) -> tuple[float, Float64Array, Float64Array]:
        """Log-likelihood, ``n_k`` (K,), and sums (K, P + D) of products and z by responsibility."""
        form = self.form
        n_k = np.zeros(self.n_components)
        sums = np.zeros(self._coefficients.shape)
        rows = loops.rows_of(block, log_density)
        log_likelihood = loops.add_natural(rows, cells, self.arrays, n_k, sums)
        if log_density is not None:
            log_density += form.offset
        if self._lost is not None:
            of_one, of_sums, of_noise = self._lost
            lost = of_one @ n_k + np.vdot(of_sums, sums)
            log_likelihood += float(lost) + of_noise * (block.total_weight - n_k.sum())
        return log_likelihood + block.total_weight * form.offset, n_k, sums

    def _lost_by_rounding(
        self, mixture: Mixture, scatter_known: bool
    ) -> tuple[Float64Array, Float64Array, float]:
        """Coefficients (K,), (K, P + D) of n_k and sums, and of noise, in a correction.

        It corrects the log-likelihood for the rounding of the coefficients to first order: its error
        is the same for every row and would not average out.
        """
        form, exact = self.form, NaturalForm.of(mixture, FLOAT64, scatter_known)
        present = mixture.weights > 0
        of_one = np.subtract(
            exact.constant, form.constant, out=np.zeros(len(present)), where=present
        )
        of_sums = np.concatenate([exact.quadratic, exact.linear], axis=1) - self._coefficients
        return of_one, of_sums, _lost_noise(mixture, self.arrays.noise, form.offset)

    def log_densities(self, x: NDArray[Any]) -> Float64Array:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        if self._dtype != FLOAT64:  # the loop works in float64 only
            return super().log_densities(x)
        found = np.empty(len(x))
        loops.find_log_densities(loops.rows_as_compiled(x), self.arrays, found)
        found += self.form.offset
        return found


_PRODUCTS_IN_CACHE = 1024


@lru_cache(maxsize=8)
def _factors_of_products(law: type[HasNaturalForm], d: int) -> list[NDArray[np.int64]]:
    """Features that are the first and the second factor of each product, two arrays (P,)."""
    features = np.arange(d)
    runs = law.product_runs(d)
    pairs = [np.broadcast_arrays(features[first], features[second]) for first, second in runs]
    return [np.concatenate(factors) for factors in zip(*pairs, strict=True)]


_Lost = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""Coefficients (K,), (K, D) and (K, D, D) of n_k, first and second moments in a correction."""


class CompiledWhitened(Direct):
    """The whitened form in the mixture's coordinates: for many features, few components.

    ``y = F z + f`` with ``F = P^T S`` and ``f = -F m``, m the mean in z: what rounding
    leaves of it grows with the distance of a component in its own widths, where the
    natural form's grows with the distance's square. Moments are taken about the means.
    """

    name: ClassVar[str] = "compiled whitened"
    dtypes: ClassVar[tuple[np.dtype[Any], ...]] = (FLOAT32, FLOAT64)

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None:
        super().__init__(mixture, dtype)
        self._centre, self._scale, factors, shifts = _white_coordinates(mixture)
        self._factors, self._shifts = factors.astype(dtype, "C"), shifts.astype(dtype, "C")
        self._means = ((mixture.means - self._centre) / self._scale).astype(dtype)
        self._offset = mixture.log_bound
        self._heights = (mixture.log_heights - self._offset).astype(dtype)
        self._lost = self._lost_by_rounding(factors, shifts) if dtype != FLOAT64 else None
        self.arrays = WhitenedArrays(
            self._centre,
            1.0 / self._scale,
            self._means,
            self._factors,
            self._shifts,
            self._heights,
            noise_of(mixture, self._offset, dtype),
        )
        self._lost_noise = _lost_noise(mixture, self.arrays.noise, self._offset)

    @classmethod
    def cost(cls, law: type[Components], k: int, d: int, dtype: np.dtype[Any]) -> float:
        """Fitted to measurements; infinite without loops, or a matrix for each component."""
        if loops.VARIANT is None or not issubclass(law, WhitensEach):
            return np.inf
        cost = _ROW_NS * d + k * (_COMPONENT_NS + 0.5 * d + 0.04 * d * (d + 4))
        return cost * dtype.itemsize / 8

    @classmethod
    def applies(cls, mixture: Mixture, dtype: np.dtype[Any]) -> bool:
        """Whether y keeps its digits."""
        _, _, factors, shifts = _white_coordinates(mixture)
        squares = np.square(factors).sum(axis=(1, 2)) + np.square(shifts).sum(axis=1)
        return keeps_digits(float(np.sqrt(squares.max())), dtype)

    def statistics(self, block: Block, log_density: Float64Array | None = None) -> Statistics:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        cells = one_cell(len(block), self.n_components)
        return self.statistics_by_cell(block, cells, log_density)

    def statistics_by_cell(
        self, block: Block, cells: Cells, log_density: Float64Array | None = None
    ) -> Statistics:
        """See :meth:`CompiledNatural.statistics_by_cell`."""
        sums = WhitenedSums.zero(*self.mixture.means.shape)
        rows = loops.rows_of(block, log_density)
        log_likelihood = loops.add_whitened(rows, cells, self.arrays, sums)
        if log_density is not None:
            log_density += self._offset
        return self.statistics_of(block, log_likelihood, sums)

    def statistics_of(self, block: Block, log_likelihood: float, sums: WhitenedSums) -> Statistics:
        """Statistics of a block from what the loop added."""
        mixture = self.mixture
        n_k, first, lower = sums
        second = from_lower(lower)
        if self._lost is not None:
            of_one, of_first, of_second = self._lost
            lost = of_one @ n_k + np.vdot(of_first, first) + np.vdot(of_second, second)
            log_likelihood += float(lost) + self._lost_noise * (block.total_weight - n_k.sum())
        second *= self._scale[:, None]
        second *= self._scale
        about = Statistics(
            len(block),
            block.total_weight,
            log_likelihood + block.total_weight * self._offset,
            {"n_k": n_k, "first": first * self._scale, "second": second},
            self._centre + self._scale * self._means.astype(np.float64),  # as they were rounded
            mixture.kind,
            mixture.uniform,
        )
        return about.recentre(mixture.means)

    def _lost_by_rounding(self, factors: NDArray[Any], shifts: NDArray[Any]) -> _Lost:
        """Coefficients that correct the log-likelihood for the rounding of the arrays.

        See :class:`CompiledNatural`.
        """
        present, heights = self.mixture.weights > 0, self.mixture.log_heights - self._offset
        means = self._means.astype(np.float64)
        rounded = self._factors.astype(np.float64)
        at_means = np.einsum("kij,kj->ki", factors, means) + shifts
        rounded_at_means = np.einsum("kij,kj->ki", rounded, means) + self._shifts
        of_heights = np.subtract(heights, self._heights, out=np.zeros(len(heights)), where=present)
        squares = np.square(at_means).sum(axis=1) - np.square(rounded_at_means).sum(axis=1)
        crosses = np.einsum("kij,ki->kj", factors, at_means)
        crosses -= np.einsum("kij,ki->kj", rounded, rounded_at_means)
        # A'A - B'B is the symmetric part of (A + B)'(A - B): the same against symmetric moments.
        matrices = np.swapaxes(factors + rounded, 1, 2) @ (factors - rounded)
        return of_heights - 0.5 * squares, -crosses, -0.5 * matrices


@lru_cache(maxsize=2)  # used to see whether it applies, then to make the formulation
def _white_coordinates(mixture: Mixture) -> tuple[NDArray[Any], ...]:
    """Centre and scale of z (D,); F (K, D, D), lower triangular, and f (K, D)."""
    centre, scale = coordinates(mixture)
    assert isinstance(mixture.components, WhitensEach)
    factors = np.swapaxes(mixture.components.whitening(), 1, 2) * scale
    means = (mixture.means - centre) / scale
    return centre, scale, factors, -np.einsum("kij,kj->ki", factors, means)


def noise_of(mixture: Mixture, offset: float, dtype: np.dtype[Any]) -> Float64Array:
    """Log of the weighted density of noise as the loops take it, rounded as they work."""
    if mixture.noise is None:
        return np.empty(0)
    return np.array([mixture.log_noise - offset], dtype).astype(np.float64)


def _lost_noise(mixture: Mixture, noise: NDArray[Any], offset: float) -> float:
    """What rounding took from the log of the weighted density of noise."""
    if len(noise) == 0 or not np.isfinite(noise[0]):
        return 0.0
    return float(mixture.log_noise - offset - noise[0])


@lru_cache(maxsize=8)  # most grains have as many rows
def one_cell(n_rows: int, n_components: int) -> Cells:
    """One cell with all rows, which are compared with all components; not to be written to."""
    return Cells(np.array([0, n_rows]), np.arange(n_components)[None])
