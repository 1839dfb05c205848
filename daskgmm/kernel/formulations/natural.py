"""Natural: all components at once, in the exponential family's natural form.

With z = (x - c) / s, a log density is linear in the products of z:

    log w_k + log N(x | mu_k, Sigma_k) = a_k + b_k . z + q_k . products(z),

so that a sub-block costs one matrix product, (K, P) by (P, n), for the densities,
and one, (P, n) by (n, K), for all the statistics: 4 P K flops a row at the speed of
GEMM, P being D(D+3)/2 for full covariances and 1 + D for spherical ones, which need the sum of the
squares alone. The price is cancellation: the terms of
q_k . products(z) can be much larger than their sum. The form is used only if their size
times the rounding error is small enough.

If all components share one covariance, q is the same for all: it cancels in the
responsibilities, and its sum over rows follows from the scatter of all rows, which the scan
has found. Without it P = D (see :mod:`daskgmm.kernel.linear_sums`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Components, HasCovariances, HasNaturalForm, components_named
from daskgmm.kernel.components.base import Run
from daskgmm.kernel.formulations.rounding import keeps_digits
from daskgmm.kernel.formulations.sub_blocked import Evaluation, SubBlocked
from daskgmm.kernel.linear_sums import LinearSums
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.noise import Uniform
from daskgmm.kernel.statistics import Statistics
from daskgmm.kernel.sub_blocks import TILE_PRODUCTS

__all__ = ["Natural", "NaturalForm", "coordinates", "n_products", "n_products_and_terms"]


@dataclass(frozen=True, eq=False)
class NaturalForm:
    """Coefficients of a mixture's natural form.

    Attributes
    ----------
    centre, scale : arrays of shape (D,), (D,) or (1,)
        ``z = (x - centre) / scale``.
    runs : tuple of runs
        The products of z that a pass forms, or adds up; none where the scatter is known.
    quadratic, linear, constant : arrays of shape (K, P), (K, D), (K,)
        Coefficients of the products or their sum, of z and of 1, relative to ``offset``, in the dtype
        that the loops work in.
    offset : float
    noise : float
        Log of the weighted density of noise, relative to ``offset``; -inf where there is none.
    means : array of shape (K, D)
    kind : str
    law : type
        The kind of components.
    uniform : Uniform or None
        The density of noise.
    """

    centre: Float64Array
    scale: Float64Array
    runs: tuple[Run, ...]
    quadratic: NDArray[Any]
    linear: NDArray[Any]
    constant: NDArray[Any]
    offset: float
    noise: float
    means: Float64Array
    kind: str
    law: type[HasNaturalForm]
    uniform: Uniform | None

    @classmethod
    def of(cls, mixture: Mixture, dtype: np.dtype[Any], scatter_known: bool) -> Self:
        """The form of a mixture, for arithmetic in ``dtype``."""
        centre, scale = coordinates(mixture)
        components = mixture.components
        assert isinstance(components, HasNaturalForm)
        means, linear, quadratic = _terms(mixture)
        offset = mixture.log_bound
        half_square = 0.5 * np.einsum("kd,kd->k", means, linear)
        return cls(
            centre,
            scale,
            () if scatter_known else components.product_runs(mixture.n_features),
            (quadratic[:, :0] if scatter_known else quadratic).astype(dtype),
            linear.astype(dtype),
            (mixture.log_heights - offset - half_square).astype(dtype),
            offset,
            mixture.log_noise - offset,
            mixture.means,
            mixture.kind,
            type(components),
            mixture.uniform,
        )

    def statistics(
        self,
        block: Block,
        log_likelihood: float,
        n_k: Float64Array,
        first: Float64Array,
        products: Float64Array,
    ) -> Statistics:
        """Statistics of a block about the means, from sums of z (K, D) and of products (K, P)."""
        about_centre = self.law.sums_of_products(n_k, first, products, self.scale)
        return Statistics(
            len(block),
            block.total_weight,
            log_likelihood,
            components_named(self.kind).recentred(about_centre, self.means - self.centre),
            self.means,
            self.kind,
            self.uniform,
        )

    def linear_sums(
        self, block: Block, log_likelihood: float, n_k: Float64Array, first: Float64Array
    ) -> LinearSums:
        """The sums of a block where no products were formed, from those of z (K, D)."""
        sums = {"n_k": n_k, "first": first * self.scale}
        return LinearSums(len(block), block.total_weight, log_likelihood, sums, self.centre)


class Natural(SubBlocked):
    """Densities and statistics as two matrix products over the products of features."""

    name: ClassVar[str] = "natural"

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any], scatter_known: bool = False) -> None:
        self.form = NaturalForm.of(mixture, dtype, scatter_known)
        self.n_components = mixture.n_components

    @classmethod
    def cost(
        cls,
        law: type[Components],
        k: int,
        d: int,
        dtype: np.dtype[Any],
        scatter_known: bool = False,
    ) -> float:
        """Fitted to measurements: a product is formed once and used twice for each component."""
        if not issubclass(law, HasNaturalForm):
            return np.inf
        made, used = (0, 0) if scatter_known else n_products_and_terms(law, d)
        return 2.0 * d + 2.5 * k + 1.1 * (made + d) + 0.1 * k * (used + d)

    @classmethod
    def applies(cls, mixture: Mixture, dtype: np.dtype[Any], scatter_known: bool = False) -> bool:
        """Whether the log density of a row keeps its digits, whose z have unit variance."""
        return keeps_digits(_size(mixture, scatter_known), dtype)

    def evaluation(self) -> _Products:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        return _Products(self.form)

    def linear_sums(self, block: Block) -> LinearSums:
        """Linear sums of a block, if the formulation was made with ``scatter_known``."""
        evaluation = self.evaluation()
        return evaluation.linear_sums(block, self._added(evaluation, block))


class _Products(Evaluation):
    """Sums over sub-blocks of the products of features."""

    def __init__(self, form: NaturalForm) -> None:
        k, d = form.linear.shape
        self._form = form
        self.offset, self.noise = form.offset, form.noise
        self.bounded = bool(form.runs)
        self._tiles = _tiles(form.runs, form.law)
        self._n_k = np.zeros(k)
        self._first = np.zeros((k, d))
        self._second = np.zeros(form.quadratic.shape)
        self._n = -1

    def _allocate(self, n: int) -> None:
        if n == self._n:
            return
        k, d = self._form.linear.shape
        self._n = n
        self._z = np.empty((d, n))
        self._joint, self._term = np.empty((k, n)), np.empty((k, n))
        most = max((n_products(runs) for _, runs in self._tiles), default=0)
        self._products = np.empty((most, n))

    def joint(self, x_t: Float64Array) -> Float64Array:
        form = self._form
        self._allocate(x_t.shape[1])
        np.subtract(x_t, form.centre[:, None], out=self._z)
        np.divide(self._z, form.scale[:, None], out=self._z)
        joint = self._joint
        np.matmul(form.linear, self._z, out=joint)
        joint += form.constant[:, None]
        for place, runs in self._tiles:
            self._filled = self._fill(runs)
            np.matmul(form.quadratic[:, place], self._filled, out=self._term)
            joint += self._term
        return joint

    def add(self, resp: Float64Array) -> None:
        self._n_k += resp.sum(axis=1)
        self._first += resp @ self._z.T
        for place, runs in self._tiles:
            # A single tile still holds what joint() filled in.
            terms = self._filled if len(self._tiles) == 1 else self._fill(runs)
            self._second[:, place] += (terms @ resp.T).T

    def _fill(self, runs: tuple[Run, ...]) -> Float64Array:
        """Products of the rows at hand, in scratch, or their sum."""
        row = 0
        for first, second in runs:
            n_rows = second.stop - second.start
            out = self._products[row : row + n_rows]
            np.multiply(self._z[first], self._z[second], out=out)
            row += n_rows
        products = self._products[:row]
        return products.sum(axis=0, keepdims=True) if self._form.law.needs_sum_only else products

    def statistics(self, block: Block, log_likelihood: float) -> Statistics:
        return self._form.statistics(block, log_likelihood, self._n_k, self._first, self._second)

    def linear_sums(self, block: Block, log_likelihood: float) -> LinearSums:
        return self._form.linear_sums(block, log_likelihood, self._n_k, self._first)


def n_products(runs: tuple[Run, ...]) -> int:
    """The number of products in the runs."""
    return sum(second.stop - second.start for _, second in runs)


def n_products_and_terms(law: type[HasNaturalForm], d: int) -> tuple[int, int]:
    """The number of products, and P, that of second-order terms: as many, or their sum."""
    made = n_products(law.product_runs(d))
    return made, 1 if law.needs_sum_only else made


def _tiles(
    runs: tuple[Run, ...], law: type[HasNaturalForm]
) -> tuple[tuple[slice, tuple[Run, ...]], ...]:
    """Runs in groups of few enough products to stay in cache, and where each has coefficients."""
    groups: list[tuple[Run, ...]] = []
    for run in runs:
        if groups and n_products((*groups[-1], run)) <= TILE_PRODUCTS:
            groups[-1] = (*groups[-1], run)
        else:
            groups.append((run,))
    if law.needs_sum_only:
        return tuple((slice(0, 1), group) for group in groups)
    ends = np.cumsum([n_products(group) for group in groups]).tolist()
    places = [slice(begin, end) for begin, end in pairwise([0, *ends])]
    return tuple(zip(places, groups, strict=True))


@lru_cache(maxsize=2)  # used to see whether it applies, then to make the formulation
def _terms(mixture: Mixture) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Means in z (K, D); coefficients of z (K, D) and of its products (K, P)."""
    assert isinstance(mixture.components, HasNaturalForm)
    return mixture.components.natural_terms(*coordinates(mixture))


@lru_cache(maxsize=2)
def _size(mixture: Mixture, scatter_known: bool) -> float:
    """Size of the terms of a typical row's log density, for :func:`keeps_digits`."""
    _, linear, quadratic = _terms(mixture)
    with np.errstate(over="ignore"):  # infinite is too large for any dtype
        squares = np.square(linear).sum(axis=1)
        if not scatter_known:
            assert isinstance(mixture.components, HasNaturalForm)
            made, used = n_products_and_terms(type(mixture.components), mixture.n_features)
            squares += 4.0 * made / used * np.square(quadratic).sum(axis=1)
    return float(np.sqrt(squares.max()))


@lru_cache(maxsize=2)
def coordinates(mixture: Mixture) -> tuple[Float64Array, Float64Array]:
    """Mean (D,) and standard deviation of the components together: z has about unit variance.

    The standard deviation has shape (D,), or (1,) where the kind allows one scale.
    """
    components = mixture.components
    assert isinstance(components, HasNaturalForm)
    assert isinstance(components, HasCovariances)
    centre = mixture.shares @ mixture.means
    spread = mixture.shares @ (components.variances() + np.square(mixture.means - centre))
    if not components.is_scale_equivariant():
        spread = spread.mean(keepdims=True)
    return centre, np.sqrt(spread)
