"""Race: mixtures that are fitted side by side, so that each pass over the rows serves all.

The caller advances the race by one pass at a time. Between passes it decides which candidates
go on, which join, and what is kept and told::

    race = Race(rows, {0: course}, rules)
    while race.is_running:
        race.advance()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.rows import Rows
from daskgmm.em.stepping import Rules, check_factors, has_collapsed, stepped
from daskgmm.em.tail import PassWithTail, Tail
from daskgmm.errors import DamagedDataError, DataError, SingularComponentError
from daskgmm.history import Iteration
from daskgmm.kernel import Block, Mixture, Neighbourhoods, Pass, Precision, Statistics
from daskgmm.kernel.blas import single_thread

__all__ = ["Race", "Reading", "Rules", "run"]

_LEAST_TOL_OF_FLOAT32 = 1e-7
"""Rounding in float32 moves the log-likelihood per row by some 1e-8 from pass to pass."""
_LEAST_GAIN_OF_FLOAT32 = 1e-6
"""Estimated remaining gain below which a smaller ``tol`` is approached in float64."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What one pass found.

    Attributes
    ----------
    statistics : mapping of int to Statistics
        For every active candidate, by its number.
    seconds : float
        Wall time of the pass.
    tail : Tail or None
        Worst-fitting rows under the candidate that was watched, if one was.
    """

    statistics: Mapping[int, Statistics]
    seconds: float
    tail: Tail | None = None


@dataclass(frozen=True, eq=False)
class _Several:
    """Partial statistics of several mixtures over the same rows. Additive."""

    terms: tuple[Any, ...]

    def __add__(self, other: Self) -> Self:
        both = zip(self.terms, other.terms, strict=True)
        return type(self)(tuple(a + b for a, b in both))


def _several(block: Block, *passes: Pass | PassWithTail) -> _Several:
    return _Several(tuple(one.of(block) for one in passes))


class Race:
    """Candidates on the same passes, advanced by their caller.

    Parameters
    ----------
    rows : Rows
    courses : mapping of int to Course
        Candidates by number. A fit that was interrupted goes on from its kept course.
    rules : Rules
    views : mapping of int to callable, optional
        How candidates see each block, by number, where that is not as it is.

    Attributes
    ----------
    courses : dict of int to Course
        Courses of all candidates still in the race, those that need no more passes included.
    n_passes : int
        Passes over all rows so far.
    newest : Iteration or None
        Iteration of the last pass's best candidate; None if no candidate made a step.

    Raises
    ------
    SingularComponentError
        If a covariance of a start is not positive definite: no pass is made then.
    """

    def __init__(
        self,
        rows: Rows,
        courses: Mapping[int, Course],
        rules: Rules,
        views: Mapping[int, Callable[[Block], Block]] = MappingProxyType({}),
    ) -> None:
        self._rows, self._rules, self._views = rows, rules, views
        self._neighbourhoods: dict[int, tuple[Mixture, Neighbourhoods]] = {}
        self.courses: dict[int, Course] = {}
        self.newest: Iteration | None = None
        with single_thread():
            for number, course in courses.items():
                self._enter(number, course)
        self.n_passes = max((len(course.history) for course in courses.values()), default=0)

    @property
    def is_running(self) -> bool:
        """Whether a candidate needs another pass, and there may be one."""
        some = any(course.is_active for course in self.courses.values())
        return some and self.may_go_on

    @property
    def may_go_on(self) -> bool:
        """Whether there may be another pass."""
        return self.n_passes < self._rules.max_iter

    @property
    def leader(self) -> Course:
        """Course of the candidate with the highest objective now."""
        return max(self.courses.values(), key=lambda course: course.objective)

    def advance(self) -> None:
        """One pass, and a step of every candidate: :meth:`read`, then :meth:`step`."""
        self.step(self.read())

    def read(self, watched: int | None = None) -> Reading:
        """Make one pass over all rows. No candidate steps: a step may cost more than the pass.

        Parameters
        ----------
        watched : int, optional
            Number of the candidate whose worst-fitting rows are to be found.

        Raises
        ------
        DamagedDataError
            If the pass read another number of rows than ``rows.n_rows``.
        DataError
            If a log-likelihood is not finite.
        """
        with single_thread():
            passes = {n: self._pass(n, c) for n, c in self.courses.items() if c.is_active}
            watching = {n: PassWithTail(passes[n]) for n in passes if n == watched}
            began = time.perf_counter()
            found = self._rows.fold(_several, *(passes | watching).values())
            terms = dict(zip(passes, found.terms, strict=True))
            watched_results = {n: one.complete(terms[n]) for n, one in watching.items()}
            complete = {
                n: watched_results[n][0] if n in watched_results else one.complete(terms[n])
                for n, one in passes.items()
            }
            tail = next((tail for _, tail in watched_results.values()), None)
            seconds = time.perf_counter() - began
        return self.take(Reading(complete, seconds, tail))

    def take(self, reading: Reading) -> Reading:
        """Count and check a pass over all rows that was made elsewhere; raises as :meth:`read`."""
        self.n_passes += 1
        for statistics in reading.statistics.values():
            _check_pass(statistics, self._rows.n_rows, self.n_passes)
        return reading

    def step(self, reading: Reading, only: Collection[int] | None = None) -> None:
        """Let each candidate step to the parameters of its next pass.

        A candidate leaves the race if it is not among ``only``, if a covariance became singular,
        or if it branched off and its first pass found no higher objective.

        Parameters
        ----------
        reading : Reading
        only : collection of int, optional
            Numbers of the candidates that stay; by default all.

        Raises
        ------
        SingularComponentError
            If a covariance of the last remaining candidate became singular; the message gives
            component and pass.
        """
        singular: SingularComponentError | None = None
        newer: list[Course] = []
        with single_thread():
            for number, statistics in reading.statistics.items():
                course = self.courses.pop(number)
                if only is not None and number not in only:
                    continue
                try:
                    after = stepped(course, statistics, reading.seconds, self._rules)
                except SingularComponentError as error:
                    singular = error
                    continue
                if after is not None:
                    self.courses[number] = after
                    newer.append(after)
        self.courses = dict(sorted(self.courses.items()))
        if singular is not None and not self.courses:
            raise singular
        # One candidate is not asked for its best: it would look through all of its history.
        best = newer[0] if len(newer) == 1 else max(newer, key=lambda c: c.best, default=None)
        self.newest = None if best is None else best.history[-1]

    def drop(self, numbers: Collection[int]) -> None:
        """Make no more passes for some candidates; their courses stay in the race."""
        for number in numbers:
            self.courses[number] = replace(self.courses[number], is_active=False)

    def join(self, course: Course) -> None:
        """Let one more candidate join from the next pass on, unless no pass is left."""
        if self.may_go_on:
            with single_thread():
                self._enter(1 + max(self.courses, default=-1), course)

    def revive(self) -> None:
        """Let the leader go on if no candidate is active, and none has met the stop rule.

        So the fit does not end where those that were better on a sample turned out to be none.
        """
        if not any(course.is_active or course.converged for course in self.courses.values()):
            number = max(self.courses, key=lambda n: self.courses[n].objective)
            self.courses[number] = replace(self.courses[number], is_active=True)

    def mend(self) -> None:
        """Let the leader go on if no candidate is active, and components of its result collapsed.

        Candidates that were dropped for it are no rivals of what it becomes.
        """
        mender = self._rules.mender
        if mender is None or self.is_running or not self.may_go_on:
            return
        number = max(self.courses, key=lambda n: self.courses[n].objective)
        course = self.courses[number]
        if (found := mender.mended_at_end(course)) is not None:
            others = {n: other for n, other in self.courses.items() if other.converged}
            self.courses = others | {number: course.mended(*found, self._rules.stepper)}

    def _enter(self, number: int, course: Course) -> None:
        mender = self._rules.mender
        if mender is not None and has_collapsed(self._rules, course.mixture):
            course = course.mended(*mender.mended(course, course.mixture), self._rules.stepper)
        check_factors(course.mixture, len(course.history), None)
        if self._rules.n_near is not None and course.neighbours_at is None:
            course = replace(course, neighbours_at=course.mixture)
        self.courses[number] = course

    def _pass(self, number: int, course: Course) -> Pass:
        """The next pass of a candidate."""
        return Pass(
            course.mixture,
            _precision(course, self._rules.precision),
            self._rules.total,
            self._neighbourhoods_of(number, course),
            self._views.get(number),
        )

    def _neighbourhoods_of(self, number: int, course: Course) -> Neighbourhoods | None:
        if self._rules.n_near is None or course.neighbours_at is None:
            return None
        at, known = self._neighbourhoods.get(number, (None, None))
        if known is None or at is not course.neighbours_at:
            known = Neighbourhoods.of(course.neighbours_at, self._rules.n_near)
            self._neighbourhoods[number] = course.neighbours_at, known
        return known


def run(
    rows: Rows,
    start: Mixture,
    rules: Rules,
    tol: float = 0.0,
    tell: Callable[[Iteration], None] = lambda iteration: None,
) -> Course:
    """Fit one mixture by EM from given parameters: a :class:`Race` of one.

    Parameters
    ----------
    rows : Rows
    start : Mixture
    rules : Rules
    tol : float
    tell : callable
        Told of each iteration.

    Raises
    ------
    SingularComponentError, DamagedDataError, DataError
        As :class:`Race`.
    """
    race = Race(rows, {0: Course.begun(start, rules.stepper, tol)}, rules)
    while race.is_running:
        race.advance()
        tell(race.courses[0].history[-1])
    return race.courses[0]


def _precision(course: Course, given: Precision) -> Precision:
    """Precision of the next pass: float32 only while its rounding is small beside ``tol``."""
    if given != "auto" or course.tol >= _LEAST_TOL_OF_FLOAT32:
        return given
    is_near = any(i.remaining_gain <= _LEAST_GAIN_OF_FLOAT32 for i in course.history)
    return "float64" if is_near else "auto"


def _check_pass(statistics: Statistics, n_rows: int, n_pass: int) -> None:
    if statistics.n_rows != n_rows:
        raise DamagedDataError(
            f"pass {n_pass} read {statistics.n_rows} rows where {n_rows} were expected; "
            "is the data being written?"
        )
    if not np.isfinite(statistics.log_likelihood):
        raise DataError(
            f"the log-likelihood of pass {n_pass} is {statistics.log_likelihood}: a row has no "
            "density under any component, or the data changed since the scan; "
            "check the given start, or raise reg_covar"
        )
