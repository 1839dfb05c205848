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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from daskgmm.em.loop import FitResult, run
from daskgmm.em.rows import InMemoryRows, rows_of_sample
from daskgmm.em.steppers import PlainEM
from daskgmm.em.stopping import statistical_tol, stop_rule_named
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import (
    Block,
    Float64Array,
    HasCovariances,
    Mixture,
    Prior,
    Statistics,
    labels,
    responsibilities,
    weighted_statistics,
)

__all__ = ["cheapest_mergers", "with_exchanges", "with_one_less", "with_one_more"]

_MERGERS, _DIVISIONS, _TRIES = 8, 6, 8
"""Cheapest and most gainful that are combined, and combinations that are tried in a round."""
_MOST = 32
"""Exchanges that are made."""
_STEPS_OF_DIVISION, _STEPS = 6, 15
"""Of EM, to see what a division or an exchange is worth."""
_AT_REST = 1e-3
"""Of the sample's precision: what is left where steps are saved."""
_PIECE = 1024
"""Rows whose responsibilities are held at once."""


def with_exchanges(
    rows: InMemoryRows, mixture: Mixture, prior: Prior, *, losses: bool = True
) -> Mixture:
    """A mixture of a higher log-likelihood, if exchanges of components lead to one.

    Parameters
    ----------
    rows : InMemoryRows
        A sample.
    mixture : Mixture
        Fitted to it, nearly.
    prior : Prior
    losses : bool
        Whether exchanges are tried that are expected to lose: the bound of what a merger costs
        is several times that of components that overlap, and of fifty such most exchanges
        that were accepted had been. Without, there is little to do where nothing is wrong.

    Returns
    -------
    Mixture
        After some dozens of exchanges, at most; as it was where none helps.
    """
    least = statistical_tol(mixture.n_parameters, rows.total_weight)
    best = mixture
    try:
        now, now_at = _climbed(rows, mixture, prior)
    except SingularComponentError:
        return mixture
    divisions: dict[int, _Division] = {}
    for _ in range(_MOST):
        divisions = _divisions(rows, now, prior, known=divisions)
        for c, two, (i, j) in _promising(divisions, now, rows.total_weight, losses=losses):
            try:
                proposed = _rearranged(rows, now, (c, two), (i, j), prior)
                tried, tried_at = _climbed(rows, proposed, prior)
            except SingularComponentError:
                continue
            # What steps of EM gain counts as well: to be strict in that ended lower.
            if tried_at > now_at + least:
                best = now = tried
                now_at = tried_at
                for changed in (c, i, j):
                    del divisions[changed]
                break
        else:
            break
    return best


def with_one_more(rows: InMemoryRows, mixture: Mixture, prior: Prior) -> Mixture | None:
    """A mixture of one component more: that which gains most by it is divided; None if none can be.

    Raises
    ------
    SingularComponentError
        If a covariance of the mixture cannot be factored.
    """
    divisions = _divisions(rows, mixture, prior, known={})
    divided = max(divisions, key=lambda c: divisions[c].gain)
    two = divisions[divided].two
    if two is None:
        return None
    return _rearranged(rows, mixture, (divided, two), None, prior)


def with_one_less(rows: InMemoryRows, mixture: Mixture, prior: Prior) -> Mixture:
    """A mixture of one component less: the two are one whose merger costs least.

    Raises
    ------
    SingularComponentError
        If a covariance of the mixture cannot be factored.
    """
    ((_, pair),) = cheapest_mergers(mixture, 1)
    return _rearranged(rows, mixture, None, pair, prior)


def _divisions(
    rows: InMemoryRows, mixture: Mixture, prior: Prior, known: dict[int, _Division]
) -> dict[int, _Division]:
    """Of every component, by its rows; those that are known are not made anew."""
    label = rows.map(_labels, mixture, dtype=np.int64, columns=None)
    return {
        c: known.get(c) or _division(rows.block.take(np.flatnonzero(label == c)), mixture, prior)
        for c in range(mixture.n_components)
    }


def _labels(block: Block, mixture: Mixture) -> NDArray[np.int64]:
    return labels(block.x, mixture)


def _climbed(rows: InMemoryRows, mixture: Mixture, prior: Prior) -> tuple[Mixture, float]:
    em, gap = PlainEM(prior), stop_rule_named("gap")
    rest = _AT_REST * statistical_tol(mixture.n_parameters, rows.total_weight)
    fit = run(rows, mixture, stepper=em, stop=gap, tol=rest, max_iter=_STEPS)
    return fit.mixture, fit.log_likelihood


@dataclass(frozen=True, eq=False)
class _Division:
    """Two components in place of one, and what they gain on the rows that it holds, in nats."""

    gain: float
    two: Mixture | None


_INDIVISIBLE = _Division(-np.inf, None)


def _promising(
    divisions: dict[int, _Division], mixture: Mixture, n_rows: float, *, losses: bool
) -> list[tuple[int, Mixture, tuple[int, int]]]:
    """Components to divide, by what, and pairs to merge, of which most is expected."""
    best = sorted(divisions, key=lambda c: -divisions[c].gain)[:_DIVISIONS]
    gains = {
        (c, pair): divisions[c].gain / n_rows - cost
        for cost, pair in cheapest_mergers(mixture, _MERGERS)
        for c in best
        if c not in pair and (losses or divisions[c].gain / n_rows > cost)
    }
    ranked = sorted(gains, key=lambda exchange: -gains[exchange])[:_TRIES]
    return [(c, two, pair) for c, pair in ranked if (two := divisions[c].two) is not None]


def _rearranged(
    rows: InMemoryRows,
    mixture: Mixture,
    division: tuple[int, Mixture] | None,
    merger: tuple[int, int] | None,
    prior: Prior,
) -> Mixture:
    """With a component divided by a mixture of two, or a pair merged, or both.

    The other half comes last; a pair is in the place of its first, and what is last takes that
    of its second.
    """
    centres = mixture.means
    if division is not None:
        divided, two = division
        centres = np.vstack([centres, two.means[1]])
        centres[divided] = two.means[0]
    if merger is not None:
        centres = _filled(centres, merger[1])
    # Responsibilities are wide.
    pieces = InMemoryRows(rows.block.x, _PIECE, rows.n_threads, rows.block.weight)
    return prior.m_step(pieces.fold(_assigned, mixture, division, merger, centres))


def _assigned(
    block: Block,
    mixture: Mixture,
    division: tuple[int, Mixture] | None,
    merger: tuple[int, int] | None,
    centres: Float64Array,
) -> Statistics:
    resp = responsibilities(block.x, mixture)
    if division is not None:
        divided, two = division
        share = responsibilities(block.x, two)[:, 1]
        resp = np.column_stack([resp, resp[:, divided] * share])
        resp[:, divided] *= 1.0 - share
    if merger is not None:
        i, j = merger
        resp[:, i] += resp[:, j]
        resp = _filled(resp.T, j).T
    return weighted_statistics(block, resp, centres, mixture.kind)


def _filled(of_components: Float64Array, place: int) -> Float64Array:
    """One less: the last is in this place."""
    moved = np.array(of_components[:-1])
    if place < len(moved):
        moved[place] = of_components[-1]
    return moved


def _division(block: Block, mixture: Mixture, prior: Prior) -> _Division:
    """Of the rows of one component; the two begin on the two sides of its longest axis.

    Each of the two must hold ``2 (D + 1)`` rows: likelihoods of fewer have no bound.
    """
    fewest = 2 * (mixture.n_features + 1)
    held = block.total_weight
    if held < 2 * fewest:
        return _INDIVISIBLE
    x, rows, kind, gap = block.x, rows_of_sample(block), mixture.kind, stop_rule_named("gap")
    mean = x.mean(axis=0) if block.weight is None else block.weight @ x / held

    def fitted(resp: Float64Array, n_steps: int) -> FitResult:
        centres = np.tile(mean, (resp.shape[1], 1))
        start = prior.m_step(weighted_statistics(block, resp, centres, kind))
        em = PlainEM(prior)
        return run(rows, start, stepper=em, stop=gap, tol=0.0, max_iter=n_steps)

    try:
        one = fitted(np.ones((len(x), 1)), 1)
        side = (x - one.mixture.means[0]) @ _longest_axis(one.mixture) > 0
        two = fitted(np.column_stack([~side, side]).astype(np.float64), _STEPS_OF_DIVISION)
    except SingularComponentError:
        return _INDIVISIBLE
    if held * two.mixture.weights.min() < fewest:
        return _INDIVISIBLE
    return _Division(held * (two.log_likelihood - one.log_likelihood), two.mixture)


def _longest_axis(one: Mixture) -> Float64Array:
    """Of a single component."""
    matrix = dense_covariances(one)[0]
    axis: Float64Array = linalg.eigh(matrix)[1][:, -1]
    return axis


def cheapest_mergers(mixture: Mixture, most: int) -> list[tuple[float, tuple[int, int]]]:
    """Pairs of components by Runnalls' bound of what merging them costs, in nats per row.

    ``((w_i + w_j) log|S| - w_i log|S_i| - w_j log|S_j|) / 2``, S the covariance of both.
    """
    k, weights, means = mixture.n_components, mixture.weights, mixture.means
    matrices = dense_covariances(mixture)
    log_dets = np.linalg.slogdet(matrices)[1]
    found = []
    for i in range(k - 1):  # with all others at once, whose matrices fit in memory
        j = np.arange(i + 1, k)
        both = weights[i] + weights[j]
        share = (weights[i] / np.maximum(both, np.finfo(float).tiny))[:, None, None]
        apart = means[j] - means[i]
        spread = share * (1.0 - share) * apart[:, :, None] * apart[:, None, :]
        log_det = np.linalg.slogdet(share * matrices[i] + (1.0 - share) * matrices[j] + spread)[1]
        costs = 0.5 * (both * log_det - weights[i] * log_dets[i] - weights[j] * log_dets[j])
        found += [
            (float(costs[n]), (i, int(j[n]))) for n in np.argsort(costs, kind="stable")[:most]
        ]
    return sorted(found)[:most]


def dense_covariances(mixture: Mixture) -> Float64Array:
    """Covariances as full matrices, (K, D, D)."""
    assert isinstance(mixture.components, HasCovariances)
    return mixture.components.dense()
