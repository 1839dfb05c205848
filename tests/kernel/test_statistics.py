"""Statistics: what adds, what refuses to, and that recentring is an identity."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_data import WORDS_OF_FAMILIES, made_mixture, rows_of
from naive import REDUCED, naive_e_step

from daskgmm.kernel import Block, Ridge, Statistics, e_step


def _some(family, seed=0):
    mixture = made_mixture(family, 3, 2, seed=seed)
    return e_step(Block(rows_of(mixture, 400, seed=seed)), mixture)


def test_zero_is_neutral(family):
    statistics = _some(family)
    zero = Statistics.zero(statistics.centres, family)
    for total in (statistics + zero, zero + statistics):
        assert total.n_rows == statistics.n_rows
        assert total.log_likelihood == statistics.log_likelihood
        assert total.weight == statistics.weight
        np.testing.assert_array_equal(total.centres, statistics.centres)
        for name, array in statistics.sums.items():
            np.testing.assert_array_equal(total[name], array)


def test_other_centres_are_refused(family):
    statistics = _some(family)
    moved = statistics.recentre(np.nextafter(statistics.centres, np.inf))
    with pytest.raises(ValueError, match="recentre"):
        statistics + moved


def test_other_families_are_refused():
    with pytest.raises(ValueError, match="different kinds"):
        _some("full") + Statistics.zero(_some("full").centres, "tied")


def test_adding_changes_neither_term(family):
    left, right = _some(family), _some(family)
    before = [np.array(left["second"]), np.array(right["second"])]
    total = left + right
    np.testing.assert_array_equal(left["second"], before[0])
    np.testing.assert_array_equal(right["second"], before[1])
    np.testing.assert_array_equal(total["second"], before[0] + before[1])


@given(
    name=st.sampled_from(WORDS_OF_FAMILIES),
    shift=st.lists(st.floats(-100, 100), min_size=6, max_size=6),
)
def test_recentring_there_and_back(name, shift):
    statistics = _some(name)
    shift = np.reshape(shift, (3, 2))
    there = statistics.recentre(statistics.centres + shift)
    back = there.recentre(statistics.centres)
    assert back.n_rows == statistics.n_rows
    assert back.log_likelihood == statistics.log_likelihood
    np.testing.assert_array_equal(back.n_k, statistics.n_k)
    # What is added and taken away again is n s (first) and n s^2 (second); n = 400.
    size = 1 + np.abs(shift).max()
    np.testing.assert_allclose(back["first"], statistics["first"], rtol=0, atol=1e-14 * 400 * size)
    np.testing.assert_allclose(
        back["second"], statistics["second"], rtol=0, atol=1e-14 * 400 * size**2
    )
    np.testing.assert_array_equal(back.centres, statistics.centres)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_recentred_statistics_are_the_naive_ones_there(family, size):
    mixture = made_mixture(family, 3, 2)
    x = rows_of(mixture, 400)
    centres = mixture.means + size * np.random.default_rng(0).standard_normal((3, 2))
    oracle = naive_e_step(x, mixture, centres)
    got = e_step(Block(x), mixture).recentre(centres)
    # 400 terms of size (1 + size)^2, each to eps times the condition of the densities.
    atol = 1e-11 * 400 * (1 + 3 * size) ** 2
    np.testing.assert_allclose(got["first"], oracle.first.astype(float), rtol=0, atol=atol)
    expected = REDUCED[family](oracle.second).astype(float)
    np.testing.assert_allclose(got["second"], expected, rtol=0, atol=atol)


def test_recentring_on_their_own_centres_changes_no_bit(family):
    statistics = _some(family)
    same = statistics.recentre(statistics.centres)
    np.testing.assert_array_equal(same["first"], statistics["first"])
    np.testing.assert_array_equal(same["second"], statistics["second"])


def test_the_m_step_does_not_depend_on_the_centres(family):
    statistics = _some(family)
    expected = Ridge().m_step(statistics)
    got = Ridge().m_step(statistics.recentre(statistics.centres + 1.0))
    # Moments about a centre one standard deviation off cancel a digit at most.
    np.testing.assert_allclose(got.means, expected.means, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(got.covariances, expected.covariances, rtol=1e-12, atol=1e-12)


def test_statistics_travel(family):
    statistics = _some(family)
    back = pickle.loads(pickle.dumps(statistics))
    np.testing.assert_array_equal((back + statistics)["second"], 2 * statistics["second"])
