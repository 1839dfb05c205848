"""Fit: the scan, the starts and the race, which every fit to all rows goes through."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.race import Race, Reading, Rules
from daskgmm.em.rows import Rows
from daskgmm.em.scan import Scan, scan_rows
from daskgmm.em.starts.assign import StartMaker
from daskgmm.em.starts.competing import N_STARTS, Competition, hopeless
from daskgmm.em.starts.exchanges import can_exchange
from daskgmm.em.starts.given import NOTHING_GIVEN, GivenStart
from daskgmm.em.starts.rare import may_miss_components, with_rare_components
from daskgmm.em.steppers import AUTO, AnyStepper, ByKind, Needs, Offered, stepper_class
from daskgmm.em.stopping import MAX_ITER, statistical_tol, stop_rule_named
from daskgmm.em.tail import RowsWithTail
from daskgmm.errors import DaskGMMWarning, ParameterError
from daskgmm.history import Iteration, Resumed
from daskgmm.kernel import (
    Mixture,
    Moments,
    Precision,
    Prior,
    RelativeRidge,
    Ridge,
    count_parameters,
)
from daskgmm.kernel.blas import single_thread
from daskgmm.telling import Event

__all__ = [
    "Contest",
    "Fit",
    "Keeper",
    "Problem",
    "fit",
    "raced",
    "rules_of",
    "scanned",
    "starts_of",
]

_FEWEST_TO_TRUNCATE = 200
"""Fewest components for a truncated E-step: with fewer, the search costs what it saves."""

_BLURS = 0.01
"""Of a column's variance: a ridge beyond is warned of."""

_GAPS = 3.0
"""Times as much as is expected of a start from a sample, all rows can gain it."""

_RIVAL = "random_from_data"
"""Initialiser of every second start that competes: k-means only finds the widest components."""

Tell = Callable[[Event], None]
"""Called with each event of a fit."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The mixture to fit and the options of its fit, checked as far as no rows are needed.

    Attributes
    ----------
    n_components : int
    kind : str
        Kind of the components, a key of :data:`daskgmm.kernel.COMPONENTS`.
    prior : Prior or RelativeRidge
        The latter is a prior once the rows are known: :meth:`prior_on`.
    tol : float or "auto"
        What the stop rule compares with; ``"auto"`` is :func:`statistical_tol`.
    stopping, stepper, init_params : str
        Keys of their tables; ``stepper`` may be ``"auto"``.
    max_iter, n_init : int
    progressive : bool
        Whether starts compete on the sample.
    precision : {"auto", "float32", "float64"}
    n_near : int or None
        Number of near components that a row is compared with; None for all.
    n_threads : int
        Threads for work on the sample.
    given : GivenStart
    last : Mixture or None
        Result of the fit before, to start from.
    past : tuple of float
        Log-likelihoods per row of the last accepted passes of that fit.
    ended : Fit or None
        How that fit ended, whose stepper goes on with what it learned if the rows are the same.

    Raises
    ------
    ParameterError
        If a truncated E-step would save nothing or does not suit the stepper, or if the stepper
        cannot work on components of this kind.
    """

    n_components: int
    kind: str
    prior: Prior | RelativeRidge
    tol: float | str = AUTO
    stopping: str = "gap"
    max_iter: int = 100
    n_init: int = 1
    init_params: str = "kmeans"
    stepper: str = AUTO
    progressive: bool = True
    precision: Precision = "auto"
    n_near: int | None = None
    n_threads: int = 1
    given: GivenStart = NOTHING_GIVEN
    last: Mixture | None = None
    past: tuple[float, ...] = ()
    ended: Fit | None = None

    def __post_init__(self) -> None:
        k, near = self.n_components, self.n_near
        if near is not None and k < _FEWEST_TO_TRUNCATE:
            raise ParameterError(
                f"truncate={near} with n_components={k}: below {_FEWEST_TO_TRUNCATE} "
                "components it would save nothing; set truncate=None",
                "truncate",
            )
        if near is not None and near >= k:
            raise ParameterError(
                f"truncate={near} leaves none of n_components={k} out; "
                "lower it, or set truncate=None",
                "truncate",
            )
        self._stepper_class  # noqa: B018 (raises where it cannot be)

    @property
    def _stepper_class(self) -> type[Offered[Any]]:
        # A start that is given whole, and progressive=False, get plain EM as in scikit-learn.
        return stepper_class(
            self.stepper,
            self.kind,
            few_passes=self.progressive and not self.given.complete,
            bounds=self.n_near is not None,
        )

    @property
    def may_move_components(self) -> bool:
        """Whether merge-and-split moves are allowed: not if the user placed the components."""
        is_free = self.given.means is None and self.last is None
        return self.progressive and is_free and can_exchange(self.kind)

    def tol_on(self, rows: Rows) -> float:
        """The tolerance of the stop rule on these rows, in the rule's units."""
        if self.tol != AUTO:
            return float(self.tol)
        p = count_parameters(self.kind, self.n_components, rows.n_features)
        return statistical_tol(p, rows.total_weight)

    def prior_on(self, scan: Scan) -> Prior:
        """The prior, in the units of the rows."""
        prior = self.prior
        return prior.of(scan.moments) if isinstance(prior, RelativeRidge) else prior

    def stepper_on(self, scan: Scan) -> AnyStepper:
        """The stepper, made with the scan's sample."""
        needs = Needs(self.prior_on(scan), scan.sample, self.n_threads)
        made: AnyStepper = self._stepper_class.of(needs)
        return made

    def most_gained_on(self, scan: Scan) -> float:
        """What a start can gain per row on all rows, at most: infinite for one as it was made.

        A start that competed is at an optimum of the sample, which lies about
        ``(p / 2)(1 / n - 1 / N)`` below one of all rows.
        """
        if not self.progressive or self.given.complete or self.last is not None:
            return np.inf
        p = count_parameters(self.kind, self.n_components, scan.sample.n_features)
        behind = 1.0 / scan.sample.total_weight - 1.0 / scan.weight
        return 0.5 * p * (_GAPS * behind + 1.0 / scan.weight)

    def warn_of_ridge(self, scan: Scan) -> None:
        """Warn of columns that a given ridge blurs: clusters in them can be lost.

        Warns
        -----
        DaskGMMWarning
            Names them.
        """
        if not isinstance(self.prior, Ridge):
            return
        variances = scan.moments.variances
        blurred = np.flatnonzero(_BLURS * variances < self.prior.reg_covar)
        if len(blurred) > 0:
            which = ", ".join(str(column) for column in blurred[:5]) + ", ..." * (len(blurred) > 5)
            warnings.warn(
                f"reg_covar={self.prior.reg_covar:g} is more than {_BLURS:.0%} of the variance of "
                f"column{'s' * (len(blurred) > 1)} {which} (of column {blurred[0]}: "
                f"{variances[blurred[0]]:.3g}): clusters in them are blurred; set "
                'reg_covar="auto", which is relative to each column\'s variance, or rescale the '
                "data",
                DaskGMMWarning,
                stacklevel=4,
            )


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


@dataclass(frozen=True, eq=False)
class Fit:
    """How a fit ended.

    Attributes
    ----------
    course : Course
        Its best candidate.
    n_passes : int
        That were made after the scan.
    moments : Moments
        Of all rows: rows of the same moments are the same.
    """

    course: Course
    n_passes: int
    moments: Moments

    def goes_on(self, scan: Scan, stepper: AnyStepper, tol: float) -> Course | None:
        """The course for another fit, of a history of its own; None if the rows are others."""
        is_same = np.array_equal(self.moments.mean, scan.moments.mean) and np.array_equal(
            self.moments.scatter, scan.moments.scatter
        )
        if not is_same or type(self.course.state) is not type(stepper.init(self.course.kept)):
            return None
        return replace(
            self.course,
            tol=tol,
            history=(),
            stop_reason=MAX_ITER,
            is_active=True,
            n_branched=0,
            rare=(),
        )


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
    prior = problem.prior_on(scan)
    maker = StartMaker(problem.n_components, problem.kind, prior, rng, problem.given)
    if problem.given.complete:
        return [maker.start(scan, problem.init_params)]
    with single_thread():  # sums of a BLAS on several threads depend on their number
        if not problem.progressive or problem.max_iter == 0:
            return [maker.start(scan, problem.init_params) for _ in range(problem.n_init)]
        ways = dict.fromkeys((problem.init_params, _RIVAL))
        most = max(problem.n_init, N_STARTS // 2 if known else N_STARTS)
        competition = Competition(
            [partial(maker.start, init_params=way) for way in ways],
            n_components=problem.n_components,
            n_starts=1 if problem.given.means is not None else most,
            n_kept=problem.n_init,
            prior=prior,
            n_threads=problem.n_threads,
            exchanges=problem.may_move_components,
            tell=tell,
        )
        return competition.best(scan, known)


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
