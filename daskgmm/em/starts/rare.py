"""Rare components: components that the sample missed, found among the worst-fitting rows of all.

A sample of 100,000 rows has three of a component that holds one row in 30,000: too few for a
covariance, so that a fit to the sample misses the component. But the component's rows lie where
that fit has a very low density, and closer together than the fit predicts. They are in the tail.
A component is fitted to them there, and the two components whose merger costs least make room
for it, as in SMEM. The new mixture joins the race beside the fit to the sample, and the
log-likelihood of all rows decides between the two.

References
----------
Ueda, Nakano, Ghahramani and Hinton (2000), SMEM algorithm for mixture models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special
from sklearn.neighbors import NearestNeighbors

from daskgmm.em.course import Course
from daskgmm.em.rows import InMemoryRows
from daskgmm.em.scan import Scan
from daskgmm.em.starts.climbs import Climber
from daskgmm.em.starts.exchanges import cheapest_mergers
from daskgmm.em.tail import Tail
from daskgmm.errors import SingularComponentError
from daskgmm.history import RareComponent
from daskgmm.kernel import (
    Block,
    Float64Array,
    Mixture,
    Moments,
    Prior,
    Ridge,
    count_parameters,
    gaussian_mixture,
    log_density,
    responsibilities,
    weighted_statistics,
)

__all__ = ["densest_group", "may_miss_components", "with_rare_components"]

_ROWS_PER_SAMPLED = 2.0
"""A sample of more than one row in this many misses nothing that is worth a component."""

_MOST_COMPONENTS = 4
"""Most rare components that are added."""
_SEEDS = 5
_GROUP_STEPS, _EM_STEPS = 30, 10
_TREE_FEATURES = 6
"""Most features for which a tree finds neighbours sooner than computing all distances."""
_PAIRS = 4
"""Cheapest mergers by their bound; a few steps of EM choose among them."""
_RIDGE = 1e-9
"""Added to a group's variances, in units of those of all rows: exact copies have variance 0."""


def may_miss_components(scan: Scan, start: Mixture) -> bool:
    """Whether the sample is so small a part of all rows that it can miss a component."""
    thin = scan.weight > _ROWS_PER_SAMPLED * scan.sample.total_weight
    return thin and start.n_components > 1


def with_rare_components(
    mixture: Mixture, tail: Tail, scan: Scan, prior: Prior
) -> tuple[Mixture, tuple[RareComponent, ...]]:
    """Add the components that the tail shows and the sample missed.

    Parameters
    ----------
    mixture : Mixture
        A fit to the sample.
    tail : Tail
        Tail of all rows under that mixture.
    scan : Scan
        Scan of all rows, whose sample is uniform.
    prior : Prior

    Returns
    -------
    mixture : Mixture
        The same object, if no rare component was found.
    found : tuple of RareComponent
        In the order in which they were added.
    """
    moments = scan.moments
    # EM on rows that include the tail only raises its density: no group now means none later.
    if densest_group(tail.rows, tail.log_densities, moments) is None:
        return mixture, ()
    known = _Known.of(mixture, tail, scan)
    if known is None:
        return mixture, ()
    found: list[RareComponent] = []
    proposed = mixture
    try:
        now = known.climbed(mixture, prior)
        while len(found) < min(_MOST_COMPONENTS, mixture.n_components - 1):
            log_densities = log_density(tail.rows.x, now.kept)
            group = densest_group(tail.rows, log_densities, moments)
            if group is None:
                break
            best = _exchanged(now.kept, group, known, prior)
            best.kept.check()  # raises here, where there is a way back
            gain = best.objective - now.objective
            if gain <= mixture.n_parameters / (2 * moments.weight):
                break
            now, proposed = best, best.kept
            found.append(RareComponent(float(tail.rows.weights @ group)))
    except SingularComponentError:
        pass  # keep the components that were added before
    return proposed, tuple(found)


@dataclass(frozen=True, eq=False)
class _Known:
    """All rows, represented by every row of the tail and a sample of the rows above it.

    Parameters
    ----------
    above : Block
        Sampled rows; the weight of each includes the rows that it represents.
    tail : Block
    """

    above: Block
    tail: Block

    @classmethod
    def of(cls, mixture: Mixture, tail: Tail, scan: Scan) -> _Known | None:
        """Rows of the scan's sample above the tail, and the tail; None if none is above."""
        sample = scan.sample
        above = sample.take(log_density(sample.x, mixture) > tail.log_densities[-1])
        if len(above) == 0:
            return None
        return cls(_of_weight(above, scan.weight - tail.rows.total_weight), tail.rows)

    def thinned(self, factor: int) -> _Known:
        """Keep every ``factor``-th row above the tail, and the total weight."""
        return replace(self, above=_of_weight(self.above.thinned(factor), self.above.total_weight))

    @property
    def rows(self) -> Block:
        """The rows above the tail followed by the tail, with weights that sum to those of all."""
        return self.above.followed_by(self.tail)

    def climbed(self, mixture: Mixture, prior: Prior) -> Course:
        """A fit by some steps of EM."""
        rows = self.rows
        weighted = InMemoryRows(rows.x, weight=rows.weight)
        return Climber(weighted, prior).em(mixture, _EM_STEPS + 1)


def _of_weight(block: Block, total: float) -> Block:
    """The same rows, with weights scaled so that they sum to ``total``."""
    return replace(block, weight=(total / block.total_weight) * block.weights)


# -- a group in the tail -------------------------------------------------------


def densest_group(
    rows: Block, log_densities: Float64Array, moments: Moments
) -> Float64Array | None:
    """Responsibilities (m,) of one more component for the worst-fitting rows; None if none helps.

    Seeds are the rows whose neighbours lie closest, compared with the mixture's density there.
    From each seed a component is fitted by EM, while the mixture's densities stay fixed. The
    component is accepted if it holds at least ``2 (D + 1)`` rows and raises the log-likelihood
    by more than the BIC charges for its parameters.

    Parameters
    ----------
    rows : Block
        The m worst-fitting rows.
    log_densities : array of shape (m,)
        Log densities of these rows under the mixture, in nats.
    moments : Moments
        Moments of all rows; their scatter gives the units of distances.
    """
    fewest = 2 * (rows.n_features + 1)
    if len(rows) <= fewest or rows.total_weight <= fewest:
        return None
    covariance = moments.scatter / moments.weight
    scale = np.sqrt(np.diagonal(covariance))
    # Without the ridge, columns that are linearly dependent would have no Cholesky factor.
    correlation = covariance / np.outer(scale, scale) + _RIDGE * np.eye(rows.n_features)
    root = scale[:, None] * np.linalg.cholesky(correlation)
    z = linalg.solve_triangular(root, (rows.x - moments.mean).T, lower=True).T
    log_f = log_densities + float(np.log(np.diagonal(root)).sum())
    search = _Search(replace(rows, x=z), log_f, fewest, moments.weight)
    fitted = (search.fitted(*seed) for seed in search.seeds())
    return next((resp for resp in fitted if resp is not None), None)


@dataclass(frozen=True, eq=False)
class _Search:
    """Search for a component among the worst-fitting rows.

    Parameters
    ----------
    rows : Block
        The m rows, whitened by the scatter of all rows.
    log_f : array of shape (m,)
        Log densities of these rows under the mixture.
    fewest : int
        Fewest rows of a component.
    weight : float
        N, the sum of the weights of all rows.
    """

    rows: Block
    log_f: Float64Array
    fewest: int
    weight: float

    def seeds(self) -> Iterator[tuple[NDArray[np.intp], Float64Array]]:
        """Groups of near rows, first those with the highest density against the mixture's.

        A group has ``fewest`` neighbours whatever their weights: one row of a large weight is no
        group.

        Yields
        ------
        group : array of shape (rows of the group,), intp
            Indices of the rows.
        count : array of the same shape
            Weights of the rows.
        """
        z, d = self.rows.x, self.rows.n_features
        algorithm = "auto" if d <= _TREE_FEATURES else "brute"
        nearest = NearestNeighbors(n_neighbors=self.fewest, algorithm=algorithm).fit(z)
        distances, neighbours = nearest.kneighbors()
        counts = self.rows.weights[neighbours]
        log_volume = 0.5 * d * np.log(np.pi) - special.gammaln(0.5 * d + 1)
        log_volume = log_volume + d * np.log(np.maximum(distances[:, -1], np.finfo(float).tiny))
        held = counts.sum(axis=1)
        # The mixture's density is averaged over the ball: near an outlier it varies steeply.
        log_expected = special.logsumexp(self.log_f[neighbours], b=counts, axis=1) - np.log(held)
        excess = np.log(held / self.weight) - log_volume - log_expected
        left = np.ones(len(z), dtype=bool)
        for _ in range(_SEEDS):
            if not left.any():
                return
            seed = int(np.flatnonzero(left)[np.argmax(excess[left])])
            if excess[seed] <= 0:
                return
            group = np.append(neighbours[seed], seed)
            left[group] = False
            yield group, self.rows.weights[group]

    def fitted(self, group: NDArray[np.intp], count: Float64Array) -> Float64Array | None:
        """Responsibilities (m,) of a component fitted from a group; None if refused."""
        z, d, weights = self.rows.x, self.rows.n_features, self.rows.weights
        held = float(count.sum())
        mean = count @ z[group] / held
        variance = float(count @ np.square(z[group] - mean).sum(axis=1)) / (held * d)
        ball = (variance + _RIDGE) * np.eye(d)
        component = gaussian_mixture(np.ones(1), mean[None], ball[None], "full")
        ridge, share = Ridge(_RIDGE), held / self.weight
        for _ in range(_GROUP_STEPS):
            try:
                log_component = np.log(share) + log_density(z, component)
            except SingularComponentError:
                return None
            log_both = np.logaddexp(np.log1p(-share) + self.log_f, log_component)
            resp: Float64Array = np.exp(log_component - log_both)
            held = float(weights @ resp)
            if held < self.fewest:
                return None
            share = held / self.weight
            statistics = weighted_statistics(self.rows, resp[:, None], component.means, "full")
            component = ridge.m_step(statistics)
        outside = self.weight - self.rows.total_weight
        gained = float(weights @ (log_both - self.log_f)) + outside * float(np.log1p(-share))
        asked = 0.5 * (count_parameters("full", 1, d) + 1) * np.log(self.weight)
        return resp if gained > asked else None


# -- its place -----------------------------------------------------------------


def _exchanged(mixture: Mixture, group: Float64Array, known: _Known, prior: Prior) -> Course:
    """Merge two components, give their place to the group, and fit by some steps of EM."""
    thin = known.thinned(_PAIRS)
    rows = thin.rows
    own = np.concatenate([np.zeros(len(thin.above)), group])
    resp = responsibilities(rows.x, mixture) * (1.0 - own)[:, None]
    resp = np.column_stack([resp, own])
    centre = (rows.weights * own) @ rows.x / (rows.weights @ own)
    starts = []
    for _, pair in cheapest_mergers(mixture, _PAIRS):
        centres = np.vstack([np.delete(mixture.means, pair[1], axis=0), centre])
        statistics = weighted_statistics(
            rows, _merged(resp, pair), centres, mixture.kind, mixture.uniform
        )
        starts.append(thin.climbed(prior.m_step(statistics), prior))
    best = max(starts, key=lambda start: start.objective)
    return known.climbed(best.kept, prior)


def _merged(resp: Float64Array, pair: tuple[int, int]) -> Float64Array:
    i, j = pair
    merged = np.array(resp)
    merged[:, i] += merged[:, j]
    return np.delete(merged, j, axis=1)
