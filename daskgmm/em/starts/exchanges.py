"""Exchanges: two components that hardly differ become one, and one that is two becomes two.

EM cannot move a component from where there are too many to where there are too few. On a
sample in memory such moves are cheap to propose, by what a merger costs and a division
gains, and cheap to try: some steps of EM tell whether the log-likelihood is higher.

References
----------
Ueda, Nakano, Ghahramani and Hinton (2000), SMEM algorithm for mixture models.
Runnalls (2007), Kullback-Leibler approach to Gaussian mixture reduction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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

__all__ = ["can_exchange", "cheapest_mergers", "with_exchanges", "with_one_less", "with_one_more"]

_MERGERS, _DIVISIONS, _TRIES = 8, 6, 8
"""Cheapest and most gainful that are combined, and combinations that are tried in a round."""
_MOST = 32
"""Exchanges that are made."""
_STEPS_OF_DIVISION, _STEPS = 6, 15
"""Of EM, to see what a division or an exchange is worth."""
_PIECE = 1024
"""Rows whose responsibilities are held at once."""
_MATRICES_BYTES = 2**24
"""Bytes of the full covariances that are held at once: for 100 components in 1,000 features all
of them take 800 MB, whatever their kind keeps."""


def with_exchanges(sample: Climber, mixture: Mixture, *, losses: bool = True) -> Mixture:
    """A mixture of a higher log-likelihood, if exchanges of components lead to one.

    Parameters
    ----------
    sample : Climber
    mixture : Mixture
        Fitted to it, nearly.
    losses : bool
        Whether exchanges are tried that are expected to lose: the bound of what a merger costs
        is several times that of components that overlap, and of fifty such most exchanges
        that were accepted had been. Without, there is little to do where nothing is wrong.

    Returns
    -------
    Mixture
        After some dozens of exchanges, at most; as it was where none helps.
    """
    try:
        fit = sample.rested(mixture, _STEPS)
    except SingularComponentError:
        return mixture
    best, now, now_at = mixture, fit.kept, fit.log_likelihood
    least = sample.tol(mixture)
    divisions: dict[int, _Division] = {}
    for _ in range(_MOST):
        divisions = _divisions(sample, now, known=divisions)
        for exchange in _promising(divisions, now, sample.rows.total_weight, losses=losses):
            try:
                fit = sample.rested(exchange.made_on(sample, now), _STEPS)
            except SingularComponentError:
                continue
            # What steps of EM gain counts as well: to be strict in that ended lower.
            if fit.log_likelihood > now_at + least:
                best = now = fit.kept
                now_at = fit.log_likelihood
                for changed in exchange.components:
                    del divisions[changed]
                break
        else:
            break
    return best


def with_one_more(sample: Climber, mixture: Mixture) -> Mixture | None:
    """A mixture of one component more: that which gains most by it is divided; None if none can be.

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
    """A mixture of one component less: the two are one whose merger costs least.

    Raises
    ------
    SingularComponentError
        If a covariance of the mixture cannot be factored.
    """
    ((_, pair),) = cheapest_mergers(mixture, 1)
    return _Exchange(None, pair).made_on(sample, mixture)


@dataclass(frozen=True, eq=False)
class _Division:
    """Two components in place of one, and what they gain on the rows that it holds, in nats."""

    gain: float
    two: Mixture | None


_INDIVISIBLE = _Division(-np.inf, None)


@dataclass(frozen=True, eq=False)
class _Exchange:
    """A component divided by a mixture of two, or a pair merged, or both.

    The other half comes last; a pair is in the place of its first, and what is last takes that
    of its second.
    """

    division: tuple[int, Mixture] | None
    merger: tuple[int, int] | None

    @property
    def components(self) -> tuple[int, ...]:
        """Those that it changes."""
        divided = () if self.division is None else self.division[:1]
        return divided + (self.merger or ())

    def made_on(self, sample: Climber, mixture: Mixture) -> Mixture:
        """The mixture after it: the M-step of responsibilities so changed."""
        rows, centres = sample.rows, self._centres(mixture)
        # Responsibilities are wide.
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
        """Those of rows under a mixture, after it."""
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
    return weighted_statistics(block, resp, centres, mixture.kind)


def _filled(of_components: Float64Array, place: int) -> Float64Array:
    """One less: the last is in this place."""
    moved = np.array(of_components[:-1])
    if place < len(moved):
        moved[place] = of_components[-1]
    return moved


def _promising(
    divisions: dict[int, _Division], mixture: Mixture, weight: float, *, losses: bool
) -> list[_Exchange]:
    """Components to divide, by what, and pairs to merge, of which most is expected."""
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
    sample: Climber, mixture: Mixture, known: dict[int, _Division]
) -> dict[int, _Division]:
    """Of every component, by its rows; those that are known are not made anew."""
    label = sample.rows.map(_labels, mixture, dtype=np.int64, columns=None)
    units = _units(sample.rows.block, mixture.kind)
    return {
        c: known.get(c) or _division(sample, np.flatnonzero(label == c), mixture.kind, units)
        for c in range(mixture.n_components)
    }


def _labels(block: Block, mixture: Mixture) -> NDArray[np.int64]:
    return labels(block.x, mixture)


def _units(block: Block, kind: str) -> Float64Array:
    """Of each feature, in which lengths are compared: those of the data for a kind that has them."""
    if not components_named(kind).is_scale_equivariant():
        return np.ones(block.n_features)
    deviations = block.x - _mean(block)
    units: Float64Array = np.sqrt(block.weights @ np.square(deviations) / block.total_weight)
    return np.where(units > 0, units, 1.0)


def _division(sample: Climber, held: NDArray[np.intp], kind: str, units: Float64Array) -> _Division:
    """Of the rows of one component; the two begin on the two sides of their longest axis.

    Each of the two must hold ``2 (D + 1)`` rows: likelihoods of fewer have no bound.
    """
    block = sample.rows.block.take(held)
    fewest, weight = 2 * (block.n_features + 1), block.total_weight
    if weight < 2 * fewest:
        return _INDIVISIBLE
    own = Climber(rows_of_sample(block), sample.prior)
    try:
        one = _fitted(own, np.ones((len(block), 1)), kind, 1)
        side = _sides(block, units)
        sides = np.column_stack([~side, side]).astype(np.float64)
        two = _fitted(own, sides, kind, _STEPS_OF_DIVISION)
    except SingularComponentError:
        return _INDIVISIBLE
    if weight * two.kept.weights.min() < fewest:
        return _INDIVISIBLE
    return _Division(weight * (two.log_likelihood - one.log_likelihood), two.kept)


def _fitted(own: Climber, resp: Float64Array, kind: str, n_steps: int) -> Course:
    """Some steps of EM from responsibilities."""
    block = own.rows.block
    centres = np.tile(_mean(block), (resp.shape[1], 1))
    start = own.prior.m_step(weighted_statistics(block, resp, centres, kind))
    return own.em(start, n_steps)


def can_exchange(kind: str) -> bool:
    """Whether components of a kind have covariances, by which they are merged and divided."""
    return issubclass(components_named(kind), HasCovariances)


def _dense_covariances(mixture: Mixture) -> Callable[[slice], Float64Array]:
    """Gives the covariances of some components as full matrices, (chosen, D, D).

    All of them are made at once where they take little memory.
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
    """Pairs of components by Runnalls' bound of what merging them costs, in nats per row.

    ``((w_i + w_j) log|S| - w_i log|S_i| - w_j log|S_j|) / 2``, S the covariance of both.
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
    """Runs of components whose D x D matrices take little memory."""
    step = max(1, _MATRICES_BYTES // (8 * d * d))
    return [slice(i, min(i + step, last)) for i in range(first, last, step)]


def _merging_costs(
    mixture: Mixture,
    dense: Callable[[slice], Float64Array],
    log_dets: Float64Array,
    i: int,
    others: slice,
) -> Float64Array:
    """Costs of merging component i with each of a run of components."""
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
