"""Rare components: those that the sample missed, found among the worst-fitting rows of all.

Of a component that holds one row in 30,000 a sample of 100,000 has three, on which no
covariance stands; a fit to the sample spends its place on something else. But its rows
lie where that fit has hardly any density, and denser than it says: they are in the tail.
There a component is fitted to them; the two whose merging costs least make room for it,
as in SMEM; and the mixture so changed is proposed beside the fit as it is. Whether it is
better all rows decide.

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
"""A sample of more than the half misses nothing that is worth a component."""

_MOST_COMPONENTS = 4
"""That are looked for."""
_SEEDS = 5
_GROUP_STEPS, _EM_STEPS = 30, 10
_TREE_FEATURES = 6
"""Most with which a tree finds neighbours sooner than all distances do."""
_PAIRS = 4
"""Cheapest to merge by their bound, of which a few steps of EM tell the best."""
_RIDGE = 1e-9
"""Added to variances of a group, where those of all rows are 1: exact copies have none."""


def may_miss_components(scan: Scan, start: Mixture) -> bool:
    """Whether there can be components of all rows that a fit to the sample has not seen."""
    thin = scan.weight > _ROWS_PER_SAMPLED * scan.sample.total_weight
    return thin and start.n_components > 1


def with_rare_components(
    mixture: Mixture, tail: Tail, scan: Scan, prior: Prior
) -> tuple[Mixture, tuple[RareComponent, ...]]:
    """A mixture with those components that the tail shows and the sample missed.

    Parameters
    ----------
    mixture : Mixture
        As fitted to the sample, of which ``tail`` is the tail.
    tail : Tail
        Of all rows.
    scan : Scan
        Of all rows; its sample is uniform.
    prior : Prior

    Returns
    -------
    mixture : Mixture
        As it was, where nothing was found.
    found : tuple of RareComponent
        In the order found, the most striking first.
    """
    moments = scan.moments
    # Steps of EM on rows that hold the tail only bring the mixture nearer to it.
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
            gain = best.log_likelihood - now.log_likelihood
            if gain <= mixture.n_parameters / (2 * moments.weight):
                break
            now, proposed = best, best.kept
            found.append(RareComponent(float(tail.rows.weights @ group)))
    except SingularComponentError:
        pass  # with what was found before
    return proposed, tuple(found)


@dataclass(frozen=True, eq=False)
class _Known:
    """Rows of a tail, of which all are known, and rows above it, each for several.

    Parameters
    ----------
    above : Block
        Each row of the weight of those that it stands for.
    tail : Block
    """

    above: Block
    tail: Block

    @classmethod
    def of(cls, mixture: Mixture, tail: Tail, scan: Scan) -> _Known | None:
        """Of a uniform sample, and the tail under a mixture; None if nothing is above."""
        sample = scan.sample
        above = sample.take(log_density(sample.x, mixture) > tail.log_densities[-1])
        if len(above) == 0:
            return None
        return cls(_of_weight(above, scan.weight - tail.rows.total_weight), tail.rows)

    def thinned(self, factor: int) -> _Known:
        """With every so many-th row above the tail."""
        return replace(self, above=_of_weight(self.above.thinned(factor), self.above.total_weight))

    @property
    def rows(self) -> Block:
        """All of them, as of all rows."""
        return self.above.followed_by(self.tail)

    def climbed(self, mixture: Mixture, prior: Prior) -> Course:
        """After some steps of EM."""
        rows = self.rows
        weighted = InMemoryRows(rows.x, weight=rows.weight)
        return Climber(weighted, prior).em(mixture, _EM_STEPS + 1)


def _of_weight(block: Block, total: float) -> Block:
    """The same rows, their weights scaled to a sum."""
    return replace(block, weight=(total / block.total_weight) * block.weights)


# -- a group in the tail -------------------------------------------------------


def densest_group(
    rows: Block, log_densities: Float64Array, moments: Moments
) -> Float64Array | None:
    """Responsibilities (m,) of one more component for worst-fitting rows; None if none is worth it.

    Seeds are rows whose neighbours lie closest, beside what the mixture expects there; from
    each a component is fitted by EM, what the mixture says of the rows staying as it is. One
    is worth it if it holds ``2 (D + 1)`` rows or more, and raises their log-likelihood by
    more than the BIC asks of its parameters.

    Parameters
    ----------
    rows : Block
        m of them.
    log_densities : array of shape (m,)
        Under the mixture.
    moments : Moments
        Of all rows: their weight and scatter, which are the units here.
    """
    fewest = 2 * (rows.n_features + 1)
    if len(rows) <= fewest or rows.total_weight <= fewest:
        return None
    covariance = moments.scatter / moments.weight
    scale = np.sqrt(np.diagonal(covariance))
    # Columns may depend on each other: then only a ridge has a root.
    correlation = covariance / np.outer(scale, scale) + _RIDGE * np.eye(rows.n_features)
    root = scale[:, None] * np.linalg.cholesky(correlation)
    z = linalg.solve_triangular(root, (rows.x - moments.mean).T, lower=True).T
    log_f = log_densities + float(np.log(np.diagonal(root)).sum())
    search = _Search(replace(rows, x=z), log_f, fewest, moments.weight)
    fitted = (search.fitted(*seed) for seed in search.seeds())
    return next((resp for resp in fitted if resp is not None), None)


@dataclass(frozen=True, eq=False)
class _Search:
    """Looks for a component among worst-fitting rows.

    Parameters
    ----------
    rows : Block
        Whitened by the scatter of all rows.
    log_f : array of shape (m,)
        Their log densities under the mixture.
    fewest : int
        Rows of a component.
    weight : float
        N, of all rows.
    """

    rows: Block
    log_f: Float64Array
    fewest: int
    weight: float

    def seeds(self) -> Iterator[tuple[NDArray[np.intp], Float64Array]]:
        """Rows with their nearest neighbours, those first that lie densest for what is expected.

        Yields the rows of each, and how often they count. Neighbours are ``fewest`` rows however
        often they count: one row of a large weight is no group.
        """
        z, d = self.rows.x, self.rows.n_features
        algorithm = "auto" if d <= _TREE_FEATURES else "brute"
        nearest = NearestNeighbors(n_neighbors=self.fewest, algorithm=algorithm).fit(z)
        distances, neighbours = nearest.kneighbors()
        counts = self.rows.weights[neighbours]
        log_volume = 0.5 * d * np.log(np.pi) - special.gammaln(0.5 * d + 1)
        log_volume = log_volume + d * np.log(np.maximum(distances[:, -1], np.finfo(float).tiny))
        held = counts.sum(axis=1)
        # What is expected of the whole ball: beside an outlier the density rises steeply.
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
        """Responsibilities (m,) of a component begun as a ball about a group."""
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
    """With a component for the group in place of the two that merge, after some steps of EM."""
    thin = known.thinned(_PAIRS)
    rows = thin.rows
    own = np.concatenate([np.zeros(len(thin.above)), group])
    resp = responsibilities(rows.x, mixture) * (1.0 - own)[:, None]
    resp = np.column_stack([resp, own])
    centre = (rows.weights * own) @ rows.x / (rows.weights @ own)
    starts = []
    for _, pair in cheapest_mergers(mixture, _PAIRS):
        centres = np.vstack([np.delete(mixture.means, pair[1], axis=0), centre])
        statistics = weighted_statistics(rows, _merged(resp, pair), centres, mixture.kind)
        starts.append(thin.climbed(prior.m_step(statistics), prior))
    best = max(starts, key=lambda start: start.log_likelihood)
    return known.climbed(best.kept, prior)


def _merged(resp: Float64Array, pair: tuple[int, int]) -> Float64Array:
    i, j = pair
    merged = np.array(resp)
    merged[:, i] += merged[:, j]
    return np.delete(merged, j, axis=1)
