"""Replicates: rows drawn anew by their hash, and what a fit to them comes to.

Asserted: Poisson numbers against SciPy's; replicates against closed forms, and against
scikit-learn on repeated rows to what the stop rule promises; that all share reads, and that
neither these nor threads decide a bit; what becomes of components without rows.
"""

from __future__ import annotations

import numpy as np
import pytest
from made_data import fitted_by_sklearn, made_mixture, rows_of
from scipy import stats

from daskgmm.em import (
    DrawnAnew,
    InMemoryRows,
    Problem,
    ReplicatePlan,
    replicated,
    tol_of_replicates,
)
from daskgmm.em.drawn import poisson_of_rows, uniform_of_rows
from daskgmm.errors import SingularComponentError
from daskgmm.history import ReplicatesUnderway
from daskgmm.kernel import Block, Mixture, Ridge, gaussian_mixture

SEED = 5


class Counting(InMemoryRows):
    """Rows that count their passes."""

    passes = 0

    def fold(self, function, *args):
        self.passes += 1
        return super().fold(function, *args)


def values_of(mixture: Mixture) -> dict[str, np.ndarray]:
    return {"weights": mixture.weights, **mixture.components.arrays}


def made(rows, mixture, n=20, *, n_at_once=1000, n_sampled=100_000, reg_covar=0.0):
    problem = Problem(
        mixture.n_components, mixture.kind, Ridge(reg_covar), tol=tol_of_replicates(rows.n_rows)
    )
    plan = ReplicatePlan(n, n_at_once, n_sampled, SEED)
    return replicated(rows, problem, mixture, plan, values_of, lambda event: None)


def fitted(family: str, n: int, separation: float) -> tuple[np.ndarray, Mixture]:
    """Rows of two components, and scikit-learn's fit to them."""
    mixture = made_mixture(family, 2, 2, seed=3, separation=separation)
    x = rows_of(mixture, n, seed=1)
    peer = fitted_by_sklearn(x, mixture, 500)
    return x, gaussian_mixture(peer.weights_, peer.means_, peer.covariances_, family)


def counts(n_rows: int, n: int = 20) -> np.ndarray:
    """How often each replicate has each row, (n, n_rows)."""
    views = ReplicatePlan(n, n + 1, 0, SEED).views(0)
    assert views.pop(0) is None
    block = Block(np.zeros((n_rows, 1)))
    return np.stack([view(block).weights for view in views.values()])


# -- the numbers that are drawn ------------------------------------------------


def test_numbers_are_quantiles_of_uniform_ones():
    uniform = uniform_of_rows(3, 5000, 1, SEED)[:, 0]
    np.testing.assert_array_equal(poisson_of_rows(3, 5000, SEED), stats.poisson(1).ppf(uniform))


def test_numbers_have_the_law_and_are_independent_of_other_replicates_and_rows():
    n = 100_000
    drawn = counts(n, 6)
    # Standard errors of a mean, of a variance (its fourth moment being 4) and of a correlation,
    # five of which one of 27 numbers passes with a probability of 2e-5.
    np.testing.assert_allclose(drawn.mean(axis=1), 1, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(drawn.var(axis=1), 1, atol=5 * np.sqrt(3 / n))
    between = np.corrcoef(drawn)[np.triu_indices(6, 1)]
    np.testing.assert_allclose(between, 0, atol=5 / np.sqrt(n))
    assert abs(np.corrcoef(drawn[0, 1:], drawn[0, :-1])[0, 1]) < 5 / np.sqrt(n)
    share = np.bincount(drawn[0].astype(int), minlength=4)[:4] / n
    np.testing.assert_allclose(share, stats.poisson(1).pmf(range(4)), atol=5 * 0.5 / np.sqrt(n))


def test_a_row_has_its_number_whatever_block_it_is_in():
    x, weight = np.zeros((100, 1)), np.arange(100.0)
    whole = Block(x, start=1000, weight=weight)
    view = DrawnAnew(7)
    parts = [view(whole[:33]), view(whole[33:])]
    joined = np.concatenate([part.weights for part in parts])
    np.testing.assert_array_equal(joined, view(whole).weights)
    np.testing.assert_array_equal(joined, weight * poisson_of_rows(1000, 100, 7))


def test_the_first_replicates_are_the_same_however_many_there_are():
    np.testing.assert_array_equal(counts(50, 4), counts(50, 9)[:4])


# -- what replicates come to ---------------------------------------------------


@pytest.mark.parametrize("n_sampled", [100_000, 300], ids=["in memory", "on reads"])
def test_one_component_has_the_moments_of_the_rows_that_were_drawn(n_sampled):
    x = rows_of(made_mixture("full", 1, 3, seed=2), 2000)
    start = gaussian_mixture(np.ones(1), x.mean(0)[None], np.cov(x.T, bias=True)[None], "full")
    found = made(InMemoryRows(x), start, n_sampled=n_sampled)
    for b, weight in enumerate(counts(len(x))):
        # Sums of 2000 terms in another order.
        np.testing.assert_allclose(
            found.values["means"][b, 0], np.average(x, axis=0, weights=weight), rtol=1e-9
        )
        expected = np.cov(x.T, fweights=weight.astype(int), bias=True)
        np.testing.assert_allclose(found.values["covariances"][b, 0], expected, rtol=1e-9)
        law = stats.multivariate_normal(found.values["means"][b, 0], expected)
        height = np.average(law.logpdf(x), weights=weight)
        assert found.log_likelihoods[b] == pytest.approx(height, abs=1e-6)  # one step before
    law = stats.multivariate_normal(x.mean(0), np.cov(x.T, bias=True))
    assert found.at_model == pytest.approx(law.logpdf(x).mean(), rel=1e-12)
    np.testing.assert_allclose(found.at_maximum["means"][0], x.mean(0), rtol=1e-9)
    assert (found.n_lost, found.n_climbing, found.weight) == (0, 0, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("n_sampled", [100_000, 200], ids=["in memory", "on reads"])
def test_replicates_end_where_scikit_learn_does_on_the_rows_as_often_as_drawn(n_sampled):
    """Of components that overlap, where a step of EM goes a small part of the way."""
    n = 12
    x, start = fitted("full", 500, 2.0)
    found = made(InMemoryRows(x), start, n, n_sampled=n_sampled)
    theirs = []
    for weight in counts(len(x), n):
        peer = fitted_by_sklearn(np.repeat(x, weight.astype(int), axis=0), start, 2000)
        theirs.append({"weights": peer.weights_, "means": peer.means_})
    for name in ("weights", "means"):
        expected = np.stack([one[name] for one in theirs])
        off = np.abs(found.values[name] - expected) / expected.std(axis=0)
        # 0.05 standard errors is the promise, of which a spread of 12 is known to a fifth.
        assert off.max() < 0.05 * 1.5


def test_all_share_the_reads_and_these_decide_no_bit():
    x, start = fitted("full", 1000, 3.0)
    rows = Counting(x)
    together = made(rows, start, n_sampled=400)
    assert rows.passes == together.n_passes
    one = made(InMemoryRows(x), start, 2, n_at_once=3, n_sampled=400)
    assert together.n_passes <= one.n_passes + 3, "20 replicates against 2"
    apart = made(InMemoryRows(x, n_threads=2), start, n_at_once=1, n_sampled=400)
    assert apart.n_passes > 3 * together.n_passes
    for name, values in together.values.items():
        np.testing.assert_array_equal(values, apart.values[name])
    np.testing.assert_array_equal(together.log_likelihoods, apart.log_likelihoods)


def test_the_line_of_progress_says_how_long_the_others_take():
    assert (
        ReplicatesUnderway(25, 101, 1, 10.0)
        .text()
        .endswith("25 of 101 done after 1 pass, 10 s, about 30 s left")
    )
    assert "left" not in ReplicatesUnderway(0, 101, 2, 10.0).text()


def test_rows_in_memory_are_read_once():
    x, start = fitted("diag", 300, 5.0)
    rows = Counting(x)
    assert made(rows, start, 5).n_passes == rows.passes == 1


# -- components without rows ---------------------------------------------------


def with_a_group_of(n: int) -> tuple[np.ndarray, Mixture]:
    """Rows of which so many lie far away, and the mixture of both groups."""
    x = np.random.default_rng(0).normal(size=(200, 1))
    x[:n] = 1000 + np.linspace(-1, 1, n)[:, None]
    groups = x[:n], x[n:]
    return x, gaussian_mixture(
        [n / 200, 1 - n / 200],
        [group.mean(0) for group in groups],
        [group.var(0) for group in groups],
        "diag",
    )


@pytest.mark.parametrize("n_sampled", [100_000, 50], ids=["in memory", "on reads"])
def test_replicates_are_lost_in_which_a_component_has_no_variance(n_sampled):
    x, start = with_a_group_of(3)
    found = made(InMemoryRows(x), start, 40, n_sampled=n_sampled)
    n_lost = int((np.count_nonzero(counts(200, 40)[:, :3], axis=1) < 2).sum())
    assert 0 < n_lost < 40
    assert found.n_lost == n_lost
    assert len(found.values["means"]) == 40 - n_lost
    assert np.isfinite(found.values["covariances"]).all()


def test_nothing_is_said_of_a_component_that_no_replicate_keeps():
    x, start = with_a_group_of(2)
    x[0] += 1e-9 - (x[0] - x[1])  # so near that one of them has no variance beside the other
    start = gaussian_mixture(start.weights, start.means, [[1e-19], [1.0]], "diag")
    with pytest.raises(SingularComponentError, match=r"like those|prior='auto'"):
        made(InMemoryRows(x), start, 10)


def test_no_uniform_number_of_a_row_is_1():
    """The hash of this row is the largest there is, and rounded to 1: a draw of infinity."""
    assert uniform_of_rows(760_681, 1, 1, seed=2_652_514_710) == 1.0 - 2.0**-53
