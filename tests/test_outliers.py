"""Outliers of fitted models: thresholds, what is beyond, in every container, saved and gone.

The quantile itself is tested in ``tests/em/test_lowest.py``.
"""

from __future__ import annotations

import json

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from made_data import made_mixture, rows_of
from scipy.spatial.distance import cdist
from scipy.stats import chi2

from daskgmm import GaussianMixture, load_model
from daskgmm.errors import (
    InvalidParameterError,
    ModelFormatError,
    NonFiniteError,
    ParameterError,
)

N, D = 2000, 3


def model_of(family: str = "full") -> GaussianMixture:
    mixture = made_mixture(family, 3, D, separation=1.5)
    return GaussianMixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, covariance_type=family
    )


@pytest.fixture
def gm():
    return model_of()


@pytest.fixture
def x(gm):
    return rows_of(gm._mixture, N)


def test_a_quantile_of_rows_lies_below(gm, x):
    gm.set_threshold(x, quantile=0.02)
    found = gm.threshold_
    assert (found.measure, found.share, found.rank_error) == ("log_density", 0.02, 0.0)
    marked = gm.is_outlier(x)
    assert marked.dtype == bool
    np.testing.assert_array_equal(marked, gm.score_samples(x) < found.value)
    assert marked.sum() == 40


def test_weights_count_for_the_quantile(gm, x):
    weight = np.random.default_rng(0).integers(0, 3, size=N)
    weighted = gm.set_threshold(x, quantile=0.1, sample_weight=weight).threshold_
    repeated = gm.set_threshold(np.repeat(x, weight, axis=0), quantile=0.1).threshold_
    assert weighted == repeated
    bad = x.copy()
    bad[weight == 0] = np.nan  # rows of weight 0 are absent, whatever they hold
    assert gm.set_threshold(bad, quantile=0.1, sample_weight=weight).threshold_ == weighted


def test_a_probability_is_that_of_the_chi_square_distribution(family):
    gm = model_of(family)
    x = rows_of(gm._mixture, N)
    gm.set_threshold(probability=0.01)
    assert gm.threshold_.measure == "squared_distance"
    np.testing.assert_allclose(gm.threshold_.value, chi2.isf(0.01, D), rtol=1e-12)
    distances = np.empty(N)
    for k, label in enumerate(gm.predict(x)):
        inverse = np.linalg.inv(gm._mixture.components.dense()[label])
        one = cdist(x[k : k + 1], gm.means_[label][None], "mahalanobis", VI=inverse)
        distances[k] = one[0, 0] ** 2
    np.testing.assert_array_equal(gm.is_outlier(x), distances > gm.threshold_.value)


def test_far_rows_are_outliers_by_both(gm, x):
    far = np.vstack([x[:5], np.full((1, D), 1e3)])
    for chosen in ({"probability": 1e-6}, {"X": x, "quantile": 1e-3}):
        assert gm.set_threshold(**chosen).is_outlier(far)[-1]


def test_rows_whose_distance_overflows_are_outliers():
    gm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [1e-20, 1e-20])
    near = np.array([[0.0, 0.0], [1.0, 1.0]])
    far = np.vstack([near, [[1e149, 0.0]]])
    for chosen in ({"probability": 1e-6}, {"X": near, "quantile": 0.1}):
        with np.errstate(over="ignore", invalid="ignore"):
            found = gm.set_threshold(**chosen).is_outlier(far)
        assert found.tolist() == [False, False, True]


@pytest.mark.parametrize("quantile", [0.001, 0.01, 0.04])
def test_rows_of_noise_differ_in_density(quantile):
    """With noise in the density, the rows of noise had one density, and none was below another."""
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(950, 2)), rng.uniform(-150, 150, (50, 2))])
    gm = GaussianMixture(1, noise=True).fit(x).set_threshold(x, quantile=quantile)
    marked = gm.is_outlier(x)
    assert marked.sum() == quantile * 1000
    assert set(gm.predict(x[marked])) == {-1}
    assert gm.is_outlier(np.full((1, 2), 1e6)).all()


def test_labels_of_outliers_are_minus_one(gm, x):
    gm.set_threshold(x, quantile=0.05)
    marked, labels = gm.is_outlier(x), gm.predict(x)
    expected = np.where(marked, -1, labels)
    np.testing.assert_array_equal(gm.predict(x, mark_outliers=True), expected)
    assert (labels >= 0).all()


def test_without_a_threshold_nothing_is_an_outlier(gm, x):
    for call in (lambda: gm.is_outlier(x), lambda: gm.predict(x, mark_outliers=True)):
        with pytest.raises(ParameterError, match="the model has no threshold for outliers: call"):
            call()


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"quantile": 0.1},
        {"quantile": 0.1, "probability": 0.1, "X": True},
        {"X": True},
        {"probability": 0.1, "sample_weight": True},
    ],
)
def test_one_choice_is_made(gm, x, chosen):
    given = {name: x[:, 0] ** 2 if value is True else value for name, value in chosen.items()}
    if "X" in given:
        given["X"] = x
    with pytest.raises(ParameterError, match=r"a quantile of them.* or a probability alone"):
        gm.set_threshold(**given)
    assert not hasattr(gm, "threshold_")


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1, np.nan, "0.1", True])
@pytest.mark.parametrize("name", ["quantile", "probability"])
def test_shares_are_above_0_and_below_1(gm, x, name, value):
    with pytest.raises(InvalidParameterError, match=f"{name} must be a number above 0 and below 1"):
        gm.set_threshold(x, **{name: value})


def test_rows_that_cannot_be_used_are_named(gm, x):
    x[700, 1] = np.nan
    with pytest.raises(NonFiniteError, match="row 700, column 1"):
        gm.set_threshold(x, quantile=0.1)
    with pytest.raises(NonFiniteError, match="row 700, column 1"):
        gm.set_threshold(x, quantile=0.1, sample_weight=np.r_[0.0, np.ones(N - 1)])


def test_a_threshold_is_saved_with_the_model(gm, x, tmp_path):
    gm.set_threshold(x, quantile=0.02).save(tmp_path / "model.zarr")
    again = load_model(tmp_path / "model.zarr")
    assert again.threshold_ == gm.threshold_
    np.testing.assert_array_equal(again.is_outlier(x), gm.is_outlier(x))


@pytest.mark.parametrize(
    "saved",
    [
        "low",
        3,
        {"measure": "density", "value": 1.0, "share": 0.1},
        {"value": 1.0},
        {"measure": "log_density", "value": None, "share": 0.1},
    ],
)
def test_a_threshold_that_is_none_is_refused(gm, x, tmp_path, saved):
    gm.set_threshold(x, quantile=0.02).save(tmp_path / "model.zarr")
    metadata = tmp_path / "model.zarr/zarr.json"
    edited = json.loads(metadata.read_text())
    edited["attributes"]["threshold"] = saved
    metadata.write_text(json.dumps(edited))
    with pytest.raises(ModelFormatError, match=r"its threshold is .*; was it edited\?"):
        load_model(tmp_path / "model.zarr")


def test_a_fit_forgets_the_threshold(gm, x):
    gm.set_params(max_iter=0, random_state=0).set_threshold(probability=0.1).fit(x)
    assert not hasattr(gm, "threshold_")


def test_projected_models_have_the_degrees_of_freedom_of_their_axes(x):
    gm = GaussianMixture(2, n_projected=2, random_state=0, max_iter=0).fit(x)
    gm.set_threshold(probability=0.01)
    np.testing.assert_allclose(gm.threshold_.value, chi2.isf(0.01, 2), rtol=1e-12)
    gm.set_threshold(x, quantile=0.01)
    assert gm.is_outlier(x).sum() == 20


# -- containers -----------------------------------------------------------------------------


def test_lazy_rows_are_marked_lazily(gm, x):
    lazy = da.from_array(x, chunks=(333, D))
    with dask.config.set(scheduler="sync"):
        gm.set_threshold(lazy, quantile=0.02)
        marked = gm.is_outlier(lazy)
        assert isinstance(marked, da.Array)
        assert marked.dtype == bool
        labels = gm.predict(lazy, mark_outliers=True)
        np.testing.assert_array_equal(marked.compute(), gm.is_outlier(x))
        np.testing.assert_array_equal(labels.compute(), gm.predict(x, mark_outliers=True))


def test_frames(gm, x):
    frame = pd.DataFrame(x, columns=list("abc"), index=np.arange(N) + 5)
    gm = GaussianMixture(2, random_state=0, max_iter=0).fit(frame).set_output(transform="pandas")
    marked = gm.set_threshold(frame, quantile=0.02).is_outlier(frame)
    assert (marked.name, marked.dtype, marked.sum()) == ("outlier", bool, 40)
    assert marked.index.equals(frame.index)
    with dask.config.set(scheduler="sync"):
        lazy = gm.is_outlier(dd.from_pandas(frame, npartitions=3))
        pd.testing.assert_series_equal(lazy.compute(), marked)
    gm.set_output(transform="polars")
    assert gm.is_outlier(pl.from_pandas(frame)).dtype == pl.Boolean


@pytest.mark.parametrize("on_dask", [False, True])
def test_grids_have_gaps_where_gaps_were(gm, x, on_dask):
    cells = x.reshape(20, 100, D).copy()
    cells[3, 7, 1] = np.nan
    grid = xr.DataArray(cells, dims=("lat", "lon", "feature"))
    grid = grid.chunk(lat=5) if on_dask else grid
    with dask.config.set(scheduler="sync"):
        # of 1,999 cells without a gap
        assert gm.set_threshold(grid, quantile=0.02).threshold_.rank_error < 1 / 1999
        marked = gm.is_outlier(grid)
        assert (marked.name, marked.dims, marked.dtype) == ("outlier", ("lat", "lon"), np.int8)
        assert marked.attrs["flag_meanings"] == "inlier outlier"
        values = marked.to_numpy()
        labels = gm.predict(grid, mark_outliers=True)
        assert labels.attrs["flag_values"].tolist() == [-1, 0, 1, 2]
        assert labels.attrs["flag_meanings"].startswith("outlier component_0 ")
        np.testing.assert_array_equal(labels.to_numpy() == -1, values == 1)
        assert labels.to_numpy()[3, 7] == -2
    assert (values == -2).sum() == 1
    assert values[3, 7] == -2
    assert (values == 1).sum() == 39
