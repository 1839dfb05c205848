"""Progressive: fit nested samples in memory first, so that few full passes remain.

The optimum of a uniform sample of n rows lies about ``(p / 2)(1/n - 1/N)`` nats per
row below that of all N, p being the free parameters. Whatever EM does before it is
that near can be done on the sample, which costs no pass; and what tells good starts
from bad ones is far larger than that on a fraction of it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice
from typing import Self

import numpy as np

from daskgmm.em.exchanges import with_exchanges
from daskgmm.em.history import StartsFitted, StartsUnderway
from daskgmm.em.loop import FitResult, run
from daskgmm.em.rows import InMemoryRows, rows_of_sample
from daskgmm.em.scan import Scan
from daskgmm.em.steppers import PlainEM, Surrogate
from daskgmm.em.stopping import statistical_tol, stop_rule_named
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Block, Float64Array, Mixture, Prior, log_density

__all__ = ["N_STARTS", "best_of_starts", "finished", "hopeless"]

N_STARTS = 10
"""Most starts that compete on the smallest sample, unless more are asked for."""
_THINNINGS = (16, 4, 1)
_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE = 50, 12
"""Of each component: a covariance of so few is good enough to tell starts apart."""
_FIRST_EM_STEPS, _EM_STEPS, _EM_STEPS_AT_THE_END, _MAX_ITER = 15, 40, 20, 30
_COARSER = 10.0
"""What a climb that only tells starts apart may leave, in tenths of the sample's precision."""
_AT_REST = 1e-3
"""Of a climb's tolerance: what is left where it is at an end beyond doubt, however it began."""
_SILENCE_SECONDS = 5.0
"""After which, and the climb in hand, it is told how far a round of starts is."""
_ERRORS = 2.0
"""Standard errors that a start must be behind to be dropped."""
_OFTEN = 2
"""Starts of each kind that lead to the best known, after which more would find it again.

One kind would not do: where components are of many sizes, all of k-means lead to one poor optimum.
"""
_ALIKE, _SAME = 0.1, 0.01
"""Components in another place, as :class:`_Climbed` counts them: of two climbs that lead to one
optimum but have not all arrived, and of two that have."""


@dataclass(frozen=True, eq=False)
class _Climbed:
    """Where the climb from a start of some kind has come.

    ``densities`` are the log densities of the sample's rows there.
    """

    kind: int
    fit: FitResult
    densities: Float64Array

    def apart(self, other: Self) -> float:
        """From another: about how many components are in another place.

        Each such moves the log density of 1 / K of the rows by about a nat.
        """
        return self.fit.mixture.n_components * float((self.densities - other.densities).var())


def best_of_starts(
    scan: Scan,
    kinds: Sequence[Callable[[Scan], Mixture]],
    *,
    n_components: int,
    n_starts: int,
    n_kept: int,
    prior: Prior,
    n_threads: int,
    exchanges: bool = True,
    known: Sequence[Mixture] = (),
    tell: Callable[[StartsUnderway | StartsFitted], None] = lambda event: None,
) -> list[Mixture]:
    """Make and fit many starts on a thinned sample, and fit the best of them to ever more.

    Parameters
    ----------
    scan : Scan
    kinds : sequence of callables
        Each makes another start each time, from a scan whose sample is thinned; by turns.
    n_components : int
    n_starts : int
        Most that compete on the smallest sample; half of them on the next, and so on. Fewer,
        but not fewer than ``n_kept``, where each kind has led to the best several times.
    n_kept : int
        Most that are left in the end.
    prior : Prior
    n_threads : int
    exchanges : bool
        Whether components may change places: where a gain is expected; where no two of the
        starts for many components found the same, also where none is.
    known : sequence of Mixture
        Compete as well, beside the starts.
    tell : callable
        Told of each round, and after a climb where nothing was told for some seconds.

    Returns
    -------
    list of Mixture
        The best first, and those that the sample does not tell from it: different
        optima of the same height, to two standard errors of the difference row by row.
        Where every fit to a part of the sample fails, what led on the part before; on the
        first, the first start as it was made.

    References
    ----------
    Biernacki, Celeux and Govaert (2003), Choosing starting values for the EM
    algorithm for getting the highest likelihood in multivariate Gaussian mixture models.
    """
    scans = [replace(scan, sample=scan.sample.thinned(t)) for t in _THINNINGS]
    enough = n_components * max(_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE * scan.sample.n_features)
    scans = [s for s in scans[:-1] if _is_enough(s.sample, enough, n_components)] + scans[-1:]
    turns = islice(cycle(enumerate(kinds)), n_starts)
    starts = ((kind, start_from(scans[0])) for kind, start_from in turns)
    first = next(starts)
    others = ((len(kinds), mixture) for mixture in known)
    candidates: Iterable[tuple[int, Mixture]] = chain([first], others, starts)
    most = n_starts
    # Of few components, starts find what an unlikely exchange would.
    is_settled = n_components < N_STARTS
    leaders = [first[1]]
    for level, at in enumerate(scans):
        began = spoke = time.perf_counter()
        rows = rows_of_sample(at.sample, n_threads)
        last = level == len(scans) - 1
        if len(scans) == 1:
            candidates = _ahead_early(rows, list(candidates), n_kept, prior)
        climbs: list[_Climbed] = []
        for kind, mixture in candidates:
            best = max((one.fit.log_likelihood for one in climbs), default=-np.inf)
            fit = climb(rows, mixture, prior, to_the_end=last, best=best)
            if fit is not None:
                climbs.append(_Climbed(kind, fit, _densities(rows, fit.mixture)))
            if (now := time.perf_counter()) - spoke > _SILENCE_SECONDS:
                spoke = now
                tell(StartsUnderway(rows.n_rows, len(climbs), now - began))
            if level == 0 and len(climbs) >= n_kept and _is_found_often(climbs, len(kinds)):
                break
        if not climbs:
            return leaders[:1]
        most = n_kept if last else max(n_kept, most // 2)
        climbs.sort(key=lambda one: -one.fit.log_likelihood)
        leaders = _leaders(climbs)[:most]
        is_settled |= any(one.apart(climbs[0]) <= _SAME for one in climbs[1:])
        if exchanges and n_components > 2 and not last and (level == 0 or not is_settled):
            better = with_exchanges(rows, leaders[0], prior, losses=not is_settled)
            # What is better on few rows need not be on all: both go on.
            leaders = [better, *(m for m in leaders if m is not better)]
        candidates = [(0, mixture) for mixture in leaders]
        seconds = time.perf_counter() - began
        tell(StartsFitted(rows.n_rows, len(climbs), len(leaders), seconds))
    return leaders


def _is_found_often(climbs: Sequence[_Climbed], n_kinds: int) -> bool:
    """Whether starts of every kind have led to the best of all, to what climbs leave."""
    best = max(climbs, key=lambda one: one.fit.log_likelihood)
    found = Counter(one.kind for one in climbs if one.apart(best) <= _ALIKE)
    return all(found[kind] >= _OFTEN for kind in range(n_kinds))


def _ahead_early(
    rows: InMemoryRows, starts: list[tuple[int, Mixture]], most: int, prior: Prior
) -> list[tuple[int, Mixture]]:
    """Those that are ahead after a few steps of EM, and the better half of them after a few more.

    Where the sample is too small to be thinned, all of it would be spent on a climb of each.
    """
    gap = stop_rule_named("gap")
    while len(starts) > most:
        fits = []
        for kind, mixture in starts:
            with suppress(SingularComponentError):
                em = PlainEM(prior)
                steps = _FIRST_EM_STEPS
                fit = run(rows, mixture, stepper=em, stop=gap, tol=0.0, max_iter=steps)
                fits.append((kind, fit))
        fits.sort(key=lambda one: -one[1].log_likelihood)
        starts = [(kind, fit.mixture) for kind, fit in fits[: max(most, len(starts) // 2)]]
    return starts


def _is_enough(sample: Block, n_rows: int, n_components: int) -> bool:
    fewest = 2 * n_components
    # To sort all rows takes as long as a climb: mostly the first tell.
    heads = (sample.x[: 2 * fewest], sample.x)
    is_diverse = any(len(np.unique(head, axis=0)) > fewest for head in heads)
    return len(sample) >= n_rows and is_diverse


def climb(
    rows: InMemoryRows,
    start: Mixture,
    prior: Prior,
    *,
    to_the_end: bool,
    best: float = -np.inf,
) -> FitResult | None:
    """To a tenth of the sample's own precision in the end; None where a component collapses.

    By EM as long as that is quick; what it leaves is the surrogate's work, which
    here, with all the rows at hand, is no surrogate. With ``to_the_end`` it has the last word
    unless EM is at rest: in a flat valley EM takes itself to be at the end long before. Without,
    it has a say only where EM did not arrive, and could, by its own estimate, reach ``best``.
    """
    tol = statistical_tol(start.n_parameters, rows.total_weight)
    gap = stop_rule_named("gap")
    em, exact = PlainEM(prior), Surrogate.of_rows(prior, rows)
    try:
        if to_the_end:
            fit = run(rows, start, stepper=em, stop=gap, tol=tol, max_iter=_EM_STEPS_AT_THE_END)
            wants_more = fit.history[-1].remaining_gain > _AT_REST * tol
        else:
            tol *= _COARSER
            # The first steps are no measure of those to come, unless they have led to rest.
            rest = _AT_REST * tol
            fit = run(rows, start, stepper=em, stop=gap, tol=rest, max_iter=_FIRST_EM_STEPS)
            if not fit.converged:
                fit = run(rows, fit.mixture, stepper=em, stop=gap, tol=tol, max_iter=_EM_STEPS)
            wants_more = not fit.converged and _reach(fit) >= best
        if wants_more:
            fit = run(rows, fit.mixture, stepper=exact, stop=gap, tol=tol, max_iter=_MAX_ITER)
        fit.mixture.check()  # raises here, where there is a way back
    except SingularComponentError:
        return None
    return fit


def finished(rows: InMemoryRows, mixture: Mixture, prior: Prior) -> Mixture:
    """A mixture fitted to some of the rows, fitted to all; as it was where that fails."""
    fit = climb(rows, mixture, prior, to_the_end=True)
    return mixture if fit is None else fit.mixture


def _leaders(climbs: Sequence[_Climbed]) -> list[Mixture]:
    """The first, and others that are neither worse than it, to what the sample tells, nor it."""
    best = climbs[0]
    leaders = [best]
    for one in climbs[1:]:
        behind = best.densities - one.densities
        error = float(behind.std()) / np.sqrt(len(behind))
        is_new = all(one.apart(leader) > _SAME for leader in leaders)
        if is_new and float(behind.mean()) <= _ERRORS * error:
            leaders.append(one)
    return [leader.fit.mixture for leader in leaders]


def _densities(rows: InMemoryRows, mixture: Mixture) -> Float64Array:
    return rows.map(_log_density, mixture, dtype=np.float64, columns=None)


def _log_density(block: Block, mixture: Mixture) -> Float64Array:
    return log_density(block.x, mixture)


def hopeless(results: Sequence[FitResult]) -> list[bool]:
    """Which fits will, by their own estimates, not even reach what the best has now."""
    best = max(result.log_likelihood for result in results)
    return [_reach(result) < best for result in results]


def _reach(result: FitResult) -> float:
    """Log-likelihood per row where a fit will end, by its own estimate."""
    return result.log_likelihood + result.history[-1].remaining_gain
