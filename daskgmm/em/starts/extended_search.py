"""Extended search for a better optimum, where the sample is all the rows there are.

The likelihood of few rows has many maxima, and no other rows tell which of them are chance: the
highest is asked for, unless components close in on a few rows to reach it. So the search goes
on until several starts have led to the best one known, or a stated amount of work is done. It
depends on one problem alone, so that a fit ends where a selection over any range of K does, and on
distinct rows and their weights, so that a weight of 2 equals a row twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.starts.climbs import ALIKE, FIRST_EM_STEPS, Climber, displaced
from daskgmm.em.starts.exchanges import units_of, with_exchanges, with_one_less, with_one_more
from daskgmm.em.thin import are_far, are_spurious, thin_components
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Mixture, log_density, responsibilities, weighted_statistics

__all__ = ["WORK_SECONDS", "ExtendedSearch"]

WORK_SECONDS = (1.5, 2.5)
"""Core-seconds of a search, as :class:`~daskgmm.em.starts.climbs.Effort` counts them: no clock is
read, so that results do not depend on one. Each start of ``at_least`` beyond the first adds 10%.
The larger figure is for rows so many that the smaller one would end after few climbs."""
_AGREE = 4
"""Starts that lead to the best known, after which more would find it again."""
_EM_STEPS = (FIRST_EM_STEPS, 40)
"""Of a climb: after each it is seen whether it leads to the best known."""
_MOST = 400
"""Starts in all."""
_STEPS_OF_START = 10
"""Of EM, that it takes to make a start; one that collapses at once takes no others."""
_FEWEST_STEPS, _ENOUGH_STEPS = 200, 400
"""Steps of EM. A search begins only if the work allows the first number. The work grows from the
smaller to the larger of ``WORK_SECONDS`` to allow the second."""


@dataclass(eq=False)
class ExtendedSearch:
    """Search for a better optimum by further starts and moves of components.

    Parameters
    ----------
    sample : Climber
        Fits mixtures to all distinct rows.
    starts : iterator of Mixture
        Further starts, without end.
    at_least : int
        Starts that are made in any case, if there is work left for them.
    exchanges : bool
        Whether components may be merged, divided or moved.
    rng : RandomState
    """

    sample: Climber
    starts: Iterator[Mixture]
    at_least: int
    exchanges: bool
    rng: np.random.RandomState
    _until: float = field(init=False)
    _most_spurious: int = field(init=False)

    def best(self, known: Mixture) -> Mixture:
        """The best that is found; what is known where nothing is better."""
        sample = self.sample
        of_step = sample.effort.seconds_of_step(sample.rows, known)
        budget = float(np.clip(_ENOUGH_STEPS * of_step, *WORK_SECONDS))
        budget *= 1.0 + 0.1 * (self.at_least - 1)
        if budget < _FEWEST_STEPS * of_step:
            return known
        self._until = sample.effort.seconds + budget
        try:
            best = sample.em(known, 1)
        except SingularComponentError:
            return known
        self._most_spurious = self._n_spurious(best.kept)
        is_new, n_found = True, 0
        for n_made, start in enumerate(self.starts, 1):
            sample.effort.add(sample.rows, start, _STEPS_OF_START)
            climb = self._climbed(start, best)
            if self.exchanges and n_made > n_found:
                moved = self._climbed(self._moved(best.kept), best)
                if moved is not None and self._is_better(moved, best):
                    best, is_new, n_found = moved, True, 0
            if climb is not None and self._is_better(climb, best):
                best, is_new, n_found = climb, True, 0
            elif climb is not None and self._apart(climb.kept, best.kept) <= ALIKE:
                n_found += 1
            # All of the first have led there: nothing to look for.
            disagree = n_made > n_found or n_made >= self.at_least > 1
            if is_new and disagree and n_made >= _AGREE and self._may_go_on:
                better = self._neighbour(best)
                is_new = better is not None
                if better is not None:
                    best, n_found = better, 0
            # Where most lead elsewhere, a rare one may lead higher.
            agree = n_found >= _AGREE and 2 * n_found > n_made
            is_settled = agree and n_made >= self.at_least
            if is_settled or n_made >= _MOST or not self._may_go_on:
                break
        return best.kept

    @property
    def _may_go_on(self) -> bool:
        return self.sample.effort.seconds < self._until

    def _is_better(self, one: Course, other: Course) -> bool:
        """Whether a climb ends with fewer thin components, whatever its height, or higher.

        Thin components of rows far from all others do not count. It must not get higher by components
        that close in on rows that are alike in a column.
        """
        ours, theirs = (self._n_thin(course.kept) for course in (one, other))
        if ours != theirs:
            return ours < theirs
        gains = one.objective > other.objective + self.sample.tol(other.kept)
        return gains and self._n_spurious(one.kept) <= self._most_spurious

    def _n_thin(self, mixture: Mixture) -> int:
        thin = thin_components(mixture, self.sample.rows.total_weight, self.sample.prior)
        return int(np.sum(~are_far(mixture, [one.component for one in thin])))

    def _n_spurious(self, mixture: Mixture) -> int:
        held = responsibilities(self.sample.rows.block.x, mixture).sum(axis=0)
        spurious = np.flatnonzero(are_spurious(mixture, held, self.sample.prior))
        return int(np.sum(~are_far(mixture, spurious)))

    def _climbed(self, start: Mixture, best: Course) -> Course | None:
        """By EM; to its end where that leads elsewhere, and may lead higher than the best."""
        climb = None
        try:
            for n_steps in _EM_STEPS:
                climb = self.sample.rested(start if climb is None else climb.kept, n_steps)
                if self._apart(climb.kept, best.kept) <= ALIKE:
                    return climb
        except SingularComponentError:
            return None
        is_lower = climb is None or climb.reach < best.objective
        if climb is None or (is_lower and self._n_thin(climb.kept) >= self._n_thin(best.kept)):
            return climb
        return self.sample.climb(climb.kept, to_the_end=True, until=self._until)

    def _apart(self, one: Mixture, other: Mixture) -> float:
        """About how many components are in another place."""
        block = self.sample.rows.block
        self.sample.effort.add(self.sample.rows, one, 1)
        ours, theirs = log_density(block.x, one), log_density(block.x, other)
        return displaced(ours, theirs, block.weight, one.n_components)

    def _moved(self, mixture: Mixture) -> Mixture:
        """With one component, whichever, moved to rows that lie together, rather where few do."""
        block, k = self.sample.rows.block, mixture.n_components
        others = np.delete(np.arange(k), self.rng.randint(k))
        rest = mixture.take(others)
        fewest = min(2 * (block.n_features + 1), len(block))
        most = max(len(block) // k, fewest)
        size = int(fewest * (most / fewest) ** self.rng.uniform())
        by_density = np.argsort(log_density(block.x, mixture), kind="stable")
        seed = by_density[int(len(block) * self.rng.uniform() ** 3)]
        z = block.x / units_of(block, mixture.kind)
        away = np.square(z - z[seed]).sum(axis=1)
        own = np.zeros(len(block))
        own[np.argsort(away, kind="stable")[:size]] = 1.0
        resp = np.column_stack([responsibilities(block.x, rest) * (1.0 - own)[:, None], own])
        centres = np.vstack([rest.means, own @ block.x / size])
        found = weighted_statistics(block, resp, centres, mixture.kind, mixture.uniform)
        return self.sample.prior.m_step(found)

    def _neighbour(self, best: Course) -> Course | None:
        """A higher one near by: after exchanges, or by way of one component more, or less."""
        if not self.exchanges:
            return None
        now = best
        for move in (self._exchanged, self._by_one_more, self._by_one_less):
            if not self._may_go_on:
                break
            with suppress(SingularComponentError):
                moved = move(now.kept)
                climb = None if moved is None else self._climbed(moved, now)
                if climb is not None and self._is_better(climb, now):
                    now = climb
        return None if now is best else now

    def _exchanged(self, mixture: Mixture) -> Mixture | None:
        if mixture.n_components < 3:
            return None
        return with_exchanges(self.sample, mixture, until=self._until)

    def _nearly(self, start: Mixture) -> Course | None:
        return self.sample.climb(start, to_the_end=False, until=self._until)

    def _by_one_more(self, mixture: Mixture) -> Mixture | None:
        more = with_one_more(self.sample, mixture)
        climb = None if more is None else self._nearly(more)
        return None if climb is None else with_one_less(self.sample, climb.kept)

    def _by_one_less(self, mixture: Mixture) -> Mixture | None:
        if mixture.n_components < 2:
            return None
        less = self._nearly(with_one_less(self.sample, mixture))
        return None if less is None else with_one_more(self.sample, less.kept)
