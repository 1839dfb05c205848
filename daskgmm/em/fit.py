"""Fit: the scan, the starts and the race, which every fit to all rows goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.problem import Fit, Problem
from daskgmm.em.race import Race, Reading, Rules
from daskgmm.em.rows import Rows
from daskgmm.em.scan import Scan, scan_rows
from daskgmm.em.starting import Tell, starts_of
from daskgmm.em.starts.competing import hopeless
from daskgmm.em.starts.rare import may_miss_components, with_rare_components
from daskgmm.em.steppers import AnyStepper, ByKind
from daskgmm.em.stopping import stop_rule_named
from daskgmm.em.tail import RowsWithTail
from daskgmm.history import Iteration, Resumed
from daskgmm.kernel import Mixture, Prior
from daskgmm.kernel.blas import single_thread

__all__ = [
    "Contest",
    "Keeper",
    "fit",
    "raced",
    "rules_of",
    "scanned",
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
    scan = scanned(rows, rng, n_sampled, tell, keeper)
    problem = problem.on(scan)
    problem.warn_of_ridge(scan)
    stepper, tol = problem.stepper_on(scan), problem.tol_on(rows)
    courses = tuple(keeper.courses) if keeper is not None else ()
    watched = None
    if not courses:
        starts = starts_of(problem, scan, rng, tell)
        ended = problem.ended.goes_on(scan, stepper, tol) if problem.ended is not None else None
        begun = tuple(Course.begun(start, stepper, tol) for start in starts)
        courses = begun if ended is None else (ended,)
        # Bounds of different neighbourhoods cannot tell whether a new component is better.
        looks = problem.may_move_components and problem.n_near is None
        if looks and may_miss_components(scan, starts[0]):
            watched = RowsWithTail(rows, starts[0])
    contest = _OneFit(
        problem.prior_on(scan),
        scan,
        stepper,
        courses[0].mixture,
        problem.most_gained_on(scan),
        watched,
        tell,
    )
    race = Race(watched or rows, dict(enumerate(courses)), rules_of([problem], scan))
    raced(race, contest, tell, keeper)
    if keeper is not None:
        keeper.finish()
    return Fit(race.leader, race.n_passes, scan.moments)


def scanned(
    rows: Rows,
    rng: np.random.RandomState,
    n_sampled: int,
    tell: Tell,
    keeper: Keeper | None = None,
) -> Scan:
    """The scan: the one that was kept, or else one pass."""
    scan = None if keeper is None else keeper.scan(rng)
    if scan is not None and keeper is not None:
        n_iter = max((len(course.history) for course in keeper.courses), default=0)
        tell(Resumed(1 + n_iter, tuple(keeper.history)))
        return scan
    scan = scan_rows(rows, n_sampled, int(rng.randint(2**31 - 1)), tell)
    if keeper is not None:
        keeper.keep_scan(scan, rng)
    return scan


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
            reading = race.read()
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
    start: Mixture
    margin: float
    watched: RowsWithTail | None
    tell: Tell

    def narrowed(self, race: Race, reading: Reading) -> None:
        """None: all candidates step."""

    def between(self, race: Race) -> None:
        """Drop hopeless candidates; after the first pass, let one with rare components join."""
        race.drop(hopeless(race.courses, self.margin))
        watched, self.watched = self.watched, None
        if watched is not None and watched.tail is not None and race.may_go_on:
            mixture, found = with_rare_components(self.start, watched.tail, self.scan, self.prior)
            for event in found:
                self.tell(event)
            if found:
                first = next(iter(race.courses.values()))
                race.join(first.branch(mixture, self.stepper, found))
