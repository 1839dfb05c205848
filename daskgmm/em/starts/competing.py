"""Competing: fit nested samples in memory first, so that few full passes remain.

The optimum of a uniform sample of n rows lies about ``(p / 2)(1/n - 1/N)`` nats per
row below that of all N, p being the free parameters. Whatever EM does before it is
that near can be done on the sample, which costs no pass. Good starts differ from bad ones
by far more than that, so that a fraction of the sample is enough to tell them apart.
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
from daskgmm.em.rows import rows_of_sample
from daskgmm.em.scan import Scan
from daskgmm.em.starts.climbs import (
    ALIKE,
    FIRST_EM_STEPS,
    Climber,
    densities_of,
    displaced,
)
from daskgmm.em.starts.exchanges import with_exchanges
from daskgmm.errors import SingularComponentError
from daskgmm.history import StartsFitted, StartsUnderway
from daskgmm.kernel import Block, Float64Array, Mixture, Prior

__all__ = ["N_STARTS", "Competition", "Outcome", "hopeless"]

N_STARTS = 10
"""Most starts that compete on the smallest sample, unless more are asked for."""
_THINNINGS = (16, 4)
_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE = 50, 12
"""Rows of a component, at least, for covariances that are good enough to tell starts apart."""
_FEW_ROWS = 500
"""Rows for each feature up to which a component is divided on the whole sample: as many as smaller
samples cut to next to none, and too few for a division to take long."""
_ERRORS = 2.0
"""Standard errors that a start must be behind to be dropped."""
_OFTEN = 2
"""Starts of each way that must lead to the best optimum before no more starts are made.

One way is not enough: where components differ in size, all starts of k-means lead to one poor
optimum.
"""
_SAME = 0.01
"""Largest number of displaced components of two climbs that have converged to the same optimum; of
climbs that may not have, it is :data:`~daskgmm.em.starts.climbs.ALIKE`."""

_DIGITS = 10
"""Of log-likelihoods per row that rounding leaves alone."""

_Entrant = tuple[int, Mixture]
"""Number of the way in which a start was made, and the start."""


@dataclass(frozen=True, eq=False)
class _Climbed:
    """The result of a climb.

    Attributes
    ----------
    way : int
        Number of the way in which the start was made.
    fit : Course
    densities : array of shape (n,)
        Log densities of the sample's rows under the fit.
    weight_of : array of shape (n,) or None
        Weights of these rows; None where each counts once.
    """

    way: int
    fit: Course
    densities: Float64Array

    weight_of: Float64Array | None

    def apart(self, other: Self) -> float:
        """Estimate of how many components are in another place than in another climb."""
        k = self.fit.kept.n_components
        return displaced(self.densities, other.densities, self.weight_of, k)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a competition found.

    Attributes
    ----------
    best : list of Mixture
        The best first, then distinct optima that are not significantly worse on the sample: by at
        most two standard errors of the difference row by row. If every fit on a sample collapses,
        the best of the smaller sample before it; on the smallest sample, the first start as it
        was made.
    is_found_often : bool
        Whether several starts of every way led to the best optimum of the smallest sample.
    agree : bool
        Whether all of them did.
    """

    best: list[Mixture]
    is_found_often: bool = False
    agree: bool = False


@dataclass(frozen=True, eq=False)
class Competition:
    """Fits many starts to a thinned sample, and the best of them to ever larger samples.

    Attributes
    ----------
    ways : sequence of callables
        Each makes a new start from a scan at each call; they take turns.
    n_components : int
    n_starts : int
        Most starts on the smallest sample; half of them go on to the next, and so on. Fewer
        are made, but at least ``n_kept``, if each way leads to the best optimum several times.
    n_kept : int
        Most mixtures in the result.
    prior : Prior
    n_threads : int
    exchanges : bool
        Whether merge-and-split moves are tried. Moves that are expected to lose are tried only
        if there are many components and no two starts found the same optimum.
    tell : callable
        Called with an event after each round, and after a climb if ``silence`` has passed.
    silence : float
        Seconds between two events within a round.

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

    def search(self, scan: Scan, known: Sequence[Mixture] = ()) -> Outcome:
        """The best mixtures that starts lead to on the whole sample.

        Parameters
        ----------
        scan : Scan
        known : sequence of Mixture
            Mixtures that compete beside the starts.
        """
        scans = self._scans(scan)
        first, starts = self._starts(scans[0])
        others = ((len(self.ways), mixture) for mixture in known)
        entrants: Iterable[_Entrant] = chain([first], others, starts)
        leaders, most = [first[1]], self.n_starts
        # Of few components, starts find what an unlikely exchange would.
        is_settled, agree, is_found_often = self.n_components < N_STARTS, False, False
        for level, at in enumerate(scans):
            began, is_last = time.perf_counter(), level == len(scans) - 1
            sample = Climber(rows_of_sample(at.sample, self.n_threads), self.prior)
            if len(scans) == 1:
                entrants = _ahead_early(sample, list(entrants), self.n_kept)
            climbs = self._climbs(sample, entrants, is_first=level == 0, is_last=is_last)
            if not climbs:
                return Outcome(leaders[:1])
            if level == 0:
                is_found_often = _is_found_often(climbs, len(self.ways))
                # Only if none led elsewhere: otherwise a rarer optimum may be higher.
                agree = is_found_often and len(climbs) == _OFTEN * len(self.ways)
            most = self.n_kept if is_last else max(self.n_kept, most // 2)
            # Of those that rounding tells apart alone, which units change, the first counts.
            climbs.sort(key=lambda one: -round(one.fit.objective, _DIGITS))
            leaders = _leaders(climbs)[:most]
            is_settled |= any(one.apart(climbs[0]) <= _SAME for one in climbs[1:])
            if self._may_exchange and not is_last and (level == 0 or not is_settled):
                better = with_exchanges(sample, leaders[0], losses=not is_settled)
                # A move that gains on few rows may lose on all, so both mixtures go on.
                leaders = [better, *(m for m in leaders if m is not better)]
            elif self._may_exchange and is_last:
                # Smaller samples had too few rows of small components to divide them.
                few = _FEW_ROWS * scan.sample.n_features
                leaders[0] = with_exchanges(sample, leaders[0], losses=False, largest=few)
            entrants = [(0, mixture) for mixture in leaders]
            seconds = time.perf_counter() - began
            self.tell(StartsFitted(sample.rows.n_rows, len(climbs), len(leaders), seconds))
        return Outcome(leaders, is_found_often, agree)

    @property
    def _may_exchange(self) -> bool:
        return self.exchanges and self.n_components > 2

    def _scans(self, scan: Scan) -> list[Scan]:
        """Scans with ever larger parts of the sample; the last has the whole sample."""
        most = scan.for_starts
        scans = [replace(scan, sample=most.sample.thinned(t)) for t in _THINNINGS]
        k, d = self.n_components, scan.sample.n_features
        enough = k * max(_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE * d)
        # All of a larger sample is for the best start alone.
        last = [most] if most is scan else [most, scan]
        return [s for s in scans if _is_enough(s.sample, enough, k)] + last

    def _starts(self, scan: Scan) -> tuple[_Entrant, Iterator[_Entrant]]:
        """The first start, and an iterator that makes each other start when it is asked for."""
        turns = islice(cycle(enumerate(self.ways)), self.n_starts)
        starts = ((way, start_from(scan)) for way, start_from in turns)
        return next(starts), starts

    def _climbs(
        self, sample: Climber, entrants: Iterable[_Entrant], *, is_first: bool, is_last: bool
    ) -> list[_Climbed]:
        """The climbs of a round; those in which a covariance becomes singular are left out."""
        began = spoke = time.perf_counter()
        climbs: list[_Climbed] = []
        for way, mixture in entrants:
            best = max((one.fit.objective for one in climbs), default=-np.inf)
            fit = sample.climb(mixture, to_the_end=is_last, best=best)
            if fit is not None:
                densities = densities_of(sample.rows, fit.kept)
                climbs.append(_Climbed(way, fit, densities, sample.rows.block.weight))
            if (now := time.perf_counter()) - spoke > self.silence:
                spoke = now
                self.tell(StartsUnderway(sample.rows.n_rows, len(climbs), now - began))
            enough = is_first and len(climbs) >= self.n_kept
            if enough and _is_found_often(climbs, len(self.ways)):
                break
        return climbs


def _is_found_often(climbs: Sequence[_Climbed], n_ways: int) -> bool:
    """Whether several starts of every way have led to the best optimum."""
    best = max(climbs, key=lambda one: one.fit.objective)
    found = Counter(one.way for one in climbs if one.apart(best) <= ALIKE)
    return all(found[way] >= _OFTEN for way in range(n_ways))


def _ahead_early(sample: Climber, starts: list[_Entrant], most: int) -> list[_Entrant]:
    """The best ``most`` starts after a few steps of EM, halved again after a few more.

    This saves climbs on a sample that is too small to be thinned.
    """
    while len(starts) > most:
        fits = []
        for way, mixture in starts:
            with suppress(SingularComponentError):
                fits.append((way, sample.rested(mixture, FIRST_EM_STEPS)))
        fits.sort(key=lambda one: -one[1].objective)
        starts = [(way, fit.kept) for way, fit in fits[: max(most, len(starts) // 2)]]
    return starts


def _is_enough(sample: Block, weight: float, n_components: int) -> bool:
    fewest = 2 * n_components
    # Sorting all rows takes as long as a climb; the first rows are mostly diverse enough.
    heads = (sample.x[: 2 * fewest], sample.x)
    is_diverse = any(len(np.unique(head, axis=0)) > fewest for head in heads)
    return sample.total_weight >= weight and is_diverse


def _leaders(climbs: Sequence[_Climbed]) -> list[Mixture]:
    """The best climb, and distinct optima not significantly worse on the sample."""
    best = climbs[0]
    leaders = [best]
    for one in climbs[1:]:
        behind = best.densities - one.densities
        error = weighted.error_of_mean(behind, best.weight_of)
        is_new = all(one.apart(leader) > _SAME for leader in leaders)
        if is_new and weighted.mean(behind, best.weight_of) <= _ERRORS * error:
            leaders.append(one)
    return [leader.fit.kept for leader in leaders]


def hopeless(courses: Mapping[int, Course], margin: float) -> set[int]:
    """Numbers of the courses that cannot reach the best log-likelihood found so far.

    An estimate from a few passes is no reason: EM goes slowly over a saddle before it climbs.
    ``margin`` bounds what fits may gain per row since they began, in nats; infinite where
    nothing does.
    """
    best = max(course.objective for course in courses.values())
    return {
        number
        for number, course in courses.items()
        if max(course.reach, course.first_objective + margin) < best
    }
