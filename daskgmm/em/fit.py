"""Fit: the scan, the starts and the race, which every fit to all rows goes through."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Protocol

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.problem import Fit, Problem
from daskgmm.em.race import Race, Reading, Rules
from daskgmm.em.rows import Rows, rows_of_sample
from daskgmm.em.scan import Scan, scan_rows
from daskgmm.em.starts.assign import StartMaker
from daskgmm.em.starts.climbs import Climber
from daskgmm.em.starts.competing import N_STARTS, Competition, hopeless
from daskgmm.em.starts.extended_search import ExtendedSearch
from daskgmm.em.starts.rare import may_miss_components, with_rare_components
from daskgmm.em.steppers import AnyStepper, ByKind
from daskgmm.em.stopping import stop_rule_named
from daskgmm.em.tail import RowsWithTail
from daskgmm.errors import ParameterError
from daskgmm.history import Iteration, Resumed
from daskgmm.kernel import Mixture, Prior, count_parameters
from daskgmm.kernel.blas import single_thread
from daskgmm.telling import Event

__all__ = [
    "Contest",
    "Keeper",
    "fit",
    "raced",
    "rules_of",
    "scanned",
    "starts_of",
]

_RIVAL = "random_from_data"
"""Initialiser of every second start that competes: k-means only finds the widest components."""
_THIRD = "random"
"""Further initialiser of the extended search: the others keep finding the same groups where many
rows are equal."""

Tell = Callable[[Event], None]
"""Called with each event of a fit."""


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


def starts_of(
    problem: Problem,
    scan: Scan,
    rng: np.random.RandomState,
    tell: Tell = lambda event: None,
    known: Sequence[Mixture] = (),
) -> list[Mixture]:
    """Mixtures from which EM over all rows begins, on the same passes.

    Parameters
    ----------
    problem : Problem
    scan : Scan
    rng : RandomState
    tell : callable
        Called with an event after each round of starts on the sample.
    known : sequence of Mixture
        Mixtures near good optima, which compete as well; half as many starts are then made.

    Raises
    ------
    ParameterError
        If ``problem.last`` has another kind, number of components or number of features.
    """
    if problem.last is not None:
        return [_of_last_fit(problem, problem.last, scan.sample.n_features)]
    if scan.is_whole:
        scan = _in_order_of_values(scan)
    prior, rng = problem.prior_on(scan), _rng_of(problem, scan, rng)
    maker = StartMaker(problem.n_components, problem.kind, prior, rng, problem.given)
    if problem.given.complete:
        return [maker.start(scan, problem.init_params)]
    with single_thread():  # sums of a BLAS on several threads depend on their number
        if not problem.progressive or problem.max_iter == 0:
            return [maker.start(scan, problem.init_params) for _ in range(problem.n_init)]
        ways = dict.fromkeys((problem.init_params, _RIVAL))
        # Of all rows there is no doubt which is the best, however many may go on.
        n_kept = 1 if scan.is_whole else problem.n_init
        most = max(n_kept, N_STARTS // 2 if known else N_STARTS)
        if problem.n_components == 1:  # which has one optimum
            most = 1
        competition = Competition(
            [partial(maker.start, init_params=way) for way in ways],
            n_components=problem.n_components,
            n_starts=1 if problem.given.means is not None else most,
            n_kept=n_kept,
            prior=prior,
            n_threads=problem.n_threads,
            exchanges=problem.may_move_components,
            tell=tell,
        )
        leaders, agree = competition.search(scan, known)
        if not scan.is_whole or (agree and problem.n_init == 1) or not _may_search(problem, scan):
            return leaders
        more = (maker.start(scan, way) for way in cycle(dict.fromkeys((*ways, _THIRD))))
        sample = Climber(rows_of_sample(scan.sample, problem.n_threads), prior)
        search = ExtendedSearch(sample, more, problem.n_init, problem.may_move_components, rng)
        return [search.best(leaders[0])]


def _in_order_of_values(scan: Scan) -> Scan:
    """The scan with each row once, in an order of their values.

    Rows that are repeated go the way of rows that have weights, and starts, which draw rows by
    their place, do not depend on the order in which the rows came.
    """
    deviations = np.sqrt(scan.moments.variances)
    scale = np.where(deviations > 0, deviations, 1.0)
    return replace(scan, sample=scan.sample.distinct().sorted(scan.moments.mean, scale))


def _may_search(problem: Problem, scan: Scan) -> bool:
    """Whether a search is asked for, has several optima, and rows enough to tell them apart."""
    k, n_distinct = problem.n_components, len(scan.sample)
    p = count_parameters(problem.kind, k, scan.sample.n_features)
    is_open = problem.progressive and problem.given.means is None
    return is_open and 1 < k < n_distinct and p <= scan.weight


def _rng_of(problem: Problem, scan: Scan, rng: np.random.RandomState) -> np.random.RandomState:
    """The generator that the starts of a problem draw from.

    If the sample is all rows it is a new one, from the state of ``rng`` and, where the search may
    go on, from K and the kind; ``rng`` is not advanced, so that a problem's result does not depend
    on others. Else it is ``rng`` itself.
    """
    if not scan.is_whole:
        return rng
    same = np.random.RandomState()
    same.set_state(rng.get_state())
    if not _may_search(problem, scan):
        return same
    kind = zlib.crc32(problem.kind.encode())
    return np.random.RandomState([same.randint(2**31 - 1), problem.n_components, kind])


def _of_last_fit(problem: Problem, last: Mixture, n_features: int) -> Mixture:
    asked = (problem.n_components, n_features, problem.kind)
    had = (last.n_components, last.n_features, last.kind)
    if asked != had:
        raise ParameterError(
            "warm_start: the last fit had (n_components, n_features, covariance_type) = "
            f"{had}, this one has {asked}; set warm_start=False, or fit a new estimator",
            "warm_start",
        )
    return last


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
