"""The loop: its history, its reasons, and the errors that name the pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_data import assert_same_bits, made_mixture, rows_of

from daskgmm.em import (
    STOP_RULES,
    Candidate,
    InMemoryRows,
    PlainEM,
    run,
    run_together,
    statistics_of,
)
from daskgmm.em.loop import MAX_ITER
from daskgmm.errors import DamagedDataError, DataError, SingularComponentError
from daskgmm.kernel import (
    COMPONENTS,
    Block,
    Ridge,
    e_step,
    gaussian_mixture,
    moments_and_extremes,
)


class Counting(InMemoryRows):
    """Rows that count their passes."""

    passes = 0

    def fold(self, function, *args):
        self.passes += 1
        return super().fold(function, *args)


def _fit(rows, start, stop="gap", tol=1e-6, max_iter=200, reg_covar=0.0, **kwargs):
    return run(
        rows,
        start,
        stepper=PlainEM(Ridge(reg_covar)),
        stop=STOP_RULES[stop],
        tol=tol,
        max_iter=max_iter,
        **kwargs,
    )


def _case(family, n=1000):
    start = made_mixture(family, 3, 2, separation=6.0)
    return Counting(rows_of(start, n, seed=1) + 0.2, grain=250), start


def test_history_is_what_the_passes_found(family):
    rows, start = _case(family)
    told = []
    result = _fit(rows, start, on_iteration=told.append)
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
        statistics = rows.fold(lambda x, start, m: e_step(Block(x), m), mixture)
        assert iteration.log_likelihood == statistics.log_likelihood / 1000
        after = Ridge().m_step(statistics)
        assert iteration.means_moved == pytest.approx(
            np.square(after.means - mixture.means).sum(), rel=1e-12
        )
        mixture = after
    assert_same_bits(result.mixture, mixture)


@pytest.mark.parametrize("stop", STOP_RULES)
def test_the_reason_is_the_rule_that_held(family, stop):
    rows, start = _case(family)
    result = _fit(rows, start, stop=stop)
    assert result.converged
    assert result.stop_reason == stop
    rule = STOP_RULES[stop]
    held = [rule.holds(result.history[: n + 1], 1e-6) for n in range(len(result.history))]
    assert held == [False] * (len(held) - 1) + [True]


@pytest.mark.parametrize("max_iter", [1, 2, 5])
def test_max_iter_is_an_outcome(family, max_iter):
    rows, start = _case(family)
    result = _fit(rows, start, tol=0.0, max_iter=max_iter)
    assert not result.converged
    assert result.stop_reason == MAX_ITER
    assert len(result.history) == rows.passes == max_iter


def test_accepted_likelihood_never_falls(family):
    rows, start = _case(family)
    result = _fit(rows, start, tol=1e-12, max_iter=60)
    gains = [i.gain for i in result.history]
    # sqrt(n) eps of values of order 10 per row.
    assert min(gains) > -1e-13


def test_a_fixed_point_stays(family):
    rows, start = _case(family)
    there = _fit(rows, start, tol=1e-12).mixture
    again = _fit(rows, there, tol=0.0, max_iter=3).mixture
    # A gap of 1e-12 in a maximum of curvature about 1 is sqrt(1e-12) in its place, times
    # a variance of order 1.
    np.testing.assert_allclose(again.means, there.means, rtol=0, atol=1e-5)
    np.testing.assert_allclose(again.covariances, there.covariances, rtol=0, atol=1e-5)


def test_a_singular_component_is_named_with_its_pass_and_rows(family):
    # Component 1 owns 20 copies of one row far away: it collapses at the first M-step, or
    # at the second where rounding about a common centre first leaves it a variance of 1e-13.
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((100, 2)), np.full((20, 2), 50.0)])
    table = COMPONENTS[family]
    if table.shape(2, 2) == table.shape(3, 2):  # one covariance for all: all must collapse
        x[:100] = 0.0
        component, text = -1, "after pass [12], the covariance collapsed"
    else:
        component, text = 1, r"after pass [12], .*component 1 .*\(it holds 20 of 120 rows\)"
    eye = table.covariances(np.zeros(table.shape(2, 2)), np.ones(2), 1.0, 2)
    start = gaussian_mixture([0.5, 0.5], [[0.0, 0.0], [50.0, 50.0]], eye, family)
    with pytest.raises(SingularComponentError, match=text) as caught:
        _fit(InMemoryRows(x), start)
    assert caught.value.component == component
    assert "reg_covar" in str(caught.value)
    # The way out that the message names.
    assert _fit(InMemoryRows(x), start, reg_covar=1e-3).converged


def test_a_singular_start_costs_no_pass(family):
    rows, start = _case(family)
    zero = gaussian_mixture(start.weights, start.means, 0 * start.covariances, family)
    with pytest.raises(SingularComponentError, match="at the start"):
        _fit(rows, zero)
    assert rows.passes == 0


class Losing(Counting):
    """Rows of which one pass loses a grain."""

    def fold(self, function, *args):
        if self.passes == 2:
            return InMemoryRows(self.array[:-100], grain=100).fold(function, *args)
        return super().fold(function, *args)


def test_a_pass_that_loses_a_grain_is_damage(family):
    rows, start = _case(family)
    losing = Losing(rows.array, grain=100)
    with pytest.raises(DamagedDataError, match="pass 3 read 900 rows where 1000"):
        _fit(losing, start, tol=0.0)


def test_rows_that_turn_nan_after_the_scan_are_an_error(family):
    rows, start = _case(family)
    rows.array[7, 1] = np.nan
    with pytest.raises(DataError, match="log-likelihood of pass 1"):
        _fit(rows, start)


def _near(found, expected, tolerance):
    """Weights and covariances relative, means in widths of their component."""
    np.testing.assert_allclose(found.weights, expected.weights, rtol=tolerance)
    family, (k, d) = expected.family, expected.means.shape
    widths = np.sqrt(family.variances(expected.covariances, k, d))
    assert (np.abs(found.means - expected.means) <= tolerance * widths).all()
    error = family.dense(found.covariances - expected.covariances, k, d)
    assert (np.abs(error) <= tolerance * widths[:, :, None] * widths[:, None, :]).all()


@pytest.mark.parametrize(
    ("precision", "tol", "stored", "narrow"),
    [
        ("auto", 1e-3, np.float32, True),
        ("auto", 1e-3, np.float64, False),
        ("float32", 1e-6, np.float64, True),
        ("float64", 1e-3, np.float32, False),
    ],
)
def test_precision_is_that_of_the_rows_unless_said_otherwise(
    family, precision, tol, stored, narrow
):
    rows, start = _case(family)
    x = rows.array.astype(stored)
    fit = {"start": start, "tol": tol, "max_iter": 5}
    exact = _fit(InMemoryRows(x, grain=250), **fit)
    found = _fit(InMemoryRows(x, grain=250), precision=precision, **fit)
    assert (found.log_likelihood != exact.log_likelihood) == narrow
    _near(found.mixture, exact.mixture, 1e-4)
    assert abs(found.log_likelihood - exact.log_likelihood) < 1e-5


def test_rounding_does_not_decide_where_a_fit_stops(monkeypatch):
    rows, start = _case("full")
    used = []

    def noted(x, mixture, dtype, neighbourhoods):
        used.append(dtype)
        return e_step(Block(x), mixture, dtype, neighbourhoods)

    monkeypatch.setattr("daskgmm.em.loop.e_step", noted)
    narrow = InMemoryRows(rows.array.astype(np.float32))
    found = _fit(narrow, start=start, tol=1e-9, max_iter=500, precision="auto")
    assert found.converged
    assert used[0] == np.float32
    assert used[-1] == np.float64
    switch = used.index(np.float64)
    assert set(used[switch:]) == {np.dtype(np.float64)}
    assert len(used) == len(found.history)
    gains = [i.remaining_gain for i in found.history[:switch]]
    assert min(gains[:-1], default=1.0) > 1e-6 >= gains[-1]


def test_a_known_scatter_changes_nothing_but_rounding(family):
    rows, start = _case(family)
    exact = _fit(rows, start)
    found = _fit(rows, start, total=moments_and_extremes(Block(rows.array))[0])
    assert len(found.history) == len(exact.history)
    np.testing.assert_allclose(found.log_likelihood, exact.log_likelihood, rtol=1e-12)
    _near(found.mixture, exact.mixture, 1e-9)


class _Counted(PlainEM):
    """Plain EM that counts its steps."""

    def __init__(self, reg_covar):
        super().__init__(reg_covar)
        self.n_steps = 0

    def next(self, mixture, statistics, tol):
        self.n_steps += 1
        return super().next(mixture, statistics, tol)


def test_candidates_that_do_not_go_on_from_the_first_pass_make_no_step(family):
    """And those that do, end as if they had been alone."""
    rows, start = _case(family)
    other = replace(start, means=start.means + 0.1)
    steppers = [_Counted(1e-9), _Counted(1e-9)]
    seen = []

    def narrow(found):
        seen.extend(found)
        return [False, True]

    results = run_together(
        rows,
        [Candidate(m, s, 1e-9) for m, s in zip([other, start], steppers, strict=True)],
        stop=STOP_RULES["gap"],
        max_iter=50,
        narrow=narrow,
    )
    alone = _fit(rows, start, tol=1e-9, max_iter=50, reg_covar=1e-9)
    assert [s.log_likelihood for s in seen] == [
        statistics_of(rows, m).log_likelihood for m in (other, start)
    ]
    (result,) = results
    assert steppers[0].n_steps == 0
    assert steppers[1].n_steps == len(result.history) == len(alone.history)
    assert_same_bits(result.mixture, alone.mixture)


def _truncated(rows, start, max_iter=11, **candidate):
    courses = []
    (result,) = run_together(
        rows,
        [Candidate(start, PlainEM(Ridge(1e-9)), 0.0, n_near=8, **candidate)],
        stop=STOP_RULES["gap"],
        max_iter=max_iter,
        keep=lambda found: courses.append(found[0]),
    )
    return result, courses


def _many(family, n=20_000):
    start = made_mixture(family, 40, 2, separation=8.0)
    moved = gaussian_mixture(start.weights, start.means + 0.5, start.covariances, family)
    return rows_of(start, n, seed=1), moved


def test_a_bound_falls_only_where_neighbourhoods_are_chosen_anew(family):
    x, start = _many(family)
    gains = [i.gain for i in _truncated(InMemoryRows(x), start)[0].history]
    between = [gain for n, gain in enumerate(gains, 1) if n not in (2, 3, 5, 9)]
    # reg_covar 1e-9 beside variances of order 1, and sqrt(n) eps of values of order 10.
    assert min(between) > -1e-8


def test_a_truncated_fit_has_the_same_bits_on_any_threads_and_if_interrupted(family):
    x, start = _many(family)
    expected, courses = _truncated(InMemoryRows(x, grain=1000), start)
    other, _ = _truncated(InMemoryRows(x, grain=1000, n_threads=3), start)
    assert_same_bits(other.mixture, expected.mixture)
    for course in (courses[0], courses[2], courses[6]):
        resumed, _ = _truncated(InMemoryRows(x, grain=1000), course.mixture, so_far=course)
        assert_same_bits(resumed.mixture, expected.mixture)
        assert len(resumed.history) == 11
