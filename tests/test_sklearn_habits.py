"""Habits of scikit-learn's users: what works there works here, or README says why not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from made_data import made_mixture, rows_of
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Theirs

from daskgmm import GaussianMixture, select
from daskgmm.errors import DaskGMMWarning, DataError, ParameterError
from daskgmm.kernel import COMPONENTS

FAMILIES = list(COMPONENTS)


@pytest.fixture(scope="module")
def x():
    return rows_of(made_mixture("full", 3, 2, separation=4.0), 500)


# -- max_iter=0 --------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_without_iterations_the_start_is_the_result(x, family):
    means = x[:3]
    gm = GaussianMixture(3, covariance_type=family, max_iter=0, means_init=means).fit(x)
    np.testing.assert_array_equal(gm.means_, means)
    assert (gm.n_iter_, gm.converged_, gm.lower_bound_) == (0, False, -np.inf)
    assert gm.n_passes_ == 1
    assert np.isfinite(gm.score(x))


def test_a_start_can_be_saved(x, tmp_path):
    gm = GaussianMixture(3, max_iter=0, random_state=0).fit(x)
    gm.save(tmp_path / "m.zarr")
    assert gm.to_sklearn().n_iter_ == 0


def test_select_needs_iterations(x):
    with pytest.raises(ParameterError, match="max_iter=0"):
        select(x, [1, 2], max_iter=0)


# -- warm starts of one pass ---------------------------------------------------------


@pytest.mark.parametrize("stepper", ["auto", "surrogate", "squarem", "plain"])
@pytest.mark.parametrize("stopping", ["gap", "increment", "means"])
@pytest.mark.parametrize("max_iter", [1, 2])
def test_short_fits_in_a_loop_are_one_long_fit(x, stepper, stopping, max_iter):
    settings = {"stepper": stepper, "stopping": stopping, "tol": 1e-4, "random_state": 0}
    whole = GaussianMixture(3, max_iter=1000, **settings).fit(x)
    loop = GaussianMixture(3, max_iter=max_iter, warm_start=True, **settings)
    passes = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        while passes < 1000:
            passes += loop.fit(x).n_iter_
            if loop.converged_:
                break
    assert loop.converged_
    assert passes == whole.n_iter_
    assert loop.lower_bound_ == whole.lower_bound_
    np.testing.assert_array_equal(loop.means_, whole.means_)


def test_a_warm_start_on_other_rows_learns_anew(x):
    gm = GaussianMixture(3, warm_start=True, random_state=0).fit(x)
    others = x[::-1] + 0.5
    assert np.isfinite(gm.fit(others).lower_bound_)
    assert gm.converged_
    alone = GaussianMixture(3, random_state=0).fit(others)
    assert gm.lower_bound_ >= alone.lower_bound_ - 1e-2


def test_a_warm_start_takes_parameters_that_were_set_by_hand(x):
    gm = GaussianMixture(3, warm_start=True, max_iter=0, random_state=0).fit(x)
    gm.means_ = gm.means_ + 0.25
    np.testing.assert_array_equal(gm.fit(x).means_, gm.means_)


# -- few rows ------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.filterwarnings("ignore:reg_covar=:daskgmm.errors.DaskGMMWarning")
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_fewer_distinct_rows_than_components_with_a_floor(family, init_params):
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    settings = {"covariance_type": family, "init_params": init_params, "random_state": 0}
    with pytest.warns(DaskGMMWarning, match="only 2 distinct.*share"):
        gm = GaussianMixture(3, reg_covar=1.0, **settings).fit(x)
    assert np.isfinite(gm.score(x))
    np.testing.assert_allclose(gm.weights_ @ gm.means_, [0.5, 0.5], rtol=1e-6)
    with pytest.raises(DataError, match=r"only 2 distinct.*give reg_covar"):
        GaussianMixture(3, reg_covar=0.0, **settings).fit(x)


def test_one_row_is_no_mixture():
    for model in (GaussianMixture(1), Theirs(1)):
        with pytest.raises(ValueError, match=r"n_samples=1|1 sample"):
            model.fit([[1.0, 2.0]])
