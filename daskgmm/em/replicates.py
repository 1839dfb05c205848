"""Replicates: a fit made again on rows that are drawn anew, whose spread says how sure it is.

In replicate b, row i has its weight times a Poisson number of mean 1, which the hash of i and b
decides: the Poisson bootstrap, which is Efron's for many rows. So a replicate is the same for any
chunking, its sums are additive, and all replicates are candidates of one race, on the same reads.

Each starts at the fitted mixture, so that components keep their numbers, and climbs until the
gain that is estimated to be left is below ``tol = e ** 2 / (2 N)``, e being 0.05. No parameter, and
no smooth function of some, is then farther from the replicate's maximum than e of its own
standard errors: with information I per row, a step s away from the maximum costs ``s^T I s / 2`` per
row, and ``|a^T s| <= sqrt(a^T inv(I) a) sqrt(s^T I s)`` by Cauchy and Schwarz, where the first root
is ``sqrt(N)`` standard errors of ``a^T theta``. One step of EM from the fitted mixture, or a few, would
not do: where components overlap, EM goes but a small part of the way, and errors would be too
small by as much. The surrogate's steps go nearly all of it in two or three reads; replicates that have
come to their end take no part in later ones. Where the scan's sample holds all rows, no further
read is needed: each replicate is fitted in memory, by steps of EM at first. Where components lie
apart these converge in a few E-steps, and the surrogate, which is exact then, takes a hundred to get as
near; it goes on where they have not converged beyond doubt.

One more, number 0, sees the rows as they are. It tells their log-likelihood at the fitted mixture,
and how far that is from their own maximum, about which the replicates lie.

References
----------
Efron (1979), Bootstrap methods: another look at the jackknife.
Hanley and MacGibbon (2006), Creating non-parametric bootstrap samples using Poisson frequencies.
Chamandy, Muralidharan, Najmi and Naidu (2012), Estimating uncertainty for massive data streams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from daskgmm.em.collapse import Mender
from daskgmm.em.course import Course
from daskgmm.em.drawn import poisson_of_rows
from daskgmm.em.fit import rules_of
from daskgmm.em.missing import Gaps
from daskgmm.em.problem import Problem
from daskgmm.em.race import Race, Rules, run
from daskgmm.em.rows import Rows, rows_of_sample
from daskgmm.em.scan import Scan, scan_rows
from daskgmm.em.starting import Tell
from daskgmm.em.steppers import PlainEM, Surrogate
from daskgmm.em.thin import are_spurious
from daskgmm.errors import SingularComponentError
from daskgmm.history import ReplicatesUnderway
from daskgmm.kernel import Block, Float64Array, Mixture, hash_rows
from daskgmm.kernel.blas import single_thread

__all__ = ["DrawnAnew", "ReplicatePlan", "Replicates", "replicated", "tol_of_replicates"]

_SHARE_OF_ERROR = 0.05
"""Most that a replicate may be off its maximum, in standard errors: see the top of this file."""
_MOST_PASSES = 50
"""Passes of those that share reads, or steps of each in memory."""
_EM_STEPS, _AT_REST = 20, 1e-3
"""First steps of EM in memory, and the factor on ``tol`` below which they are done beyond doubt."""
_SILENCE_SECONDS = 5.0


def tol_of_replicates(weight: float) -> float:
    """Remaining gain per row below which a replicate is done, of rows that count ``weight``."""
    return _SHARE_OF_ERROR**2 / (2.0 * weight)


@dataclass(frozen=True)
class DrawnAnew:
    """Rows as a replicate sees them: their weights times Poisson numbers of mean 1.

    Attributes
    ----------
    seed : int
        Of the replicate.
    """

    seed: int

    def __call__(self, block: Block) -> Block:
        """The block with these weights."""
        drawn = poisson_of_rows(block.start, len(block), self.seed)
        return replace(block, weight=drawn if block.weight is None else drawn * block.weight)


Views = Mapping[int, DrawnAnew | None]
"""How replicates see the rows, by number; None is as they are."""


@dataclass(frozen=True)
class ReplicatePlan:
    """What replicates are asked for.

    Attributes
    ----------
    n : int
        How many, B.
    n_at_once : int
        Those on the same reads, number 0 among them; the others have reads of their own. It
        decides no result.
    n_sampled : int
        Rows that the scan is to sample, about.
    seed : int
        Of the sample, and of the seeds of the replicates, the first of which are the same
        however many there are.
    """

    n: int
    n_at_once: int
    n_sampled: int
    seed: int

    def views(self, first: int) -> dict[int, DrawnAnew | None]:
        """How replicates see the rows, of as many as go at once, from number ``first`` on."""
        seeds = hash_rows(0, self.n, self.seed)
        numbers = range(first, min(first + self.n_at_once, self.n + 1))
        return {b: DrawnAnew(int(seeds[b - 1])) if b else None for b in numbers}


@dataclass(frozen=True, eq=False)
class Replicates:
    """What replicates came to.

    Attributes
    ----------
    values : mapping of str to ndarray
        What was asked of each mixture, by name, (B, ...): of those that were not lost.
    log_likelihoods : ndarray of shape (B,)
        Log-likelihood per row of each, in nats.
    at_maximum : mapping of str to ndarray
        What was asked of the mixture at the maximum of the rows as they are.
    at_model : float
        Log-likelihood per row of the rows as they are, at the fitted mixture.
    n_lost : int
        Replicates in which a component was left without rows, or closed in on a few.
    n_climbing : int
        Those that were not done after the most passes that there may be.
    n_passes : int
        Reads of all rows, the scan included.
    weight : float
        Sum of the weights of the rows.
    gaps : Gaps
        Rows in which values are missing.
    """

    values: Mapping[str, Float64Array]
    log_likelihoods: Float64Array
    at_maximum: Mapping[str, Float64Array]
    at_model: float
    n_lost: int
    n_climbing: int
    n_passes: int
    weight: float
    gaps: Gaps


def replicated(
    rows: Rows,
    problem: Problem,
    mixture: Mixture,
    plan: ReplicatePlan,
    values_of: Callable[[Mixture], Mapping[str, Float64Array]],
    tell: Tell,
) -> Replicates:
    """Make a fit again on rows that are drawn anew, many times on the same reads.

    Parameters
    ----------
    rows : Rows
    problem : Problem
        Its prior and precision, and ``tol``, a number: see :func:`tol_of_replicates`.
    mixture : Mixture
        Where all replicates start: the fit to the rows.
    plan : ReplicatePlan
    values_of : callable
        What is kept of a replicate's mixture.
    tell : callable
        Called with each event.

    Raises
    ------
    SingularComponentError
        If fewer than two replicates are left.
    DataError, DamagedDataError
        As :func:`~daskgmm.em.scan.scan_rows` and :class:`~daskgmm.em.race.Race`.
    """
    scan = scan_rows(rows, plan.n_sampled, plan.seed, tell)
    rules = replace(rules_of([problem], scan), total=None, max_iter=_MOST_PASSES)
    making = _Making(rows, scan, problem, mixture, rules, _Progress(plan.n, tell))
    made = making.in_memory if scan.is_whole else making.on_reads
    own: Course | None = None
    values: list[Mapping[str, Float64Array]] = []
    ended: list[tuple[float, bool]] = []
    for first in range(0, plan.n + 1, plan.n_at_once):
        for number, course in made(plan.views(first)).items():
            if number == 0:
                own = course
                continue
            values.append(values_of(course.kept))
            ended.append((course.log_likelihood, course.converged))
    if own is None:
        raise SingularComponentError(
            "a component has no rows among these, or too few for a density: they are not like those "
            "that the model was fitted to"
        )
    if len(ended) < 2:
        raise SingularComponentError(
            f"{plan.n - len(ended)} of {plan.n} replicates have a component without rows, or of a few "
            "that are alike: it holds so few that next to none are left when they are drawn anew; "
            "fit fewer components, or with prior='auto' (--prior auto)"
        )
    return Replicates(
        values={name: np.stack([one[name] for one in values]) for name in values[0]},
        log_likelihoods=np.array([height for height, _ in ended]),
        at_maximum=values_of(own.kept),
        at_model=own.history[0].log_likelihood,
        n_lost=plan.n - len(ended),
        n_climbing=sum(not converged for _, converged in ended),
        n_passes=making.progress.n_passes,
        weight=float(scan.weight),
        gaps=scan.gaps,
    )


@dataclass(eq=False)
class _Progress:
    """How far all replicates are, and who is told."""

    n: int
    tell: Tell
    n_done: int = 0
    n_passes: int = 1

    def __post_init__(self) -> None:
        self.n += 1  # that of the rows as they are
        self._began = self._told = time.perf_counter()

    def after_pass(self, n_done: int) -> None:
        """Tell of a pass, on which some of the replicates of the same reads are done."""
        self.n_passes += 1
        self._tell(self.n_done + n_done)

    def done(self, n: int) -> None:
        """Count replicates that are done, and say so where nothing was said for a while."""
        self.n_done += n
        if time.perf_counter() - self._told >= _SILENCE_SECONDS:
            self._tell(self.n_done)

    def _tell(self, n_done: int) -> None:
        self._told = time.perf_counter()
        seconds = self._told - self._began
        self.tell(ReplicatesUnderway(n_done, self.n, self.n_passes, seconds))


@dataclass(frozen=True, eq=False)
class _Making:
    """How replicates are made, on reads of their own or in memory."""

    rows: Rows
    scan: Scan
    problem: Problem
    mixture: Mixture
    rules: Rules
    progress: _Progress

    def on_reads(self, views: Views) -> dict[int, Course]:
        """Courses of the replicates that were not lost, all on the same reads."""
        stepper, tol = self.rules.stepper, float(self.problem.tol)
        begun = {b: Course.begun(self.mixture, stepper, tol) for b in views}
        drawn = {b: view for b, view in views.items() if view is not None}
        with single_thread():
            race = Race(self.rows, begun, self.rules, drawn)
            while race.is_running:
                try:
                    race.advance()
                except SingularComponentError:  # of the last one that was left
                    race.courses.clear()
                for b in [b for b, course in race.courses.items() if self._is_lost(course)]:
                    del race.courses[b]
                n_active = sum(course.is_active for course in race.courses.values())
                self.progress.after_pass(len(views) - n_active)
        self.progress.done(len(views))
        return race.courses

    def in_memory(self, views: Views) -> dict[int, Course]:
        """The same for rows all of which are in the sample: no read is made."""
        found = {b: self._in_memory(view) for b, view in views.items()}
        return {b: course for b, course in found.items() if course is not None}

    def _in_memory(self, view: DrawnAnew | None) -> Course | None:
        sample, rules = self.scan.sample, self.rules
        if view is not None:
            sample = view(sample).present()
            if len(sample) == 0:  # of a few rows, none may be drawn
                self.progress.done(1)
                return None
        rows, tol = rows_of_sample(sample, self.problem.n_threads), float(self.problem.tol)
        assert rules.prior is not None
        by_em = replace(rules, stepper=PlainEM(rules.prior), max_iter=_EM_STEPS)
        try:
            course = run(rows, self.mixture, by_em, _AT_REST * tol)
            if not course.converged:
                if Surrogate.serves(self.mixture.kind):
                    rules = replace(rules, stepper=Surrogate.of_rows(rules.prior, rows))
                more = run(rows, course.kept, rules, tol)
                course = replace(more, history=course.history + more.history)
        except SingularComponentError:
            return None
        finally:
            self.progress.done(1)
        return None if self._is_lost(course) else course

    def _is_lost(self, course: Course) -> bool:
        """Whether a replicate has components of next to no rows that the fitted mixture has not."""
        is_well = self._mender.is_well(course.kept)
        return not is_well or self._n_spurious(course.kept) > self._n_spurious_before

    @cached_property
    def _mender(self) -> Mender:
        prior = self.problem.prior_on(self.scan)
        return Mender(self.scan, prior, self.problem.n_threads, reseeds=False)

    @cached_property
    def _n_spurious_before(self) -> int:
        return self._n_spurious(self.mixture)

    def _n_spurious(self, mixture: Mixture) -> int:
        held = self.scan.weight * mixture.weights
        return int(are_spurious(mixture, held, self._mender.prior).sum())
