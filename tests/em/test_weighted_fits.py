"""Weights: a row of weight w is w equal rows, and one of weight 0 is absent, to rounding.

What is asserted is of parts of em that no draw decides; which rows a hash samples, or an
initialiser draws, is another matter where rows are repeated.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import made_mixture, pass_with_tail, rows_of

from daskgmm.em import (
    INITIALISERS,
    STEPPERS,
    STOP_RULES,
    Chooser,
    Climber,
    GivenStart,
    HeldOut,
    InMemoryRows,
    Needs,
    Problem,
    Rules,
    fit,
    run,
    scan_rows,
    statistics_of,
    with_exchanges,
    with_one_less,
    with_one_more,
)
from daskgmm.em.criteria import score_of
from daskgmm.em.starts.rare import densest_group, with_rare_components
from daskgmm.kernel import Block, Ridge, e_step, gaussian_mixture, log_density

K, D = 3, 2
PRIOR = Ridge(1e-6)
GAP = STOP_RULES["gap"]


def _both(family, n=600, seed=1, largest=3, separation=2.0):
    """The same rows with weights, and repeated; and a mixture near the truth."""
    truth = made_mixture(family, K, D, separation=separation)
    x = rows_of(truth, n, seed=seed)
    w = np.random.default_rng(seed).integers(0, largest + 1, size=n)
    start = gaussian_mixture(truth.weights, truth.means + 0.3, truth.covariances, family)
    weighted = InMemoryRows(x, grain=128, weight=w.astype(float))
    return weighted, InMemoryRows(np.repeat(x, w, axis=0), grain=128), start


def _near(found, expected, rtol=1e-7):
    np.testing.assert_allclose(found.weights, expected.weights, rtol=rtol)
    np.testing.assert_allclose(found.means, expected.means, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(found.covariances, expected.covariances, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_every_stepper_takes_the_same_steps(family, stepper):
    weighted, repeated, start = _both(family)
    courses = []
    for rows in (weighted, repeated):
        made = STEPPERS[stepper].of(Needs(PRIOR, rows.block))
        courses.append(run(rows, start, Rules(made, GAP, 6)))
    values = [[i.log_likelihood for i in course.history] for course in courses]
    # L-BFGS on sums in another order: a thousandth of what its iterations are worth.
    np.testing.assert_allclose(*values, rtol=1e-9)
    _near(courses[0].kept, courses[1].kept, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-6, 0.3, 1.0, 1e5]))
def test_em_knows_weights_up_to_a_factor(seed, scale):
    weighted, repeated, start = _both("full", n=200, seed=seed % 1000)
    scaled = InMemoryRows(weighted.block.x, 128, weight=scale * weighted.block.weight)
    rules = Rules(STEPPERS["plain"].of(Needs(PRIOR, scaled.block)), GAP, 4)
    one, other = run(scaled, start, rules), run(repeated, start, rules)
    np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-10)
    _near(one.kept, other.kept)


def test_history_says_how_many_rows_came_and_divides_by_their_weight(family):
    weighted, repeated, start = _both(family)
    rules = Rules(STEPPERS["plain"].of(Needs(PRIOR, weighted.block)), GAP, 1)
    (iteration,) = run(weighted, start, rules).history
    assert iteration.n_rows == weighted.n_rows
    assert weighted.total_weight == repeated.n_rows != weighted.n_rows
    density = log_density(repeated.block.x, start).mean()
    assert iteration.log_likelihood == pytest.approx(density, rel=1e-12)


@pytest.mark.parametrize("name", ["kmeans", "k-means++", "random_from_data"])
def test_initialisers_see_weights(name):
    """Of clusters that stand apart, any draw leads to the same assignment."""
    centres = 30.0 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    rng = np.random.default_rng(0)
    x = centres[np.arange(300) % 3] + rng.standard_normal((300, 2))
    # Rows between the clusters that hardly count, of which k-means would make clusters.
    lost = rng.uniform(0, 30, size=(300, 2))
    block = Block(np.concatenate([x, lost]), weight=np.r_[np.ones(300), np.full(300, 1e-9)])
    resp = INITIALISERS[name](block, 3, np.random.RandomState(0))
    assert resp.shape == (600, 3)
    if name == "kmeans":
        label = resp[:300].argmax(axis=1)
        assert len({tuple(label[c::3]) for c in range(3)}) == 3
        assert all(len(set(label[c::3])) == 1 for c in range(3))


def test_a_start_of_given_means_is_that_of_repeated_rows(family):
    weighted, repeated, start = _both(family)
    given_means = GivenStart(means=start.means)
    problem = Problem(K, family, PRIOR, given=given_means, max_iter=3, tol=0.0, progressive=False)
    found = [
        fit(rows, problem, np.random.RandomState(0), 10_000, lambda event: None)
        for rows in (weighted, repeated)
    ]
    assert found[0].n_passes == found[1].n_passes
    values = [one.course.log_likelihood for one in found]
    assert values[0] == pytest.approx(values[1], rel=1e-8)


def test_climbs_and_tolerances(family):
    weighted, repeated, start = _both(family)
    one, other = Climber(weighted, PRIOR), Climber(repeated, PRIOR)
    assert one.tol(start) == pytest.approx(other.tol(start), rel=1e-12)
    fits = [climber.climb(start, to_the_end=True) for climber in (one, other)]
    assert fits[0].log_likelihood == pytest.approx(fits[1].log_likelihood, abs=one.tol(start))
    _near(one.em(start, 5).kept, other.em(start, 5).kept)


@pytest.mark.parametrize("moved", [with_one_more, with_one_less, with_exchanges])
def test_exchanges(family, moved):
    weighted, repeated, start = _both(family)
    found, expected = (moved(Climber(rows, PRIOR), start) for rows in (weighted, repeated))
    assert found.n_components == expected.n_components
    _near(found, expected, rtol=1e-6)


def test_held_out_means_and_errors():
    weighted, repeated, start = _both("full")
    # Far and near rows spread the log densities, so that errors are of some size.
    scans = [scan_rows(rows, 10_000, 0) for rows in (weighted, repeated)]
    other = gaussian_mixture(start.weights, start.means + 0.5, start.covariances, "full")
    samples = [replace(scan, sample=scan.sample[: len(scan.sample) // 2]) for scan in scans]
    half = int(weighted.block.present()[: len(samples[0].sample)].total_weight)
    samples[1] = replace(scans[1], sample=scans[1].sample[:half])
    held = []
    for rows, scan in zip((weighted, repeated), samples, strict=True):
        pair = [
            HeldOut.outside(scan, m, statistics_of(rows, m).log_likelihood_per_row)
            for m in (start, other)
        ]
        gain, error = pair[1].gain_over(pair[0])
        held.append([pair[0].per_row, pair[0].error, pair[0].weight, gain, error])
    np.testing.assert_allclose(held[0], held[1], rtol=1e-9)


def test_criteria(family):
    weighted, repeated, start = _both(family)
    scores = []
    for rows in (weighted, repeated):
        scan = scan_rows(rows, 10_000, 0)
        score = score_of(scan, start, statistics_of(rows, start).log_likelihood_per_row)
        scores.append([score.bic, score.aic, score.icl, score.log_likelihood_per_row])
    np.testing.assert_allclose(*scores, rtol=1e-12)


def test_a_choice_counts_weights():
    """BIC of rows that count ten times each is that of ten times the rows."""
    x = rows_of(made_mixture("full", 2, D, separation=6.0), 500, seed=3)
    ten = InMemoryRows(x, weight=np.full(len(x), 10.0))
    scan = scan_rows(ten, 10_000, 0)
    chooser = Chooser(ten, scan, "bic", 0)
    problems = [Problem(k, "full", PRIOR) for k in (1, 2)]
    trials, _ = chooser.fitted(chooser.starts(problems, np.random.RandomState(0)))
    best = min(trials, key=lambda trial: trial.entry.bic)
    assert best.entry.n_components == 2
    log_likelihood = best.entry.log_likelihood_per_row
    p = best.entry.n_parameters
    assert best.entry.bic == pytest.approx(-2 * 5000 * log_likelihood + p * np.log(5000), rel=1e-12)
    assert best.entry.held_out_standard_error == pytest.approx(
        log_density(x, best.start.mixture).std() / np.sqrt(5000), rel=0.2
    )


def test_a_group_in_the_tail_counts_weights():
    """Ten rows of weight 3 are thirty rows, and of weight 0.1 one, which is no group."""
    truth = made_mixture("full", 2, 2)
    x = rows_of(truth, 20_000, seed=4)
    clump = 12.0 + 0.3 * np.random.default_rng(5).standard_normal((10, 2))
    all_rows = np.concatenate([x, clump])
    three, little = (np.r_[np.ones(len(x)), np.full(10, w)] for w in (3.0, 0.1))
    found = []
    for rows in (
        InMemoryRows(all_rows, weight=three),
        InMemoryRows(np.repeat(all_rows, three.astype(int), axis=0)),
        InMemoryRows(all_rows, weight=little),
    ):
        scan = scan_rows(rows, 1000, 0)
        _, tail = pass_with_tail(rows, truth)
        group = densest_group(tail.rows, tail.log_densities, scan.moments)
        found.append(None if group is None else float(tail.rows.weights @ group))
    assert found[0] == pytest.approx(30, abs=1)
    assert found[1] == pytest.approx(30, abs=1)
    assert found[2] is None


def test_a_rare_component_is_of_the_weight_of_its_rows():
    truth = made_mixture("full", K, D, separation=4.0)
    x = rows_of(truth, 10_000, seed=2)
    far = np.array([30.0, -30.0]) + 0.5 * np.random.default_rng(3).standard_normal((20, 2))
    rows = InMemoryRows(np.concatenate([x, far]), weight=np.r_[np.ones(10_000), np.full(20, 3.0)])
    scan = scan_rows(rows, 1000, 0)
    is_common = np.linalg.norm(scan.sample.x - [30.0, -30.0], axis=1) > 10.0
    scan = replace(scan, sample=scan.sample.take(is_common))
    _, tail = pass_with_tail(rows, truth)
    proposed, (found,) = with_rare_components(truth, tail, scan, PRIOR)
    assert found.n_rows == pytest.approx(60, rel=0.05)
    assert proposed.weights.min() * rows.total_weight == pytest.approx(60, rel=0.05)


def test_rows_of_no_weight_are_absent_whatever_they_hold(family):
    weighted, _, start = _both(family)
    x, weight = weighted.block.x.copy(), weighted.block.weight
    x[weight == 0] = np.nan
    holed = InMemoryRows(x, grain=128, weight=weight)
    rules = Rules(STEPPERS["plain"].of(Needs(PRIOR, holed.block)), GAP, 3)
    one, other = run(holed, start, rules), run(weighted, start, rules)
    assert [i.log_likelihood for i in one.history] == [i.log_likelihood for i in other.history]
    assert e_step(holed.block.present(), start).n_rows < holed.n_rows
