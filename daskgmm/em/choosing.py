"""Choosing: fits of several problems on the same passes, and the best of them by a criterion.

Candidates are fitted on a part of the scan's sample, and those that can still win by the
criterion on all of it; one pass evaluates all, and those that even then can win go on from it
to the end, on the same passes. The file is longer than others because the chooser and its contest
know the same trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar

import numpy as np

from daskgmm.em import weighted
from daskgmm.em.course import Course
from daskgmm.em.criteria import CRITERIA, Entry, GapLaw, log_decided, score_of
from daskgmm.em.fit import raced, rules_of
from daskgmm.em.held_out import HeldOut
from daskgmm.em.likelihood_ratio import MOST_ROWS, BootstrapPlan, RatioTest, ratio_tests
from daskgmm.em.problem import Problem
from daskgmm.em.race import Race, Reading
from daskgmm.em.rows import Rows, rows_of_sample
from daskgmm.em.scan import Scan
from daskgmm.em.starting import Tell, starts_of
from daskgmm.em.starts import Climber, can_exchange, with_one_less, with_one_more
from daskgmm.em.stopping import statistical_tol
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Mixture, Statistics, log_density
from daskgmm.kernel.blas import single_thread
from daskgmm.telling import Message

__all__ = ["Chooser", "Start", "Trial"]

_ERRORS = 3.0
"""Standard errors of the row-by-row difference within which two candidates count as equal."""
_THINNING = 4
"""The first fits use every fourth row of the sample."""


@dataclass(frozen=True, eq=False)
class Start:
    """A candidate, and the mixture from which it goes on to all rows."""

    problem: Problem
    mixture: Mixture
    can_win: bool = True
    test: RatioTest | None = None

    @property
    def name(self) -> str:
        """Name in messages, such as ``"3 full"``."""
        return self.problem.name

    def precedes(self, other: Problem) -> bool:
        """Whether the other problem asks for one component more of the same kind."""
        own = (self.problem.kind, self.problem.n_components + 1)
        return own == (other.kind, other.n_components)


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate with its score on all rows.

    Attributes
    ----------
    start : Start
    held_out : HeldOut
    entry : Entry
    can_win : bool
        Whether the candidate goes on to a fit to all rows.
    course : Course or None
        The fit to all rows; None unless it came to an end.
    """

    start: Start
    held_out: HeldOut
    entry: Entry
    can_win: bool
    course: Course | None = None

    @property
    def has_collapsed(self) -> bool:
        """Whether the fit to all rows began and a covariance became singular."""
        return self.can_win and self.course is None

    def ended(self, course: Course, scan: Scan) -> Trial:
        """The trial with its fit to all rows; unchanged if the last step collapsed."""
        try:
            score = score_of(scan, course.kept, course.log_likelihood)
        except SingularComponentError:
            return self
        return replace(self, course=course, entry=self.entry.fitted(score))


@dataclass(frozen=True, eq=False)
class Chooser:
    """Fits candidates on shared passes and rules out those that cannot win.

    Attributes
    ----------
    rows : Rows
    scan : Scan
    criterion : str
        A key of :data:`~daskgmm.em.criteria.CRITERIA`.
    seed : int
        Seed of the hash that assigns rows to folds.
    tell : callable
    fewest_in_part : int
        Rows that a part of the sample must have for the first fits to be made on it.
    bootstrap : BootstrapPlan or None
        Tests that decide, where the criterion is ``"bootstrap"``.
    """

    rows: Rows
    scan: Scan
    criterion: str
    seed: int
    tell: Tell = lambda event: None
    fewest_in_part: int = 20_000
    bootstrap: BootstrapPlan | None = None

    def starts(self, problems: Sequence[Problem], rng: np.random.RandomState) -> list[Start]:
        """Fit each problem to the sample.

        Where the sample is large, a fit to a part of it first rules out those that cannot win.

        Raises
        ------
        SingularComponentError
            If no problem can be fitted; a single one that fails is left out.
        """
        first, scan = problems[0], self.scan
        first.warn_of_ridge(scan)
        part = replace(scan, sample=scan.sample.thinned(_THINNING))
        is_large = len(part.sample) >= self.fewest_in_part
        in_parts = is_large and first.progressive and not scan.is_whole
        fitted_to = part if in_parts else scan
        sample = _climber(fitted_to, first)
        starts = self._fitted_one_by_one(problems, fitted_to, sample, rng)
        if first.progressive and not scan.is_whole:
            starts = _after_mergers(starts, sample)
        can_win = [True] * len(starts)
        if self.bootstrap is not None:
            starts = self._tested(starts, self.bootstrap)
            can_win = [start.can_win for start in starts]
        elif in_parts:
            can_win = self._can_win_by_part(starts, part)
        if not in_parts:
            return starts
        chosen = [start for start, yes in zip(starts, can_win, strict=True) if yes]
        self._say(f"can win: {_names(chosen)}")
        whole = _climber(scan, first)
        return [
            replace(s, mixture=whole.finished(s.mixture)) if yes else replace(s, can_win=False)
            for s, yes in zip(starts, can_win, strict=True)
        ]

    def _tested(self, starts: Sequence[Start], plan: BootstrapPlan) -> list[Start]:
        """The starts with their tests; the first that is not rejected alone can win."""
        pairs = [(start.problem, start.mixture) for start in starts]
        found = ratio_tests(pairs, self.scan, plan, self.tell)
        tests = [*found, *[None] * (len(starts) - len(found))]
        best = sum(test.is_rejected for test in found)
        return [
            replace(start, test=test, can_win=number == best)
            for number, (start, test) in enumerate(zip(starts, tests, strict=True))
        ]

    def fitted(self, starts: Sequence[Start]) -> tuple[list[Trial], int]:
        """Evaluate all candidates on one pass, then fit those that can win to the end.

        Candidates that collapse are left out. If all that could win collapse, the others are
        fitted.

        Returns
        -------
        trials : list of Trial
        n_passes : int
            Passes over all rows.

        Raises
        ------
        SingularComponentError
            If every candidate collapses.
        """
        n_passes = 0
        while True:
            trials, more = self._raced(starts)
            n_passes += more
            others = [trial for trial in trials if not trial.has_collapsed]
            for trial in trials:
                if trial.has_collapsed:
                    self._warn(f"left out: {trial.start.name}: collapsed on all rows")
            if any(trial.course is not None for trial in trials):
                return others, n_passes
            if not others:
                raise SingularComponentError(
                    "every candidate collapsed on all rows; lower components, or raise reg_covar"
                )
            starts = [replace(trial.start, can_win=True) for trial in others]

    def _fitted_one_by_one(
        self,
        problems: Sequence[Problem],
        scan: Scan,
        sample: Climber,
        rng: np.random.RandomState,
    ) -> list[Start]:
        starts: list[Start] = []
        for i, problem in enumerate(problems, 1):
            # If the sample is all rows, each candidate is fitted as if it were alone, so that its
            # result does not depend on the other candidates.
            grows = starts and not scan.is_whole
            known = _grown(starts[-1], problem, sample) if grows else []
            try:
                mixture = starts_of(problem.on(scan), scan, rng, known=known)[0]
                mixture.check()  # raises here, where others may go on
            except SingularComponentError as error:
                if len(problems) == 1:
                    raise
                self._warn(f"left out: {problem.name}: {error}")
                continue
            starts.append(Start(problem, mixture))
            self._say(f"fitted to the sample: {i} of {len(problems)} candidates, {starts[-1].name}")
        if not starts:
            raise SingularComponentError(
                "no candidate can be fitted: a covariance is singular in each; lower components, "
                "or raise reg_covar"
            )
        return starts

    def _raced(self, starts: Sequence[Start]) -> tuple[list[Trial], int]:
        problems = [start.problem for start in starts]
        rules = rules_of(problems, self.scan)
        courses = {
            number: Course.begun(s.mixture, rules.stepper, s.problem.tol_on(self.rows))
            for number, s in enumerate(starts)
        }
        race, contest = Race(self.rows, courses, rules), _Contest(self, starts)
        with suppress(SingularComponentError):  # the last of those that could win has collapsed
            raced(race, contest, self.tell)
        trials = {
            number: trial.ended(race.courses[number], self.scan)
            if trial.can_win and number in race.courses
            else trial
            for number, trial in contest.trials.items()
        }
        return list(trials.values()), race.n_passes

    def evaluated(self, starts: Sequence[Start], found: Iterable[Statistics]) -> list[Trial]:
        """Score the fits to the sample by the first pass over all rows and by held-out rows."""
        scan, trials = self.scan, list[Trial]()
        for start, statistics in zip(starts, found, strict=True):
            of_all = statistics.log_likelihood_per_row
            if scan.is_whole:
                sample = _climber(scan, start.problem)
                held_out = HeldOut.in_folds(sample, start.mixture, self.seed)
            else:
                held_out = HeldOut.outside(scan, start.mixture, of_all)
            score = score_of(scan, start.mixture, of_all)
            entry = replace(
                Entry.of(start.mixture, score, held_out.per_row),
                held_out_standard_error=held_out.error,
                **({} if start.test is None else asdict(start.test)),
            )
            before = trials[-1] if trials else None
            if before is not None and before.start.problem.kind == start.problem.kind:
                gain, its_error = held_out.gain_over(before.held_out)
                entry = replace(
                    entry, held_out_gain_per_row=gain, held_out_gain_standard_error=its_error
                )
            trials.append(Trial(start, held_out, entry, start.can_win))
        return trials

    def _can_win_by_part(self, starts: Sequence[Start], part: Scan) -> list[bool]:
        """Which fits to a part of the sample can win, judged on the sample's other rows."""
        scan = self.scan
        is_held_out = np.arange(len(scan.sample)) % _THINNING != 0
        sample = scan.sample.take(is_held_out)
        held_out = replace(scan, sample=sample)
        entries, terms = [], []  # what each row adds to the criterion, up to a factor
        for start in starts:
            densities = log_density(sample.x, start.mixture, sample.measurement_noise)
            per_row = weighted.mean(densities, sample.weight)
            score = score_of(held_out, start.mixture, per_row)
            entries.append(Entry.of(start.mixture, score, per_row))
            decided = log_decided(sample, start.mixture) if self.criterion == "icl" else 0.0
            terms.append(densities + decided)

        def by_chance(i: int, leader: int) -> float:
            return _ERRORS * weighted.error_of_mean(terms[i] - terms[leader], sample.weight)

        law = GapLaw(
            scan.weight,
            shortfall=1 / part.sample.total_weight + 1 / scan.weight,
            # The final held-out score is that of a fit to the whole sample of S rows, so that it
            # gains 1 / n - 1 / S of the shortfall, which is about 1 / n.
            seen_held_out=1.0 - 1.0 / _THINNING,
        )
        return law.which_can_win(entries, self.criterion, by_chance)

    def can_win_by_all_rows(self, entries: Sequence[Entry]) -> list[bool]:
        """Which fits to the sample can win, judged on all rows."""
        n = self.scan.sample.total_weight

        def left_by_climb(i: int, leader: int) -> float:
            # The held-out score is final: more passes do not change it.
            is_final = self.criterion == "held-out"
            return 0.0 if is_final else statistical_tol(entries[i].n_parameters, n)

        law = GapLaw(
            self.scan.weight,
            shortfall=1 / n - 1 / self.scan.weight,
            seen_held_out=0.0,  # the score of the fit to the sample is final
        )
        return law.which_can_win(entries, self.criterion, left_by_climb)

    @property
    def n_rows_of_tests(self) -> int:
        """Rows that each likelihood ratio is of, where tests decide."""
        return min(len(self.scan.sample), MOST_ROWS)

    @property
    def value(self) -> Callable[[Entry], float]:
        """The criterion as a function of an entry; lower is better."""
        return CRITERIA[self.criterion]

    def _say(self, message: str) -> None:
        self.tell(Message(message))

    def _warn(self, message: str) -> None:
        self.tell(Message(message, "warning"))


@dataclass(eq=False)
class _Contest:
    """Contest that evaluates candidates on the first pass and drops those that cannot win."""

    chooser: Chooser
    starts: Sequence[Start]
    trials: dict[int, Trial] = field(default_factory=dict)
    watched: ClassVar[None] = None

    def narrowed(self, race: Race, reading: Reading) -> set[int] | None:
        """Numbers of the candidates that can win, after the first pass; None after later ones."""
        if race.n_passes > 1:
            return None
        chooser = self.chooser
        found = reading.statistics
        trials = chooser.evaluated([self.starts[n] for n in found], found.values())
        chooser.tell(Message(f"evaluated on all rows: {len(trials)} candidates"))
        if self.starts[0].problem.progressive:
            running = [n for n, trial in enumerate(trials) if trial.can_win]
            entries = [trials[n].entry for n in running]
            lead = min(chooser.value(entry) for entry in entries)
            by_all_rows = chooser.can_win_by_all_rows(entries)
            can_win = {n for n, yes in zip(running, by_all_rows, strict=True) if yes}
            # A candidate that a part of the sample ruled out may lead on all rows.
            can_win |= {n for n, t in enumerate(trials) if chooser.value(t.entry) < lead}
            trials = [replace(t, can_win=n in can_win) for n, t in enumerate(trials)]
        self.trials = dict(zip(found, trials, strict=True))
        chosen = {number: trial for number, trial in self.trials.items() if trial.can_win}
        names = _names([trial.start for trial in chosen.values()])
        chooser.tell(Message(f"can still win: {names}"))
        return set(chosen)

    def between(self, race: Race) -> None:
        """Drop candidates that cannot win even with the gain that they still expect."""
        value, weight = self.chooser.value, self.chooser.scan.weight
        now, at_best = {}, {}
        for number, course in race.courses.items():
            entry = self.trials[number].entry
            gained = course.log_likelihood - entry.log_likelihood_per_row
            now[number] = value(entry.gained(weight, gained))
            hoped = gained + course.history[-1].remaining_gain
            if not self.starts[number].problem.progressive:
                hoped = np.inf  # a start as it was made: nothing bounds what it may gain
            at_best[number] = value(entry.gained(weight, hoped))
        lead = min(now.values())
        lost = {number for number, best in at_best.items() if best > lead}
        race.drop(lost)
        if race.n_passes == 1:  # evaluated, not fitted to all rows
            for number in race.courses:
                self.trials[number] = replace(self.trials[number], can_win=number not in lost)


def _climber(scan: Scan, problem: Problem) -> Climber:
    return Climber(rows_of_sample(scan.sample, problem.n_threads), problem.prior_on(scan))


def _names(starts: Sequence[Start]) -> str:
    return ", ".join(start.name for start in starts)


def _is_plain(sample: Climber) -> bool:
    """Whether rows have neither gaps nor noise, so that exchanges can be made on them."""
    block = sample.rows.block
    return not block.has_gaps and block.measurement_noise is None


def _grown(last: Start, problem: Problem, sample: Climber) -> list[Mixture]:
    """The last fit with one component divided, to start from; empty where that cannot be."""
    may_grow = can_exchange(problem.kind) and _is_plain(sample)
    if not problem.progressive or not last.precedes(problem) or not may_grow:
        return []
    with single_thread():
        grown = with_one_more(sample, last.mixture)
    return [] if grown is None else [grown]


def _after_mergers(starts: Sequence[Start], sample: Climber) -> list[Start]:
    """Replace each start by the next larger one after a merger, where that fits better.

    Works from the most components down: a fit with one component too many can hold a component
    that every start with the right number has missed. Exchanges need rows without gaps.
    """
    better = list(starts)
    for at in range(len(better) - 2, -1, -1):
        start, more = better[at : at + 2]
        may_merge = can_exchange(start.problem.kind) and _is_plain(sample)
        if not start.precedes(more.problem) or not may_merge:
            continue
        with single_thread():
            merged = with_one_less(sample, more.mixture)
        fit = sample.climb(merged, to_the_end=False)
        if fit is not None and fit.objective > sample.height(start.mixture):
            better[at] = replace(start, mixture=sample.finished(fit.kept))
    return better
