"""Rows whose component is known: statistics against given responsibilities, and what they add to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from made_data import made_mixture, rows_of

from daskgmm.kernel import (
    Block,
    Mixture,
    Neighbourhoods,
    Pass,
    Ridge,
    Uniform,
    e_step,
    gaussian_mixture,
    kind_of,
    log_density,
    responsibilities,
    weighted_statistics,
)
from daskgmm.kernel.gaps import statistics_with_gaps

K, D, N = 3, 2, 400


def made(family: str, degrees: str | None = None, has_noise: bool = False) -> Mixture:
    one = made_mixture(family, K, D)
    one = gaussian_mixture(one.weights, one.means, one.covariances, kind_of(family, degrees))
    box = np.full(D, -9.0), np.full(D, 9.0)
    return one.with_noise(Uniform.over(*box), 0.1) if has_noise else one


def some_known(seed: int = 0) -> Block:
    """Rows with weights, a tenth of which have labels that need not be likely."""
    rng = np.random.default_rng(seed)
    x = rows_of(made_mixture("full", K, D, seed=1), N, seed=seed)
    known = np.where(rng.uniform(size=N) < 0.1, rng.integers(K, size=N), -1)
    return Block(x, weight=rng.uniform(0.5, 2.0, N), known=known)


@pytest.mark.parametrize("has_noise", [False, True])
def test_a_known_row_has_the_responsibility_1(family, has_noise):
    mixture, block = made(family, has_noise=has_noise), some_known()
    found = e_step(block, mixture)
    resp, log_densities = responsibilities(block.x, mixture), log_density(block.x, mixture)
    for number in range(K):
        mine = block.known == number
        resp[mine] = np.eye(K)[number]
        one = mixture.components.log_densities(np.ascontiguousarray(block.x[mine].T))[number]
        log_densities[mine] = np.log(mixture.weights[number]) + one
    expected = weighted_statistics(block, resp, mixture.means, mixture.kind, mixture.uniform)
    for name, array in expected.sums.items():
        # Sums of 400 terms, taken in another order.
        np.testing.assert_allclose(found[name], array, rtol=1e-10, atol=1e-10)
    assert found.log_likelihood == pytest.approx(block.weights @ log_densities, rel=1e-12)
    assert found.n_noise == pytest.approx(expected.n_noise, abs=1e-9)
    assert (found.n_rows, found.weight) == (N, pytest.approx(block.total_weight))


@pytest.mark.parametrize("degrees", [None, "each"])
def test_nothing_known_is_no_label(family, degrees):
    mixture, block = made(family, degrees), some_known()
    nothing = Block(block.x, weight=block.weight, known=np.full(N, -1))
    ours, theirs = (e_step(b, mixture) for b in (nothing, Block(block.x, weight=block.weight)))
    assert ours.log_likelihood == theirs.log_likelihood
    for name, array in theirs.sums.items():
        np.testing.assert_array_equal(ours[name], array)


@pytest.mark.parametrize("degrees", [None, "each"])
def test_blocks_add_up_and_a_weight_of_2_is_a_row_twice(family, degrees):
    mixture, block = made(family, degrees), some_known()
    whole, parts = e_step(block, mixture), [block[:150], block[150:]]
    added = e_step(parts[0], mixture) + e_step(parts[1], mixture)
    twice = e_step(Block.joined([block, block]), mixture).scaled(0.5)
    for found in (added, twice):
        assert found.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)
        for name, array in whole.sums.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("degrees", [None, "each"])
def test_em_climbs_the_likelihood_of_rows_and_labels(family, degrees):
    mixture, block, seen = made(family, degrees), some_known(), []
    for _ in range(15):
        statistics = e_step(block, mixture)
        seen.append(statistics.log_likelihood_per_row)
        mixture = Ridge().m_step(statistics)
    assert (np.diff(seen) >= -1e-13).all()
    assert seen[-1] > seen[0]


def test_truncated_passes_and_those_with_log_densities_know_as_well():
    mixture, block = made("full"), some_known()
    whole = e_step(block, mixture)
    of_all = Pass(mixture, neighbourhoods=Neighbourhoods.of(mixture, K))
    near = of_all.complete(of_all.of(block))
    with_densities, log_densities = Pass(mixture).with_log_densities(block)
    for found in (near, with_densities):
        assert found.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-9)
    np.testing.assert_allclose(log_densities, log_density(block.x, mixture), rtol=1e-10)


def test_known_rows_with_gaps_are_judged_by_what_is_there(family):
    mixture, block = made(family), some_known()
    x = block.x.copy()
    x[::3, 0] = np.nan
    block = dataclasses.replace(block, x=x, has_gaps=True)
    found = e_step(block, mixture)
    parts = []
    for number in (-1, *range(K)):
        mine = block.known == number
        rows = dataclasses.replace(block.take(mine), known=None)
        if number < 0:
            parts.append(e_step(rows, mixture).log_likelihood)
            continue
        one = Mixture(np.ones(1), mixture.components.take([number]))
        of_one = e_step(rows, one).log_likelihood
        parts.append(of_one + rows.total_weight * np.log(mixture.weights[number]))
    assert found.log_likelihood == pytest.approx(sum(parts), rel=1e-12)
    assert found.n_k.sum() == pytest.approx(block.total_weight, rel=1e-12)
    with_densities, log_densities = Pass(mixture).with_log_densities(block)
    assert with_densities.log_likelihood == found.log_likelihood
    np.testing.assert_allclose(log_densities, log_density(block.x, mixture), rtol=1e-12)


def test_log_densities_of_labelled_rows_take_no_second_look_at_all_rows(monkeypatch):
    mixture, block = made("full"), some_known()
    x = block.x.copy()
    x[::3, 0] = np.nan
    with_gaps = dataclasses.replace(block, x=x, has_gaps=True)
    taken = []

    def counted(rows, *args):
        taken.append(len(rows))
        return statistics_with_gaps(rows, *args)

    monkeypatch.setattr("daskgmm.kernel.passes.statistics_with_gaps", counted)
    Pass(mixture).with_log_densities(with_gaps)
    assert taken == [N]


def test_log_densities_are_in_the_precision_of_the_pass_whether_rows_are_known_or_not(family):
    mixture, block = made(family), some_known()
    unknown = dataclasses.replace(block, known=None)
    one = Pass(mixture, "float32")
    (_, ours), (_, theirs) = (one.with_log_densities(b) for b in (block, unknown))
    np.testing.assert_array_equal(ours, theirs)


def test_parts_of_a_block_keep_all_that_is_known():
    block = some_known()
    thinned, drawn = block.thinned(8), block.drawn(np.zeros(N, bool), 0.25)
    for part, share in ((thinned, 1 / 8), (drawn, 0.25)):
        known = part.known >= 0
        np.testing.assert_array_equal(part.known[known], block.known[block.known >= 0])
        expected = share * block.weight[block.known >= 0]
        np.testing.assert_allclose(part.weight[known], expected, rtol=1e-14)
    assert len(drawn) == (block.known >= 0).sum()
    assert thinned.total_weight == pytest.approx(block.total_weight / 8, rel=0.1)
    order = np.random.default_rng(0).permutation(N)
    taken = block.take(order)
    np.testing.assert_array_equal(taken.known, block.known[order])
    assert block.distinct() is block
