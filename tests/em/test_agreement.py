"""Agreement with scikit-learn from the same start, and with published numbers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from made_data import (
    BAD_SCALES,
    FAMILIES_OF_SKLEARN,
    fitted_by_sklearn,
    made_mixture,
    precisions_of,
    rows_of,
)
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture

from daskgmm import GaussianMixture
from daskgmm.em import STOP_RULES, InMemoryRows, PlainEM, Rules, run
from daskgmm.kernel import COMPONENTS, Block, Ridge, gaussian_mixture, weighted_statistics

FAITHFUL = Path(__file__).parents[1] / "data" / "faithful.txt"


def _fit(x, start, max_iter, reg_covar=0.0):
    return run(
        InMemoryRows(x, grain=512),
        start,
        Rules(PlainEM(Ridge(reg_covar)), STOP_RULES["increment"], max_iter),
    )


def _poor_start(x, family, k, seed=0):
    """Responsibilities at random: far from the end, so that 20 iterations move a lot."""
    resp = np.random.default_rng(seed).dirichlet(np.full(k, 0.3), size=len(x))
    centres = np.tile(x.mean(axis=0), (k, 1))
    return Ridge().m_step(weighted_statistics(Block(x), resp, centres, family))


def _assert_agree(ours, theirs, units, rtol=1e-9):
    """Every entry relative to the unit of its columns: to rounding of sums, carried on.

    Each iteration adds eps * condition (below 1e3) and EM contracts what came before.
    """
    mixture = ours.kept
    np.testing.assert_allclose(mixture.weights, theirs.weights_, rtol=rtol)
    np.testing.assert_allclose(mixture.means / units, theirs.means_ / units, rtol=rtol, atol=rtol)
    law = type(mixture.components)
    dense = [
        law(mixture.means, covariances).dense()
        for covariances in (mixture.covariances, theirs.covariances_)
    ]
    scale = np.multiply.outer(units, units)
    np.testing.assert_allclose(dense[0] / scale, dense[1] / scale, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(ours.log_likelihood, theirs.lower_bound_, rtol=rtol)


@pytest.mark.parametrize("max_iter", [1, 2, 20])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_random_data(family, max_iter, seed):
    x = rows_of(made_mixture(family, 3, 4, seed=seed), 1500, seed=seed)
    start = _poor_start(x, family, 3, seed)
    ours, theirs = _fit(x, start, max_iter), fitted_by_sklearn(x, start, max_iter)
    _assert_agree(ours, theirs, np.ones(4))
    assert len(ours.history) == theirs.n_iter_ == max_iter
    np.testing.assert_allclose(
        [i.log_likelihood for i in ours.history], theirs.lower_bounds_, rtol=1e-9
    )


@pytest.mark.parametrize("max_iter", [1, 2, 20])
@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_columns_in_bad_units(family, max_iter):
    x = rows_of(made_mixture(family, 3, 4), 1500) * BAD_SCALES
    start = _poor_start(x, family, 3)
    ours, theirs = _fit(x, start, max_iter), fitted_by_sklearn(x, start, max_iter)
    # Spherical covariances are of the size of the largest column, 1e6.
    units = BAD_SCALES if COMPONENTS[family].is_scale_equivariant() else np.full(4, 1e6)
    _assert_agree(ours, theirs, units)


@pytest.mark.parametrize("max_iter", [1, 20])
@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_regularised(family, max_iter):
    x = rows_of(made_mixture(family, 3, 4), 1500)
    start = _poor_start(x, family, 3)
    ours = _fit(x, start, max_iter, reg_covar=0.1)
    _assert_agree(ours, fitted_by_sklearn(x, start, max_iter, reg_covar=0.1), np.ones(4))


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_float32_data_are_fitted_in_float64(family):
    x = rows_of(made_mixture(family, 3, 4), 1500).astype(np.float32)
    start = _poor_start(x.astype(np.float64), family, 3)
    ours = _fit(x, start, 20)
    _assert_agree(ours, fitted_by_sklearn(x.astype(np.float64), start, 20), np.ones(4))


def test_data_far_from_the_origin(family):
    """Shifted by 1e8: where scikit-learn's raw second moments have no digit left."""
    shift = 1e8
    x = rows_of(made_mixture(family, 3, 2, separation=3.0), 1500)
    x = np.round(x * 2**20) / 2**20  # so that adding 1e8 rounds nothing
    near = made_mixture(family, 3, 2, separation=3.0, seed=0)
    far = gaussian_mixture(near.weights, near.means + shift, near.covariances, family)
    expected, got = _fit(x, near, 20).kept, _fit(x + shift, far, 20).kept
    # Means are rounded at 1e8 eps = 1.5e-8, beside deviations of order 1.
    np.testing.assert_allclose(got.weights, expected.weights, rtol=1e-6)
    np.testing.assert_allclose(got.means - shift, expected.means, rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.covariances, expected.covariances, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["tied", "diag", "spherical"])
def test_scikit_learn_loses_data_far_from_the_origin(name):
    # What the test above is worth: (1e8)^2 eps = 2 beside variances of order 1.
    x = rows_of(made_mixture(name, 3, 2, separation=3.0), 1500)
    near = made_mixture(name, 3, 2, separation=3.0, seed=0)
    far = gaussian_mixture(near.weights, near.means + 1e8, near.covariances, name)
    try:
        lost = fitted_by_sklearn(x + 1e8, far, 20)
    except ValueError:  # a covariance that is not positive
        return
    kept = _fit(x, near, 20).kept
    assert np.abs(lost.covariances_ - kept.covariances).max() > 1e-2


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random_from_data"])
def test_two_points_in_float32(init_params):
    """scikit-learn #30382: gave variances of -0.99999979 where reg_covar alone is left."""
    x = np.array([[9999.0], [0.0]], dtype=np.float32)
    gm = GaussianMixture(
        2, covariance_type="spherical", reg_covar=0.1, init_params=init_params, random_state=0
    ).fit(x)
    np.testing.assert_allclose(gm.covariances_, [0.1, 0.1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.sort(gm.means_.ravel()), [0.0, 9999.0], rtol=0, atol=1e-6)


def _faithful():
    return np.loadtxt(FAITHFUL)


NUMBERS = {
    "faithful-tied-3": (_faithful, "tied", 3, -1126.315928, 11),
    "faithful-full-2": (_faithful, "full", 2, -1130.263960, 11),
    "waiting-full-2": (lambda: _faithful()[:, 1:], "full", 2, -1034.001750, 5),
    "iris-full-2": (lambda: load_iris().data, "full", 2, -214.354704, 29),
    "iris-full-3": (lambda: load_iris().data, "full", 3, -180.185477, 44),
    "iris-tied-3": (lambda: load_iris().data, "tied", 3, -256.354043, 24),
}
"""Data, family, K; log-likelihood of the optimum (natural logarithm), free parameters."""


@cache
def _optimum(data, family, k):
    x = data()
    gm = GaussianMixture(
        k,
        covariance_type=family,
        reg_covar=0.0,
        tol=1e-12,
        max_iter=2000,
        init_params="kmeans",
        random_state=0,
    ).fit(x)
    return x, gm


@pytest.mark.parametrize("case", NUMBERS)
def test_published_numbers(case):
    data, family, k, log_likelihood, n_parameters = NUMBERS[case]
    x, gm = _optimum(data, family, k)
    assert gm.converged_
    # Printed to six digits; the stop rule leaves 1e-12 of each of some 200 rows.
    assert round(gm.score(x) * len(x), 6) == log_likelihood
    assert gm._mixture.n_parameters == n_parameters
    bic = -2 * log_likelihood + n_parameters * np.log(len(x))
    np.testing.assert_allclose(gm.bic(x), bic, rtol=0, atol=2e-6)
    np.testing.assert_allclose(gm.aic(x), -2 * log_likelihood + 2 * n_parameters, atol=2e-6)


def test_published_means_of_old_faithful():
    _, gm = _optimum(_faithful, "full", 2)
    means = gm.means_[np.argsort(-gm.means_[:, 0])]
    expected = [[4.289662, 79.968115], [2.036388, 54.478517]]
    # Printed to six digits; a gap of 1e-12 is 1e-6 of a standard deviation (6 minutes).
    assert (np.abs(means - expected) <= [1e-6, 1e-5]).all()


@pytest.mark.parametrize("family", FAMILIES_OF_SKLEARN)
def test_scikit_learn_stays_at_our_optimum(family):
    x = _faithful()
    _, gm = _optimum(_faithful, family, 2)
    theirs = InMemoryGaussianMixture(
        2,
        covariance_type=family,
        reg_covar=0.0,
        weights_init=gm.weights_,
        means_init=gm.means_,
        precisions_init=precisions_of(gm._mixture),
    ).fit(x)
    np.testing.assert_allclose(theirs.lower_bound_, gm.lower_bound_, rtol=1e-9)
    np.testing.assert_allclose(theirs.means_, gm.means_, rtol=1e-5)
