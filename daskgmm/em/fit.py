"""Fit: the scan, the starts and the race, which every fit to all rows goes through.

The file is longer than others for the documentation of its two protocols.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from daskgmm.em.collapse import Mender, ended, with_distinct_rows
from daskgmm.em.contradicted import contradicted_labels
from daskgmm.em.course import Course
from daskgmm.em.early import early_start, rivals_of
from daskgmm.em.ended import Fit
from daskgmm.em.far_values import far_values
from daskgmm.em.mapped import MappedRows
from daskgmm.em.missing import RowsWithGaps, weighing
from daskgmm.em.problem import Problem
from daskgmm.em.race import Race, Reading, Rules
from daskgmm.em.rows import Rows
from daskgmm.em.scan import Scan, scan_in_pass, scan_rows
from daskgmm.em.starting import Tell, starts_of
from daskgmm.em.starts.competing import hopeless
from daskgmm.em.starts.rare import may_miss_components, with_rare_components
from daskgmm.em.steppers import AnyStepper, ByKind
from daskgmm.em.stopping import READS, STOP_RULES
from daskgmm.em.tail import Tail
from daskgmm.errors import DataError, ParameterError, SingularComponentError
from daskgmm.history import Iteration, Resumed, ScanDone
from daskgmm.kernel import Affine, Mixture, Prior
from daskgmm.kernel.blas import single_thread
from daskgmm.telling import Event

__all__ = [
    "Contest",
    "Keeper",
    "fit",
    "raced",
    "rules_of",
    "told_in_units_of_data",
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
    ParameterError
        If one read is asked for, and no start can be made before it.
    DataError, DamagedDataError, SingularComponentError
        As :func:`~daskgmm.em.scan.scan_rows` and :class:`~daskgmm.em.race.Race`.
    """
    scan, courses = _scan_of(rows, problem, rng, n_sampled, tell, keeper)
    rows = weighing(rows, scan.weight)
    _check_enough(rows, problem)
    if scan.affine is not None:
        rows, tell = MappedRows(rows, scan.affine), told_in_units_of_data(tell, scan.affine)
    problem, fewer = with_distinct_rows(problem.through(scan.affine).on(scan), scan)
    for event in fewer:
        tell(event)
    problem.warn_of_ridge(scan)
    courses = _candidates(problem, scan, courses, problem.tol_on(rows), rng, tell)
    contest = _OneFit(
        problem.prior_on(scan),
        scan,
        problem.stepper_on(scan),
        problem.most_gained_on(scan),
        _watched(problem, scan, courses),
        tell,
    )
    rules = replace(
        rules_of([problem], scan),
        max_iter=problem.most_passes_after(scan),
        mender=Mender.of(problem, scan),
        ends_ahead=problem.stop_rule is STOP_RULES["gap"],
    )
    race = Race(rows, dict(enumerate(courses)), rules)
    _tell_collapses(race, courses, tell)
    raced(race, contest, tell, keeper)
    if keeper is not None:
        keeper.finish()
    n_passes = race.n_passes + (not scan.is_pass)
    with single_thread():
        result = ended(_result(race, problem), problem, scan)
        contradicted = contradicted_labels(result.kept, scan.sample)
        far = far_values(scan)
    result = replace(result, collapses=(*fewer, *result.collapses))
    return Fit(
        result,
        n_passes,
        scan.moments,
        prior=problem.prior_on(scan),
        affine=scan.affine,
        gaps=scan.gaps,
        contradicted=contradicted,
        far=far,
    )


def _scan_of(
    rows: Rows,
    problem: Problem,
    rng: np.random.RandomState,
    n_sampled: int,
    tell: Tell,
    keeper: Keeper | None,
) -> tuple[Scan, tuple[Course, ...]]:
    """The scan, and what courses there are by then: those that were kept, or an early start's."""
    scan, courses = (None, ()) if keeper is None else _kept(keeper, rng, tell)
    if scan is None:
        scan, courses = _first_read(rows, problem, rng, n_sampled, tell)
        if problem.scaling is not None:
            scan = problem.scaling.applied(scan)
        if keeper is not None:
            keeper.keep_scan(scan, rng)
            if courses:
                keeper.keep_pass(courses)
        for course in courses:
            tell(course.history[-1])
    return scan, courses


def _tell_collapses(race: Race, courses: Sequence[Course], tell: Tell) -> None:
    """Tell which components of the starts collapsed before the first pass."""
    for course, begun in zip(courses, race.courses.values(), strict=True):
        for event in begun.collapses[len(course.collapses) :]:
            tell(event)


def _check_enough(rows: Rows, problem: Problem) -> None:
    """Refuse fewer rows than components; how many are left out for gaps, a read has found."""
    if not (isinstance(rows, RowsWithGaps) and rows.each_once):
        return
    if rows.total_weight < problem.n_components:
        left = "that have a value" if rows.missing == "em" else "without gaps"
        raise DataError(
            f"n_components={problem.n_components} must be <= n_samples={rows.total_weight:.0f}, the "
            f"rows {left} of {rows.n_rows:,}: lower n_components"
        )


def told_in_units_of_data(tell: Tell, affine: Affine) -> Tell:
    """Tells of passes over mapped rows as if these were the rows themselves."""

    def told(event: Event) -> None:
        tell(event.raised(affine.log_jacobian) if isinstance(event, Iteration) else event)

    return told


def _kept(
    keeper: Keeper, rng: np.random.RandomState, tell: Tell
) -> tuple[Scan | None, tuple[Course, ...]]:
    """The kept scan and courses. Without a scan, the first read is to be made, or made again."""
    before, courses = rng.get_state(), tuple(keeper.courses)
    scan = keeper.scan(rng)
    if scan is None:
        return None, ()
    if scan.is_pass and not courses:  # interrupted between keeping the scan and keeping its pass
        rng.set_state(before)
        return None, ()
    n_iter = max((len(course.history) for course in courses), default=0)
    jacobian = 0.0 if scan.affine is None else scan.affine.log_jacobian
    history = tuple(iteration.raised(jacobian) for iteration in keeper.history)
    tell(Resumed(n_iter + (not scan.is_pass), history, n_iter))
    return scan, courses


def _first_read(
    rows: Rows, problem: Problem, rng: np.random.RandomState, n_sampled: int, tell: Tell
) -> tuple[Scan, tuple[Course, ...]]:
    """The scan; and, if it was the first pass as well, the course of the early start after it."""
    early = early_start(rows, problem, rng, n_sampled)
    seed = int(rng.randint(2**31 - 1))
    if early is None:
        if problem.reads == 1:
            raise ParameterError(
                "reads=1: no start can be made from pieces of these rows. They are in memory, in "
                "fewer than 160 chunks, or fewer than 30 for each parameter; or they are on Dask "
                "and their weights are stored; or pieces of them have gaps, a constant column, or fewer "
                "distinct rows than components; set reads=2",
                "reads",
            )
        scaling = problem.scaling
        drops, may_drop = scaling is not None and scaling.drops, scaling is None or scaling.may_drop
        how = {"may_be_constant": drops, "may_drop": may_drop}
        return scan_rows(rows, n_sampled, seed, tell, **how), ()
    began = time.perf_counter()
    scan, statistics = scan_in_pass(rows, n_sampled, seed, early, problem.precision)
    reading = Reading({0: statistics}, time.perf_counter() - began)
    tell(ScanDone(scan.n_rows, len(scan.sample), reading.seconds, is_pass=True))
    begun = Course.begun(early.mixture, problem.stepper_on(scan), problem.tol_on(rows))
    race = Race(rows, {0: begun}, rules_of([problem], scan))
    try:
        race.step(race.take(reading))
    except SingularComponentError:  # starts on the sample may lead elsewhere
        return replace(scan, early=None), ()
    return scan, tuple(race.courses.values())


def _candidates(
    problem: Problem,
    scan: Scan,
    courses: tuple[Course, ...],
    tol: float,
    rng: np.random.RandomState,
    tell: Tell,
) -> tuple[Course, ...]:
    """The candidates of the next pass: those that were kept, or new ones."""
    if not courses:
        stepper = problem.stepper_on(scan)
        starts = starts_of(problem, scan, rng, tell)
        uniform, ended = problem.uniform_on(scan), None
        fixed = problem.fixed_values
        if problem.ended is not None and fixed.holds_in(problem.ended.course.mixture):
            ended = problem.ended.goes_on(scan, stepper, tol, uniform)
        begun = tuple(Course.begun(start, stepper, tol) for start in starts)
        return begun if ended is None else (ended,)
    course = courses[0]
    if scan.is_pass and len(courses) == len(course.history) == 1 and course.is_active:
        return _beside_early(course, problem, scan, rng, tell)
    return courses


def _beside_early(
    course: Course, problem: Problem, scan: Scan, rng: np.random.RandomState, tell: Tell
) -> tuple[Course, ...]:
    """Candidates after the first pass of an early start.

    Its own course waits, for the case that all others fail. They begin anew from where it has
    led, from starts on the sample, or both: a state that has seen the early start, which is far
    away, takes more passes to the end.
    """
    early, stepped = scan.early, course.mixture
    assert early is not None
    starts, are_better = rivals_of(stepped, scan, problem, rng, tell)
    stepper = problem.stepper_on(scan)
    joining = [course.branch(start, stepper) for start in starts]
    if not are_better:
        joining.insert(0, course.branch(stepped, stepper))
    if early.tail is not None and _looks(problem, scan, stepped):
        prior = problem.prior_on(scan)
        mixture, found = with_rare_components(early.mixture, early.tail, scan, prior)
        for event in found:
            tell(event)
        if found:
            joining.append(course.branch(mixture, stepper, found))
    return replace(course, is_active=False), *joining


def _watched(problem: Problem, scan: Scan, courses: Sequence[Course]) -> int | None:
    """Number of the candidate whose worst-fitting rows the next pass is to find.

    It is the first start on the sample, if that makes its first pass.
    """
    stepped = courses[0].mixture if scan.is_pass else None
    for number, course in enumerate(courses):
        is_new = len(course.history) == course.n_branched and not course.rare
        if is_new and course.mixture is not stepped and not _is_same(course.mixture, stepped):
            return number if _looks(problem, scan, course.mixture) else None
    return None


def _is_same(one: Mixture, other: Mixture | None) -> bool:
    return other is not None and np.array_equal(one.means, other.means)


def _looks(problem: Problem, scan: Scan, start: Mixture) -> bool:
    """Whether to look for components that the sample has missed."""
    # Bounds of different neighbourhoods cannot tell whether a new component is better.
    # Neither can log densities of rows that have more features or fewer, or more or less noise.
    may_join = problem.may_move_components and problem.n_near is None and not scan.is_estimated
    return may_join and may_miss_components(scan, start)


def _result(race: Race, problem: Problem) -> Course:
    """The leader. If ``reads`` cut the fit off, it includes the step after the last read."""
    leader = race.leader
    is_cut_off = problem.reads is not None and not race.may_go_on and not leader.converged
    if not is_cut_off or race.n_passes >= problem.max_iter:
        return leader
    waiting = next((course for course in race.courses.values() if course.is_active), None)
    if not leader.is_active and waiting is not None:  # no read has seen it
        leader = waiting
    if not problem.leads_ahead:
        return replace(leader, stop_reason=READS)
    return replace(leader, kept=leader.mixture, statistics=None, stop_reason=READS)


def rules_of(problems: Sequence[Problem], scan: Scan) -> Rules:
    """The rules of a race of problems that differ only in kind and number of components."""
    first = problems[0]
    steppers = {problem.kind: problem.stepper_on(scan) for problem in problems}
    return Rules(
        stepper=ByKind(steppers) if len(steppers) > 1 else steppers[first.kind],
        stop=first.stop_rule,
        max_iter=first.max_iter,
        total=None if scan.is_estimated or first.has_labels else scan.moments,
        precision=first.precision,
        n_near=first.n_near,
        past=first.past,
        prior=first.prior_on(scan),
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
        """Note the tail of the watched candidate; all candidates step."""
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
        race.revive()
        race.mend()
        for course in race.courses.values():
            if course.begins_at == race.n_passes:
                self.tell(course.collapses[-1])
