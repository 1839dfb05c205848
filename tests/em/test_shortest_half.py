"""Shortest half: ridge and starts of rows of which a few are very far from all others."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import adjusted_rand_score

from daskgmm import GaussianMixture
from daskgmm.em.quantiles import quantiles
from daskgmm.em.rows import InMemoryRows
from daskgmm.em.scan import scan_rows
from daskgmm.em.shortest_half import ShortestHalf
from daskgmm.errors import DaskGMMWarning
from daskgmm.kernel import COMPONENTS, Block, RelativeRidge

N, D = 4000, 3


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Rows of three clusters, and of which each is."""
    rng = np.random.default_rng(5)
    label = rng.integers(0, 3, N)
    x = 9.0 * np.eye(3)[label] + rng.normal(size=(N, D)) * rng.uniform(0.5, 1.5, (3, D))[label]
    return x, label


def _with_far_rows(x: np.ndarray, n_far: int, times: float) -> np.ndarray:
    made = x.copy()
    made[:: len(x) // n_far][:n_far] *= times
    return made


def _fitted(x: np.ndarray, **options) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DaskGMMWarning)
        return GaussianMixture(random_state=0, **options).fit(x)


def half_of(block: Block) -> ShortestHalf:
    return ShortestHalf.of(block, np.nanmin(block.x, axis=0), np.nanmax(block.x, axis=0))


# -- the shortest half ----------------------------------------------------------------


def test_of_gaussian_rows_nothing_is_bounded_or_winsorized(clusters):
    x, _ = clusters
    half = half_of(Block(x))
    assert np.isinf(half.largest_variances).all()
    assert half.winsorized(x) is x


def test_beside_one_far_row_variances_are_bounded_by_a_hundred_times_that_of_the_others():
    x = norm.ppf((np.arange(200_001) + 0.5) / 200_001)[:, None] * 3.0
    x[0] = 1e9
    half = half_of(Block(x))
    np.testing.assert_allclose(half.largest_variances, [900.0], rtol=2e-3)
    assert 60 < half.winsorized(x)[0, 0] < 100  # 28 standard deviations


def test_a_far_row_that_the_sample_lacks_is_known_by_the_extremes(clusters):
    x, _ = clusters
    half = ShortestHalf.of(Block(x), x.min(axis=0), np.array([1e9, 20.0, 20.0]))
    np.testing.assert_array_equal(np.isinf(half.largest_variances), [False, True, True])


def test_a_weight_of_two_is_a_row_twice(clusters):
    x, label = clusters
    twice = half_of(Block(np.repeat(x, 1 + label, axis=0)))
    weighted = half_of(Block(x, weight=1.0 + label))
    np.testing.assert_allclose(weighted.low, twice.low, rtol=1e-12)
    np.testing.assert_allclose(weighted.high, twice.high, rtol=1e-12)


def test_of_features_without_a_value_or_of_one_value_nothing_is_told():
    x = np.column_stack([np.full(50, np.nan), np.zeros(50), np.arange(50.0)])
    x[0, 1], x[0, 2] = 7.0, 1e6
    ends = np.array([0.0, 0.0, 0.0]), np.array([0.0, 7.0, 1e6])
    half = ShortestHalf.of(Block(x, has_gaps=True), *ends)
    assert np.isnan(quantiles(Block(x), (0.5,))[0][0])
    np.testing.assert_array_equal(np.isinf(half.largest_variances), [True, True, False])
    x[:, 0] = 1e300
    assert half.winsorized(x)[0, :2].tolist() == [1e300, 7.0]


@pytest.mark.parametrize("share", [0.6, 0.8])
def test_values_that_rounding_tells_apart_keep_a_ridge(share):
    """Of 0.1 + 0.2 and 0.3 most, the shortest half is as long as a rounding error."""
    rng = np.random.default_rng(0)
    alike = np.where(rng.random(5_000) < 0.5, 0.1 + 0.2, 0.3)
    x = np.where(rng.random(5_000) < share, alike, 3.0 * rng.normal(size=5_000))[:, None]
    model = _fitted(x, n_components=2)
    # The same values in float32, which differ by 1e-8, are no outliers.
    assert model.score(x.astype(np.float32)) > model.score(x) - 1.0


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e12])
def test_far_rows_leave_the_ridge_to_the_others_in_any_units(clusters, unit):
    x, _ = clusters
    far = unit * _with_far_rows(x, 20, 1e6)
    scan = scan_rows(InMemoryRows(far), N, 0)
    ridge = RelativeRidge().of(scan.moments, scan.shortest_half.largest_variances).reg_covar
    assert (ridge <= 1e-6 * 100 * 1.1 * (unit * x).var(axis=0)).all()
    assert (ridge >= 1e-6 * (unit * x).var(axis=0)).all()
    # A number of standard deviations that was given means those of all rows.
    given = RelativeRidge(1e-6, is_bounded=False).of(
        scan.moments, scan.shortest_half.largest_variances
    )
    np.testing.assert_allclose(given.reg_covar, 1e-6 * far.var(axis=0))


# -- fits ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("covariance_type", "n_far"),
    # Tied components have one shape: that of several far rows would be everybody's.
    [(kind, n) for kind in COMPONENTS for n in (1, 8) if kind != "tied" or n == 1],
)
def test_clusters_are_found_beside_rows_a_million_times_as_far(clusters, covariance_type, n_far):
    x, label = clusters
    model = _fitted(
        _with_far_rows(x, n_far, 1e6),
        n_components=4,
        covariance_type=covariance_type,
    )
    assert adjusted_rand_score(label, model.predict(x)) > 0.97


@pytest.mark.parametrize(("options", "times"), [({"noise": True}, 1e6), ({"tails": "t"}, 1e3)])
def test_noise_and_tails_need_no_component_for_them(clusters, options, times):
    x, label = clusters
    model = _fitted(_with_far_rows(x, 8, times), n_components=3, **options)
    assert adjusted_rand_score(label, model.predict(x)) > 0.97


def test_one_far_row_does_not_take_one_component_after_the_other(clusters):
    """Of too few components one is its own; pruned, the next would be, and so on to the last."""
    x, label = clusters
    far = _with_far_rows(x, 1, 1e6)
    with pytest.warns(DaskGMMWarning, match="1 of 3 components holds 1 rows"):
        model = GaussianMixture(3, random_state=0).fit(far)
    assert len(model.weights_) == 3
    assert model.collapses_ == ()
    assert np.sort(model.weights_)[0] * N == pytest.approx(1.0)
    assert adjusted_rand_score(label, model.predict(x)) > 0.5
    # In every other fit of three components the far row has one of them as well.
    alone = GaussianMixture(3, random_state=0, on_collapse="error")
    with pytest.warns(DaskGMMWarning, match="holds 1 rows"):
        assert alone.fit(far).lower_bound_ == pytest.approx(model.lower_bound_)


@pytest.mark.parametrize("unit", [1e-9, 1e12])
def test_fits_beside_far_rows_do_not_depend_on_units(clusters, unit):
    far = _with_far_rows(clusters[0], 1, 1e6)
    one, other = (_fitted(scale * far, n_components=4) for scale in (1.0, unit))
    np.testing.assert_allclose(other.means_ / unit, one.means_, rtol=1e-6, atol=1e-6)
