"""Stop rules on histories that were made up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.em import STOP_REASONS, STOP_RULES, Iteration, stop_rule_named
from daskgmm.em.stopping import (
    MAX_ITER,
    READS,
    estimated_remaining_gain,
    left_after_last_step,
)
from daskgmm.errors import ParameterError


def _history(log_likelihoods, means_moved=1.0):
    return [
        Iteration(
            n_iter=i + 1,
            log_likelihood=now,
            gain=np.inf if i == 0 else now - log_likelihoods[i - 1],
            remaining_gain=estimated_remaining_gain(log_likelihoods[: i + 1]),
            means_moved=means_moved,
            n_rows=100,
            seconds=0.1,
        )
        for i, now in enumerate(log_likelihoods)
    ]


def _geometric(limit, gap, rate, n):
    return [limit - gap * rate**i for i in range(n)]


@given(
    limit=st.floats(-50, 50),
    gap=st.floats(1e-2, 10),
    rate=st.floats(0.05, 0.99),
    n=st.integers(3, 6),
)
def test_aitken_is_exact_on_geometric_sequences(limit, gap, rate, n):
    values = _geometric(limit, gap, rate, n)
    left = limit - values[-1]
    # Gains are differences of values of order |limit| + gap, each rounded at eps; the rate
    # from them errs by that over the gain, and 1 - rate amplifies it twice over.
    gain = values[-1] - values[-2]
    error = 8 * np.finfo(float).eps * (abs(limit) + gap) / gain / (1 - rate)
    if error < 1e-3:
        assert estimated_remaining_gain(values) == pytest.approx(
            left, rel=10 * error / (1 - rate) + 1e-9
        )


@pytest.mark.parametrize("values", [[], [-3.0], [-3.0, -2.0]])
def test_remaining_gain_is_unknown_before_three_values(values):
    assert estimated_remaining_gain(values) == np.inf


def test_remaining_gain_is_unknown_while_gains_grow():
    assert estimated_remaining_gain([-5.0, -4.0, -2.0]) == np.inf
    assert estimated_remaining_gain([-5.0, -4.0, -3.0]) == np.inf


def test_nothing_remains_where_nothing_moves():
    assert estimated_remaining_gain([-5.0, -3.0, -3.0]) == 0.0
    assert estimated_remaining_gain([-3.0, -3.0, np.nextafter(-3.0, 0)]) == 0.0


def test_only_the_last_three_count():
    values = _geometric(-1.0, 1.0, 0.5, 5)
    assert estimated_remaining_gain([100.0, *values]) == estimated_remaining_gain(values[-3:])


@pytest.mark.parametrize("name", STOP_RULES)
def test_no_rule_holds_after_one_pass(name):
    assert not STOP_RULES[name].holds(_history([-3.0], means_moved=1.0), 1e-3)


def test_gap_waits_where_increment_stops():
    # A slow rate: the increment is a hundredth of what is left.
    values = _geometric(-1.0, 0.05, 0.99, 5)
    history = _history(values)
    assert abs(history[-1].gain) < 1e-3 < history[-1].remaining_gain
    assert STOP_RULES["increment"].holds(history, 1e-3)
    assert not STOP_RULES["gap"].holds(history, 1e-3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_gap_stops_at_the_first_pass_with_less_than_tol_left(rate):
    tol, values = 1e-4, _geometric(-1.0, 1.0, rate, 200)
    history = _history(values)
    stopped = next(n for n in itertools.count(1) if STOP_RULES["gap"].holds(history[:n], tol))
    assert -1.0 - values[stopped - 1] < tol * (1 + 1e-6)
    assert stopped == 3 or -1.0 - values[stopped - 2] >= tol * (1 - 1e-6)


@pytest.mark.parametrize(("gain", "holds"), [(2e-3, False), (5e-4, True), (-5e-4, True)])
def test_increment_is_scikit_learns_rule(gain, holds):
    assert STOP_RULES["increment"].holds(_history([-3.0, -3.0 + gain]), 1e-3) is holds


@pytest.mark.parametrize(("moved", "holds"), [(2e-3, False), (1e-3, True), (0.0, True)])
def test_means_looks_at_the_means_alone(moved, holds):
    assert STOP_RULES["means"].holds(_history([-9.0, -3.0], means_moved=moved), 1e-3) is holds


@pytest.mark.parametrize("name", ["gap", "increment"])
def test_tol_zero_never_stops_while_the_likelihood_moves(name):
    history = _history(_geometric(-1.0, 1.0, 0.5, 30))
    assert not any(STOP_RULES[name].holds(history[: n + 1], 0.0) for n in range(30))


@given(
    values=st.lists(st.floats(-100, 0), min_size=1, max_size=8),
    name=st.sampled_from(list(STOP_RULES)),
    tols=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_rules_are_pure_and_a_larger_tol_stops_no_later(values, name, tols):
    history = _history(values, means_moved=0.5)
    small, large = (STOP_RULES[name].holds(history, tol) for tol in tols)
    assert large or not small
    assert STOP_RULES[name].holds(history, tols[0]) == small


def test_rules_are_found_by_name_and_say_why():
    for name, rule in STOP_RULES.items():
        assert stop_rule_named(name) is rule
        assert rule.name == name
        assert "tol" in rule.message
        assert STOP_REASONS[name] == rule.message
    assert set(STOP_REASONS) == {*STOP_RULES, MAX_ITER, READS}


@pytest.mark.parametrize("name", ["Gap", "", None, ["gap"]])
def test_unknown_rules_list_the_known(name):
    with pytest.raises(ParameterError, match="gap, increment, means"):
        stop_rule_named(name)


MANY, WORTH = 10**9, 1e-8


@given(rate=st.floats(1e-9, 0.5), times=st.floats(0.1, 20))
def test_a_last_step_leaves_what_steps_leave_and_gains_little(rate, times):
    remaining = times * WORTH
    left = left_after_last_step(remaining / rate, remaining, WORTH, MANY)
    is_sure = times <= 5 and 10 * rate * times < 1
    assert (left is not None) == is_sure
    if left is not None:
        assert rate * remaining < left < WORTH


@pytest.mark.parametrize(
    ("gain", "remaining", "n_rows"),
    [
        (np.inf, WORTH, MANY),
        (-1e-3, WORTH, MANY),
        (0.0, WORTH, MANY),
        (1e-3, np.inf, MANY),
        (1e-3, 0.0, MANY),
        (1e-3, np.nan, MANY),
        (1e-3, WORTH, 9_999_999),
    ],
)
def test_no_step_is_the_last_of_which_little_is_known_or_where_a_pass_is_short(
    gain, remaining, n_rows
):
    assert left_after_last_step(gain, remaining, WORTH, n_rows) is None
