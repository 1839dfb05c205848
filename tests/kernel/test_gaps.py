"""Rows with gaps: the E-step is that of a dense reference for each pattern, in all families."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from kernel.naive import REDUCED
from made_data import covariances_of, made_mixture, rows_of
from scipy.stats import multivariate_normal
from with_loops import needs_loops

from daskgmm.kernel import (
    Block,
    Mixture,
    Pass,
    gap_rows,
    gaussian_mixture,
    imputed,
    labels,
    log_density,
    loops,
    probabilities,
)
from daskgmm.kernel.patterns import common_patterns, groups

D, K = 4, 3
FAMILIES = tuple(REDUCED)


def mixture_of(kind: str, near: float = 0.3) -> Mixture:
    """Three components; ``near`` is what the last feature has of its own beside the others."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(K, D, D))
    dense = a @ a.transpose(0, 2, 1) + 0.3 * np.eye(D)
    dense[:, -1] = dense[:, 0]  # the last feature is the first one, and something more
    dense[:, :, -1] = dense[:, :, 0]
    dense[:, -1, -1] = dense[:, 0, 0] + near
    means, covariances = 2 * rng.normal(size=(K, D)), covariances_of(kind, dense)
    return gaussian_mixture([0.2, 0.5, 0.3], means, covariances, kind)


def rows_of_every_pattern(n_each: int = 5, n_common: int = 100) -> np.ndarray:
    """Some rows of each pattern but that of no feature, and more of one of them."""
    rng = np.random.default_rng(2)
    patterns = [p for p in itertools.product([False, True], repeat=D) if not all(p)]
    patterns = patterns * n_each + [(True, False, True, False)] * n_common
    x = 2 * rng.normal(size=(len(patterns), D))
    x[np.array(patterns)] = np.nan
    return rng.permutation(x)


class Dense:
    """The E-step by definition: a Gaussian of the observed features, inverted for each row."""

    def __init__(self, x: np.ndarray, mixture: Mixture, weight: np.ndarray) -> None:
        dense = mixture.components.dense()
        self.log_density = np.empty(len(x))
        self.resp, self.means = np.empty((len(x), K)), np.empty_like(x)
        self.n_k, self.first = np.zeros(K), np.zeros((K, D))
        second = np.zeros((K, D, D))
        for i, row in enumerate(x):
            o, expected, left = ~np.isnan(row), np.zeros((K, D)), np.zeros((K, D, D))
            joint = np.empty(K)
            for k, s in enumerate(dense):
                of_observed = multivariate_normal(mixture.means[k][o], s[np.ix_(o, o)])
                joint[k] = np.log(mixture.weights[k]) + of_observed.logpdf(row[o])
                b = s[np.ix_(~o, o)] @ np.linalg.inv(s[np.ix_(o, o)])
                expected[k, o] = (row - mixture.means[k])[o]
                expected[k, ~o] = b @ expected[k, o]
                left[k][np.ix_(~o, ~o)] = s[np.ix_(~o, ~o)] - b @ s[np.ix_(o, ~o)]
            self.log_density[i] = np.logaddexp.reduce(joint)
            self.resp[i] = np.exp(joint - self.log_density[i])
            r = weight[i] * self.resp[i]
            self.n_k += r
            self.first += r[:, None] * expected
            outer = expected[:, :, None] * expected[:, None, :]
            second += r[:, None, None] * (outer + left)
            self.means[i] = np.where(o, row, self.resp[i] @ (mixture.means + expected))
        self.second = REDUCED[mixture.kind](second)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("n_common", [0, 1100], ids=["rare", "common"])
def test_the_e_step_is_that_of_the_dense_reference_for_every_pattern(kind, n_common):
    mixture, x = mixture_of(kind), rows_of_every_pattern(5, n_common)
    weight = np.random.default_rng(3).uniform(0.5, 2, len(x))
    expected = Dense(x, mixture, weight)
    one = Pass(mixture)
    found, densities = one.with_log_densities(Block(x, weight=weight, has_gaps=True))
    # Conditioned as 1e2, sums of a thousand terms of order 1 to 10.
    close = {"rtol": 1e-10, "atol": 1e-9}
    np.testing.assert_allclose(densities, expected.log_density, **close)
    np.testing.assert_allclose(found.log_likelihood, weight @ expected.log_density, **close)
    for name in ("n_k", "first", "second"):
        np.testing.assert_allclose(found[name], getattr(expected, name), **close)
    assert (found.n_rows, found.weight) == (len(x), pytest.approx(weight.sum()))
    np.testing.assert_allclose(log_density(x, mixture), expected.log_density, **close)
    np.testing.assert_allclose(probabilities(x, mixture), expected.resp, **close)
    np.testing.assert_array_equal(labels(x, mixture), expected.resp.argmax(axis=1))
    np.testing.assert_allclose(imputed(x, mixture), expected.means, **close)


@pytest.mark.parametrize("kind", ["full", "tied"])
def test_features_that_are_nearly_sums_of_others_lose_no_digits(kind):
    """By the precision, of size 1e10, log densities would be good to 1e-6."""
    mixture, x = mixture_of(kind, near=1e-10), rows_of_every_pattern()
    x = x[np.isnan(x[:, -1]) | np.isnan(x[:, 0])]  # the density of both together is degenerate
    expected = Dense(x, mixture, np.ones(len(x)))
    np.testing.assert_allclose(
        log_density(x, mixture), expected.log_density, rtol=1e-11, atol=1e-11
    )


@needs_loops
@pytest.mark.parametrize("stored", ["f4", "f8"])
@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("is_noisy", [False, True], ids=["measured", "noisy"])
def test_the_loops_give_what_numpy_gives(kind, stored, is_noisy, monkeypatch):
    """Where one to ten features are missing, in tiles of every width, and with noise beside."""
    mixture, again = (made_mixture(kind, k=5, d=11, seed=3) for _ in range(2))
    x = rows_of(mixture, 900, seed=4)
    rng = np.random.default_rng(5)
    x[rng.random(x.shape) < rng.uniform(0, 0.9, (len(x), 1))] = np.nan
    x = x[~np.isnan(x).all(axis=1)].astype(stored)
    noise = 10.0 ** rng.uniform(-3, 2, x.shape) if is_noisy else None
    weight = rng.uniform(0.5, 2, len(x))
    block = Block(x, weight=weight, has_gaps=True, measurement_noise=noise)
    found, densities = Pass(mixture).with_log_densities(block)
    monkeypatch.setattr(loops, "VARIANT", None)
    expected, expected_densities = Pass(again).with_log_densities(replace(block))
    # Sums of a thousand terms, in another order; conditioned as 1e3.
    np.testing.assert_allclose(densities, expected_densities, rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-12)
    for name, array in expected.sums.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-10, atol=1e-9)


@needs_loops
@pytest.mark.parametrize("kind", ["full", "tied"])
@pytest.mark.parametrize(("d", "n_alike"), [(2, 20), (7, 70), (13, 300), (70, 200)])
def test_the_loops_work_on_rows_of_one_pattern_as_on_any(kind, d, n_alike, monkeypatch):
    """Among more patterns than are told apart, of which some many rows have, first and last."""
    mixture, again = (made_mixture(kind, k=3, d=d, seed=6) for _ in range(2))
    rng = np.random.default_rng(7)
    n_any = {13: 2_000, 70: 20}.get(d, 200)
    gaps = rng.random((2 * n_alike + n_any, d)) < 0.5
    gaps[:n_alike], gaps[-n_alike:] = np.arange(d) % 2 == 1, np.arange(d) != d // 2
    gaps[np.arange(len(gaps)), rng.integers(0, d, len(gaps))] &= ~gaps.all(axis=1)
    x = np.where(gaps, np.nan, rows_of(mixture, len(gaps), seed=8))
    weight = rng.uniform(0.5, 2, len(x))
    block = Block(x, weight=weight, has_gaps=True)
    found, densities = Pass(mixture).with_log_densities(block)
    monkeypatch.setattr(loops, "VARIANT", None)
    expected, expected_densities = Pass(again).with_log_densities(replace(block))
    # As above; of more features, conditioned as their number.
    np.testing.assert_allclose(densities, expected_densities, rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-12)
    for name, array in expected.sums.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-10, atol=1e-9 * d)


@pytest.mark.parametrize("stored", ["f2", "f4", "f8"])
@pytest.mark.parametrize("d", [1, 3, 8, 70])
def test_rows_with_gaps_are_found_beside_infinities(d, stored):
    rng = np.random.default_rng(6)
    x = np.arange(301.0 * d).reshape(301, d) % 1000
    x[rng.random(x.shape) < 0.02] = np.nan
    x[rng.random(x.shape) < 0.02] = -np.inf
    x[-1] = np.nan
    expected = np.isnan(x).sum(axis=1)
    for rows in (x.astype(stored), np.asfortranarray(x, stored)):
        found = gap_rows(rows)
        np.testing.assert_array_equal(found.rows, np.flatnonzero(expected))
        np.testing.assert_array_equal(found.n_missing, expected[expected > 0])
        np.testing.assert_array_equal(found.gaps, np.isnan(x[expected > 0]))
    assert gap_rows(np.where(np.isnan(x), 0, x).astype(stored)) is None


@pytest.mark.parametrize("kind", FAMILIES)
def test_complete_rows_and_rows_with_gaps_add_up(kind):
    mixture, x = mixture_of(kind), rows_of_every_pattern()
    one = Pass(mixture)
    apart = [x[np.isnan(x).any(axis=1)], x[~np.isnan(x).any(axis=1)]]
    with_gaps, complete = (one.of(Block(part, has_gaps=True)) for part in apart)
    found = one.of(Block(x, has_gaps=True))
    for name, array in (with_gaps + complete).sums.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-10)
    plain = one.complete(one.of(Block(apart[1])))
    np.testing.assert_array_equal(complete["first"], plain["first"])


@pytest.mark.parametrize("together", [True, False])
def test_each_row_is_in_one_group_of_its_own_pattern(together):
    rng = np.random.default_rng(4)
    for d in (3, 20, 100):  # keys of one word, and of several
        gaps = rng.random((500, d)) < 0.3
        gaps[:, 0] |= ~gaps.any(axis=1)
        gaps[:200] = gaps[0]
        seen = np.zeros(len(gaps), int)
        for group in groups(gaps, 8, together=together):
            seen[group.rows] += 1
            of_rows = np.zeros((len(group.rows), d), bool)
            np.put_along_axis(of_rows, group.missing[group.which], True, axis=1)
            np.testing.assert_array_equal(of_rows, gaps[group.rows])
        np.testing.assert_array_equal(seen, 1)


@pytest.mark.parametrize("kind", FAMILIES)
def test_draws_have_the_conditional_distribution(kind):
    """Mean and covariance of 20,000 draws for one row, to four standard errors."""
    mixture, rng = mixture_of(kind), np.random.default_rng(5)
    n = 20_000
    row = np.array([0.3, np.nan, -1.0, np.nan])
    drawn = imputed(np.tile(row, (n, 1)), mixture, rng.random((n, 1 + D)))
    np.testing.assert_array_equal(drawn[:, ~np.isnan(row)], np.tile(row[[0, 2]], (n, 1)))
    mean = imputed(row[None], mixture)[0]
    error = drawn.std(axis=0) / np.sqrt(n)
    assert (np.abs(drawn.mean(axis=0) - mean) <= 4 * error + 1e-12).all()


def test_rows_of_nothing_stay_as_they_are():
    x = np.array([[np.nan] * D, [1.0, np.nan, 0.0, 2.0]])
    found = imputed(x, mixture_of("full"))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("d", [2, 8, 40, 3_000])
def test_no_pattern_is_commoner_than_its_bound(d):
    """By which most patterns are not sorted; it must never hide a common one."""
    rng = np.random.default_rng(d)
    gaps = rng.random((600, d)) < 2.0 / d
    gaps[rng.random(600) < 0.3] = gaps[0]
    counts = np.unique(gaps, axis=0, return_counts=True)[1]
    fewest = np.full(d + 1, float(counts.max()))
    common, rest = common_patterns(gaps, fewest)
    assert max(len(rows) for rows, _ in common) == counts.max()
    assert len(rest) == 600 - sum(len(rows) for rows, _ in common)
    assert common_patterns(gaps, fewest + 600.0)[0] == []
