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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special
from sklearn.neighbors import NearestNeighbors

from daskgmm.em.exchanges import cheapest_mergers
from daskgmm.em.history import RareComponent
from daskgmm.em.loop import Candidate, Course, FitResult
from daskgmm.em.rows import InMemoryRows, Rows, statistics_of
from daskgmm.em.scan import Scan
from daskgmm.em.tail import RowsWithTail, Tail
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import (
    Block,
    Float64Array,
    Mixture,
    Moments,
    Prior,
    Ridge,
    Statistics,
    count_parameters,
    e_step,
    gaussian_mixture,
    log_density,
    responsibilities,
    weighted_statistics,
)

__all__ = ["RareComponents", "WeightedSample", "densest_group", "with_rare_components"]

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


class RareComponents:
    """Looks for components that the sample missed, on the first pass of a fit.

    Parameters
    ----------
    rows : Rows
    start : Mixture or None
        Of the first candidate that the passes are for, as fitted to the sample; nothing is
        looked for where it was not.
    scan : Scan
    prior : Prior
    candidate : callable
        Makes a candidate of a start.
    tell : callable
        Told of each component that is found.

    Attributes
    ----------
    rows : Rows
        To make the passes over, so that the first finds the tail, too.
    """

    def __init__(
        self,
        rows: Rows,
        start: Mixture | None,
        scan: Scan,
        prior: Prior,
        candidate: Callable[[Mixture], Candidate],
        tell: Callable[[RareComponent], None] = lambda event: None,
    ) -> None:
        self._start, self._scan, self._prior = start, scan, prior
        self._candidate, self._tell = candidate, tell
        self._watched: RowsWithTail | None = None
        self.rows = rows
        thin = scan.n_rows > _ROWS_PER_SAMPLED * len(scan.sample)
        if start is not None and thin and start.n_components > 1:
            self.rows = self._watched = RowsWithTail(rows, start)

    def join(self, results: Sequence[FitResult]) -> list[Candidate]:
        """A candidate with what was found in the tail, once, if there is any."""
        watched, self._watched = self._watched, None
        if watched is None or watched.tail is None or self._start is None:
            return []
        mixture, found = with_rare_components(
            self._start, watched.tail, self._scan.sample, self._scan.moments, self._prior
        )
        for event in found:
            self._tell(event)
        if not found:
            return []
        candidate, before = self._candidate(mixture), results[0].history
        state = candidate.stepper.state
        branch = Course(
            mixture=mixture,
            kept=mixture,
            history=before,
            stop_reason=None,
            is_active=True,
            stepper=state,
            n_branched=len(before),
            rare=found,
        )
        return [replace(candidate, so_far=branch)]


def with_rare_components(
    mixture: Mixture, tail: Tail, sample: Block, moments: Moments, prior: Prior
) -> tuple[Mixture, tuple[RareComponent, ...]]:
    """A mixture with those components that the tail shows and the sample missed.

    Parameters
    ----------
    mixture : Mixture
        As fitted to the sample, of which ``tail`` is the tail.
    tail : Tail
        Of all rows.
    sample : Block
        Uniform.
    moments : Moments
        Of all rows.
    prior : Prior

    Returns
    -------
    mixture : Mixture
        As it was, where nothing was found.
    found : tuple of RareComponent
        In the order found, the most striking first.
    """
    # Steps of EM on rows that hold the tail only bring the mixture nearer to it.
    if densest_group(tail.rows.x, tail.log_densities, moments) is None:
        return mixture, ()
    weighted = WeightedSample.of(mixture, tail, sample, moments.weight)
    if weighted is None:
        return mixture, ()
    found: list[RareComponent] = []
    proposed = mixture
    try:
        now, now_at = weighted.climbed(mixture, prior)
        while len(found) < min(_MOST_COMPONENTS, mixture.n_components - 1):
            group = densest_group(tail.rows.x, log_density(tail.rows.x, now), moments)
            if group is None:
                break
            best, best_at = _exchanged(now, group, weighted, prior)
            best.check()  # raises here, where there is a way back
            if best_at <= now_at + mixture.n_parameters / (2 * moments.weight):
                break
            proposed = now = best
            now_at = best_at
            found.append(RareComponent(float(group.sum())))
    except SingularComponentError:
        pass  # with what was found before
    return proposed, tuple(found)


@dataclass(frozen=True, eq=False)
class WeightedSample:
    """Rows of a tail, of which all are known, and rows above it, each for several.

    Parameters
    ----------
    above : Block
        Each row with the weight of the rows that it stands for.
    tail : Block
    """

    above: Block
    tail: Block

    @classmethod
    def of(
        cls, mixture: Mixture, tail: Tail, sample: Block, n_rows: float
    ) -> WeightedSample | None:
        """Of a uniform sample, and the tail under a mixture; None if nothing is above."""
        above = sample.take(log_density(sample.x, mixture) > tail.log_densities[-1])
        if len(above) == 0:
            return None
        each = (n_rows - tail.rows.total_weight) / above.total_weight
        return cls(replace(above, weight=each * above.weights), tail.rows)

    def thinned(self, factor: int) -> WeightedSample:
        """With every so many-th row above the tail."""
        above = self.above.thinned(factor)
        each = self.above.total_weight / above.total_weight
        return replace(self, above=replace(above, weight=each * above.weights))

    def statistics(self, mixture: Mixture) -> Statistics:
        """As of all rows."""
        above = InMemoryRows(self.above.x, weight=self.above.weight)
        return statistics_of(above, mixture) + e_step(self.tail, mixture)

    def assigned(
        self, above: Float64Array, tail: Float64Array, centres: Float64Array, kind: str
    ) -> Statistics:
        """As of all rows, of responsibilities above (n, K) and in the tail (m, K)."""
        of_above = weighted_statistics(self.above, above, centres, kind)
        return of_above + weighted_statistics(self.tail, tail, centres, kind)

    def climbed(
        self, mixture: Mixture, prior: Prior, n_steps: int = _EM_STEPS
    ) -> tuple[Mixture, float]:
        """After some steps of EM, and the log-likelihood per row just before the last."""
        statistics = self.statistics(mixture)
        for _ in range(n_steps):
            mixture = prior.m_step(statistics)
            statistics = self.statistics(mixture)
        return prior.m_step(statistics), statistics.log_likelihood_per_row


# -- a group in the tail -------------------------------------------------------


def densest_group(
    x: Float64Array, log_densities: Float64Array, moments: Moments
) -> Float64Array | None:
    """Responsibilities (m,) of one more component for worst-fitting rows; None if none is worth it.

    Seeds are rows whose neighbours lie closest, beside what the mixture expects there; from
    each a component is fitted by EM, what the mixture says of the rows staying as it is. One
    is worth it if it holds ``2 (D + 1)`` rows or more, and raises their log-likelihood by
    more than the BIC asks of its parameters.

    Parameters
    ----------
    x : array of shape (m, D)
    log_densities : array of shape (m,)
        Under the mixture.
    moments : Moments
        Of all rows: their number and scatter, which are the units here.
    """
    m, d = x.shape
    fewest = 2 * (d + 1)
    if m <= fewest:
        return None
    covariance = moments.scatter / moments.weight
    scale = np.sqrt(np.diagonal(covariance))
    # Columns may depend on each other: then only a ridge has a root.
    correlation = covariance / np.outer(scale, scale) + _RIDGE * np.eye(d)
    root = scale[:, None] * np.linalg.cholesky(correlation)
    z = linalg.solve_triangular(root, (x - moments.mean).T, lower=True).T
    log_f = log_densities + float(np.log(np.diagonal(root)).sum())
    for group in _seeds(z, log_f, fewest, moments.weight):
        fitted = _fitted_group(z, log_f, group, moments.weight)
        if fitted is not None:
            return fitted
    return None


def _seeds(
    z: Float64Array, log_f: Float64Array, fewest: int, n_rows: float
) -> Iterator[NDArray[np.intp]]:
    """Rows with their nearest neighbours, those first that lie densest for what is expected."""
    d = z.shape[1]
    algorithm = "auto" if d <= _TREE_FEATURES else "brute"
    nearest = NearestNeighbors(n_neighbors=fewest, algorithm=algorithm).fit(z)
    distances, neighbours = nearest.kneighbors()
    log_volume = 0.5 * d * np.log(np.pi) - special.gammaln(0.5 * d + 1)
    log_volume = log_volume + d * np.log(np.maximum(distances[:, -1], np.finfo(float).tiny))
    # What is expected of the whole ball: beside an outlier the density rises steeply.
    log_expected = special.logsumexp(log_f[neighbours], axis=1) - np.log(fewest)
    excess = np.log(fewest / n_rows) - log_volume - log_expected
    left = np.ones(len(z), dtype=bool)
    for _ in range(_SEEDS):
        if not left.any():
            return
        seed = int(np.flatnonzero(left)[np.argmax(excess[left])])
        if excess[seed] <= 0:
            return
        group = np.append(neighbours[seed], seed)
        left[group] = False
        yield group


def _fitted_group(
    z: Float64Array, log_f: Float64Array, group: NDArray[np.intp], n_rows: float
) -> Float64Array | None:
    """Responsibilities (m,) of a component begun as a ball about a group."""
    d = z.shape[1]
    mean = z[group].mean(axis=0)
    variance = float(np.square(z[group] - mean).sum()) / (len(group) * d)
    ball = (variance + _RIDGE) * np.eye(d)
    component = gaussian_mixture(np.ones(1), mean[None], ball[None], "full")
    fewest, share = len(group) - 1, len(group) / n_rows
    for _ in range(_GROUP_STEPS):
        try:
            log_component = np.log(share) + log_density(z, component)
        except SingularComponentError:
            return None
        log_both = np.logaddexp(np.log1p(-share) + log_f, log_component)
        resp = np.exp(log_component - log_both)
        held = float(resp.sum())
        if held < fewest:
            return None
        share = held / n_rows
        statistics = weighted_statistics(Block(z), resp[:, None], component.means, "full")
        component = Ridge(_RIDGE).m_step(statistics)
    gained = float((log_both - log_f).sum()) + (n_rows - len(z)) * float(np.log1p(-share))
    asked = 0.5 * (count_parameters("full", 1, d) + 1) * np.log(n_rows)
    return resp if gained > asked else None


# -- its place -----------------------------------------------------------------


def _exchanged(
    mixture: Mixture, group: Float64Array, weighted: WeightedSample, prior: Prior
) -> tuple[Mixture, float]:
    """With a component for the group in place of the two that merge, after some steps of EM."""
    thin = weighted.thinned(_PAIRS)
    above = responsibilities(thin.above.x, mixture)
    tail = responsibilities(thin.tail.x, mixture)
    tail = np.column_stack([tail * (1.0 - group)[:, None], group])
    above = np.column_stack([above, np.zeros(len(above))])
    centre = group @ thin.tail.x / group.sum()
    starts = []
    for _, pair in cheapest_mergers(mixture, _PAIRS):
        statistics = thin.assigned(
            _merged(above, pair),
            _merged(tail, pair),
            np.vstack([np.delete(mixture.means, pair[1], axis=0), centre]),
            mixture.kind,
        )
        starts.append(thin.climbed(prior.m_step(statistics), prior))
    best, _ = max(starts, key=lambda start: start[1])
    return weighted.climbed(best, prior)


def _merged(resp: Float64Array, pair: tuple[int, int]) -> Float64Array:
    i, j = pair
    merged = np.array(resp)
    merged[:, i] += merged[:, j]
    return np.delete(merged, j, axis=1)
