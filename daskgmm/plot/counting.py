"""Counting: what pictures of rows are made of, from one pass over all rows.

A question counts rows in bins that are fixed before the pass, by the mixture. So counts are
additive, they take the memory of the bins however many rows there are, and the same chunks give the
same bits. Rows beyond the bins are counted, too, for the picture to say how many they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, fdtri

from daskgmm.em import check_finite, check_some_complete
from daskgmm.fitted import FittedMixture
from daskgmm.kernel import NOISE, Block, Float64Array, Mixture, log_density, probabilities
from daskgmm.plot.subject import Subject
from daskgmm.tables import columns_named

__all__ = [
    "Counted",
    "Densities",
    "Histograms",
    "Question",
    "Sharpness",
    "count_rows",
    "edges_of_densities",
    "edges_of_feature",
]

Counts = Mapping[str, Float64Array]
"""Counts by name; sums over rows of their weights, so additive."""

_WIDTH = 4.0
"""Bins reach so many standard deviations beyond the mean of each component,"""
_WIDEST = 5.0
"""but not further than so many of all rows from the mean of all."""
_MOST = 0.98
"""Share of the rows that the largest components hold: they alone say where bins are,"""
_STRETCHED = 10.0
"""where all would make the bins more than so many times as wide."""
_BEYOND = 1e-4
"""Share of the rows of a component, at most, whose log density is below the bins."""
_AT_ONCE = 1 << 18
"""Probabilities that a block has in memory at once."""


class Question(Protocol):
    """What is counted of rows."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the counts."""
        ...

    def count(self, block: Block, mixture: Mixture) -> Counts:
        """Counts of the rows of a block, all of which are finite and of weight above 0."""
        ...


@dataclass(frozen=True, eq=False)
class Counted:
    """The answers to some questions. Additive.

    Attributes
    ----------
    n_rows : int
        Rows that count, of whatever weight.
    weight : float
        Sum of their weights.
    answers : tuple of mapping
        Counts of each question.
    """

    n_rows: int
    weight: float
    answers: tuple[Counts, ...]

    def __add__(self, other: Self) -> Self:
        answers = tuple(
            {name: counts + theirs[name] for name, counts in ours.items()}
            for ours, theirs in zip(self.answers, other.answers, strict=True)
        )
        return type(self)(self.n_rows + other.n_rows, self.weight + other.weight, answers)

    def only(self, question: int) -> Self:
        """The answer to one of the questions."""
        return type(self)(self.n_rows, self.weight, self.answers[question : question + 1])


def count_rows(
    model: FittedMixture, X: Any, questions: Sequence[Question], sample_weight: Any = None
) -> Counted:
    """Answers to questions about all rows, in one pass.

    Parameters
    ----------
    model : FittedMixture
    X : rows
        As for ``model.score``.
    questions : sequence of Question
    sample_weight : array of shape (n_rows,), optional
        How often each row counts.

    Raises
    ------
    DataError, MemoryLimitError
        If the rows cannot be used.

    Warns
    -----
    DaskGMMWarning
        If the rows of the fit had weights, and these have none.
    """
    X = model._as_fitted(X)
    X, weights = model._open_weights(sample_weight, X)
    opened = model._open(X, weights, sum_bytes=sum(question.n_bytes for question in questions))
    with columns_named(opened.feature_names):
        rows = opened.mapped(model._projection).rows
        found: Counted = rows.fold(_of_block, model._mixture, tuple(questions))
    check_some_complete(found.weight, rows.n_rows)
    return found


def _of_block(block: Block, mixture: Mixture, questions: tuple[Question, ...]) -> Counted:
    check_finite(block)
    block = block.present()
    answers = tuple(question.count(block, mixture) for question in questions)
    return Counted(len(block), block.total_weight, answers)


@dataclass(frozen=True, eq=False)
class Histograms:
    """Counts of rows by some features, and by each pair of these.

    Attributes
    ----------
    features : tuple of int
        F features of the mixture.
    edges : tuple of ndarray of shape (B + 1,)
        Of the bins of each feature, ascending; the last one is in the last bin, as NumPy has it.
    """

    features: tuple[int, ...]
    edges: tuple[Float64Array, ...]

    @classmethod
    def of(cls, subject: Subject, features: Sequence[int], n_bins: int) -> Self:
        """Histograms in bins that hold the components."""
        edges = tuple(edges_of_feature(subject, j, n_bins) for j in features)
        return cls(tuple(features), edges)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Places in :attr:`features` of the features of each pair."""
        return tuple(combinations(range(len(self.features)), 2))

    @property
    def n_bytes(self) -> int:
        """Bytes of the counts."""
        n_bins = len(self.edges[0]) - 1
        n_features = len(self.features)
        return 8 * (n_bins * (n_features + len(self.pairs) * n_bins) + n_features + 2)

    def count(self, block: Block, mixture: Mixture) -> Counts:
        """``single`` (F, B), ``pairs`` (P, B, B), ``present`` (F,), ``lacking`` () and ``beyond`` ().

        Rows that have each feature, where values may be missing; those that lack any; and those
        that have all, of which one is out of its bins.
        """
        n_bins = len(self.edges[0]) - 1
        columns = [block.x[:, j] for j in self.features]
        gaps = np.isnan(np.array(columns, dtype=np.float64))
        bins = [bins_of(x, edges) for x, edges in zip(columns, self.edges, strict=True)]
        single = [counted_in(found, n_bins, block.weight) for found in bins]
        both = []
        for i, j in self.pairs:
            cell = np.where((bins[i] >= 0) & (bins[j] >= 0), bins[i] * n_bins + bins[j], -1)
            both.append(counted_in(cell, n_bins * n_bins, block.weight))
        lacking = gaps.any(axis=0)
        outside = np.any(np.array(bins) < 0, axis=0) & ~lacking
        return {
            "single": np.array(single),
            "pairs": np.array(both).reshape(-1, n_bins, n_bins),
            "present": ~gaps @ block.weights,
            "lacking": np.array(block.weights[lacking].sum()),
            "beyond": np.array(block.weights[outside].sum()),
        }


@dataclass(frozen=True, eq=False)
class Densities:
    """Counts of rows by their log density.

    Attributes
    ----------
    edges : ndarray of shape (B + 1,)
        In nats.
    """

    edges: Float64Array

    @property
    def n_bytes(self) -> int:
        """Bytes of the counts."""
        return 8 * len(self.edges)

    def count(self, block: Block, mixture: Mixture) -> Counts:
        """``counts`` (B,); ``below`` and ``above`` (), rows out of the bins; ``sum`` (), in nats."""
        found = log_density(block.x, mixture)
        bins = bins_of(found, self.edges)
        return {
            "counts": counted_in(bins, len(self.edges) - 1, block.weight),
            "below": np.array(block.weights[found < self.edges[0]].sum()),
            "above": np.array(block.weights[found > self.edges[-1]].sum()),
            "sum": np.array(block.weights @ found),
        }


@dataclass(frozen=True, eq=False)
class Sharpness:
    """Counts of rows by how sure they are of a component, and how likely they are of others.

    Attributes
    ----------
    shown : tuple of int
        C components, in ascending order; all others are one class, and so is noise.
    n_bins : int
        Bins of equal width of the greatest probability, from 0 to 1.
    """

    shown: tuple[int, ...]
    n_bins: int = 20

    @property
    def n_bytes(self) -> int:
        """Bytes of the counts."""
        n = len(self.shown) + 2
        return 8 * n * (n + self.n_bins)

    @property
    def edges(self) -> Float64Array:
        """Edges of the bins of the greatest probability."""
        return np.linspace(0.0, 1.0, self.n_bins + 1)

    def count(self, block: Block, mixture: Mixture) -> Counts:
        """Counts by the most probable class of a row: the C components, all others, noise.

        ``greatest`` (C + 2, B) by the greatest probability, and ``overlap`` (C + 2, C + 2), the
        sums of the probabilities of each class. No more rows than a bounded number have
        probabilities in memory at once.
        """
        n = len(self.shown) + 2
        greatest, overlap = np.zeros((n, self.n_bins)), np.zeros((n, n))
        class_of = np.array([self._class_of(one) for one in mixture.classes])
        at_once = max(1, _AT_ONCE // len(class_of))
        for start in range(0, len(block), at_once):
            part = block[start : start + at_once]
            found = probabilities(part.x, mixture)
            weights, own = part.weights, class_of[found.argmax(axis=1)]
            cell = own * self.n_bins + bins_of(np.minimum(found.max(axis=1), 1.0), self.edges)
            greatest += counted_in(cell, n * self.n_bins, part.weight).reshape(greatest.shape)
            together = np.zeros((len(part), n))
            for one in range(n):
                together[:, one] = found[:, class_of == one].sum(axis=1)
            for one in range(n):
                overlap[one] += (weights * (own == one)) @ together
        return {"greatest": greatest, "overlap": overlap}

    def _class_of(self, label: int) -> int:
        if label == NOISE:
            return len(self.shown) + 1
        return self.shown.index(label) if label in self.shown else len(self.shown)


def bins_of(values: NDArray[Any], edges: Float64Array) -> NDArray[np.intp]:
    """The bin of each value, as :func:`numpy.histogram` has it; -1 for values beyond."""
    found = np.searchsorted(edges, values.astype(np.float64, copy=False), "right") - 1
    n_bins = len(edges) - 1
    found[values == edges[-1]] = n_bins - 1
    return np.where(found < n_bins, found, -1)


def counted_in(bins: NDArray[np.intp], n_bins: int, weight: Float64Array | None) -> Float64Array:
    """Rows in each bin, by their weights, (n_bins,); those of bin -1 are left out."""
    there = bins >= 0
    weights = None if weight is None else weight[there]
    counts: Float64Array = np.bincount(bins[there], weights, n_bins).astype(np.float64)
    return counts


def edges_of_feature(subject: Subject, feature: int, n_bins: int) -> Float64Array:
    """Edges of equal bins that hold the components, by their moments alone.

    Small components that took up a few outliers do not count, so that the others are seen.
    """
    shares = subject.mixture.shares
    by_size = np.argsort(-shares, kind="stable")
    of_larger = np.cumsum(shares[by_size]) - shares[by_size]
    low, high = _range_of(subject, feature, np.flatnonzero(shares))
    of_most = _range_of(subject, feature, by_size[of_larger < _MOST])
    if high - low > _STRETCHED * (of_most[1] - of_most[0]):
        low, high = of_most
    return np.linspace(low, high, n_bins + 1)


def _range_of(subject: Subject, feature: int, components: NDArray[np.intp]) -> tuple[float, float]:
    """Least and greatest value of a feature that rows of some components have, but for a few."""
    shares = subject.mixture.shares[components]
    means = subject.gaussians.means[components, feature]
    variances = subject.gaussians.variances()[components, feature]
    centre = np.average(means, weights=shares)
    within_and_between = variances + np.square(means - centre)
    widest = _WIDEST * np.sqrt(np.average(within_and_between, weights=shares))
    reach = _WIDTH * np.sqrt(variances)
    return (
        float(max(np.min(means - reach), centre - widest)),
        float(min(np.max(means + reach), centre + widest)),
    )


def edges_of_densities(subject: Subject, n_bins: int, beside: float | None = None) -> Float64Array:
    """Edges of equal bins of log densities that rows of the mixture have.

    From what all but a few of the rows of each component are above, by the distribution of their
    squared distance, to what no row is above. A value ``beside``, such as a threshold, is within.
    """
    mixture, d = subject.mixture, subject.mixture.n_features
    there = mixture.weights > 0
    heights, nu = mixture.log_heights[there], subject.degrees_of_freedom[there]
    falls = np.full(len(heights), chdtri(d, _BEYOND) / 2)
    tailed = np.isfinite(nu)
    squared = d * fdtri(d, nu[tailed], 1.0 - _BEYOND)
    falls[tailed] = (nu[tailed] + d) / 2 * np.log1p(squared / nu[tailed])
    ends = [*(heights - falls), np.logaddexp.reduce([*heights, mixture.log_noise])]
    ends += [mixture.log_noise] * (mixture.noise is not None)
    low, high = min(ends), max(ends)
    if beside is not None:
        pad = 0.05 * (high - low)
        low, high = min(low, beside - pad), max(high, beside + pad)
    return np.linspace(low, high, n_bins + 1)
