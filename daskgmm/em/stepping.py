"""Stepping: what becomes of one candidate's course after a pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.steppers import AnyStepper, Step
from daskgmm.em.stopping import (
    MAX_ITER,
    StopRule,
    estimated_remaining_gain,
    gain_worth_a_pass,
    left_after_last_step,
)
from daskgmm.errors import SingularComponentError
from daskgmm.history import Collapse, Iteration
from daskgmm.kernel import Mixture, Moments, Precision, Prior, Statistics

__all__ = ["Mends", "Rules", "check_factors", "has_collapsed", "stepped"]


class Mends(Protocol):
    """Replaces collapsed components; see :class:`~daskgmm.em.collapse.Mender`."""

    def is_well(self, mixture: Mixture) -> bool:
        """Whether no component of a mixture has collapsed."""
        ...

    def mended(self, course: Course, mixture: Mixture) -> tuple[Mixture, Collapse]:
        """A mixture in place of one that a course's step led to; raises where there is none."""
        ...

    def mended_at_end(self, course: Course) -> tuple[Mixture, Collapse] | None:
        """A mixture in place of the result of a course; None if that is well."""
        ...


@dataclass(frozen=True, eq=False)
class Rules:
    """Settings that all candidates of a race share.

    Attributes
    ----------
    stepper : Stepper
        Makes the next parameters from the statistics of a pass.
    stop : StopRule
    max_iter : int
        Most passes.
    total : Moments, optional
        Moments of all rows, from a scan: they save most of a pass where components share a
        covariance.
    precision : {"auto", "float32", "float64"}
        Precision of the arithmetic on single rows; sums are float64. ``"auto"`` works on float32
        rows in float32, in half the time, to a relative 1e-5; if ``tol`` is below 1e-7, only
        until the estimated remaining gain is 1e-6. Mixtures that would lose more digits are
        worked on in float64 in any case.
    n_near : int, optional
        Compare each row with this number of components near it alone. Log-likelihoods are then
        lower bounds; see :mod:`daskgmm.kernel.truncated`.
    past : tuple of float
        Objectives per row of the last accepted passes of a fit that this one goes on from.
    prior : Prior, optional
        What candidates are penalised by where they are compared.
    mender : Mends, optional
        Replaces components that collapse; without, a candidate leaves the race that has some.
    ends_ahead : bool
        Whether a course may end by a step that is so sure that no pass has to confirm it: see
        :func:`~daskgmm.em.stopping.left_after_last_step`. Not where courses are compared, as its
        log-likelihood lacks what that step gains.
    """

    stepper: AnyStepper
    stop: StopRule
    max_iter: int
    total: Moments | None = None
    precision: Precision = "float64"
    n_near: int | None = None
    past: tuple[float, ...] = ()
    prior: Prior | None = None
    mender: Mends | None = None
    ends_ahead: bool = False


def stepped(course: Course, statistics: Statistics, seconds: float, rules: Rules) -> Course | None:
    """Course after a pass and a step; None if it branched off and is no higher than before."""
    n_iter = len(course.history) + 1
    step = rules.stepper.step(course.state, course.mixture, statistics, course.tol)
    is_lost = has_collapsed(rules, step.mixture, step.kept)
    if not is_lost:
        check_factors(step.mixture, n_iter, statistics)
    log_likelihood, prior = statistics.log_likelihood_per_row, rules.prior
    penalty = 0.0 if prior is None else prior.penalty(course.mixture, statistics.weight)
    objective = log_likelihood - penalty
    past = () if course.begins_at else rules.past
    since = course.history[course.begins_at :]
    before = next(
        (i.objective for i in reversed(since) if i.accepted), past[-1] if past else -np.inf
    )
    is_branch = course.n_branched == len(course.history) > course.begins_at
    if is_branch and objective <= before:
        return None
    if step.kept is course.mixture and -np.inf < before <= objective:
        # What the stepper climbs may have the ridge in it. The mixture of this pass is kept all the
        # same: then its log-likelihood is the one to tell.
        step = replace(step, accepted=True)
    remaining = step.remaining_gain
    if remaining is None:
        past = () if course.n_branched else rules.past
        own = reversed(course.history[course.n_branched :])
        last = list(islice((i.objective for i in own if i.accepted), 2))
        remaining = estimated_remaining_gain([*[*past, *reversed(last)][-2:], objective])
    gain = objective - before
    # The gain is that of a step, where the pass before was of the course itself or of where it goes on.
    is_of_step = len(since) > 0 and (not is_branch or course.goes_on)
    if step.ahead is not None and rules.ends_ahead and is_of_step and not is_lost:
        worth = gain_worth_a_pass(course.tol, course.mixture, statistics.weight)
        left = left_after_last_step(gain, remaining, worth, statistics.n_rows)
        ahead = None if left is None else step.ahead()
        if left is not None and ahead is not None and not has_collapsed(rules, ahead.mixture):
            step, remaining = replace(step, kept=ahead.mixture), left
            statistics = ahead.statistics
    iteration = Iteration(
        n_iter=n_iter,
        log_likelihood=log_likelihood,
        gain=gain,
        remaining_gain=remaining,
        means_moved=float(np.square(step.kept.means - course.mixture.means).sum()),
        n_rows=statistics.n_rows,
        seconds=seconds,
        accepted=step.accepted,
        penalty=penalty,
    )
    if is_lost:
        return _mended(course, step, iteration, rules)
    history = (*course.history, iteration)
    has_stopped = rules.stop.holds(history, course.tol)
    # New neighbourhoods, before passes 2, 3, 5, 9, ..., can lower the bound; EM between cannot.
    anew = rules.n_near is not None and not has_stopped and n_iter.bit_count() == 1
    return replace(
        course,
        mixture=step.mixture,
        kept=step.kept,
        state=step.state,
        history=history,
        stop_reason=rules.stop.name if has_stopped else MAX_ITER,
        is_active=not has_stopped,
        neighbours_at=step.mixture if anew else course.neighbours_at,
        statistics=statistics if step.accepted else course.statistics,
    )


def _mended(course: Course, step: Step[Any], iteration: Iteration, rules: Rules) -> Course:
    """Course after a pass and a step to a mixture that has collapsed, which is replaced."""
    assert rules.mender is not None
    # Nobody knows what the passes after it gain.
    iteration = replace(iteration, remaining_gain=np.inf)
    course = replace(course, history=(*course.history, iteration))
    is_well = rules.mender.is_well(step.mixture)
    collapsed = step.kept if is_well else step.mixture
    return course.mended(*rules.mender.mended(course, collapsed), rules.stepper)


def has_collapsed(rules: Rules, *mixtures: Mixture) -> bool:
    """Whether there is somebody to mend one of the mixtures, and something to mend in it."""
    mender = rules.mender
    return mender is not None and not all(mender.is_well(mixture) for mixture in mixtures)


def check_factors(mixture: Mixture, n_pass: int, statistics: Statistics | None) -> None:
    """Fail on the driver, before a pass is spent on parameters that have no density."""
    try:
        mixture.check()  # the factors are kept, so that the pass does not compute them anew
    except SingularComponentError as error:
        when = "at the start" if statistics is None else f"after pass {n_pass}"
        held = ""
        if statistics is not None and error.component >= 0:
            n_k = statistics.n_k[error.component]
            held = f" (it holds {n_k:.3g} of {statistics.weight:.12g} rows)"
        raise SingularComponentError(f"{when}, {error}{held}", error.component) from None
