"""Statistics: expected sufficient statistics, which travel from workers to the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Components, components_named
from daskgmm.kernel.components.base import Sums
from daskgmm.kernel.noise import Uniform
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = ["Statistics", "added", "count_sums", "scaled", "weighted_statistics"]


def added(left: Sums, right: Sums) -> dict[str, Float64Array]:
    """Sums over two sets of rows together."""
    return {name: left[name] + right[name] for name in left}


def scaled(sums: Sums, factor: float) -> dict[str, Float64Array]:
    """Sums over rows each of which counts ``factor`` times."""
    return {name: factor * array for name, array in sums.items()}


@dataclass(frozen=True, eq=False)
class Statistics:
    """Expected sufficient statistics of rows under a mixture, about given centres.

    Additive: the statistics of two sets of rows are the sum of theirs. Moments are
    taken about centres near the components, never raw, because raw second moments
    lose all digits once ``|mean| / sigma`` nears ``1 / sqrt(eps)``.

    Parameters
    ----------
    n_rows : int
        Rows that were read, of any weight; compared with the rows of the data, it shows lost
        rows.
    weight : float
        Sum of the weights of the rows, ``n_rows`` where each counts once; the divisor of means.
    log_likelihood : float
        Weighted sum over rows of the log density, in nats.
    sums : mapping from name to array
        The sums that the kind of components needs, float64: ``n_k`` (K,), the weighted sum of
        responsibilities, and for Gaussians ``first`` (K, D), ``sum r (x - centre_k)``, and
        ``second``, of the covariances' shape.
    centres : array of shape (K, D)
        Points about which moments are taken.
    kind : str
        Kind of the components, a key of :data:`daskgmm.kernel.COMPONENTS`.
    uniform : Uniform, optional
        Density of noise, if the mixture has any: what ``n_k`` leave of ``weight`` is its own.
    """

    n_rows: int
    weight: float
    log_likelihood: float
    sums: Mapping[str, Float64Array]
    centres: Float64Array
    kind: str
    uniform: Uniform | None = None

    @classmethod
    def zero(cls, centres: Float64Array, kind: str, uniform: Uniform | None = None) -> Self:
        """Statistics of no rows: the neutral element of ``+`` at these centres."""
        shapes = components_named(kind).sum_shapes(*centres.shape)
        sums = {name: np.zeros(shape) for name, shape in shapes.items()}
        return cls(0, 0.0, 0.0, sums, centres, kind, uniform)

    def are_of(self, kind: str, k: int, d: int) -> bool:
        """Whether kind and shapes are those of K components in D features."""
        shapes = {name: array.shape for name, array in self.sums.items()}
        return (self.kind, self.centres.shape) == (kind, (k, d)) and shapes == (
            components_named(kind).sum_shapes(k, d)
        )

    def __getitem__(self, name: str) -> Float64Array:
        """The sum of a name."""
        return self.sums[name]

    @property
    def n_k(self) -> Float64Array:
        """Weighted sum of each component's responsibilities, (K,)."""
        return self.sums["n_k"]

    @property
    def n_noise(self) -> float:
        """Weighted sum of the probabilities that rows are noise; 0 where there is none."""
        return 0.0 if self.uniform is None else max(self.weight - float(self.n_k.sum()), 0.0)

    @property
    def law(self) -> type[Components]:
        """Class of the components that the sums belong to."""
        return components_named(self.kind)

    @property
    def log_likelihood_per_row(self) -> float:
        """Weighted mean of the log density, in nats."""
        return self.log_likelihood / self.weight

    def __add__(self, other: Self) -> Self:
        """Statistics of both sets of rows.

        Raises
        ------
        ValueError
            If the two are about different centres or of different kinds;
            :meth:`recentre` one first.
        """
        same = self.centres is other.centres or np.array_equal(self.centres, other.centres)
        if not same or self.kind != other.kind:
            raise ValueError(
                "statistics about different centres or of different kinds of components do not "
                "add; recentre one of them first"
            )
        # Not by replace, which costs as much as the sums of a small mixture.
        return type(self)(
            self.n_rows + other.n_rows,
            self.weight + other.weight,
            self.log_likelihood + other.log_likelihood,
            added(self.sums, other.sums),
            self.centres,
            self.kind,
            self.uniform,
        )

    def scaled(self, factor: float) -> Self:
        """Statistics of the same rows, each of which counts ``factor`` times as much."""
        return replace(
            self,
            weight=factor * self.weight,
            log_likelihood=factor * self.log_likelihood,
            sums=scaled(self.sums, factor),
        )

    def recentre(self, centres: Float64Array) -> Self:
        """The same statistics about other centres, (K, D); an identity in exact arithmetic."""
        sums = self.law.recentred(self.sums, centres - self.centres)
        return replace(self, sums=sums, centres=centres)

    def taken(self, order: NDArray[np.intp]) -> Self:
        """The same statistics with the components in another order: i was ``order[i]``."""
        found = Statistics.zero(self.centres[order], self.kind)
        self.law.add_at(found.sums, np.argsort(order), self.sums)
        return replace(self, sums=found.sums, centres=found.centres)


def weighted_statistics(
    block: Block,
    resp: Float64Array,
    centres: Float64Array,
    kind: str,
    uniform: Uniform | None = None,
) -> Statistics:
    """Statistics of rows whose responsibilities are given, with log-likelihood 0.

    Parameters
    ----------
    block : Block
        Its weights multiply the responsibilities.
    resp : ndarray of shape (n_rows, K)
    centres : ndarray of shape (K, n_features)
        Points about which moments are taken, best near the components.
    kind : str
        Kind of the components.
    uniform : Uniform, optional
        Density of noise, to which belongs what the responsibilities of a row leave of 1.
    """
    total = Statistics.zero(centres, kind, uniform)
    for span, x_t in sub_blocks(block.x, len(centres)):
        of_span = np.ascontiguousarray(resp[span].T)
        if block.weight is not None:
            of_span = of_span * block.weight[span]
        total.law.add_complete(total.sums, centres, x_t, of_span)
    return replace(total, n_rows=len(block), weight=block.total_weight)


def count_sums(kind: str, k: int, d: int) -> int:
    """Number of values in statistics of K components in D features, for memory plans."""
    shapes = components_named(kind).sum_shapes(k, d)
    return sum(int(np.prod(shape)) for shape in shapes.values())
