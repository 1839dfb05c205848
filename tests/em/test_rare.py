"""Rare components: found among the worst-fitting rows where the sample missed them.

Not asserted: that every rare component is found. One that overlaps the others is not
among the worst-fitting rows.
"""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from made_data import assert_same_bits, made_mixture, rows_of, write_store

from daskgmm import GaussianMixture, load_model
from daskgmm.em import (
    STOP_RULES,
    Candidate,
    Course,
    InMemoryRows,
    Iteration,
    PlainEM,
    RareComponents,
    run_together,
    scan_rows,
)
from daskgmm.em import rare as rare_module
from daskgmm.em.rare import densest_group
from daskgmm.errors import InterruptedFitError
from daskgmm.events import listening
from daskgmm.kernel import (
    Block,
    Ridge,
    e_step,
    gaussian_mixture,
    log_density,
    moments_and_extremes,
)

N, D, K = 150_000, 3, 3
N_RARE = 40
FAR = np.array([25.0, -25.0, 25.0])


@pytest.fixture(scope="module")
def common():
    """All rows but the rare ones, in random order."""
    return rows_of(made_mixture("full", K, D, separation=4.0), N - N_RARE, seed=2)


@pytest.fixture(scope="module")
def x(common):
    """With rows of a component of weight 2e-4 far away, spread over all."""
    rng = np.random.default_rng(3)
    places = np.sort(rng.choice(len(common), N_RARE, replace=False))
    return np.insert(common, places, FAR + 0.5 * rng.standard_normal((N_RARE, D)), axis=0)


@pytest.fixture
def small_sample(monkeypatch):
    """A sample of some 2,000 rows, of which hardly one is rare."""
    for module in ("tables.in_memory", "execution.memory"):
        monkeypatch.setattr(f"daskgmm.{module}.sample_rows", lambda n_rows, k, d: 2000)


@pytest.fixture
def nothing_found(monkeypatch):
    """The search for rare components finds none."""
    monkeypatch.setattr(rare_module, "densest_group", lambda *args: None)


def _fit(x, k=K + 1, **options):
    return GaussianMixture(k, random_state=0, **options).fit(x)


def _finds(model):
    return bool((np.linalg.norm(model.means_ - FAR, axis=1) < 1.0).any())


@pytest.mark.usefixtures("small_sample")
@pytest.mark.parametrize("stepper", ["surrogate", "plain"])
def test_a_component_that_the_sample_missed_is_found(x, stepper, tmp_path, capsys):
    model = _fit(x, verbose=1, stepper=stepper)
    assert _finds(model)
    held = model.weights_.min() * N
    assert held == pytest.approx(N_RARE, rel=0.05)
    assert [found.n_rows for found in model.rare_components_] == pytest.approx([N_RARE], rel=0.05)
    assert "rows was found among the worst-fitting rows" in capsys.readouterr().err
    accepted = [i.log_likelihood for i in model.history_ if i.accepted]
    assert (np.diff(accepted) >= -1e-14).all()
    assert model.n_passes_ == 1 + len(model.history_)
    model.save(tmp_path / "model.zarr")
    assert load_model(tmp_path / "model.zarr").rare_components_ == model.rare_components_


@pytest.mark.usefixtures("small_sample", "nothing_found")
def test_em_misses_it_where_nobody_looks(x):
    assert not _finds(_fit(x, stepper="plain"))


@pytest.mark.usefixtures("small_sample")
def test_nothing_is_found_where_nothing_is_missed(common, family, monkeypatch):
    found = _fit(common, K, covariance_type=family)
    assert found.rare_components_ == ()
    monkeypatch.setattr(rare_module, "_ROWS_PER_SAMPLED", np.inf)
    without = _fit(common, K, covariance_type=family)
    assert_same_bits(found._mixture, without._mixture)
    assert found.n_passes_ == without.n_passes_


@pytest.mark.usefixtures("small_sample")
def test_every_family_finds_it(x, family):
    # As far as anybody can: one variance for all has no place for the shapes of the others.
    assert _finds(_fit(x, K + 1, covariance_type=family))


@pytest.mark.usefixtures("small_sample")
def test_where_the_same_grains_lie_changes_no_bit(x):
    grain = 65_536  # of three features
    one, other = (_fit(da.from_array(x, chunks=(n * grain, D))) for n in (1, 4))
    assert len(one.rare_components_) == 1
    assert_same_bits(one._mixture, other._mixture)


def _interrupt(event):
    """As by Ctrl-C, when the first pass after the scan has ended."""
    if isinstance(event, Iteration):
        raise KeyboardInterrupt


@pytest.mark.usefixtures("small_sample")
def test_columns_that_depend_on_each_other_are_no_obstacle(x):
    found = GaussianMixture(K + 1, random_state=0).fit(np.column_stack([x, x[:, 0]]))
    assert len(found.rare_components_) == 1


@pytest.mark.usefixtures("small_sample")
def test_what_was_found_outlives_an_interruption(x, tmp_path):
    store = write_store(tmp_path / "x.zarr", x, 65_536)
    expected = _fit(store)
    options = {"checkpoint": tmp_path / "kept", "random_state": 0}
    with listening(_interrupt), pytest.raises(InterruptedFitError):
        GaussianMixture(K + 1, **options).fit(store)
    found = GaussianMixture(K + 1, **options, resume=True).fit(store)
    assert len(found.rare_components_) == 1
    assert found.rare_components_ == expected.rare_components_
    assert_same_bits(found._mixture, expected._mixture)


def _branched(mixture, result):
    """A candidate that joins, made of a fit under way."""
    stepper, history = PlainEM(Ridge(0.0)), result.history
    course = Course(mixture, mixture, history, None, True, stepper.state, len(history))
    return Candidate(mixture, stepper, 1e-7, course)


def _far_off(mixture):
    """No candidate for anything."""
    return gaussian_mixture(
        mixture.weights, mixture.means + 100.0, mixture.covariances, mixture.kind
    )


def test_a_bad_proposal_is_dropped(common):
    rows = InMemoryRows(common[:20_000])
    start = made_mixture("full", K, D, separation=4.0)

    def fitted(join):
        return run_together(
            rows,
            [Candidate(start, PlainEM(Ridge(0.0)), 1e-7)],
            stop=STOP_RULES["gap"],
            max_iter=50,
            join=join,
        )

    told = []

    def join(results):
        if told:
            return []
        told.append(results)
        return [_branched(_far_off(start), results[0])]

    (alone,), results = fitted(lambda results: ()), fitted(join)
    assert told
    assert len(results) == 1
    assert_same_bits(results[0].mixture, alone.mixture)
    assert [i.log_likelihood for i in results[0].history] == [
        i.log_likelihood for i in alone.history
    ]


def test_a_good_proposal_goes_on_from_where_it_branched(common):
    truth = made_mixture("full", K, D, separation=4.0)
    start = gaussian_mixture(truth.weights, truth.means + 0.5, truth.covariances, "full")
    rows = InMemoryRows(common[:20_000])

    def join(results):
        if len(results[0].history) != 2:
            return []
        return [_branched(truth, results[0])]

    first, joined = run_together(
        rows,
        [Candidate(start, PlainEM(Ridge(0.0)), 1e-7)],
        stop=STOP_RULES["gap"],
        max_iter=50,
        join=join,
    )
    assert joined.history[:2] == first.history[:2]
    assert [i.n_iter for i in joined.history] == list(range(1, len(joined.history) + 1))
    assert (np.diff([i.log_likelihood for i in joined.history]) >= -1e-14).all()
    assert joined.history[2].log_likelihood == pytest.approx(
        e_step(Block(rows.array), truth).log_likelihood / rows.n_rows, rel=1e-13
    )


def test_a_group_has_to_lie_denser_than_the_mixture_says():
    truth = made_mixture("full", 2, 2)
    x = rows_of(truth, 50_000, seed=4)
    moments = moments_and_extremes(Block(x))[0]
    densities = log_density(x, truth)
    worst = np.argsort(densities)[:4096]
    assert densest_group(x[worst], densities[worst], moments) is None
    rng = np.random.default_rng(5)
    clump = 12.0 + 0.1 * rng.standard_normal((20, 2))
    both = np.concatenate([x[worst], clump])
    group = densest_group(both, log_density(both, truth), moments)
    np.testing.assert_allclose(group[-20:], 1.0, atol=1e-3)
    assert group.sum() == pytest.approx(20, abs=1)


def test_few_scattered_outliers_are_no_component():
    truth = made_mixture("full", 2, 2)
    x = rows_of(truth, 50_000, seed=4)
    outliers = 100.0 * np.random.default_rng(6).standard_normal((5, 2))
    both = np.concatenate([x, outliers])
    densities = log_density(both, truth)
    worst = np.argsort(densities)[:4096]
    assert (
        densest_group(both[worst], densities[worst], moments_and_extremes(Block(both))[0]) is None
    )


def test_a_sample_of_half_the_rows_is_not_looked_beyond(common):
    rows = InMemoryRows(common[:1000])
    scan = scan_rows(rows, 600, 0)
    start = made_mixture("full", K, D)
    assert RareComponents(rows, start, scan, 0.0, lambda start: None).rows is rows
