"""Missing values: rows with gaps are left out, or count by what they have, for all kinds of rows."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr

from daskgmm import GaussianMixture, job, load_model, open_rows, select
from daskgmm.em import STEPPERS
from daskgmm.errors import DaskGMMError, DataError
from daskgmm.imputing import write_imputed

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Rows of two groups, (600, 3); a tenth of the values are missing, and all of rows 7 and 8."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (300, 3)), rng.normal(6, 1, (300, 3))])
    x[:, 1] += 0.8 * x[:, 0]
    x = rng.permutation(x)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[np.isnan(x).all(axis=1)] = 0.0
    x[7:9] = np.nan
    return x


def _zarr(x, folder):
    zarr.create_array(str(folder / "x.zarr"), data=x, chunks=(100, 3))
    return str(folder / "x.zarr")


def _declared(x, folder):
    """A store in which -999 means that there is no value."""
    codes = np.where(np.isnan(x), -999.0, x)
    array = zarr.create_array(str(folder / "codes.zarr"), data=codes, chunks=(100, 3))
    array.attrs["_FillValue"] = -999.0
    return str(folder / "codes.zarr")


def _npy(x, folder):
    np.save(folder / "x.npy", x)
    return str(folder / "x.npy")


def _parquet(x, folder):
    """Nulls, of which the footer counts how many there are."""
    columns = {name: pa.array(x[:, j], from_pandas=True) for j, name in enumerate(NAMES)}
    pq.write_table(pa.table(columns), folder / "x.parquet", row_group_size=200)
    return str(folder / "x.parquet")


def _arrow(x, folder):
    return pa.table({name: pa.array(x[:, j], from_pandas=True) for j, name in enumerate(NAMES)})


KINDS = {
    "numpy": lambda x, folder: x,
    "dask": lambda x, folder: da.from_array(x, chunks=(250, 3)),
    "pandas": lambda x, folder: pd.DataFrame(x, columns=NAMES),
    "arrow": _arrow,
    "zarr": _zarr,
    "declared": _declared,
    "npy": _npy,
    "parquet": _parquet,
}


@pytest.fixture(params=KINDS)
def rows(request, x, tmp_path):
    """The rows in a kind of container."""
    return KINDS[request.param](x, tmp_path)


def _complete(x):
    return x[~np.isnan(x).any(axis=1)]


def test_dropped_rows_count_for_nothing_and_come_back_as_gaps(rows, x):
    there = ~np.isnan(x).any(axis=1)
    model = GaussianMixture(2, random_state=0, missing="drop").fit(rows)
    plain = GaussianMixture(2, random_state=0).fit(x[there])
    # The same sums in another order: 1e-16 times some hundred rows, through steps to the end.
    np.testing.assert_allclose(model.means_, plain.means_, rtol=1e-7, atol=1e-7)
    assert (model.n_rows_, model.n_missing_) == (there.sum(), (~there).sum())
    assert model.n_left_out_ == model.n_missing_
    np.testing.assert_allclose(model.bic(rows), plain.bic(x[there]), rtol=1e-9)
    labels, densities = np.asarray(model.predict(rows)), np.asarray(model.score_samples(rows))
    plain = GaussianMixture.from_parameters(model.weights_, model.means_, model.covariances_)
    np.testing.assert_array_equal(labels == -2, ~there)
    np.testing.assert_array_equal(np.isnan(densities), ~there)
    np.testing.assert_array_equal(labels[there], plain.predict(x[there]))
    assert np.isnan(np.asarray(model.predict_proba(rows))[~there]).all()


@pytest.mark.parametrize("missing", ["drop", "em"])
def test_masked_values_are_missing(missing, x):
    masked = np.ma.masked_invalid(x)
    models = [GaussianMixture(2, random_state=0, missing=missing).fit(one) for one in (x, masked)]
    np.testing.assert_array_equal(models[0].means_, models[1].means_)
    np.testing.assert_array_equal(models[0].predict(masked), models[0].predict(x))
    with pytest.raises(DaskGMMError, match=r"missing='em' that masked values are missing"):
        GaussianMixture(2).fit(masked)


def test_weights_of_dropped_rows_count_for_nothing(x):
    rng = np.random.default_rng(1)
    weight, there = rng.integers(1, 4, len(x)).astype(float), ~np.isnan(x).any(axis=1)
    model = GaussianMixture(2, random_state=0, missing="drop").fit(x, sample_weight=weight)
    plain = GaussianMixture(2, random_state=0).fit(x[there], sample_weight=weight[there])
    np.testing.assert_allclose(model.means_, plain.means_, rtol=1e-7, atol=1e-7)


def test_an_error_names_the_place_and_the_way_on(rows):
    with pytest.raises(DaskGMMError, match=r"missing=.?'?\"?drop"):
        GaussianMixture(2, random_state=0).fit(rows)


def test_a_model_remembers_what_missing_values_are(x, tmp_path):
    data, model = _zarr(x, tmp_path), str(tmp_path / "model.zarr")
    fitted = GaussianMixture(2, random_state=0, missing="drop")
    report = job.fit(data, model, fitted)
    assert (report["n_missing"], report["n_left_out"]) == (fitted.n_missing_,) * 2
    assert "left out" in report["note"]
    loaded = load_model(model)
    assert (loaded.missing, loaded.n_left_out_) == ("drop", fitted.n_left_out_)
    places = {"labels,probabilities": str(tmp_path / "out.zarr")}
    job.predict(data, model, places)
    found = zarr.open_group(places["labels,probabilities"])
    np.testing.assert_array_equal(found["labels"][:], fitted.predict(x))
    np.testing.assert_array_equal(np.isnan(found["probabilities"][:, 0]), np.isnan(x).any(axis=1))
    assert job.score(data, model)["n_rows"] == fitted.n_rows_
    with pytest.raises(DaskGMMError, match="NaN"):
        job.score(data, model, missing="error")


def test_selection_leaves_them_out_too(x):
    found = select(x, range(1, 4), random_state=0, missing="drop")
    assert found.best.n_components == 2
    assert found.model.n_rows_ == len(_complete(x))


def test_rows_all_of_which_have_gaps_are_refused():
    x = np.full((20, 2), np.nan)
    with pytest.raises(DaskGMMError, match="each of the 20 rows has a gap"):
        GaussianMixture(1, missing="drop").fit(x)


# -- rows that count by the values that they have ------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_without_gaps_em_is_that_of_complete_rows(kind, family, x, tmp_path):
    rows = KINDS[kind](_complete(x), tmp_path)
    models = [
        GaussianMixture(2, covariance_type=family, random_state=0, missing=missing).fit(rows)
        for missing in ("error", "em")
    ]
    # Nothing depends on what could have been missing.
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        np.testing.assert_array_equal(*(getattr(model, name) for model in models))
    assert (models[1].n_missing_, models[1].n_left_out_) == (0, 0)


def test_rows_count_by_what_they_have(rows, x):
    nothing, gaps = np.isnan(x).all(axis=1), np.isnan(x).any(axis=1)
    model = GaussianMixture(2, random_state=0, missing="em").fit(rows)
    assert (model.n_rows_, model.n_missing_) == ((~nothing).sum(), gaps.sum())
    assert model.n_left_out_ == nothing.sum() == 2
    assert "count by the values" in model._note
    labels, densities = np.asarray(model.predict(rows)), np.asarray(model.score_samples(rows))
    np.testing.assert_array_equal(labels == -2, nothing)
    np.testing.assert_array_equal(np.isnan(densities), nothing)
    np.testing.assert_allclose(model.score(rows), densities[~nothing].mean(), rtol=1e-12)
    np.testing.assert_allclose(model.score(rows), model.lower_bound_, atol=1e-6)
    total = np.asarray(model.predict_proba(rows)).sum(axis=1)
    np.testing.assert_allclose(total[~nothing], 1.0, rtol=1e-12)
    # p log N is of the rows that count.
    p, n = model._n_parameters(), (~nothing).sum()
    bic = -2 * densities[~nothing].sum() + p * np.log(n)
    np.testing.assert_allclose(model.bic(rows), bic, rtol=1e-12)


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("prior", [None, "auto"])
@pytest.mark.filterwarnings("ignore:not converged", "ignore:.*come from chance")
def test_the_accepted_objective_never_falls(family, stepper, prior, x):
    model = GaussianMixture(
        3,
        covariance_type=family,
        stepper=stepper,
        prior=prior,
        progressive=False,
        init_params="random_from_data",
        tol=1e-9,
        random_state=1,
        missing="em",
    ).fit(x)
    accepted = [i.objective for i in model.history_ if i.accepted]
    assert (np.diff(accepted) >= -1e-12 * np.abs(accepted[-1])).all()


def test_the_estimate_is_near_the_truth(family, x):
    model = GaussianMixture(2, covariance_type=family, random_state=0, missing="em").fit(x)
    order = np.argsort(model.means_[:, 0])
    # 250 rows of each: three standard errors of a mean, of 1.3 at most, are 0.25.
    np.testing.assert_allclose(model.means_[order][0], [0, 0, 0], atol=0.3)
    np.testing.assert_allclose(model.means_[order][1], [6, 10.8, 6], atol=0.3)


def test_a_weight_is_a_repetition(x):
    weight = np.random.default_rng(2).integers(0, 3, len(x)).astype(float)
    how = {"random_state": 0, "missing": "em", "tol": 1e-10}
    model = GaussianMixture(2, **how).fit(x, sample_weight=weight)
    again = GaussianMixture(2, **how).fit(np.repeat(x, weight.astype(int), axis=0))
    np.testing.assert_allclose(model.means_, again.means_, rtol=1e-4)
    np.testing.assert_allclose(model.lower_bound_, again.lower_bound_, rtol=1e-7)


@pytest.mark.parametrize("standardize", [True, "robust"])
def test_rows_are_scaled_by_the_values_that_are_there(standardize, family, x):
    how = {"covariance_type": family, "random_state": 0, "missing": "em", "tol": 1e-10}
    one = GaussianMixture(2, standardize=standardize, **how).fit(x)
    other = GaussianMixture(2, standardize=standardize, **how).fit(x * [1e3, 1.0, 1e-3])
    np.testing.assert_allclose(one.means_ * [1e3, 1.0, 1e-3], other.means_, rtol=1e-5)


REFUSED = {
    "tails": "t",
    "noise": True,
    "truncate": 5,
    "n_projected": 2,
    "constant": "drop",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_all_features_is_refused_in_one_line(name, x):
    n = 300 if name == "truncate" else 2
    model = GaussianMixture(n, missing="em", **{name: REFUSED[name]})
    with pytest.raises(DaskGMMError, match=rf"{name}=.* do not go together: .*; leave") as caught:
        model.fit(x)
    assert "\n" not in str(caught.value)


def test_what_a_model_cannot_say_of_parts_of_rows_is_refused(x):
    model = GaussianMixture(2, random_state=0, missing="em").fit(x)
    for refused in (
        lambda: model.set_threshold(probability=0.01),
        lambda: model.set_threshold(x, quantile=0.01),
        lambda: model.update(x),
        lambda: GaussianMixture(2, tails="t").fit(_complete(x)).set_params(missing="em").predict(x),
    ):
        with pytest.raises(DaskGMMError, match=r"set.*missing='drop'"):
            refused()


@pytest.mark.filterwarnings("ignore:not converged")
def test_cells_of_a_stored_grid_count_by_the_values_that_they_have(x, tmp_path):
    dims, place = ("lat", "lon"), str(tmp_path / "g.zarr")
    cells = {name: (dims, x[:, j].reshape(20, 30)) for j, name in enumerate(NAMES)}
    xr.Dataset(cells).to_zarr(place, consolidated=False)
    grid = open_rows(place, variables=NAMES)
    how = {"missing": "em", "random_state": 0, "max_iter": 5}
    of_rows = GaussianMixture(2, **how).fit(pd.DataFrame(x, columns=NAMES))
    of_grid = GaussianMixture(2, **how).fit(grid)
    np.testing.assert_allclose(of_grid.means_, of_rows.means_, rtol=1e-9)
    assert (of_grid.n_missing_, of_grid.n_left_out_) == (of_rows.n_missing_, 2)
    of_grid.save(tmp_path / "m.zarr")
    labels = np.where(np.isnan(x).all(axis=1), -2, of_grid.predict(pd.DataFrame(x, columns=NAMES)))
    np.testing.assert_array_equal(of_grid.predict(grid).to_numpy().ravel(), labels)
    job.predict(grid, str(tmp_path / "m.zarr"), {"labels": str(tmp_path / "l.zarr")})
    with xr.open_zarr(tmp_path / "l.zarr", mask_and_scale=False) as found:
        np.testing.assert_array_equal(found.labels.to_numpy().ravel(), labels)
    write_imputed(grid, str(tmp_path / "m.zarr"), str(tmp_path / "f.zarr"))
    with xr.open_zarr(tmp_path / "f.zarr") as found:
        filled = of_grid.impute(pd.DataFrame(x, columns=NAMES))
        for name in NAMES:
            np.testing.assert_allclose(found[name].to_numpy().ravel(), filled[name], rtol=1e-12)


GRIDS = {
    "Dataset": lambda grid: grid.to_dataset("feature"),
    "Dataset on Dask": lambda grid: grid.to_dataset("feature").chunk(lat=7, lon=11),
    "DataArray": lambda grid: grid,
    "DataArray on Dask": lambda grid: grid.chunk(lat=7),
}


@pytest.mark.parametrize("missing", ["error", "drop"])
@pytest.mark.parametrize("make", GRIDS.values(), ids=GRIDS)
def test_cells_that_are_left_out_are_counted_lazy_or_not(make, missing, x):
    data = make(xr.DataArray(x.reshape(20, 30, 3), {"feature": NAMES}, ("lat", "lon", "feature")))
    model = GaussianMixture(1, missing=missing, max_iter=1, tol=1.0).fit(data)
    n_left_out = np.isnan(x).any(axis=1).sum()
    assert (model.n_missing_, model.n_left_out_) == (n_left_out, n_left_out)
    assert model.n_rows_ == 600 - n_left_out


@pytest.mark.parametrize("make", GRIDS.values(), ids=GRIDS)
def test_cells_of_xarray_count_by_the_values_that_they_have(make, x):
    """They were refused, with a way out that asked for a store."""
    coords = {"feature": NAMES, "lat": np.arange(20.0)}
    data = make(xr.DataArray(x.reshape(20, 30, 3), coords, ("lat", "lon", "feature"), "v"))
    table = pd.DataFrame(x, columns=NAMES)
    on_cells = xr.DataArray(np.arange(1.0, 21.0), {"lat": data.lat}, ("lat",))
    of_rows = np.repeat(on_cells.to_numpy(), 30)
    how = {"missing": "em", "random_state": 0, "init_params": "random_from_data", "tol": 1e-10}
    for given, expected in ((None, None), (on_cells, of_rows)):
        model = GaussianMixture(2, **how).fit(data, sample_weight=given)
        plain = GaussianMixture(2, **how).fit(table, sample_weight=expected)
        order, other = (np.argsort(one.means_[:, 0]) for one in (model, plain))
        np.testing.assert_allclose(model.means_[order], plain.means_[other], rtol=1e-5, atol=1e-5)
        assert (model.n_missing_, model.n_left_out_) == (plain.n_missing_, 2)
        scores = plain.score(data, sample_weight=given), plain.score(table, sample_weight=expected)
        np.testing.assert_allclose(*scores, rtol=1e-12)
    labels = np.where(np.isnan(x).all(axis=1), -2, plain.predict(table))
    np.testing.assert_array_equal(plain.predict(data).to_numpy().ravel(), labels)
    filled = plain.impute(data)
    assert (type(filled), filled.sizes, filled.chunks) == (type(data), data.sizes, data.chunks)
    values = filled.to_dataarray("feature") if isinstance(filled, xr.Dataset) else filled
    found = values.transpose("lat", "lon", "feature").to_numpy().reshape(x.shape)
    np.testing.assert_allclose(found, plain.impute(table), rtol=1e-12, atol=1e-12)


def test_what_is_no_gap_is_given_back_by_impute_as_it_was():
    """Of another dtype, another order of dimensions, and with attributes."""
    t = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    t[0, :3] = np.nan
    n = np.arange(200).reshape(40, 5)
    data = xr.Dataset({"t": (("y", "x"), t, {"units": "K"}), "n": (("x", "y"), n)})
    model = GaussianMixture(1, missing="em").fit(data)
    filled = model.impute(data)
    xr.testing.assert_identical(filled.n, data.n)
    assert (filled.t.dtype, filled.t.attrs, filled.t.dims) == (
        np.float32,
        {"units": "K"},
        ("y", "x"),
    )
    np.testing.assert_array_equal(filled.t.to_numpy()[1:], t[1:])
    assert not filled.t.isnull().any()


def test_cells_of_a_grid_that_have_gaps_are_left_out(x):
    grid = xr.DataArray(x.reshape(20, 30, 3), dims=("lat", "lon", "feature"))
    dropped = GaussianMixture(2, missing="drop", random_state=0).fit(grid)
    np.testing.assert_array_equal(dropped.predict(grid) == -2, np.isnan(grid).any("feature"))


def test_a_column_of_gaps_is_refused(x):
    empty = np.where([False, True, False], np.nan, x)
    with pytest.raises(DaskGMMError, match="column 1 has no value in any row"):
        GaussianMixture(2, missing="em").fit(empty)


def test_selection_counts_them_by_what_they_have(x):
    found = select(x, range(1, 4), random_state=0, missing="em")
    assert found.best.n_components == 2
    assert found.model.n_rows_ == len(x) - 2


@pytest.mark.slow
def test_each_candidate_of_many_rows_is_fitted_to_a_sample_with_gaps():
    """A start that was fitted to values drawn in place of gaps ruled the right number out."""
    rng = np.random.default_rng(0)
    n = 120_000  # a fifth more than a sample holds
    x = rng.normal(size=(n, 3)) + 4 * np.array([[0, 0, 0], [1, 1, 1], [2, 0, 1]])[np.arange(n) % 3]
    x[rng.random(x.shape) < 0.05] = np.nan
    found = select(x, range(2, 5), random_state=0, missing="em")
    assert found.best.n_components == 3


def test_a_model_of_rows_with_gaps_takes_such_rows_by_default(x, tmp_path):
    data, model = _zarr(x, tmp_path), str(tmp_path / "model.zarr")
    fitted = GaussianMixture(2, random_state=0, missing="em")
    report = job.fit(data, model, fitted)
    assert (report["n_missing"], report["n_left_out"]) == (fitted.n_missing_, 2)
    places = {"labels,probabilities,top:2": str(tmp_path / "out.zarr")}
    job.predict(data, model, places)
    found = zarr.open_group(str(tmp_path / "out.zarr"))
    np.testing.assert_array_equal(found["labels"][:], fitted.predict(x))
    np.testing.assert_array_equal(found["top_labels"][:, 0], fitted.predict(x))
    assert job.score(data, model)["n_rows"] == len(x) - 2
    dropped = job.score(data, model, missing="drop")
    assert dropped["n_rows"] == len(_complete(x))


def test_a_fit_goes_on_from_its_checkpoint_to_the_same_bits(x, tmp_path):
    data = _zarr(x, tmp_path)
    how = {"random_state": 0, "missing": "em", "covariance_type": "tied", "tol": 1e-9}
    whole = GaussianMixture(3, **how).fit(data)
    kept = GaussianMixture(3, checkpoint=tmp_path / "kept", **how).fit(data)
    again = GaussianMixture(3, checkpoint=tmp_path / "kept", resume=True, **how).fit(data)
    for model in (kept, again):
        np.testing.assert_array_equal(model.means_, whole.means_)
        assert model.n_missing_ == whole.n_missing_


# -- imputing -----------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [False, True])
def test_imputed_rows_come_in_the_container_of_the_rows(rows, x, draw):
    model = GaussianMixture(2, random_state=0, missing="em").fit(rows)
    found = model.impute(rows, draw=draw)
    lazy = isinstance(rows, da.Array | str)  # paths are stored rows
    assert isinstance(found, da.Array if lazy else type(rows))
    if isinstance(rows, pd.DataFrame):
        assert list(found.columns) == NAMES
        assert found.index.equals(rows.index)
    values = found.to_pandas() if isinstance(found, pa.Table) else found
    values = np.asarray(values)
    there, nothing = ~np.isnan(x), np.isnan(x).all(axis=1)
    np.testing.assert_array_equal(values[there], x[there])
    np.testing.assert_array_equal(np.isnan(values).any(axis=1), nothing)
    expected = GaussianMixture(2, random_state=0, missing="em").fit(x).impute(x, draw=draw)
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)


def test_draws_depend_on_the_seed_and_the_row_and_not_on_chunks(x):
    model = GaussianMixture(2, random_state=0, missing="em").fit(x)
    whole = model.impute(x, draw=True)
    parts = model.impute(da.from_array(x, chunks=(77, 3)), draw=True).compute()
    np.testing.assert_allclose(whole, parts, rtol=1e-8, atol=1e-8)  # patterns may go another way
    other = model.set_params(random_state=1).impute(x, draw=True)
    gaps = np.isnan(x) & ~np.isnan(x).all(axis=1, keepdims=True)
    assert (whole != other)[gaps].all()


def test_a_dask_dataframe_is_imputed_by_partition(x):
    frame = pd.DataFrame(x, columns=NAMES, index=np.arange(len(x)) + 5)
    model = GaussianMixture(2, random_state=0, missing="em").fit(frame)
    lazy = model.impute(dd.from_pandas(frame, npartitions=3))
    pd.testing.assert_frame_equal(lazy.compute(), model.impute(frame))
    with pytest.raises(DaskGMMError, match="draw=True needs the index of each row"):
        model.impute(dd.from_pandas(frame, npartitions=3), draw=True)


def test_float32_stays_and_models_without_such_a_density_are_refused(x):
    model = GaussianMixture(2, random_state=0, missing="em").fit(x)
    assert model.impute(x.astype(np.float32)).dtype == np.float32
    tailed = GaussianMixture(2, tails="t", random_state=0).fit(_complete(x))
    with pytest.raises(DaskGMMError, match="impute needs"):
        tailed.impute(x)


@pytest.mark.parametrize("missing", ["drop", "em"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_rows_that_are_left_out_are_not_among_those_of_the_fit(missing, is_weighted):
    """With weights, they were: the note of a fit then told of more rows than there are."""
    x = np.random.default_rng(0).normal(size=(200, 2))
    x[:10, 0] = np.nan
    x[5:8] = np.nan
    weights = np.full(len(x), 2.0) if is_weighted else None
    model = GaussianMixture(2, random_state=0, missing=missing).fit(x, sample_weight=weights)
    left_out = {"drop": 10, "em": 3}[missing]
    assert (model.n_rows_, model.n_left_out_) == (200 - left_out, left_out)
    assert "10 of 200 rows have missing values" in model._note


@pytest.mark.parametrize(
    ("missing", "said"), [("drop", "without gaps"), ("em", "that have a value")]
)
def test_too_few_rows_are_called_what_they_are(missing, said):
    x = np.random.default_rng(0).normal(size=(60, 2))
    x[:50, 0] = np.nan
    x[:5] = np.nan
    with pytest.raises(DataError, match=f"the rows {said} of 60"):
        GaussianMixture(58, random_state=0, missing=missing).fit(x)


@pytest.mark.parametrize("missing", ["drop", "em"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_rows_that_are_left_out_are_not_among_those_of_a_score(missing, is_weighted, tmp_path):
    """With weights, they were."""
    x = np.random.default_rng(0).normal(size=(200, 2))
    x[:10, 0] = np.nan
    x[5:8] = np.nan
    left_out = {"drop": 10, "em": 3}[missing]
    weights = np.full(len(x), 2.0) if is_weighted else None
    model = GaussianMixture(2, random_state=0, missing=missing).fit(x)
    for rows in (x, da.from_array(x, chunks=(30, 2))):
        found = model.criteria(rows, weights)
        assert found.n_rows == 200 - left_out
        assert found.weight == (2.0 if is_weighted else 1.0) * (200 - left_out)
    model.save(tmp_path / "m.zarr")
    assert job.score(x, str(tmp_path / "m.zarr"), sample_weight=weights)["n_rows"] == 200 - left_out
    with pytest.raises(DaskGMMError, match="each of the 3 rows has a gap"):
        model.criteria(x[5:8], None if weights is None else weights[5:8])


@pytest.mark.parametrize("seed", range(3))
def test_clusters_are_found_whose_rows_have_gaps_in_what_tells_them_apart(seed):
    """Values that one Gaussian draws for what is missing lie between the clusters."""
    rng = np.random.default_rng(seed)
    means = np.array([[28, 34.5, 0.08], [8, 33, 1], [4, 34, 1.2], [19, 36, 0.14]])
    widths = np.array([[1, 0.4, 0.03], [2.5, 0.5, 0.4], [2, 0.15, 0.5], [2.5, 0.3, 0.06]])
    label = rng.choice(4, 6000, p=[0.2, 0.2, 0.2, 0.4])
    x = means[label] + widths[label] * rng.normal(size=(6000, 3))
    x[rng.random(6000) < 0.2, 2] = np.nan
    how = {"missing": "em", "random_state": seed}
    best = GaussianMixture(4, means_init=means, **how).fit(x).lower_bound_
    assert GaussianMixture(4, **how).fit(x).lower_bound_ > best - 1e-3


@pytest.mark.parametrize("family", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("draw", [False, True])
def test_rows_without_a_value_stay_missing_whatever_is_beside_them(family, draw):
    """Of diagonal components, a block all of whose rows with gaps were such ones was a traceback."""
    x = np.random.default_rng(0).normal(size=(200, 2))
    x[10] = np.nan
    model = GaussianMixture(2, covariance_type=family, missing="em", random_state=0).fit(x)
    for rows in (x, da.from_array(x, chunks=(5, 2)), np.full((3, 2), np.nan)):
        found = np.asarray(model.impute(rows, draw=draw))
        np.testing.assert_array_equal(found, np.asarray(rows))
