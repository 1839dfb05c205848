"""Marginals, conditionals and regressions of fitted models: names, containers, refusals.

The algebra is held against gmr in ``tests/kernel``. Asserted here: that it is applied to the
features that are named, on any kind of rows, and refused where it means nothing.
"""

from __future__ import annotations

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from gmr import GMM
from made_data import made_mixture, rows_of

from daskgmm import GaussianMixture, load_model
from daskgmm.em import evaluate
from daskgmm.errors import DataError, ParameterError

NAMES = ["temp", "salt", "oxygen"]


def model_of(family: str = "full", names: list[str] | None = NAMES) -> GaussianMixture:
    mixture = made_mixture(family, 3, 3, separation=1.5, offset=10.0)
    return GaussianMixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, covariance_type=family, names=names
    )


@pytest.fixture
def gm():
    return model_of()


@pytest.fixture
def x(gm):
    return rows_of(gm._mixture, 60)


@pytest.fixture
def frame(x):
    return pd.DataFrame(x, columns=NAMES, index=np.arange(60) + 7)


def test_a_marginal_is_a_model_of_these_features(family, x):
    gm = model_of(family)
    two = gm.marginal(["oxygen", "temp"])
    assert two.covariance_type == family
    assert two.feature_names_in_.tolist() == ["oxygen", "temp"]
    assert (two.n_features_in_, two.n_components) == (2, 3)
    np.testing.assert_array_equal(two.means_, gm.means_[:, [2, 0]])
    np.testing.assert_array_equal(two.weights_, gm.weights_)
    by_index = gm.marginal([2, np.int64(0)])
    frame = pd.DataFrame(x[:, [2, 0]], columns=["oxygen", "temp"])
    np.testing.assert_array_equal(two.score_samples(frame), by_index.score_samples(frame))


def test_one_feature_needs_no_list(gm):
    assert gm.marginal("salt").means_.tolist() == gm.marginal(["salt"]).means_.tolist()
    assert gm.marginal(1).means_.tolist() == gm.marginal(["salt"]).means_.tolist()


def test_given_values_the_rest_is_a_model(family, x):
    gm = model_of(family)
    rest = gm.condition({"salt": 9.0})
    assert rest.covariance_type == family
    assert rest.feature_names_in_.tolist() == ["temp", "oxygen"]
    expected = GMM(3, gm.weights_, gm.means_, np.array(gm._mixture.components.dense()))
    expected = expected.condition([1], [9.0])
    np.testing.assert_allclose(rest.weights_, expected.priors, rtol=1e-10)
    np.testing.assert_allclose(rest.means_, expected.means, rtol=1e-10)
    # one after the other is both at once
    both, in_turn = gm.condition({0: 8.0, 1: 9.0}), rest.condition({"temp": 8.0})
    np.testing.assert_allclose(in_turn.weights_, both.weights_, rtol=1e-9)
    np.testing.assert_allclose(in_turn.means_, both.means_, rtol=1e-9)


def test_what_needs_no_fit_goes_along(gm, frame):
    gm.set_params(random_state=3, memory_limit="1GiB").set_output(transform="pandas")
    two = gm.marginal(["temp", "salt"])
    assert (two.random_state, two.memory_limit) == (3, "1GiB")
    assert isinstance(two.predict(frame[["temp", "salt"]]), pd.Series)
    assert two.converged_ is None  # no fit has found it


def test_a_marginal_is_saved_as_any_model(gm, tmp_path):
    gm.marginal(["oxygen", "temp"]).save(tmp_path / "two.zarr")
    again = load_model(tmp_path / "two.zarr")
    assert again.feature_names_in_.tolist() == ["oxygen", "temp"]
    np.testing.assert_array_equal(again.covariances_, gm.marginal([2, 0]).covariances_)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["slat"], "there is no 'slat' among the features of the model; did you mean 'salt'?"),
        (["salt", 1], "feature 'salt' is named twice"),
        ([3], "there is no feature 3; the model has 3, from 0 to 2"),
        ([-1], "there is no feature -1"),
        ([True], "True is no feature"),
        ([1.0], "1.0 is no feature"),
        ([], "needs one feature or more"),
    ],
)
def test_features_that_are_none_are_refused(gm, names, message):
    with pytest.raises(ParameterError) as refused:
        gm.marginal(names)
    assert message in str(refused.value)


def test_names_are_refused_by_a_model_without(x):
    with pytest.raises(ParameterError, match="no names of features; give indices"):
        model_of(names=None).marginal(["salt"])


def test_all_features_leave_nothing(gm, x):
    with pytest.raises(ParameterError, match="condition leaves no feature of 3"):
        gm.condition(dict.fromkeys(NAMES, 1.0))
    with pytest.raises(ParameterError, match="predict_features leaves no feature of 3"):
        gm.predict_features(x, NAMES)


@pytest.mark.parametrize("value", ["cold", None, [1.0, 2.0]])
def test_values_that_are_no_numbers_are_refused(gm, value):
    with pytest.raises(ParameterError, match="condition needs a number for each feature"):
        gm.condition({"temp": value})


def test_axes_are_no_features(x):
    gm = GaussianMixture(2, n_projected=2, random_state=0, max_iter=0).fit(x)
    for call in (
        lambda: gm.marginal([0]),
        lambda: gm.condition({0: 1.0}),
        lambda: gm.predict_features(x, [0]),
    ):
        with pytest.raises(ParameterError, match="fit without n_projected"):
            call()


def test_standardised_fits_are_in_the_data_s_own_units(x):
    """Spherical components of standardised features are diag in these, and stay so."""
    gm = GaussianMixture(
        2, covariance_type="spherical", standardize=True, random_state=0, max_iter=0
    ).fit(x * [1.0, 1e3, 1e-3])
    rest = gm.condition({1: 1e4})
    assert rest.covariance_type == "diag"
    np.testing.assert_array_equal(rest.means_, gm.means_[:, [0, 2]])
    np.testing.assert_array_equal(rest.covariances_, gm.covariances_[:, [0, 2]])


def test_constant_columns_that_were_left_out_are_named(x):
    columns = np.column_stack([x, np.full(len(x), 3.0)])
    gm = GaussianMixture(2, constant="drop", random_state=0, max_iter=0).fit(columns)
    for call in (lambda: gm.marginal([0]), lambda: gm.condition({0: 1.0}), gm.to_sklearn):
        with pytest.raises(ParameterError, match="constant column left out: 3"):
            call()


@pytest.mark.parametrize("values", [[0], 5, None])
def test_what_is_no_choice_of_features_is_refused(gm, values):
    with pytest.raises(ParameterError, match="condition needs a value for each known feature"):
        gm.condition(values)
    if not isinstance(values, list | int):
        with pytest.raises(ParameterError, match="marginal needs names or indices of features"):
            gm.marginal(values)


# -- regression ---------------------------------------------------------------------------


def test_features_are_predicted_in_the_order_asked_for(x):
    gm = model_of(names=None)
    expected = GMM(3, gm.weights_, gm.means_, gm.covariances_).predict([1], x[:, [1]])
    means, deviations = gm.predict_features(x[:, [1]], [2, 0], return_std=True)
    np.testing.assert_allclose(means, expected[:, ::-1], rtol=1e-10)
    for row, mean, deviation in zip(x[:5], means, deviations, strict=False):
        rest = gm.condition({1: row[1]})
        drawn = rest._mixture
        centre = drawn.weights @ drawn.means
        second = drawn.components.variances() + (drawn.means - centre) ** 2
        np.testing.assert_allclose(mean, centre[::-1], rtol=1e-10)
        np.testing.assert_allclose(deviation, np.sqrt(drawn.weights @ second)[::-1], rtol=1e-10)


def test_without_names_features_are_numbers(x):
    gm = model_of(names=None)
    gm.set_output(transform="pandas")
    assert gm.predict_features(x[:, [0, 2]], 1).columns.tolist() == ["feature_1"]


def test_lazy_rows_have_lazy_predictions(x):
    gm = model_of(names=None)
    expected = gm.predict_features(x[:, :2], 2)
    lazy = da.from_array(x[:, :2], chunks=(17, 2))
    with dask.config.set(scheduler="sync"):
        means, deviations = gm.predict_features(lazy, 2, return_std=True)
        assert isinstance(means, da.Array)
        assert means.shape == deviations.shape == (60, 1)
        np.testing.assert_allclose(means.compute(), expected, rtol=1e-12)


def test_means_are_found_once_for_both_results(x, monkeypatch):
    """Means and deviations of a block come from one evaluation of it."""
    gm, found = model_of(names=None), []
    once = evaluate.conditional_moments
    monkeypatch.setattr(evaluate, "conditional_moments", lambda *a: found.append(a) or once(*a))
    gm.predict_features(x[:, :2], 2, return_std=True)
    assert len(found) == 1
    lazy = gm.predict_features(da.from_array(x[:, :2], chunks=(17, 2)), 2, return_std=True)
    with dask.config.set(scheduler="sync"):
        dask.compute(*lazy)
    assert len(found) == 1 + 4


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_frames_have_names_of_features_as_columns(gm, frame):
    gm.set_output(transform="pandas")
    given = frame[["temp", "salt"]]
    expected = gm.predict_features(given.to_numpy(), "oxygen").to_numpy()
    found = gm.predict_features(given, "oxygen")
    assert found.columns.tolist() == ["oxygen"]
    assert found.index.equals(frame.index)
    np.testing.assert_array_equal(found, expected)
    lazy_rows = dd.from_pandas(given, npartitions=3)
    lazy = gm.predict_features(lazy_rows, "oxygen")
    assert isinstance(lazy, dd.DataFrame)
    with dask.config.set(scheduler="sync"):
        pd.testing.assert_frame_equal(lazy.compute(), found)
    both = [gm.predict_features(one, "oxygen", return_std=True) for one in (given, lazy_rows)]
    for one, other in zip(*both, strict=True):
        with dask.config.set(scheduler="sync"):
            pd.testing.assert_frame_equal(other.compute(), one)
    gm.set_output(transform="polars")
    table = gm.predict_features(pl.from_pandas(given), "oxygen")
    assert table.columns == ["oxygen"]


@pytest.mark.parametrize("on_dask", [False, True])
def test_grids_come_back_with_features_by_name_and_gaps(gm, frame, on_dask):
    cells = {n: (("lat", "lon"), frame[n].to_numpy().reshape(6, 10).copy()) for n in NAMES}
    ocean = xr.Dataset(cells, coords={"lat": np.arange(6.0)})
    ocean["temp"][2, 3] = np.nan
    given = ocean[["salt", "temp"]]  # in another order: Datasets are known by name
    given = given.chunk(lat=2) if on_dask else given
    with dask.config.set(scheduler="sync"):
        found = gm.predict_features(given, ["oxygen"])
        assert found.dims == ("lat", "lon", "feature")
        assert (found.chunks is not None) == on_dask
        assert found.feature.to_numpy().tolist() == ["oxygen"]
        values = found.sel(feature="oxygen").to_numpy()
    assert np.argwhere(np.isnan(values)).tolist() == [[2, 3]]
    there = ~np.isnan(values.ravel())
    gm.set_output(transform="pandas")
    expected = gm.predict_features(frame[["temp", "salt"]], "oxygen")["oxygen"]
    np.testing.assert_allclose(values.ravel()[there], expected[there], rtol=1e-12)


def test_rows_of_other_features_are_refused(gm, frame):
    with pytest.raises(DataError, match=r"Feature names unseen at fit time:\n- oxygen"):
        gm.predict_features(frame, "oxygen")
    with pytest.raises(DataError, match=r"NaN or infinity.*column 'salt'"):
        gm.predict_features(frame[["temp", "salt"]] * [1.0, np.nan], "oxygen")


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_rows_that_have_what_is_predicted_are_told_to_leave_it_out(gm, frame, x):
    """It was said that X has 3 features, where 2 were expected."""
    said = r"of the other features alone, temp, salt, in this order; leave oxygen out of X"
    for rows in (x, frame[NAMES], pl.from_pandas(frame[NAMES])):
        with pytest.raises(DataError, match=said):
            gm.predict_features(rows, "oxygen")
    with pytest.raises(DataError, match=r"alone, feature_1, .* leave feature_0, feature_2 out"):
        model_of(names=None).predict_features(x, [0, 2])
