"""Exchanges: merge two components that hardly differ, and divide one that covers two groups.

EM cannot move a component from where there are too many to where there are too few. On a
sample in memory such exchanges are cheap to rank, by the cost of the merger and the gain of
the division, and cheap to try: some steps of EM show whether the log-likelihood is higher.

References
----------
Ueda, Nakano, Ghahramani and Hinton (2000), SMEM algorithm for mixture models.
Runnalls (2007), Kullback-Leibler approach to Gaussian mixture reduction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from daskgmm.em.course import Course
from daskgmm.em.rows import InMemoryRows, rows_of_sample
from daskgmm.em.starts.climbs import Climber
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import (
    Block,
    Float64Array,
    HasCovariances,
    Mixture,
    Statistics,
    components_named,
    labels,
    responsibilities,
    weighted_statistics,
)

__all__ = [
    "can_exchange",
    "cheapest_mergers",
    "units_of",
    "with_exchanges",
    "with_one_less",
    "with_one_more",
]

_MERGERS, _DIVISIONS, _TRIES = 8, 6, 8
"""Cheapest mergers and best divisions that are combined, and exchanges tried in a round."""
_MOST = 32
"""Most exchanges that are accepted."""
_STEPS_OF_DIVISION, _STEPS = 6, 15
"""Steps of EM that show the gain of a division, and of an exchange."""
_PIECE = 1024
"""Rows whose responsibilities are held at once."""
_MATRICES_BYTES = 2**24
"""Bytes of full covariances held at once: all of 100 components in 1,000 features take 800 MB."""


def with_exchanges(
    sample: Climber,
    mixture: Mixture,
    *,
    losses: bool = True,
    largest: float = np.inf,
    until: float = np.inf,
) -> Mixture:
    """Improve a mixture on a sample by exchanges of components.

    Parameters
    ----------
    sample : Climber
    mixture : Mixture
        A fit to the sample, nearly converged.
    losses : bool
        Whether exchanges that are expected to lose are tried as well. The bound of a merger's
        cost is several times too high for components that overlap: most exchanges that were
        accepted among fifty such components were expected to lose. Without them little time is
        spent on a mixture that is good already.
    largest : float
        Weight of the rows of a component up to which it may be divided.
    until : float
        Seconds of ``sample.effort`` after which no other is tried.

    Returns
    -------
    Mixture
        After at most 32 exchanges; the same object if none raises the objective.
    """
    try:
        fit = sample.rested(mixture, _STEPS)
    except SingularComponentError:
        return mixture
    best, now, now_at = mixture, fit.kept, fit.objective
    least = sample.tol(mixture)
    divisions: dict[int, _Division] = {}
    for _ in range(_MOST):
        divisions = _divisions(sample, now, known=divisions, largest=largest)
        sample.effort.add_mergers(now)
        for exchange in _promising(divisions, now, sample.rows.total_weight, losses=losses):
            if sample.effort.seconds > until:
                return best
            try:
                fit = sample.rested(exchange.made_on(sample, now), _STEPS)
            except SingularComponentError:
                continue
            # The gain of the EM steps counts as well: not counting it led to lower optima.
            if fit.objective > now_at + least:
                best = now = fit.kept
                now_at = fit.objective
                for changed in exchange.components:
                    del divisions[changed]
                break
        else:
            break
    return best


def with_one_more(sample: Climber, mixture: Mixture) -> Mixture | None:
    """A mixture of one component more, by the division that gains most; None if none is possible.

    Raises
    ------
    SingularComponentError
        If a covariance of the mixture cannot be factored.
    """
    divisions = _divisions(sample, mixture, known={})
    divided = max(divisions, key=lambda c: divisions[c].gain)
    two = divisions[divided].two
    return None if two is None else _Exchange((divided, two), None).made_on(sample, mixture)


def with_one_less(sample: Climber, mixture: Mixture) -> Mixture:
    """A mixture of one component less, by the cheapest merger.

    Raises
    ------
    SingularComponentError
        If a covariance of the mixture cannot be factored.
    """
    sample.effort.add_mergers(mixture)
    ((_, pair),) = cheapest_mergers(mixture, 1)
    return _Exchange(None, pair).made_on(sample, mixture)


@dataclass(frozen=True, eq=False)
class _Division:
    """Two components in place of one, and their gain on its rows, in nats; None if impossible."""

    gain: float
    two: Mixture | None


_INDIVISIBLE = _Division(-np.inf, None)


@dataclass(frozen=True, eq=False)
class _Exchange:
    """A division of one component into a mixture of two, a merger of a pair, or both.

    The second half of a division becomes the last component. A merged pair takes the place of
    its first component, and the last component that of its second.
    """

    division: tuple[int, Mixture] | None
    merger: tuple[int, int] | None

    @property
    def components(self) -> tuple[int, ...]:
        """Indices of the components that the exchange changes."""
        divided = () if self.division is None else self.division[:1]
        return divided + (self.merger or ())

    def made_on(self, sample: Climber, mixture: Mixture) -> Mixture:
        """The mixture after the exchange: the M-step of :meth:`responsibilities`."""
        rows, centres = sample.rows, self._centres(mixture)
        # Short blocks, because the responsibilities of a block are held in memory.
        pieces = InMemoryRows(rows.block.x, _PIECE, rows.n_threads, rows.block.weight)
        return sample.prior.m_step(pieces.fold(_assigned, mixture, self, centres))

    def _centres(self, mixture: Mixture) -> Float64Array:
        centres = mixture.means
        if self.division is not None:
            divided, two = self.division
            centres = np.vstack([centres, two.means[1]])
            centres[divided] = two.means[0]
        return centres if self.merger is None else _filled(centres, self.merger[1])

    def responsibilities(self, x: Float64Array, mixture: Mixture) -> Float64Array:
        """Responsibilities of rows x (n, D) after the exchange, (n, K after it)."""
        resp = responsibilities(x, mixture)
        if self.division is not None:
            divided, two = self.division
            share = responsibilities(x, two)[:, 1]
            resp = np.column_stack([resp, resp[:, divided] * share])
            resp[:, divided] *= 1.0 - share
        if self.merger is not None:
            i, j = self.merger
            resp[:, i] += resp[:, j]
            resp = _filled(resp.T, j).T
        return resp


def _assigned(
    block: Block, mixture: Mixture, exchange: _Exchange, centres: Float64Array
) -> Statistics:
    resp = exchange.responsibilities(block.x, mixture)
    return weighted_statistics(block, resp, centres, mixture.kind, mixture.uniform)


def _filled(of_components: Float64Array, place: int) -> Float64Array:
    """Rows of an array without one, in whose place the last comes."""
    moved = np.array(of_components[:-1])
    if place < len(moved):
        moved[place] = of_components[-1]
    return moved


def _promising(
    divisions: dict[int, _Division], mixture: Mixture, weight: float, *, losses: bool
) -> list[_Exchange]:
    """Exchanges with the highest expected gain, the best first."""
    best = sorted(divisions, key=lambda c: -divisions[c].gain)[:_DIVISIONS]
    gains = {
        (c, pair): divisions[c].gain / weight - cost
        for cost, pair in cheapest_mergers(mixture, _MERGERS)
        for c in best
        if c not in pair and (losses or divisions[c].gain / weight > cost)
    }
    ranked = sorted(gains, key=lambda exchange: -gains[exchange])[:_TRIES]
    return [
        _Exchange((c, two), pair) for c, pair in ranked if (two := divisions[c].two) is not None
    ]


def _divisions(
    sample: Climber,
    mixture: Mixture,
    known: dict[int, _Division],
    largest: float = np.inf,
) -> dict[int, _Division]:
    """The division of every component, on the rows labelled with it; known ones are kept."""
    label = sample.rows.map(_labels, mixture, dtype=np.int64, columns=None)
    sample = replace(sample, prior=sample.prior.of_parts(mixture.n_components))
    units = units_of(sample.rows.block, mixture.kind)
    total = sample.rows.total_weight
    return {
        c: known.get(c)
        or (
            _division(sample, np.flatnonzero(label == c), mixture.kind, units)
            if mixture.weights[c] * total <= largest
            else _INDIVISIBLE
        )
        for c in range(mixture.n_components)
    }


def _labels(block: Block, mixture: Mixture) -> NDArray[np.int64]:
    return labels(block.x, mixture)


def units_of(block: Block, kind: str) -> Float64Array:
    """The unit of each feature, (D,), in which lengths of different features are compared."""
    if not components_named(kind).is_scale_equivariant():
        return np.ones(block.n_features)
    deviations = block.x - _mean(block)
    units: Float64Array = np.sqrt(block.weights @ np.square(deviations) / block.total_weight)
    return np.where(units > 0, units, 1.0)


def _division(sample: Climber, held: NDArray[np.intp], kind: str, units: Float64Array) -> _Division:
    """The division of one component on its rows, from the two sides of their longest axis.

    Each half must hold ``2 (D + 1)`` rows: with fewer, the likelihood has no bound.
    """
    block = sample.rows.block.take(held)
    fewest, weight = 2 * (block.n_features + 1), block.total_weight
    if weight < 2 * fewest:
        return _INDIVISIBLE
    own = Climber(rows_of_sample(block), sample.prior, sample.effort)
    try:
        one = _fitted(own, np.ones((len(block), 1)), kind, 1)
        side = _sides(block, units)
        sides = np.column_stack([~side, side]).astype(np.float64)
        two = _fitted(own, sides, kind, _STEPS_OF_DIVISION)
    except SingularComponentError:
        return _INDIVISIBLE
    if weight * two.kept.weights.min() < fewest:
        return _INDIVISIBLE
    return _Division(weight * (two.objective - one.objective), two.kept)


def _fitted(own: Climber, resp: Float64Array, kind: str, n_steps: int) -> Course:
    """A fit by some steps of EM, from the M-step of responsibilities (n, K)."""
    block = own.rows.block
    centres = np.tile(_mean(block), (resp.shape[1], 1))
    start = own.prior.m_step(weighted_statistics(block, resp, centres, kind))
    return own.em(start, n_steps)


def can_exchange(kind: str) -> bool:
    """Whether components of a kind have covariances, which mergers and divisions need."""
    return issubclass(components_named(kind), HasCovariances)


def _dense_covariances(mixture: Mixture) -> Callable[[slice], Float64Array]:
    """A function from a slice of components to their covariances as full matrices, (n, D, D).

    The matrices of all components are made at once if they take little memory.
    """
    components = mixture.components
    assert isinstance(components, HasCovariances)
    if len(_runs(0, mixture.n_components, mixture.n_features)) == 1:
        return components.dense().__getitem__

    def of_some(chosen: slice) -> Float64Array:
        some = components.take(chosen)
        assert isinstance(some, HasCovariances)
        return some.dense()

    return of_some


def _mean(block: Block) -> Float64Array:
    if block.weight is None:
        mean: Float64Array = block.x.mean(axis=0)
        return mean
    return np.asarray(block.weight @ block.x / block.total_weight)


def _sides(block: Block, units: Float64Array) -> NDArray[np.bool_]:
    """On which side of their mean rows are, along the direction of their largest variance."""
    z = (block.x - _mean(block)) / units
    longest = linalg.eigh((z * block.weights[:, None]).T @ z)[1][:, -1]
    sides: NDArray[np.bool_] = z @ longest > 0
    return sides


def cheapest_mergers(mixture: Mixture, most: int) -> list[tuple[float, tuple[int, int]]]:
    """The ``most`` cheapest pairs to merge, by Runnalls' bound of the cost in nats per row.

    The bound is ``((w_i + w_j) log|S| - w_i log|S_i| - w_j log|S_j|) / 2``, with S the
    covariance of both.
    """
    k, d = mixture.n_components, mixture.n_features
    dense = _dense_covariances(mixture)
    log_dets = np.concatenate([np.linalg.slogdet(dense(run))[1] for run in _runs(0, k, d)])
    found = []
    for i in range(k - 1):
        costs = np.concatenate(
            [_merging_costs(mixture, dense, log_dets, i, run) for run in _runs(i + 1, k, d)]
        )
        found += [
            (float(costs[n]), (i, i + 1 + int(n))) for n in np.argsort(costs, kind="stable")[:most]
        ]
    return sorted(found)[:most]


def _runs(first: int, last: int, d: int) -> list[slice]:
    """Slices of the components ``first`` to ``last`` whose D x D matrices fit in memory."""
    step = max(1, _MATRICES_BYTES // (8 * d * d))
    return [slice(i, min(i + step, last)) for i in range(first, last, step)]


def _merging_costs(
    mixture: Mixture,
    dense: Callable[[slice], Float64Array],
    log_dets: Float64Array,
    i: int,
    others: slice,
) -> Float64Array:
    """Costs of merging component i with each of ``others``, in nats per row."""
    weights, means = mixture.weights, mixture.means
    both = weights[i] + weights[others]
    share = (weights[i] / np.maximum(both, np.finfo(float).tiny))[:, None, None]
    apart = means[others] - means[i]
    spread = share * (1.0 - share) * apart[:, :, None] * apart[:, None, :]
    one = dense(slice(i, i + 1))[0]
    log_det = np.linalg.slogdet(share * one + (1.0 - share) * dense(others) + spread)[1]
    costs: Float64Array = 0.5 * (
        both * log_det - weights[i] * log_dets[i] - weights[others] * log_dets[others]
    )
    return costs
