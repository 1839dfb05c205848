"""Initialisers: identities over their table."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from made_data import BAD_SCALES, assert_same_bits, made_mixture, rows_of
from sklearn.metrics import adjusted_rand_score

from daskgmm.em import INITIALISERS, GivenStart, InMemoryRows, StartMaker, scan_rows
from daskgmm.em.starts.assign import nearest
from daskgmm.errors import DataError, ParameterError
from daskgmm.execution import DaskRows
from daskgmm.kernel import COMPONENTS, Block, Ridge, labels

N, D, K = 2000, 3, 4


@pytest.fixture(params=INITIALISERS)
def init(request):
    """Every initialiser in the table."""
    return request.param


def _x(separation=10.0):
    return rows_of(made_mixture("full", K, D, separation=separation), N)


def _start(x_or_rows, family, init, seed=0, k=K, n_sampled=500, given=None, reg_covar=1e-6):
    rows = InMemoryRows(x_or_rows) if isinstance(x_or_rows, np.ndarray) else x_or_rows
    rng = np.random.RandomState(seed)
    maker = StartMaker(k, family, Ridge(reg_covar), rng, given or GivenStart())
    return maker.start(scan_rows(rows, n_sampled, 0), init)


def _assign_cases(rows):
    z = rows[:300]
    return z, np.random.RandomState(0)


def test_responsibilities_are_distributions(init):
    z, rng = _assign_cases(_x())
    resp = INITIALISERS[init](Block(z), K, rng)
    assert resp.shape == (300, K)
    assert (resp >= 0).all()
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=0, atol=1e-15)  # K roundings
    assert (resp.sum(axis=0) > 0).all()


def test_a_start_is_a_mixture_that_has_a_density(init, family):
    x = _x()
    mixture = _start(x, family, init)
    assert (mixture.n_components, mixture.n_features) == (K, D)
    assert (mixture.weights > 0).all()
    assert mixture.weights.sum() == pytest.approx(1.0, abs=1e-12)
    mixture.check()
    assert (mixture.means >= x.min(axis=0)).all()
    assert (mixture.means <= x.max(axis=0)).all()


def test_a_start_is_the_same_on_every_kind_of_rows(init, family):
    x = _x()
    expected = _start(InMemoryRows(x, grain=128), family, init)
    for chunks, grain in (((512, D), 128), ((256, D), 128), ((2000, D), 128)):
        rows = DaskRows(da.from_array(x, chunks=chunks), grain=grain)
        assert_same_bits(_start(rows, family, init), expected)
    # Chunks that cut grains: the sample is the same, the scale of columns to rounding.
    got = _start(DaskRows(da.from_array(x, chunks=(333, D)), grain=128), family, init)
    np.testing.assert_allclose(got.means, expected.means, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(got.covariances, expected.covariances, rtol=1e-11, atol=1e-12)


def test_a_seed_decides_all(init, family):
    x = _x()
    assert_same_bits(_start(x, family, init, seed=5), _start(x, family, init, seed=5))


def test_another_seed_starts_elsewhere():
    x = _x(separation=1.0)
    for init in INITIALISERS:
        a, b = (_start(x, "full", init, seed=seed) for seed in (0, 1))
        assert not np.array_equal(np.sort(a.means, axis=0), np.sort(b.means, axis=0)), init


@pytest.mark.parametrize("name", ["kmeans", "k-means++"])
def test_clusters_that_stand_apart_are_found(family, name):
    centres = 30.0 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    truth = np.arange(N) % K
    x = centres[truth] + np.random.default_rng(0).standard_normal((N, D))
    found = labels(x, _start(x, family, name))
    assert adjusted_rand_score(truth, found) == 1.0


@pytest.mark.parametrize("name", [n for n, f in COMPONENTS.items() if f.is_scale_equivariant()])
def test_units_do_not_decide_the_assignment(init, name):
    x = np.random.default_rng(0).standard_normal((N, 4)) + 3 * (np.arange(N) % 3)[:, None]
    plain = _start(x, name, init, k=3, reg_covar=0.0)
    scales = 2.0 ** np.round(np.log2(BAD_SCALES))  # powers of two scale without rounding
    scaled = _start(x * scales, name, init, k=3, reg_covar=0.0)
    np.testing.assert_allclose(scaled.weights, plain.weights, rtol=1e-12)
    np.testing.assert_allclose(scaled.means / scales, plain.means, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("parts", ["weights", "means", "covariances", "weights means"])
def test_given_parts_are_taken_as_they_are(init, family, parts):
    other = made_mixture(family, K, D, seed=9)
    given = GivenStart(**{name: np.array(getattr(other, name)) for name in parts.split()})
    assert not given.complete
    mixture = _start(_x(), family, init, given=given)
    for name in parts.split():
        np.testing.assert_array_equal(getattr(mixture, name), getattr(other, name))


def test_given_means_decide_the_rest(init):
    x = _x()
    means = x[[3, 100, 500, 900]]
    mixture = _start(x, "spherical", init, given=GivenStart(means=means), n_sampled=N)
    counts = nearest(x, means).sum(axis=0)
    np.testing.assert_allclose(mixture.weights, counts / N, rtol=1e-12)


def test_a_complete_start_asks_no_initialiser(family):
    other = made_mixture(family, K, D, seed=9)
    given = GivenStart(other.weights, other.means, other.covariances)
    assert given.complete
    assert_same_bits(_start(_x(), family, "kmeans", given=given), other)


def test_more_components_than_distinct_rows_are_refused(init, family):
    x = np.repeat(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]]), 40, axis=0)
    with pytest.raises(DataError, match=r"n_components=4 but 120 rows have only 3 distinct"):
        _start(x, family, init, k=4, reg_covar=0.0)
    with pytest.raises(DataError, match=r"a sample of .* of 120 rows has only 3 distinct"):
        _start(x, family, init, k=4, n_sampled=30, reg_covar=0.0)


def test_as_many_components_as_distinct_rows_are_started(init, family):
    x = np.repeat(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]]), 40, axis=0)
    mixture = _start(x, family, init, k=3)
    mixture.check()


@pytest.mark.parametrize("name", ["KMeans", "", None, ["kmeans"]])
def test_unknown_initialisers_list_the_known(name):
    with pytest.raises(ParameterError, match=r"kmeans, k-means\+\+, random, random_from_data"):
        _start(_x(), "full", name)
