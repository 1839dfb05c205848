"""The race: its history, its reasons, and the errors that name the pass."""

from __future__ import annotations

import numpy as np
import pytest
from made_data import assert_same_bits, has_matrices, made_mixture, rows_of

from daskgmm.em import (
    STOP_RULES,
    Course,
    InMemoryRows,
    PlainEM,
    Race,
    Rules,
    run,
    statistics_of,
)
from daskgmm.em.stopping import MAX_ITER
from daskgmm.errors import DamagedDataError, DataError, SingularComponentError
from daskgmm.kernel import COMPONENTS, Ridge, e_step, gaussian_mixture, moments_and_extremes


class Counting(InMemoryRows):
    """Rows that count their passes."""

    passes = 0

    def fold(self, function, *args):
        self.passes += 1
        return super().fold(function, *args)


GAP = STOP_RULES["gap"]


def _fit(rows, start, stop="gap", tol=1e-6, max_iter=200, reg_covar=0.0, tell=None, **kwargs):
    rules = Rules(PlainEM(Ridge(reg_covar)), STOP_RULES[stop], max_iter, **kwargs)
    return run(rows, start, rules, tol, tell or (lambda iteration: None))


def _unit_covariances(kind):
    """Covariances of two components in two features, all variances 1, in the kind's shape."""
    ones = np.ones(COMPONENTS[kind].covariance_shape(2, 2))
    return ones * np.eye(2) if has_matrices(kind) else ones


def _rows_and_start(family, n=1000):
    """Rows of three clear components, and the mixture from 0.2 beside them to start from."""
    start = made_mixture(family, 3, 2, separation=6.0)
    return Counting(rows_of(start, n, seed=1) + 0.2, grain=250), start


def test_history_is_what_the_passes_found(family):
    rows, start = _rows_and_start(family)
    told = []
    result = _fit(rows, start, tell=told.append)
    history = result.history
    assert tuple(told) == history
    assert rows.passes == len(history)
    assert [i.n_iter for i in history] == list(range(1, len(history) + 1))
    assert {i.n_rows for i in history} == {1000}
    assert all(i.seconds >= 0 for i in history)
    assert history[0].gain == np.inf
    values = [i.log_likelihood for i in history]
    np.testing.assert_array_equal([i.gain for i in history[1:]], np.diff(values))
    assert result.log_likelihood == values[-1]
    mixture = start
    for iteration in history:  # the same EM by hand, in the same order of sums
        statistics = rows.fold(e_step, mixture)
        assert iteration.log_likelihood == statistics.log_likelihood / 1000
        after = Ridge().m_step(statistics)
        assert iteration.means_moved == pytest.approx(
            np.square(after.means - mixture.means).sum(), rel=1e-12
        )
        mixture = after
    assert_same_bits(result.kept, mixture)


@pytest.mark.parametrize("stop", STOP_RULES)
def test_the_reason_is_the_rule_that_held(family, stop):
    rows, start = _rows_and_start(family)
    result = _fit(rows, start, stop=stop)
    assert result.converged
    assert result.stop_reason == stop
    rule = STOP_RULES[stop]
    held = [rule.holds(result.history[: n + 1], 1e-6) for n in range(len(result.history))]
    assert held == [False] * (len(held) - 1) + [True]


@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_max_iter_is_an_outcome(family, max_iter):
    rows, start = _rows_and_start(family)
    result = _fit(rows, start, tol=0.0, max_iter=max_iter)
    assert not result.converged
    assert result.stop_reason == MAX_ITER
    assert len(result.history) == rows.passes == max_iter


def test_accepted_likelihood_never_falls(family):
    rows, start = _rows_and_start(family)
    result = _fit(rows, start, tol=1e-12, max_iter=60)
    gains = [i.gain for i in result.history]
    # sqrt(n) eps of values of order 10 per row.
    assert min(gains) > -1e-13


def test_a_fixed_point_stays(family):
    rows, start = _rows_and_start(family)
    there = _fit(rows, start, tol=1e-12).kept
    again = _fit(rows, there, tol=0.0, max_iter=3).kept
    # A gap of 1e-12 in a maximum of curvature about 1 is sqrt(1e-12) in its place, times
    # a variance of order 1.
    np.testing.assert_allclose(again.means, there.means, rtol=0, atol=1e-5)
    np.testing.assert_allclose(again.covariances, there.covariances, rtol=0, atol=1e-5)


def test_a_singular_component_is_named_with_its_pass_and_rows(family):
    # Component 1 owns 20 copies of one row far away: it collapses at the first M-step, or
    # at the second where rounding about a common centre first leaves it a variance of 1e-13.
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((100, 2)), np.full((20, 2), 50.0)])
    law = COMPONENTS[family]
    if law.covariance_shape(2, 2) == law.covariance_shape(3, 2):
        x[:100] = 0.0  # there is one covariance, which collapses only if all components do
        component, text = -1, "after pass [12], the covariance collapsed"
    else:
        component, text = 1, r"after pass [12], .*component 1 .*\(it holds 20 of 120 rows\)"
    means = [[0.0, 0.0], [50.0, 50.0]]
    start = gaussian_mixture([0.5, 0.5], means, _unit_covariances(family), family)
    with pytest.raises(SingularComponentError, match=text) as caught:
        _fit(InMemoryRows(x), start)
    assert caught.value.component == component
    assert "reg_covar" in str(caught.value)
    # The way out that the message names.
    assert _fit(InMemoryRows(x), start, reg_covar=1e-3).converged


def test_a_singular_start_costs_no_pass(family):
    rows, start = _rows_and_start(family)
    zero = gaussian_mixture(start.weights, start.means, 0 * start.covariances, family)
    with pytest.raises(SingularComponentError, match="at the start"):
        _fit(rows, zero)
    assert rows.passes == 0


class Losing(Counting):
    """Rows of which one pass loses a grain."""

    def fold(self, function, *args):
        if self.passes == 2:
            return InMemoryRows(self.block.x[:-100], grain=100).fold(function, *args)
        return super().fold(function, *args)


def test_a_pass_that_loses_a_grain_is_damage(family):
    rows, start = _rows_and_start(family)
    losing = Losing(rows.block.x, grain=100)
    with pytest.raises(DamagedDataError, match="pass 3 read 900 rows where 1000"):
        _fit(losing, start, tol=0.0)


def test_rows_that_turn_nan_after_the_scan_are_an_error(family):
    rows, start = _rows_and_start(family)
    rows.block.x[7, 1] = np.nan
    with pytest.raises(DataError, match="log-likelihood of pass 1"):
        _fit(rows, start)


def _assert_near(found, expected, tolerance):
    """Weights and covariances relative, means in widths of their component."""
    np.testing.assert_allclose(found.weights, expected.weights, rtol=tolerance)
    widths = np.sqrt(expected.components.variances())
    assert (np.abs(found.means - expected.means) <= tolerance * widths).all()
    error = found.components.dense() - expected.components.dense()
    assert (np.abs(error) <= tolerance * widths[:, :, None] * widths[:, None, :]).all()


@pytest.mark.parametrize(
    ("precision", "tol", "stored", "in_float32"),
    [
        ("auto", 1e-3, np.float32, True),
        ("auto", 1e-3, np.float64, False),
        ("float32", 1e-6, np.float64, True),
        ("float64", 1e-3, np.float32, False),
    ],
)
def test_precision_is_that_of_the_rows_unless_said_otherwise(
    family, precision, tol, stored, in_float32
):
    rows, start = _rows_and_start(family)
    x = rows.block.x.astype(stored)
    fit = {"start": start, "tol": tol, "max_iter": 5}
    exact = _fit(InMemoryRows(x, grain=250), **fit)
    found = _fit(InMemoryRows(x, grain=250), precision=precision, **fit)
    assert (found.log_likelihood != exact.log_likelihood) == in_float32
    _assert_near(found.kept, exact.kept, 1e-4)
    assert abs(found.log_likelihood - exact.log_likelihood) < 1e-5


def test_rounding_does_not_decide_where_a_fit_stops():
    """Float32 as long as more than 1e-6 is left to gain, float64 from there on."""
    rows, start = _rows_and_start("full")
    narrow = InMemoryRows(rows.block.x.astype(np.float32), grain=250)
    found = _fit(narrow, start=start, tol=1e-9, max_iter=500, precision="auto")
    assert found.converged
    near = [i.remaining_gain <= 1e-6 for i in found.history]
    switch = near.index(True) + 1
    assert 0 < switch < len(found.history)
    # The same passes in either arithmetic, from where this one was.
    mixture = start
    for n, iteration in enumerate(found.history):
        exact, rounded = (
            _fit(narrow, mixture, max_iter=1, precision=p) for p in ("float64", "float32")
        )
        assert exact.log_likelihood != rounded.log_likelihood
        expected = rounded if n < switch else exact
        assert iteration.log_likelihood == expected.log_likelihood
        mixture = expected.kept


def test_a_known_scatter_changes_nothing_but_rounding(family):
    rows, start = _rows_and_start(family)
    exact = _fit(rows, start)
    found = _fit(rows, start, total=moments_and_extremes(rows.block)[0])
    assert len(found.history) == len(exact.history)
    np.testing.assert_allclose(found.log_likelihood, exact.log_likelihood, rtol=1e-12)
    _assert_near(found.kept, exact.kept, 1e-9)


def test_candidates_that_do_not_go_on_from_the_first_pass_make_no_step(family):
    """And those that do, end as if they had been alone."""
    rows, start = _rows_and_start(family)
    other = gaussian_mixture(start.weights, start.means + 0.1, start.covariances, family)
    rules = Rules(PlainEM(Ridge(1e-9)), GAP, 50)
    courses = [Course.begun(mixture, rules.stepper, 1e-9) for mixture in (other, start)]
    race = Race(rows, dict(enumerate(courses)), rules)
    reading = race.read()
    assert [reading.statistics[n].log_likelihood for n in (0, 1)] == [
        statistics_of(rows, m).log_likelihood for m in (other, start)
    ]
    race.step(reading, only={1})
    while race.is_running:
        race.advance()
    alone = _fit(rows, start, tol=1e-9, max_iter=50, reg_covar=1e-9)
    assert set(race.courses) == {1}
    assert race.n_passes == len(alone.history)
    assert_same_bits(race.leader.kept, alone.kept)


def test_candidates_side_by_side_are_those_alone_and_passes_are_shared(family):
    rows, start = _rows_and_start(family)
    other = gaussian_mixture(start.weights, start.means + 0.1, start.covariances, family)
    rules = Rules(PlainEM(Ridge(1e-9)), GAP, 50)
    both = {n: Course.begun(m, rules.stepper, 1e-7) for n, m in enumerate((start, other))}
    race = Race(rows, both, rules)
    while race.is_running:
        race.advance()
    passes = rows.passes
    alone = [_fit(rows, m, tol=1e-7, max_iter=50, reg_covar=1e-9) for m in (start, other)]
    assert passes == race.n_passes == max(len(course.history) for course in alone)
    for number, course in enumerate(alone):
        assert_same_bits(race.courses[number].kept, course.kept)
        assert race.courses[number].stop_reason == course.stop_reason


def test_a_candidate_that_was_dropped_stays_as_far_as_it_came(family):
    rows, start = _rows_and_start(family)
    rules = Rules(PlainEM(Ridge(1e-9)), GAP, 5)
    race = Race(rows, {n: Course.begun(start, rules.stepper, 0.0) for n in (0, 1)}, rules)
    race.advance()
    race.drop([0])
    while race.is_running:
        race.advance()
    assert [len(race.courses[n].history) for n in (0, 1)] == [1, 5]
    assert race.courses[0].stop_reason == MAX_ITER


@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
def test_a_candidate_that_collapses_leaves_the_others(kind):
    """One begins with a component on copies of one row; alone, that is an error."""
    rng = np.random.default_rng(0)
    rows = InMemoryRows(np.concatenate([rng.standard_normal((100, 2)), np.full((20, 2), 50.0)]))
    unit = _unit_covariances(kind)
    bad = gaussian_mixture([0.5, 0.5], [[0.0, 0.0], [50.0, 50.0]], unit, kind)
    good = gaussian_mixture([0.5, 0.5], [[24.0, 26.0], [26.0, 24.0]], 400 * unit, kind)
    rules = Rules(PlainEM(Ridge()), GAP, 3)
    starts = {n: Course.begun(m, rules.stepper, 0.0) for n, m in enumerate([bad, good])}
    race = Race(rows, starts, rules)
    while race.is_running and 0 in race.courses:
        race.advance()
    assert set(race.courses) == {1}


def _truncated(rows, start, max_iter=11, course=None):
    """The course of a fit of eight near components at its end, and after each pass."""
    rules, courses = Rules(PlainEM(Ridge(1e-9)), GAP, max_iter, n_near=8), []
    race = Race(rows, {0: course or Course.begun(start, rules.stepper, 0.0)}, rules)
    while race.is_running:
        race.advance()
        courses.append(race.courses[0])
    return courses[-1], courses


def _many(family, n=6_000):
    """Rows of forty components, and a start from which all means are 0.5 off."""
    start = made_mixture(family, 40, 2, separation=8.0)
    moved = gaussian_mixture(start.weights, start.means + 0.5, start.covariances, family)
    return rows_of(start, n, seed=1), moved


def test_a_bound_falls_only_where_neighbourhoods_are_chosen_anew(family):
    x, start = _many(family)
    gains = [i.gain for i in _truncated(InMemoryRows(x), start)[0].history]
    chosen_anew = {2, 3, 5, 9}  # before these passes
    between = [gain for n, gain in enumerate(gains, 1) if n not in chosen_anew]
    # reg_covar 1e-9 beside variances of order 1, and sqrt(n) eps of values of order 10.
    assert min(between) > -1e-8


def test_a_truncated_fit_has_the_same_bits_on_any_threads_and_if_interrupted(family):
    x, start = _many(family)
    expected, courses = _truncated(InMemoryRows(x, grain=1000), start)
    other, _ = _truncated(InMemoryRows(x, grain=1000, n_threads=3), start)
    assert_same_bits(other.kept, expected.kept)
    for course in (courses[0], courses[2], courses[6]):
        resumed, _ = _truncated(InMemoryRows(x, grain=1000), start, course=course)
        assert_same_bits(resumed.kept, expected.kept)
        assert len(resumed.history) == 11
