"""Rare components: found among the worst-fitting rows where the sample missed them.

Not asserted: that every rare component is found. One that overlaps the others is not
among the worst-fitting rows.
"""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from made_data import WORDS_OF_FAMILIES, assert_same_bits, made_mixture, pass_with_tail, rows_of

from daskgmm import GaussianMixture, load_model
from daskgmm.em import (
    STOP_RULES,
    Climber,
    Course,
    InMemoryRows,
    Iteration,
    PlainEM,
    Problem,
    Race,
    RareComponent,
    Rules,
    fit,
    rows_of_sample,
    run,
    scan_rows,
    with_one_more,
)
from daskgmm.em.starts.rare import densest_group, may_miss_components, with_rare_components
from daskgmm.execution import DaskRows
from daskgmm.kernel import Block, Ridge, e_step, gaussian_mixture, log_density, moments_and_extremes

N, D, K = 24_000, 3, 3
N_RARE, N_SAMPLED = 40, 1500
FAR = np.array([25.0, -25.0, 25.0])
GRAIN = 1024


@pytest.fixture(scope="module")
def common():
    """All rows but the rare ones, in random order."""
    return rows_of(made_mixture("full", K, D, separation=4.0), N - N_RARE, seed=2)


def _with_rare(common):
    """With rows of a component far away, spread over all."""
    rng = np.random.default_rng(3)
    places = np.sort(rng.choice(len(common), N_RARE, replace=False))
    return np.insert(common, places, FAR + 0.5 * rng.standard_normal((N_RARE, D)), axis=0)


@pytest.fixture(scope="module")
def x(common):
    return _with_rare(common)


@pytest.fixture(scope="module")
def missed(x):
    """A scan whose sample has none of the rare rows, and a fit to that sample."""
    scan = scan_rows(InMemoryRows(x), N_SAMPLED, 0)
    is_common = np.linalg.norm(scan.sample.x - FAR, axis=1) > 10.0
    scan = replace(scan, sample=scan.sample.take(is_common))
    sample = Climber(rows_of_sample(scan.sample), Ridge(1e-6))
    truth = made_mixture("full", K, D, separation=4.0)
    return scan, sample.finished(with_one_more(sample, truth))


def _tail_of(rows, mixture):
    return pass_with_tail(rows, mixture)[1]


def _finds(mixture):
    return bool((np.linalg.norm(mixture.means - FAR, axis=1) < 1.0).any())


def test_a_component_that_the_sample_missed_is_found(x, missed):
    scan, start = missed
    assert not _finds(start)
    rows = InMemoryRows(x)
    assert may_miss_components(scan, start)
    proposed, found = with_rare_components(start, _tail_of(rows, start), scan, Ridge(1e-6))
    assert _finds(proposed)
    assert [one.n_rows for one in found] == pytest.approx([N_RARE], rel=0.1)
    assert proposed.n_components == start.n_components
    assert proposed.weights.min() * N == pytest.approx(N_RARE, rel=0.1)


def test_it_is_worth_more_than_as_many_steps_of_em(x, missed):
    """Which moves no component of thousands of rows to forty within a few passes."""
    scan, start = missed
    rows, rules = InMemoryRows(x), Rules(PlainEM(Ridge(1e-6)), STOP_RULES["gap"], 5)
    proposed, _ = with_rare_components(start, _tail_of(rows, start), scan, Ridge(1e-6))
    alone, joined = (run(rows, mixture, rules) for mixture in (start, proposed))
    # Forty rows of log densities that differ by some tens of nats.
    assert joined.log_likelihood > alone.log_likelihood + 10 * N_RARE / N


def _fit(rows, tell=lambda event: None, keeper=None, kind="full", k=K + 1, **options):
    problem = Problem(k, kind, Ridge(1e-6), **options)
    return fit(rows, problem, np.random.RandomState(0), N_SAMPLED, tell, keeper)


@pytest.fixture(scope="module")
def found(x):
    """A fit of full covariances, and what was told of it."""
    told = []
    return _fit(InMemoryRows(x), told.append), told


# What proposes it is the same for all steppers, so plain EM meets it with two families.
@pytest.mark.parametrize(
    ("family", "stepper"),
    [
        *((family, "surrogate") for family in WORDS_OF_FAMILIES),
        pytest.param("full", "plain", marks=pytest.mark.slow),
        ("tied", "plain"),
    ],
)
def test_a_fit_finds_it_whatever_its_sample_has_seen(x, found, family, stepper):
    # As far as anybody can: one variance for all has no place for the shapes of the others.
    found, told = found
    if (family, stepper) != ("full", "surrogate"):
        told = []
        found = _fit(InMemoryRows(x), told.append, kind=family, stepper=stepper)
    assert _finds(found.course.kept)
    history = found.course.history
    accepted = [i.log_likelihood for i in history if i.accepted]
    assert (np.diff(accepted) >= -1e-14).all()
    assert found.n_passes == 1 + len(history), "the scan, and a pass for each iteration"
    events = tuple(event for event in told if isinstance(event, RareComponent))
    assert found.course.rare in (events, ())


def test_nothing_is_found_where_nothing_is_missed(common, family):
    found = _fit(InMemoryRows(common), kind=family, k=K)
    assert found.course.rare == ()


@pytest.mark.slow
def test_where_the_same_grains_lie_changes_no_bit(x):
    folded = [DaskRows(da.from_array(x, chunks=(n * GRAIN, D)), grain=GRAIN) for n in (1, 4)]
    one, other = (_fit(rows) for rows in folded)
    assert one.course.rare == other.course.rare
    assert_same_bits(one.course.kept, other.course.kept)


def test_columns_that_depend_on_each_other_are_no_obstacle(x, missed):
    _, start = missed
    both = np.column_stack([x, x[:, 0]])
    wide = scan_rows(InMemoryRows(both), N_SAMPLED, 0)
    covariances = np.empty((K + 1, D + 1, D + 1))
    turn = np.vstack([np.eye(D), np.eye(D)[0]])
    covariances[:] = turn @ start.covariances @ turn.T + 1e-6 * np.eye(D + 1)
    mixture = gaussian_mixture(start.weights, start.means @ turn.T, covariances, "full")
    tail = _tail_of(InMemoryRows(both), mixture)
    group = densest_group(tail.rows, tail.log_densities, wide.moments)
    assert group.sum() == pytest.approx(N_RARE, rel=0.1)


class Kept:
    """A keeper in memory."""

    def __init__(self):
        self.courses, self.history, self._scan = (), (), None

    def scan(self, rng):
        return self._scan

    def keep_scan(self, scan, rng):
        self._scan = scan

    def keep_pass(self, courses):
        self.courses = courses

    def finish(self):
        pass


def _interrupt(event):
    """As by Ctrl-C, when the first pass after the scan has ended."""
    if isinstance(event, Iteration):
        raise KeyboardInterrupt


def test_what_was_found_outlives_an_interruption(x, found):
    rows, keeper, expected = InMemoryRows(x), Kept(), found[0]
    with pytest.raises(KeyboardInterrupt):
        _fit(rows, _interrupt, keeper)
    found = _fit(rows, keeper=keeper)
    assert found.course.rare == expected.course.rare
    assert found.n_passes == expected.n_passes
    assert_same_bits(found.course.kept, expected.course.kept)


def test_it_is_told_and_on_record(common, tmp_path, capsys):
    """Of an estimator, whose sample of 100,000 rows is not all of 210,000."""
    x = _with_rare(np.resize(common, (210_000, D)) + 1e-3 * np.arange(210_000)[:, None] % 7)
    model = GaussianMixture(K + 1, random_state=0, verbose=1).fit(x)
    assert model.n_passes_ == 1 + len(model.history_)
    said = capsys.readouterr().err.count("rows was found among the worst-fitting rows")
    assert said >= len(model.rare_components_)
    model.save(tmp_path / "model.zarr")
    assert load_model(tmp_path / "model.zarr").rare_components_ == model.rare_components_


def _raced_with_branch(rows, start, branch_at, mixture):
    """Plain EM, beside which another mixture joins after some passes."""
    rules = Rules(PlainEM(Ridge()), STOP_RULES["gap"], 50)
    race = Race(rows, {0: Course.begun(start, rules.stepper, 1e-7)}, rules)
    while race.is_running:
        race.advance()
        if race.n_passes == branch_at:
            race.join(race.courses[0].branch(mixture, rules.stepper))
    return race


def test_a_bad_proposal_is_dropped(common):
    rows = InMemoryRows(common[:20_000])
    start = made_mixture("full", K, D, separation=4.0)
    far = gaussian_mixture(start.weights, start.means + 100.0, start.covariances, "full")
    alone = _raced_with_branch(rows, start, None, None).leader
    race = _raced_with_branch(rows, start, 1, far)
    assert set(race.courses) == {0}
    assert_same_bits(race.leader.kept, alone.kept)
    assert [i.log_likelihood for i in race.leader.history] == [
        i.log_likelihood for i in alone.history
    ]


def test_a_good_proposal_goes_on_from_where_it_branched(common):
    truth = made_mixture("full", K, D, separation=4.0)
    start = gaussian_mixture(truth.weights, truth.means + 0.5, truth.covariances, "full")
    rows = InMemoryRows(common[:20_000])
    race = _raced_with_branch(rows, start, 2, truth)
    first, joined = race.courses.values()
    assert joined.history[:2] == first.history[:2]
    assert [i.n_iter for i in joined.history] == list(range(1, len(joined.history) + 1))
    assert (np.diff([i.log_likelihood for i in joined.history]) >= -1e-14).all()
    assert joined.history[2].log_likelihood == pytest.approx(
        e_step(rows.block, truth).log_likelihood / rows.n_rows, rel=1e-13
    )


def test_a_group_has_to_lie_denser_than_the_mixture_says():
    truth = made_mixture("full", 2, 2)
    x = rows_of(truth, 20_000, seed=4)
    moments = moments_and_extremes(Block(x))[0]
    densities = log_density(x, truth)
    worst = np.argsort(densities)[:4096]
    assert densest_group(Block(x[worst]), densities[worst], moments) is None
    rng = np.random.default_rng(5)
    clump = 12.0 + 0.1 * rng.standard_normal((20, 2))
    both = np.concatenate([x[worst], clump])
    group = densest_group(Block(both), log_density(both, truth), moments)
    np.testing.assert_allclose(group[-20:], 1.0, atol=1e-3)
    assert group.sum() == pytest.approx(20, abs=1)


def test_few_scattered_outliers_are_no_component():
    truth = made_mixture("full", 2, 2)
    x = rows_of(truth, 20_000, seed=4)
    outliers = 100.0 * np.random.default_rng(6).standard_normal((5, 2))
    both = np.concatenate([x, outliers])
    densities = log_density(both, truth)
    worst = np.argsort(densities)[:4096]
    moments = moments_and_extremes(Block(both))[0]
    assert densest_group(Block(both[worst]), densities[worst], moments) is None


def test_a_sample_of_half_the_rows_is_not_looked_beyond(common):
    rows = InMemoryRows(common[:1000])
    start = made_mixture("full", K, D)
    assert not may_miss_components(scan_rows(rows, 600, 0), start)
    assert may_miss_components(scan_rows(rows, 300, 0), start)
