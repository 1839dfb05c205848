"""Fit: the scan, the starts and the race, which every fit to all rows goes through."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.early import EarlyStart, early_start
from daskgmm.em.problem import Fit, Problem
from daskgmm.em.race import Race, Reading, Rules
from daskgmm.em.rows import Rows
from daskgmm.em.scan import Scan, scan_in_pass, scan_rows
from daskgmm.em.starting import Tell, starts_of
from daskgmm.em.starts.competing import hopeless
from daskgmm.em.starts.rare import may_miss_components, with_rare_components
from daskgmm.em.steppers import AnyStepper, ByKind, SurrogateState
from daskgmm.em.stopping import READS, stop_rule_named
from daskgmm.em.tail import PassWithTail, Tail
from daskgmm.errors import ParameterError
from daskgmm.history import Iteration, Resumed, ScanDone
from daskgmm.kernel import Mixture, Pass, Prior
from daskgmm.kernel.blas import single_thread

__all__ = [
    "Contest",
    "Keeper",
    "fit",
    "raced",
    "rules_of",
]


class Keeper(Protocol):
    """Keeps the state of a fit, so that the fit can go on after an interruption."""

    @property
    def courses(self) -> Sequence[Course]:
        """Kept courses of the candidates; empty before the first pass."""
        ...

    @property
    def history(self) -> Sequence[Iteration]:
        """Iterations of the best kept candidate."""
        ...

    def scan(self, rng: np.random.RandomState) -> Scan | None:
        """The kept scan, or None. ``rng`` is set to its state after that scan."""
        ...

    def keep_scan(self, scan: Scan, rng: np.random.RandomState) -> None:
        """Keep the scan and the state of ``rng``."""
        ...

    def keep_pass(self, courses: Sequence[Course]) -> None:
        """Keep the candidates' courses after a pass."""
        ...

    def finish(self) -> None:
        """Note that the fit came to its end."""
        ...


class Contest(Protocol):
    """Decides between passes which candidates go on."""

    @property
    def watched(self) -> int | None:
        """Number of the candidate whose worst-fitting rows the next pass is to find."""
        ...

    def narrowed(self, race: Race, reading: Reading) -> set[int] | None:
        """Numbers of the candidates that step after a pass; None for all."""
        ...

    def between(self, race: Race) -> None:
        """Let candidates drop out, or join, after all have stepped."""
        ...


def fit(
    rows: Rows,
    problem: Problem,
    rng: np.random.RandomState,
    n_sampled: int,
    tell: Tell,
    keeper: Keeper | None = None,
) -> Fit:
    """Fit one mixture to all rows.

    Parameters
    ----------
    rows : Rows
    problem : Problem
    rng : RandomState
        Source of all random numbers.
    n_sampled : int
        Rows that the sample is to hold, about.
    tell : callable
        Called with each event.
    keeper : Keeper, optional
        Gives back the state kept before an interruption, and keeps the state after each pass.

    Raises
    ------
    DataError, DamagedDataError, SingularComponentError
        As :func:`~daskgmm.em.scan.scan_rows` and :class:`~daskgmm.em.race.Race`.
    """
    courses: tuple[Course, ...] = ()
    scan, first, watched = None, None, None
    if keeper is not None:
        scan, courses = _kept(keeper, rng, tell)
    if scan is None:
        first = _first_read(rows, problem, rng, n_sampled, tell)
        scan = first.scan
        if keeper is not None and not scan.is_pass:
            keeper.keep_scan(scan, rng)
    problem = problem.on(scan)
    problem.warn_of_ridge(scan)
    if first is not None and scan.is_pass:
        courses, watched = _begun_early(rows, problem, first, rng, tell)
        if keeper is not None:
            keeper.keep_scan(scan, rng)
            keeper.keep_pass(courses)
        tell(courses[0].history[-1])
    elif not courses:
        courses, watched = _begun(rows, problem, scan, rng, tell)
    n_fitted = None if first is None or first.early is None else first.early.weight
    contest = _OneFit(
        problem.prior_on(scan),
        scan,
        problem.stepper_on(scan),
        problem.most_gained_on(scan, n_fitted),
        watched,
        tell,
    )
    rules = replace(rules_of([problem], scan), max_iter=problem.most_passes_after(scan))
    race = Race(rows, dict(enumerate(courses)), rules)
    raced(race, contest, tell, keeper)
    if keeper is not None:
        keeper.finish()
    return Fit(_result(race, problem, scan), race.n_passes + (not scan.is_pass), scan.moments)


def _result(race: Race, problem: Problem, scan: Scan) -> Course:
    """The best candidate; after the last read that was asked for, with the step beyond it."""
    leader = race.leader
    is_cut_off = problem.reads is not None and not race.may_go_on and not leader.converged
    if not is_cut_off or race.n_passes >= problem.max_iter:
        return leader
    if not leader.is_active:  # a start of the sample is better, and no read has seen it
        active = (course for course in race.courses.values() if course.is_active)
        leader = next(active, leader)
        last = replace(leader.history[-1], remaining_gain=problem.expected_gain_on(scan))
        leader = replace(leader, history=(*leader.history[:-1], last))
    # Where the surrogate leads is better than the M-step of the last pass; what a stepper
    # extrapolates may not be.
    goes_on = isinstance(leader.state, SurrogateState)
    return replace(leader, kept=leader.mixture if goes_on else leader.kept, stop_reason=READS)


def _kept(
    keeper: Keeper, rng: np.random.RandomState, tell: Tell
) -> tuple[Scan | None, tuple[Course, ...]]:
    """The kept scan and courses; no scan if the first read has to be made, or made again."""
    before, courses = rng.get_state(), tuple(keeper.courses)
    scan = keeper.scan(rng)
    if scan is None:
        return None, ()
    if scan.is_pass and not courses:  # what the read found as a pass was not kept any more
        rng.set_state(before)
        return None, ()
    n_iter = max((len(course.history) for course in courses), default=0)
    tell(Resumed(n_iter + (not scan.is_pass), tuple(keeper.history)))
    return scan, courses


@dataclass(frozen=True, eq=False)
class _FirstRead:
    """The scan; and where there was an early start, what the read found of it as a pass."""

    scan: Scan
    early: EarlyStart | None = None
    reading: Reading | None = None


def _first_read(
    rows: Rows, problem: Problem, rng: np.random.RandomState, n_sampled: int, tell: Tell
) -> _FirstRead:
    early = early_start(rows, problem, rng, n_sampled)
    seed = int(rng.randint(2**31 - 1))
    if early is None and problem.reads == 1:
        raise ParameterError(
            "reads=1: no start can be made from pieces of these rows, since they are in memory, "
            "or in too few chunks, or too few for the parameters, or the start is not left open; "
            "set reads=2",
            "reads",
        )
    if early is None:
        return _FirstRead(scan_rows(rows, n_sampled, seed, tell))
    began = time.perf_counter()
    with single_thread():
        one = PassWithTail(Pass(early.mixture, problem.precision))
        scan, statistics, tail = scan_in_pass(rows, n_sampled, seed, one)
    seconds = time.perf_counter() - began
    tell(ScanDone(scan.n_rows, len(scan.sample), seconds, is_pass=True))
    return _FirstRead(scan, early, Reading({0: statistics}, seconds, tail))


def _begun(
    rows: Rows, problem: Problem, scan: Scan, rng: np.random.RandomState, tell: Tell
) -> tuple[tuple[Course, ...], int | None]:
    """Candidates from starts on the scan's sample; and the number of the one to be watched."""
    stepper, tol = problem.stepper_on(scan), problem.tol_on(rows)
    starts = starts_of(problem, scan, rng, tell)
    ended = problem.ended.goes_on(scan, stepper, tol) if problem.ended is not None else None
    begun = tuple(Course.begun(start, stepper, tol) for start in starts)
    looks = _looks(problem, scan, starts[0])
    return begun if ended is None else (ended,), 0 if looks else None


def _begun_early(
    rows: Rows, problem: Problem, first: _FirstRead, rng: np.random.RandomState, tell: Tell
) -> tuple[tuple[Course, ...], int | None]:
    """As :func:`_begun`, from an early start that has made its first pass."""
    scan, early, reading = first.scan, first.early, first.reading
    assert early is not None
    assert reading is not None
    stepper = problem.stepper_on(scan)
    begun = Course.begun(early.mixture, stepper, problem.tol_on(rows))
    race = Race(rows, {0: begun}, rules_of([problem], scan))
    race.step(race.take(reading))
    course = race.courses[0]
    rivals, are_better = early.rivals(course.mixture, problem, scan, rng, tell)
    joining = [course.branch(rival, stepper) for rival in rivals]
    course = replace(course, is_active=not are_better, state=stepper.init(course.mixture))
    if rivals:
        return (course, *joining), 1 if _looks(problem, scan, rivals[0]) else None
    if reading.tail is not None and _looks(problem, scan, early.mixture):
        mixture, found = with_rare_components(
            early.mixture, reading.tail, scan, problem.prior_on(scan)
        )
        for event in found:
            tell(event)
        joining = [course.branch(mixture, stepper, found)] if found else []
    return (course, *joining), None


def _looks(problem: Problem, scan: Scan, start: Mixture) -> bool:
    """Whether to look for components that the sample has missed."""
    # Bounds of different neighbourhoods cannot tell whether a new component is better.
    may_join = problem.may_move_components and problem.n_near is None
    return may_join and may_miss_components(scan, start)


def rules_of(problems: Sequence[Problem], scan: Scan) -> Rules:
    """The rules of a race of problems that differ only in kind and number of components."""
    first = problems[0]
    steppers = {problem.kind: problem.stepper_on(scan) for problem in problems}
    return Rules(
        stepper=ByKind(steppers) if len(steppers) > 1 else steppers[first.kind],
        stop=stop_rule_named(first.stopping),
        max_iter=first.max_iter,
        total=scan.moments,
        precision=first.precision,
        n_near=first.n_near,
        past=first.past,
    )


def raced(race: Race, contest: Contest, tell: Tell, keeper: Keeper | None = None) -> None:
    """Advance a race to its end, one pass at a time."""
    with single_thread():  # between passes too: more threads slow small factorisations
        while race.is_running:
            reading = race.read(contest.watched)
            race.step(reading, contest.narrowed(race, reading))
            contest.between(race)
            if keeper is not None:
                keeper.keep_pass(tuple(race.courses.values()))
            if race.newest is not None:
                tell(race.newest)


@dataclass(eq=False)
class _OneFit:
    """Contest of the starts of one problem: hopeless ones drop out, a rare component may join."""

    prior: Prior
    scan: Scan
    stepper: AnyStepper
    margin: float
    watched: int | None
    tell: Tell
    _found: tuple[Mixture, Tail] | None = None

    def narrowed(self, race: Race, reading: Reading) -> None:
        """None: all candidates step."""
        if self.watched is not None and reading.tail is not None:
            self._found = race.courses[self.watched].mixture, reading.tail
        self.watched = None

    def between(self, race: Race) -> None:
        """Drop hopeless candidates; after the watched pass, let one with rare components join."""
        race.drop(hopeless(race.courses, self.margin))
        found, self._found = self._found, None
        if found is not None and race.may_go_on:
            mixture, rare = with_rare_components(*found, self.scan, self.prior)
            for event in rare:
                self.tell(event)
            if rare:
                race.join(race.leader.branch(mixture, self.stepper, rare))
