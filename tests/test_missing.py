"""Missing values: rows with gaps are left out, and come back as gaps, for every kind of rows."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from daskgmm import GaussianMixture, job, load_model, select
from daskgmm.errors import DaskGMMError

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Rows of two groups, (600, 3); a tenth of the values are missing, and all of rows 7 and 8."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (300, 3)), rng.normal(6, 1, (300, 3))])
    x[:, 1] += 0.8 * x[:, 0]
    x = rng.permutation(x)
    x[rng.random(x.shape) < 0.1] = np.nan
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
    np.testing.assert_array_equal(labels == -2, ~there)
    np.testing.assert_array_equal(np.isnan(densities), ~there)
    np.testing.assert_array_equal(labels[there], model.predict(x[there]))
    assert np.isnan(np.asarray(model.predict_proba(rows))[~there]).all()


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
