"""The loop: one pass, one step, until the stop rule holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from daskgmm.em.history import Iteration, RareComponent
from daskgmm.em.rows import Rows
from daskgmm.em.steppers import Stepper
from daskgmm.em.stopping import StopRule, estimated_remaining_gain
from daskgmm.errors import DamagedDataError, DataError, SingularComponentError
from daskgmm.kernel import (
    Block,
    LinearSums,
    Mixture,
    Moments,
    Neighbourhoods,
    Pass,
    Precision,
    Statistics,
)
from daskgmm.kernel.blas import single_thread

__all__ = ["MAX_ITER", "Candidate", "Course", "FitResult", "run", "run_together"]

MAX_ITER = "max_iter"
"""Reason of a fit that ended before its stop rule held: an outcome, not an error."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """How a fit ended.

    Attributes
    ----------
    candidate : Candidate
        Whose fit it is.
    mixture : Mixture
        The M-step of the last accepted pass, as in scikit-learn: one step beyond
        ``log_likelihood``.
    history : tuple of Iteration
        One for each pass, in order.
    stop_reason : str
        The name of the stop rule that held, or ``"max_iter"``.
    n_passes : int
        That were made for all candidates, those included that were left out since.
    rare : tuple of RareComponent
        What it had been given when it joined.
    """

    candidate: Candidate
    mixture: Mixture
    history: tuple[Iteration, ...]
    stop_reason: str
    n_passes: int
    rare: tuple[RareComponent, ...] = ()

    @property
    def log_likelihood(self) -> float:
        """Per row, in nats, at the last pass that was accepted."""
        return next(i.log_likelihood for i in reversed(self.history) if i.accepted)

    @property
    def converged(self) -> bool:
        """Whether the stop rule held."""
        return self.stop_reason != MAX_ITER


_LEAST_TOL_OF_FLOAT32 = 1e-7
"""Rounding in float32 moves the log-likelihood per row by some 1e-8 from pass to pass."""
_LEAST_GAIN_OF_FLOAT32 = 1e-6
"""Estimated, from which on smaller ``tol`` are approached in float64."""


@dataclass(frozen=True, eq=False)
class Course:
    """How far a candidate has come: with it, and its stepper's state, a fit goes on exactly.

    Attributes
    ----------
    mixture : Mixture
        Where the next pass is made.
    kept : Mixture
        The result, if no more passes are made.
    history : tuple of Iteration
    stop_reason : str or None
        None until the stop rule holds.
    is_active : bool
        Whether it needs more passes: False where it has stopped or was dropped.
    stepper : dataclass
        State of the stepper; see :class:`~daskgmm.em.steppers.Stepper`.
    neighbours_at : Mixture or None
        From which neighbourhoods were chosen last, if rows are compared with few components.
    n_branched : int
        Iterations of ``history`` that are of another candidate, from which this one branched
        off: it is kept only if its own first pass finds a higher log-likelihood.
    rare : tuple of RareComponent
        What it was given then.
    """

    mixture: Mixture
    kept: Mixture
    history: tuple[Iteration, ...]
    stop_reason: str | None
    is_active: bool
    stepper: Any
    neighbours_at: Mixture | None = None
    n_branched: int = 0
    rare: tuple[RareComponent, ...] = ()


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mixture to fit, beside others, on the same passes.

    Attributes
    ----------
    start : Mixture
    stepper : Stepper
    tol : float
        What the stop rule compares with.
    so_far : Course, optional
        Of a fit that was interrupted, or that it branches off from: it goes on from there, and
        not from ``start``.
    n_near : int, optional
        Compare each row with so many components near it alone. Log-likelihoods are then
        lower bounds; see :mod:`daskgmm.kernel.truncated`.
    """

    start: Mixture
    stepper: Stepper
    tol: float
    so_far: Course | None = None
    n_near: int | None = None


@dataclass(frozen=True, eq=False)
class _Several:
    """Statistics of the same rows under several mixtures. Additive."""

    terms: tuple[Statistics | LinearSums, ...]

    def __add__(self, other: Self) -> Self:
        return type(self)(tuple(_sum(a, b) for a, b in zip(self.terms, other.terms, strict=True)))


def _sum(left: Any, right: Any) -> Any:
    return left + right


def _several_of_block(block: Block, *asked: Pass) -> _Several:
    return _Several(tuple(one.of(block) for one in asked))


def _pass(rows: Rows, asked: Sequence[Pass]) -> list[Statistics]:
    """Statistics of all rows under each mixture, from one read."""
    found = rows.fold(_several_of_block, *asked)
    return [one.complete(terms) for terms, one in zip(found.terms, asked, strict=True)]


class _Runner:
    """One candidate on its way."""

    def __init__(
        self, candidate: Candidate, n_rows: int, precision: Precision, total: Moments | None
    ) -> None:
        self.mixture = candidate.start
        self.kept = candidate.start
        self.history: list[Iteration] = []
        self.stop_reason: str | None = None
        self.is_active = True
        self._n_branched, self._rare = 0, tuple[RareComponent, ...]()
        if (so_far := candidate.so_far) is not None:
            self.mixture, self.kept = so_far.mixture, so_far.kept
            self.history, self.stop_reason = list(so_far.history), so_far.stop_reason
            self.is_active = so_far.is_active
            candidate.stepper.state = so_far.stepper
            self._n_branched, self._rare = so_far.n_branched, so_far.rare
        self._candidate, self._n_rows, self._total = candidate, n_rows, total
        self._given_precision = precision
        _check_factors(self.mixture, len(self.history), None)
        self._neighbours_at: Mixture | None = None
        self._neighbourhoods: Neighbourhoods | None = None
        self._choose_neighbours(self.mixture if so_far is None else so_far.neighbours_at)

    def _choose_neighbours(self, at: Mixture | None) -> None:
        n_near = self._candidate.n_near
        if n_near is not None and at is not None and self.is_active:
            self._neighbours_at = at
            self._neighbourhoods = Neighbourhoods.of(at, n_near)

    @property
    def _precision(self) -> Precision:
        """Float32 only as long as its rounding is small beside what is sought."""
        if self._given_precision != "auto" or self._candidate.tol >= _LEAST_TOL_OF_FLOAT32:
            return self._given_precision
        is_near = any(i.remaining_gain <= _LEAST_GAIN_OF_FLOAT32 for i in self.history)
        return "float64" if is_near else "auto"

    @property
    def asked(self) -> Pass:
        """What the next pass is to find."""
        return Pass(self.mixture, self._precision, self._total, self._neighbourhoods)

    def advance(self, statistics: Statistics, seconds: float, stop: StopRule) -> bool:
        """Take a pass in, and step; False if it branched off and is no higher than before."""
        n_iter = len(self.history) + 1
        step = self._candidate.stepper.next(self.mixture, statistics, self._candidate.tol)
        _check_factors(step.mixture, n_iter, statistics)
        log_likelihood = statistics.log_likelihood_per_row
        seen = [i.log_likelihood for i in self.history if i.accepted]
        if n_iter == self._n_branched + 1 and seen and log_likelihood <= seen[-1]:
            return False
        remaining = step.remaining_gain
        if remaining is None:
            own = [i.log_likelihood for i in self.history[self._n_branched :] if i.accepted]
            remaining = estimated_remaining_gain([*own[-2:], log_likelihood])
        self.history.append(
            Iteration(
                n_iter=n_iter,
                log_likelihood=log_likelihood,
                gain=log_likelihood - seen[-1] if seen else np.inf,
                remaining_gain=remaining,
                means_moved=float(np.square(step.kept.means - self.mixture.means).sum()),
                n_rows=self._n_rows,
                seconds=seconds,
                accepted=step.accepted,
            )
        )
        self.mixture, self.kept = step.mixture, step.kept
        if stop.holds(self.history, self._candidate.tol):
            self.stop_reason, self.is_active = stop.name, False
        # Before passes 2, 3, 5, 9, ... the bound may fall for it; between them it cannot.
        elif n_iter.bit_count() == 1:
            self._choose_neighbours(self.mixture)
        return True

    @property
    def best(self) -> float:
        """The highest log-likelihood per row so far."""
        return max((i.log_likelihood for i in self.history if i.accepted), default=-np.inf)

    def result(self, n_passes: int) -> FitResult:
        """As it stands."""
        return FitResult(
            candidate=self._candidate,
            mixture=self.kept,
            history=tuple(self.history),
            stop_reason=self.stop_reason or MAX_ITER,
            n_passes=n_passes,
            rare=self._rare,
        )

    def course(self) -> Course:
        """As it stands, to go on from."""
        return Course(
            mixture=self.mixture,
            kept=self.kept,
            history=tuple(self.history),
            stop_reason=self.stop_reason,
            is_active=self.is_active,
            stepper=self._candidate.stepper.state,
            neighbours_at=self._neighbours_at,
            n_branched=self._n_branched,
            rare=self._rare,
        )


def run(
    rows: Rows,
    start: Mixture,
    *,
    stepper: Stepper,
    stop: StopRule,
    tol: float,
    max_iter: int,
    total: Moments | None = None,
    precision: Precision = "float64",
    on_iteration: Callable[[Iteration], None] = lambda iteration: None,
) -> FitResult:
    """Fit a mixture by EM from given parameters: :func:`run_together`, of one candidate."""
    (result,) = run_together(
        rows,
        [Candidate(start, stepper, tol)],
        stop=stop,
        max_iter=max_iter,
        total=total,
        precision=precision,
        on_iteration=on_iteration,
    )
    return result


def run_together(
    rows: Rows,
    candidates: Sequence[Candidate],
    *,
    stop: StopRule,
    max_iter: int,
    total: Moments | None = None,
    precision: Precision = "float64",
    on_iteration: Callable[[Iteration], None] = lambda iteration: None,
    narrow: Callable[[Sequence[Statistics]], Sequence[bool]] = lambda found: [True] * len(found),
    drop: Callable[[Sequence[FitResult]], Sequence[bool]] = lambda results: [False] * len(results),
    join: Callable[[Sequence[FitResult]], Sequence[Candidate]] = lambda results: (),
    keep: Callable[[Sequence[Course]], None] = lambda courses: None,
) -> list[FitResult]:
    """Fit mixtures by EM, all on the same passes, each until the stop rule holds for it.

    Parameters
    ----------
    rows : Rows
    candidates : sequence of Candidate
    stop : StopRule
    max_iter : int
        Most passes, at least 1.
    total : Moments, optional
        Of all rows, from a scan: saves most of a pass where components share a covariance.
    precision : {"auto", "float32", "float64"}
        Of the arithmetic on single rows; sums are float64. ``"auto"`` works on float32
        rows in float32, in half the time, to 1e-5, relative; where ``tol`` is below 1e-7,
        until an estimated 1e-6 is left to gain. Mixtures that would lose more are worked on
        in float64 in any case.
    on_iteration : callable
        Told after each pass of the iteration of the best candidate; progress lives
        there, not here.
    narrow : callable
        Given what the first pass found under each start, says which candidates go on, one at
        least: before they step, which may cost more than the pass. Unlike ``drop``, True is to
        stay.
    drop : callable
        Given the results so far, says which candidates need no more passes.
    join : callable
        Given the same, where passes are left, makes candidates that join from the next one on.
    keep : callable
        Given after each pass how far all candidates have come, before ``on_iteration``;
        what is in it changes with the next pass.

    Returns
    -------
    list of FitResult
        One for each candidate; of one that was dropped, as far as it came; none of one that did
        not go on from the first pass, whose covariance became singular, or that joined and was no
        higher than what it branched from.

    Raises
    ------
    SingularComponentError
        If a covariance stops being positive definite: which, and at which pass. Of
        several candidates, if that happens to the last one.
    DamagedDataError
        If a pass read other than ``rows.n_rows`` rows.
    DataError
        If the log-likelihood of a pass is not finite.
    """
    with single_thread():  # also between passes: small factorisations are slower on many
        runners = [_Runner(c, rows.n_rows, precision, total) for c in candidates]
        n_passes = max(len(runner.history) for runner in runners)
        while n_passes < max_iter:
            active = [runner for runner in runners if runner.is_active]
            if not active:
                break
            began = time.perf_counter()
            found = _pass(rows, [runner.asked for runner in active])
            seconds = time.perf_counter() - began
            for statistics in found:
                _check_pass(statistics, rows.n_rows, n_passes + 1)
            if n_passes == 0:
                go_on = narrow(found)
                active = [runner for runner, yes in zip(active, go_on, strict=True) if yes]
                found = [statistics for statistics, yes in zip(found, go_on, strict=True) if yes]
                runners = list(active)
            singular: SingularComponentError | None = None
            for runner, statistics in zip(active, found, strict=True):
                try:
                    if runner.advance(statistics, seconds, stop):
                        continue
                except SingularComponentError as error:
                    singular = error
                runners.remove(runner)
            if singular is not None and not runners:
                raise singular
            n_passes += 1
            results = [runner.result(n_passes) for runner in runners]
            for runner, out in zip(runners, drop(results), strict=True):
                runner.is_active &= not out
            if n_passes < max_iter:
                runners += [_Runner(c, rows.n_rows, precision, total) for c in join(results)]
            keep([runner.course() for runner in runners])
            if seen := [runner for runner in active if runner in runners]:
                on_iteration(max(seen, key=lambda runner: runner.best).history[-1])
        return [runner.result(n_passes) for runner in runners]


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


def _check_factors(mixture: Mixture, n_pass: int, statistics: Statistics | None) -> None:
    """Fail on the driver, before a pass is spent on parameters that have no density."""
    try:
        mixture.check()  # factored once, here, and kept
    except SingularComponentError as error:
        when = "at the start" if statistics is None else f"after pass {n_pass}"
        held = ""
        if statistics is not None and error.component >= 0:
            n_k = statistics.n_k[error.component]
            held = f" (it holds {n_k:.3g} of {statistics.weight:g} rows)"
        raise SingularComponentError(f"{when}, {error}{held}", error.component) from None
