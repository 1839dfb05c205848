"""Exchanges: what a merger costs, and the way out of optima where EM is caught."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from made_data import assert_same_bits
from scipy.stats import multivariate_normal

from daskgmm.em import Climber, InMemoryRows
from daskgmm.em.starts.exchanges import (
    cheapest_mergers,
    with_exchanges,
    with_one_less,
    with_one_more,
)
from daskgmm.kernel import Block, Ridge, e_step, gaussian_mixture, weighted_statistics

CORNERS = 8.0 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def _at(rows, mixture):
    return e_step(rows.block, mixture).log_likelihood / rows.n_rows


def _rows(n=2000, n_threads=1):
    rng = np.random.default_rng(0)
    x = CORNERS[np.arange(n) % 4] + rng.normal(size=(n, 2))
    return InMemoryRows(x, grain=512, n_threads=n_threads)


def _sample(rows, reg_covar=1e-6):
    return Climber(rows, Ridge(reg_covar))


def _of_groups(rows, groups, family):
    """M-step of rows that are assigned to components by their corner, or half of one."""
    corner, half = np.arange(rows.n_rows) % 4, rows.block.x[:, 0] % 1 > 0.5
    resp = np.stack([np.isin(corner, corners) & part(half) for corners, part in groups], axis=1)
    centres = np.zeros((len(groups), 2))
    found = weighted_statistics(rows.block, resp.astype(float), centres, family)
    return Ridge(1e-6).m_step(found)


def every(half):
    return np.ones_like(half)


@pytest.fixture
def caught(family):
    """Two components share a corner, and one has two: no step of EM leads out of it."""
    return _caught(family)


@cache
def _caught(family):
    rows = _rows()
    groups = [([0], lambda half: half), ([0], lambda half: ~half), ([1], every), ([2, 3], every)]
    start = _of_groups(rows, groups, family)
    return rows, _sample(rows).em(start, 300, tol=1e-7).kept


def test_em_alone_is_caught_and_exchanges_lead_out(family, caught):
    rows, mixture = caught
    best = _at(rows, _of_groups(rows, [([c], every) for c in range(4)], family))
    assert _at(rows, mixture) < best - 0.1
    assert _at(rows, with_exchanges(_sample(rows), mixture)) > best - 0.01


def test_the_best_stays_as_it_is_and_nothing_is_ever_lowered(family):
    rows = _rows()
    best = _of_groups(rows, [([c], every) for c in range(4)], family)
    after = with_exchanges(_sample(rows), best)
    np.testing.assert_allclose(after.means, best.means, atol=0.05)
    assert _at(rows, after) >= _at(rows, best) - 1e-12


def test_threads_change_no_bit(caught):
    rows, mixture = caught
    found = [
        with_exchanges(_sample(InMemoryRows(rows.block.x, 512, n_threads)), mixture)
        for n_threads in (1, 3)
    ]
    assert_same_bits(*found)


def test_costs_of_mergers_are_runnalls_bound():
    rng = np.random.default_rng(1)
    k, d = 6, 3
    roots = rng.normal(size=(k, d, d))
    covariances = roots @ np.swapaxes(roots, 1, 2) + np.eye(d)
    mixture = gaussian_mixture(
        rng.dirichlet(np.ones(k)), rng.normal(size=(k, d)), covariances, "full"
    )

    def cost(i, j):
        w, m = mixture.weights[[i, j]], mixture.means[[i, j]]
        both = w.sum()
        mean = w @ m / both
        c = sum(
            share
            * (mixture.covariances[n] + np.outer(mixture.means[n] - mean, mixture.means[n] - mean))
            for share, n in zip(w / both, (i, j), strict=True)
        )
        entropy = [multivariate_normal(cov=s).entropy() for s in (c, *mixture.covariances[[i, j]])]
        return both * entropy[0] - w @ entropy[1:]

    expected = {pair: cost(*pair) for pair in combinations(range(k), 2)}
    found = {pair: cost for cost, pair in cheapest_mergers(mixture, len(expected))}
    assert list(found) == sorted(expected, key=expected.get)
    for pair, value in found.items():
        np.testing.assert_allclose(value, expected[pair], rtol=1e-10, atol=1e-12)


def test_two_of_the_same_cost_nothing_to_merge(family):
    rows = _rows()
    one = _of_groups(rows, [([0], every), ([1], every), ([2, 3], every)], family)
    pick = [0, 1, 2, 1]
    shared = family == "tied"
    same = gaussian_mixture(
        np.array([0.25, 0.25, 0.25, 0.25]),
        one.means[pick],
        one.covariances if shared else one.covariances[pick],
        family,
    )
    cost, pair = cheapest_mergers(same, 1)[0]
    assert pair == (1, 3)
    assert abs(cost) < 1e-12


def test_a_collapse_leaves_the_mixture_as_it_was():
    rng = np.random.default_rng(2)
    x = np.vstack([rng.normal(size=(300, 2)), np.full((40, 2), 7.0)])  # exact copies
    rows = InMemoryRows(x)
    resp = np.column_stack([np.arange(340) < 300, np.arange(340) >= 260, np.ones(340)]) / 2.0
    start = Ridge().m_step(weighted_statistics(Block(x), resp, np.zeros((3, 2)), "full"))
    assert with_exchanges(_sample(rows, 0.0), start) is start


def test_one_more_goes_where_one_is_two(family):
    """Of four corners, two are one component's."""
    rows = _rows()
    three = _of_groups(rows, [([0], every), ([1], every), ([2, 3], every)], family)
    best = _at(rows, _of_groups(rows, [([c], every) for c in range(4)], family))
    four = with_one_more(_sample(rows), three)
    assert four.n_components == 4
    fit = _sample(rows).em(four, 100, tol=1e-7)
    assert fit.log_likelihood > best - 1e-3


def test_one_less_is_of_two_that_were_one(family):
    rows = _rows()
    halves = [([0], lambda half: half), ([0], lambda half: ~half)]
    corners = [([c], every) for c in range(4)]
    best = _of_groups(rows, corners, family)
    four = with_one_less(_sample(rows), _of_groups(rows, halves + corners[1:], family))
    assert four.n_components == 4
    assert _at(rows, four) == pytest.approx(_at(rows, best), abs=1e-3)


@pytest.mark.parametrize("moved", [with_one_more, with_one_less])
def test_one_more_or_less_has_the_same_bits_on_any_number_of_threads(family, moved):
    three = _of_groups(_rows(), [([0], every), ([1], every), ([2, 3], every)], family)
    one, other = (moved(_sample(_rows(n_threads=n)), three) for n in (1, 3))
    assert_same_bits(one, other)


def test_too_few_rows_are_not_divided():
    few = InMemoryRows(np.random.default_rng(0).normal(size=(11, 2)))
    one = _of_groups(few, [([0, 1, 2, 3], every)], "full")
    assert with_one_more(_sample(few), one) is None
