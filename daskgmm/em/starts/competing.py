"""Competing: fit nested samples in memory first, so that few full passes remain.

The optimum of a uniform sample of n rows lies about ``(p / 2)(1/n - 1/N)`` nats per
row below that of all N, p being the free parameters. Whatever EM does before it is
that near can be done on the sample, which costs no pass; and what tells good starts
from bad ones is far larger than that on a fraction of it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice
from typing import Self

import numpy as np

from daskgmm.em import weighted
from daskgmm.em.course import Course
from daskgmm.em.history import StartsFitted, StartsUnderway
from daskgmm.em.rows import InMemoryRows, rows_of_sample
from daskgmm.em.scan import Scan
from daskgmm.em.starts.climbs import FIRST_EM_STEPS, Climber
from daskgmm.em.starts.exchanges import with_exchanges
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Block, Float64Array, Mixture, Prior, log_density

__all__ = ["N_STARTS", "Competition", "hopeless"]

N_STARTS = 10
"""Most starts that compete on the smallest sample, unless more are asked for."""
_THINNINGS = (16, 4, 1)
_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE = 50, 12
"""Of each component: a covariance of so few is good enough to tell starts apart."""
_ERRORS = 2.0
"""Standard errors that a start must be behind to be dropped."""
_OFTEN = 2
"""Starts of each kind that lead to the best known, after which more would find it again.

One kind would not do: where components are of many sizes, all of k-means lead to one poor optimum.
"""
_ALIKE, _SAME = 0.1, 0.01
"""Components in another place, as :class:`_Climbed` counts them: of two climbs that lead to one
optimum but have not all arrived, and of two that have."""

_DIGITS = 10
"""Of log-likelihoods per row that rounding leaves alone."""

_Entrant = tuple[int, Mixture]
"""The way a start was made, by its number, and the start."""


@dataclass(frozen=True, eq=False)
class _Climbed:
    """Where the climb from a start that was made in some way has come.

    ``densities`` are the log densities of the sample's rows there, ``weight_of`` their weights.
    """

    way: int
    fit: Course
    densities: Float64Array

    weight_of: Float64Array | None

    def apart(self, other: Self) -> float:
        """From another: about how many components are in another place.

        Each such moves the log density of 1 / K of the rows by about a nat.
        """
        moved = weighted.variance(self.densities - other.densities, self.weight_of)
        return self.fit.kept.n_components * moved


@dataclass(frozen=True, eq=False)
class Competition:
    """Many starts, made and fitted on a thinned sample, and the best of them on ever more.

    Attributes
    ----------
    ways : sequence of callables
        Each makes another start each time, from a scan whose sample is thinned; by turns.
    n_components : int
    n_starts : int
        Most that compete on the smallest sample; half of them on the next, and so on. Fewer,
        but not fewer than ``n_kept``, where each way has led to the best several times.
    n_kept : int
        Most that are left in the end.
    prior : Prior
    n_threads : int
    exchanges : bool
        Whether components may change places: where a gain is expected; where no two of the
        starts for many components found the same, also where none is.
    tell : callable
        Told of each round, and after a climb where nothing was told for some seconds.
    silence : float
        Those seconds.

    References
    ----------
    Biernacki, Celeux and Govaert (2003), Choosing starting values for the EM
    algorithm for getting the highest likelihood in multivariate Gaussian mixture models.
    """

    ways: Sequence[Callable[[Scan], Mixture]]
    n_components: int
    n_starts: int
    n_kept: int
    prior: Prior
    n_threads: int = 1
    exchanges: bool = True
    tell: Callable[[StartsUnderway | StartsFitted], None] = lambda event: None
    silence: float = 5.0

    def best(self, scan: Scan, known: Sequence[Mixture] = ()) -> list[Mixture]:
        """Let starts compete, and those beside them that are known.

        Returns
        -------
        list of Mixture
            The best first, and those that the sample does not tell from it: different
            optima of the same height, to two standard errors of the difference row by row.
            Where every fit to a part of the sample fails, what led on the part before; on the
            first, the first start as it was made.
        """
        scans = self._scans(scan)
        first, starts = self._starts(scans[0])
        others = ((len(self.ways), mixture) for mixture in known)
        entrants: Iterable[_Entrant] = chain([first], others, starts)
        leaders, most = [first[1]], self.n_starts
        # Of few components, starts find what an unlikely exchange would.
        is_settled = self.n_components < N_STARTS
        for level, at in enumerate(scans):
            began, is_last = time.perf_counter(), level == len(scans) - 1
            sample = Climber(rows_of_sample(at.sample, self.n_threads), self.prior)
            if len(scans) == 1:
                entrants = _ahead_early(sample, list(entrants), self.n_kept)
            climbs = self._climbs(sample, entrants, is_first=level == 0, is_last=is_last)
            if not climbs:
                return leaders[:1]
            most = self.n_kept if is_last else max(self.n_kept, most // 2)
            # Of those that rounding tells apart alone, which units change, the first counts.
            climbs.sort(key=lambda one: -round(one.fit.log_likelihood, _DIGITS))
            leaders = _leaders(climbs)[:most]
            is_settled |= any(one.apart(climbs[0]) <= _SAME for one in climbs[1:])
            if self._may_exchange and not is_last and (level == 0 or not is_settled):
                better = with_exchanges(sample, leaders[0], losses=not is_settled)
                # What is better on few rows need not be on all: both go on.
                leaders = [better, *(m for m in leaders if m is not better)]
            entrants = [(0, mixture) for mixture in leaders]
            seconds = time.perf_counter() - began
            self.tell(StartsFitted(sample.rows.n_rows, len(climbs), len(leaders), seconds))
        return leaders

    @property
    def _may_exchange(self) -> bool:
        return self.exchanges and self.n_components > 2

    def _scans(self, scan: Scan) -> list[Scan]:
        """Of ever more of the sample; the last is of all of it."""
        scans = [replace(scan, sample=scan.sample.thinned(t)) for t in _THINNINGS]
        k, d = self.n_components, scan.sample.n_features
        enough = k * max(_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE * d)
        return [s for s in scans[:-1] if _is_enough(s.sample, enough, k)] + scans[-1:]

    def _starts(self, scan: Scan) -> tuple[_Entrant, Iterator[_Entrant]]:
        """The first, and the others, each made when it is asked for."""
        turns = islice(cycle(enumerate(self.ways)), self.n_starts)
        starts = ((way, start_from(scan)) for way, start_from in turns)
        return next(starts), starts

    def _climbs(
        self, sample: Climber, entrants: Iterable[_Entrant], *, is_first: bool, is_last: bool
    ) -> list[_Climbed]:
        """Fits of a round, but for those that collapse."""
        began = spoke = time.perf_counter()
        climbs: list[_Climbed] = []
        for way, mixture in entrants:
            best = max((one.fit.log_likelihood for one in climbs), default=-np.inf)
            fit = sample.climb(mixture, to_the_end=is_last, best=best)
            if fit is not None:
                densities = _densities(sample.rows, fit.kept)
                climbs.append(_Climbed(way, fit, densities, sample.rows.block.weight))
            if (now := time.perf_counter()) - spoke > self.silence:
                spoke = now
                self.tell(StartsUnderway(sample.rows.n_rows, len(climbs), now - began))
            enough = is_first and len(climbs) >= self.n_kept
            if enough and _is_found_often(climbs, len(self.ways)):
                break
        return climbs


def _is_found_often(climbs: Sequence[_Climbed], n_ways: int) -> bool:
    """Whether starts of every way have led to the best of all, to what climbs leave."""
    best = max(climbs, key=lambda one: one.fit.log_likelihood)
    found = Counter(one.way for one in climbs if one.apart(best) <= _ALIKE)
    return all(found[way] >= _OFTEN for way in range(n_ways))


def _ahead_early(sample: Climber, starts: list[_Entrant], most: int) -> list[_Entrant]:
    """Those that are ahead after a few steps of EM, and the better half of them after a few more.

    Where the sample is too small to be thinned, all of it would be spent on a climb of each.
    """
    while len(starts) > most:
        fits = []
        for way, mixture in starts:
            with suppress(SingularComponentError):
                fits.append((way, sample.em(mixture, FIRST_EM_STEPS)))
        fits.sort(key=lambda one: -one[1].log_likelihood)
        starts = [(way, fit.kept) for way, fit in fits[: max(most, len(starts) // 2)]]
    return starts


def _is_enough(sample: Block, weight: float, n_components: int) -> bool:
    fewest = 2 * n_components
    # To sort all rows takes as long as a climb: mostly the first tell.
    heads = (sample.x[: 2 * fewest], sample.x)
    is_diverse = any(len(np.unique(head, axis=0)) > fewest for head in heads)
    return sample.total_weight >= weight and is_diverse


def _leaders(climbs: Sequence[_Climbed]) -> list[Mixture]:
    """The first, and others that are neither worse than it, to what the sample tells, nor it."""
    best = climbs[0]
    leaders = [best]
    for one in climbs[1:]:
        behind = best.densities - one.densities
        error = weighted.error_of_mean(behind, best.weight_of)
        is_new = all(one.apart(leader) > _SAME for leader in leaders)
        if is_new and weighted.mean(behind, best.weight_of) <= _ERRORS * error:
            leaders.append(one)
    return [leader.fit.kept for leader in leaders]


def _densities(rows: InMemoryRows, mixture: Mixture) -> Float64Array:
    return rows.map(_log_density, mixture, dtype=np.float64, columns=None)


def _log_density(block: Block, mixture: Mixture) -> Float64Array:
    return log_density(block.x, mixture)


def hopeless(courses: Mapping[int, Course], margin: float) -> set[int]:
    """Which fits cannot even reach what the best has now.

    An estimate from a few passes is no reason: EM goes slowly over a saddle before it climbs.
    ``margin`` bounds what fits may gain per row since they began, in nats; infinite where
    nothing does.
    """
    best = max(course.log_likelihood for course in courses.values())
    return {
        number
        for number, course in courses.items()
        if max(course.reach, course.begun_at + margin) < best
    }
