"""Steppers: the fixed points of EM, accepted objectives that never fall, every pass counted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from made_data import WORDS_OF_FAMILIES, assert_same_bits, made_mixture, rows_of

from daskgmm.em import (
    STEPPERS,
    STOP_RULES,
    Climber,
    Course,
    InMemoryRows,
    Needs,
    PlainEM,
    Race,
    Rules,
    Squarem,
    Surrogate,
    run,
    stepper_class,
)
from daskgmm.em.steppers import Step
from daskgmm.errors import ParameterError
from daskgmm.kernel import Block, Coordinates, Mixture, Ridge, e_step, gaussian_mixture
from daskgmm.storage.snapshots.trees import TreeError, from_tree, to_tree

ACCELERATED = [name for name in STEPPERS if name != "plain"]
RIDGES = [0.0, 1e-3]
GAP = STOP_RULES["gap"]


class Counting(InMemoryRows):
    passes = 0

    def fold(self, function, *args):
        self.passes += 1
        return super().fold(function, *args)


def _case(family, separation=2.0, n=4000):
    truth = made_mixture(family, 3, 2, separation=separation)
    x = rows_of(truth, n, seed=1)
    return Counting(x, grain=500), gaussian_mixture(
        truth.weights, truth.means + 0.3, truth.covariances, family
    )


def _made(rows, stepper, reg_covar=0.0, n_threads=1):
    sample = rows.block.thinned(4)
    return STEPPERS[stepper].of(Needs(Ridge(reg_covar), sample, n_threads))


def _fit(rows, start, stepper, tol=1e-9, max_iter=2000, reg_covar=0.0):
    made = _made(rows, stepper, reg_covar) if isinstance(stepper, str) else stepper
    return run(rows, start, Rules(made, GAP, max_iter), tol)


def _score(rows, mixture):
    return e_step(rows.block, mixture).log_likelihood / rows.n_rows


@pytest.mark.parametrize(
    ("family", "stepper", "reg_covar"),
    [  # every two of the three meet once
        (family, stepper, RIDGES[(i + j) % 2])
        for i, family in enumerate(WORDS_OF_FAMILIES)
        for j, stepper in enumerate(ACCELERATED)
    ],
)
def test_the_end_is_a_fixed_point_of_em(family, stepper, reg_covar):
    rows, start = _case(family)
    found = _fit(rows, start, stepper, tol=1e-12, reg_covar=reg_covar).kept
    after = Ridge(reg_covar).m_step(e_step(rows.block, found))
    # A gap of 1e-12 leaves parameters 1e-6 sigma over the root of the least curvature off.
    # With reg_covar the objective that is guarded depends on weights as EM does not know.
    atol = 2e-5 + 0.5 * reg_covar
    np.testing.assert_allclose(after.means, found.means, atol=atol)
    np.testing.assert_allclose(after.covariances, found.covariances, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("stepper", ACCELERATED)
def test_plain_em_ends_no_higher(family, stepper):
    rows, start = _case(family)
    plain = _fit(rows, start, "plain", max_iter=3000)
    # SQUAREM estimates what is left from its last two steps, which may not be the slowest.
    assert _fit(rows, start, stepper).log_likelihood >= plain.log_likelihood - 2e-7


@pytest.mark.parametrize("stepper", STEPPERS)
def test_accepted_log_likelihoods_never_fall_and_every_pass_counts(family, stepper):
    rows, start = _case(family, separation=1.0)
    # The surrogate is refused steps in each of these; the others, whose passes are cheap, late.
    result = _fit(rows, start, stepper, max_iter=20 if stepper == "surrogate" else 40)
    assert rows.passes == len(result.history)
    accepted = [i.log_likelihood for i in result.history if i.accepted]
    assert (np.diff(accepted) >= -1e-14).all()
    assert result.log_likelihood == accepted[-1] == result.best
    assert result.best == max(i.log_likelihood for i in result.history)
    assert _score(rows, result.kept) >= result.log_likelihood - 1e-14


@pytest.mark.slow
@pytest.mark.parametrize("stepper", STEPPERS)
def test_a_state_goes_through_a_checkpoint_and_on_with_the_same_bits(family, stepper):
    rows, start = _case(family, separation=1.0)
    rules = Rules(_made(rows, stepper, reg_covar=1e-6), GAP, 12)
    race = Race(rows, {0: Course.begun(start, rules.stepper, 1e-12)}, rules)
    kept = []
    while race.is_running:
        race.advance()
        kept.append(race.courses[0])
    assert len(kept) > 6
    for course in kept[:7]:
        read = from_tree(Course, to_tree(course))
        assert type(read.state) is type(course.state)
        resumed = Race(rows, {0: read}, replace(rules, stepper=_made(rows, stepper, 1e-6)))
        while resumed.is_running:
            resumed.advance()
        assert_same_bits(resumed.courses[0].kept, kept[-1].kept)
        assert [i.log_likelihood for i in resumed.courses[0].history] == [
            i.log_likelihood for i in kept[-1].history
        ]


def test_a_tree_names_no_class_but_those_of_the_annotation():
    """A file that was edited chooses among the states of steppers, and builds nothing else."""
    _, start = _case("full")
    course = Course.begun(start, PlainEM(Ridge()), 1e-6)
    tree = to_tree(course)
    assert tree.plain["state"] == {"PlainState": {}}
    for state in ({"Mixture": {}}, {"Popen": {}}, {}, None, {"PlainState": {}, "SquaremState": {}}):
        with pytest.raises(TreeError, match=r"it\.state"):
            from_tree(Course, replace(tree, plain=tree.plain | {"state": state}))


@pytest.mark.parametrize("stepper", STEPPERS)
def test_a_step_changes_neither_stepper_nor_state(stepper):
    """From the same state it is the same step, as often as it is asked for."""
    rows, start = _case("full", separation=1.0)
    made = _made(rows, stepper)
    state, mixture = made.init(start), start
    for _ in range(5):
        statistics = e_step(rows.block, mixture)
        before = to_tree(Course(mixture, mixture, state, 0.0))
        step, again = (made.step(state, mixture, statistics, 1e-9) for _ in range(2))
        after = to_tree(Course(mixture, mixture, state, 0.0))
        assert before.plain == after.plain
        np.testing.assert_array_equal(before.numbers, after.numbers)
        assert_same_bits(step.mixture, again.mixture)
        state, mixture = step.state, step.mixture


def test_the_surrogate_takes_few_passes_where_em_takes_many():
    truth = made_mixture("full", 3, 2, separation=0.8)
    rows = Counting(rows_of(truth, 20_000, seed=3))
    sample = InMemoryRows(rows.block.x[::5].copy())
    start = _fit(sample, truth, Surrogate.of_rows(Ridge(), sample), max_iter=60).kept
    tol = 0.1 * truth.n_parameters / (2 * rows.n_rows)
    few = _fit(rows, start, Surrogate(Ridge(), sample.block), tol=tol, max_iter=50)
    assert few.converged
    many = _fit(rows, start, "plain", tol=tol / 10, max_iter=2000)
    assert many.log_likelihood - few.log_likelihood < 10 * tol  # p / (2 N)
    assert 5 * len(few.history) < len(many.history)


def test_the_surrogate_spends_nothing_where_nothing_is_to_be_gained():
    rows, start = _case("full", separation=6.0)
    end = _fit(rows, start, "plain", tol=1e-15).kept
    tol = 0.1 * end.n_parameters / (2 * rows.n_rows)
    exact = Surrogate.of_rows(Ridge(), rows)
    before = rows.passes
    step = exact.step(exact.init(end), end, e_step(rows.block, end), tol)
    assert step.remaining_gain < tol
    # Its proposal is where it stands, to what tol is worth in parameters.
    np.testing.assert_allclose(step.mixture.means, end.means, atol=1e-3)
    assert rows.passes == before  # the sample is folded over in rows of its own
    result = _fit(rows, end, exact, tol=tol)
    assert result.converged
    assert len(result.history) == 1


@dataclass(frozen=True, eq=False)
class Overreaching:
    """A stepper whose extrapolations go much too far, every one or every second of them."""

    inner: Any
    every: int = 1

    def init(self, mixture):
        return self.inner.init(mixture)

    def step(self, state, mixture, statistics, tol):
        step = self.inner.step(state, mixture, statistics, tol)
        if step.mixture is step.kept or int(statistics.log_likelihood) % self.every:
            return step
        coordinates = Coordinates(mixture)
        u = coordinates.vector(step.mixture) + 5.0 * coordinates.widths
        beyond = coordinates.mixture(u)
        state = step.state
        if (proposal := getattr(state, "proposal", None)) is not None:
            of_its_own = Coordinates(state.origin).vector(beyond)
            state = replace(state, proposal=replace(proposal, u=of_its_own, mixture=beyond))
        return replace(step, state=state, mixture=beyond)


@pytest.mark.slow
@pytest.mark.parametrize("stepper", ACCELERATED)
def test_bad_extrapolations_are_refused_and_stall_nothing(stepper):
    rows, start = _case("full", separation=3.0)
    result = _fit(rows, start, Overreaching(_made(rows, stepper)), tol=0.0, max_iter=80)
    assert not all(i.accepted for i in result.history)
    accepted = [i.log_likelihood for i in result.history if i.accepted]
    assert (np.diff(accepted) >= -1e-14).all()
    # No stall: all but a thousandth of a nat was gained, on whatever way.
    plain = _fit(rows, start, "plain", tol=0.0, max_iter=1000)
    assert result.log_likelihood >= plain.log_likelihood - 1e-3
    assert result.log_likelihood > result.history[0].log_likelihood + 0.05


@pytest.mark.slow
def test_a_sample_of_other_rows_misleads_nobody():
    """The maximiser of a surrogate whose curvature is that of another mixture is no maximiser."""
    rows, start = _case("full", separation=3.0)
    other = rows_of(made_mixture("full", 3, 2, seed=9, separation=9.0), 1000, seed=2)
    misled = Surrogate(Ridge(), Block(other))
    result = _fit(rows, start, misled, tol=0.0, max_iter=60)
    accepted = [i.log_likelihood for i in result.history if i.accepted]
    assert (np.diff(accepted) >= -1e-14).all()
    plain = _fit(rows, start, "plain", tol=0.0, max_iter=1000)
    assert result.log_likelihood >= plain.log_likelihood - 1e-3


@pytest.mark.parametrize("stepper", [name for name in STEPPERS if STEPPERS[name].leads_ahead])
def test_a_stepper_that_leads_ahead_leads_higher_than_the_m_step(family, stepper):
    rows, start = _case(family)
    sample = InMemoryRows(rows.block.x[::2].copy())
    start = Climber(sample, Ridge()).finished(start)  # as starts are that have competed
    made = STEPPERS[stepper].of(Needs(Ridge(), sample.block))
    step = made.step(made.init(start), start, e_step(rows.block, start), tol=1e-6)
    assert _score(rows, step.mixture) > _score(rows, step.kept)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_threads_change_no_bit(stepper):
    rows, start = _case("full")
    found = []
    for n_threads in (1, 3):
        made = _made(rows, stepper, n_threads=n_threads)
        many = InMemoryRows(rows.block.x, grain=500, n_threads=n_threads)
        found.append(run(many, start, Rules(made, GAP, 8), tol=1e-8).kept)
    assert_same_bits(*found)


def test_a_stepper_with_one_iteration_is_em(family):
    rows, start = _case(family)
    expected = _fit(rows, start, PlainEM(Ridge()), max_iter=1).kept
    for stepper in ACCELERATED:
        assert_same_bits(_fit(rows, start, stepper, max_iter=1).kept, expected)


def test_auto_is_the_first_that_can_do_what_is_asked(family):
    assert stepper_class("auto", family) is Surrogate
    assert stepper_class("auto", family, few_passes=False) is PlainEM
    assert stepper_class("auto", family, bounds=True) is PlainEM
    assert stepper_class("squarem", family) is Squarem
    for name, stepper in STEPPERS.items():
        if stepper.compares_passes:
            with pytest.raises(ParameterError, match="set stepper='plain'"):
                stepper_class(name, family, bounds=True)


def test_a_climb_is_em_and_then_exact(family):
    """It ends no lower than EM, to a tenth of the sample's precision."""
    rows, start = _case(family, separation=1.0, n=2000)
    sample = Climber(rows, Ridge(1e-9))
    fit = sample.climb(start, to_the_end=True)
    many = sample.em(start, 500, tol=1e-9)
    assert fit.log_likelihood >= many.log_likelihood - 10 * sample.tol(start)


@dataclass(frozen=True)
class RefusesItsSecond(PlainEM):
    """As the surrogate does at the very end, whose objective has the ridge in it."""

    first: Mixture

    def step(self, state, mixture, statistics, tol):
        if mixture is self.first:
            return super().step(state, mixture, statistics, tol)
        return Step(state, mixture, mixture, accepted=False, remaining_gain=0.0)


def test_the_log_likelihood_that_is_told_is_that_of_a_mixture_that_is_kept():
    """It was that of the pass before, 1e-4 lower, where a component had the ridge for its variance."""
    rows, start = _case("full")
    fitted = _fit(rows, start, RefusesItsSecond(Ridge(0.0), start))
    told = fitted.log_likelihood
    assert told == pytest.approx(e_step(rows.block, fitted.kept).log_likelihood_per_row, rel=1e-13)
    assert len(fitted.history) == 2


def test_damping_falls_with_the_root_of_the_rows_of_a_large_sample():
    mixture, damped = made_mixture("full", 2, 1), []
    for n in (1_000, 100_000, 400_000):
        sample = Block(np.zeros((n, 1)))
        damped.append(Surrogate.of(Needs(Ridge(1e-6), sample)).init(mixture).damping)
    assert damped[0] == damped[1] == 2 * damped[2] > 0
