"""``daskgmm outliers``, and ``predict`` by the threshold that it leaves in a model.

Asserted: values against the estimator; names, fills and attributes as xarray reads them; that all
is refused before a read, and nothing is left half done. The quantile itself is tested elsewhere.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from commands import chunk, forked, tree

from daskgmm import load_model
from daskgmm.outliers import write_outliers

pytestmark = pytest.mark.slow  # whole commands; tests/test_outliers.py has their parts

OUTLIERS = ("outliers", "data.zarr", "--model", "model.zarr", "--output", "out.zarr")


def test_a_share_of_the_rows_are_outliers(folder, x):
    done = forked(*OUTLIERS, "--quantile", "0.002", "--json", cwd=folder)
    told = done.json
    assert (told["n_rows"], told["n_outliers"], told["rank_error"]) == (len(x), 20, 0)
    assert (told["threshold_of"], told["share"]) == ("log_density", 0.002)
    found = xr.open_zarr(folder / "out.zarr")
    assert {name: v.dims for name, v in found.data_vars.items()} == {
        "outlier": ("row",),
        "log_density": ("row",),
    }
    densities = load_model(folder / "model.zarr").score_samples(x)
    np.testing.assert_allclose(found.log_density, densities, rtol=1e-12)
    np.testing.assert_array_equal(found.outlier == 1, densities < told["threshold"])
    outlier = zarr.open_array(folder / "out.zarr/outlier", mode="r")
    assert outlier.dtype == np.int8
    assert outlier.attrs["flag_values"] == [0, 1]
    assert outlier.attrs["flag_meanings"] == "inlier outlier"
    assert outlier.attrs["threshold"] == told["threshold"]
    assert "threshold" not in zarr.open_group(folder / "model.zarr", mode="r").attrs


def test_a_hundredth_are_outliers_where_nothing_is_said(folder, x):
    done = forked(*OUTLIERS, cwd=folder)
    assert done.stdout.startswith(f"outliers                100 of {len(x):,} rows\nthreshold")
    assert "log_density below" in done.stdout
    assert "asked for 0.01, exact" in done.stdout


def test_by_a_probability_the_distance_is_written(folder, x):
    told = forked(*OUTLIERS, "--probability", "0.01", "--json", cwd=folder).json
    assert (told["threshold_of"], told["rank_error"]) == ("squared_distance", None)
    found = xr.open_zarr(folder / "out.zarr")
    assert set(found.data_vars) == {"outlier", "squared_distance"}
    np.testing.assert_array_equal(found.outlier == 1, found.squared_distance > told["threshold"])
    # rows are of the mixture that was fitted: binomial, 5 standard deviations
    n = len(x)
    assert abs(told["n_outliers"] - 0.01 * n) < 5 * np.sqrt(0.01 * n)


def test_a_model_keeps_its_threshold_and_all_else(folder, x):
    before = zarr.open_group(folder / "model.zarr", mode="r")
    attributes, weights = dict(before.attrs), before["weights"][...]
    statistics = before["statistics_second"][...]
    told = forked(*OUTLIERS, "--quantile", "0.003", "--save-threshold", "--json", cwd=folder).json
    after = zarr.open_group(folder / "model.zarr", mode="r")
    assert after.attrs["threshold"]["value"] == told["threshold"]
    assert {k: v for k, v in after.attrs.items() if k != "threshold"} == attributes
    np.testing.assert_array_equal(after["weights"][...], weights)
    np.testing.assert_array_equal(after["statistics_second"][...], statistics)
    # It then holds wherever nothing else is said.
    again = forked(*OUTLIERS, "--overwrite", "--json", cwd=folder).json
    assert (again["threshold"], again["n_outliers"]) == (told["threshold"], 30)
    predict = ("predict", "data.zarr", "--model", "model.zarr", "--mark-outliers")
    assert forked(*predict, "--output", "labels.zarr", cwd=folder).status == 0
    labels = zarr.open_array(folder / "labels.zarr/labels", mode="r")
    outlier = zarr.open_array(folder / "out.zarr/outlier", mode="r")
    np.testing.assert_array_equal(labels[...] == -1, outlier[...] == 1)
    assert labels.attrs["flag_values"] == [-1, 0, 1, 2]
    assert forked("info", "model.zarr", "--json", cwd=folder).json["threshold"]["share"] == 0.003


def test_weights_count(folder, x):
    weight = np.where(np.arange(len(x)) < 5000, 2.0, 0.0)
    np.save(folder / "w.npy", weight)
    told = forked(*OUTLIERS, "--quantile", "0.1", "--weights", "w.npy", "--json", cwd=folder).json
    densities = load_model(folder / "model.zarr").score_samples(x[:5000])
    assert (densities < told["threshold"]).sum() == 500
    assert told["n_outliers"] == (xr.open_zarr(folder / "out.zarr").outlier == 1).sum()
    told = forked(*OUTLIERS, "--overwrite", "--weights", "w.npy", "--json", cwd=folder).json
    assert (densities < told["threshold"]).sum() == 50  # the hundredth that is the default


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quantile", "2"], "must be a number above 0 and below 1"),
        (["--quantile", "0.1", "--probability", "0.1"], "give --quantile or --probability"),
        (["--probability", "0.1", "--weights", "w.npy"], "a probability needs no weights"),
        (["--keep", "id"], "keep copies columns of Parquet rows"),
    ],
)
def test_what_contradicts_itself_is_refused(folder, x, words, message):
    np.save(folder / "w.npy", np.ones(len(x)))
    before = tree(folder)
    refused = forked(*OUTLIERS, *words, cwd=folder)
    assert refused.status == 2
    assert message in refused.error
    assert tree(folder) == before


def test_places_lie_apart_and_are_not_replaced(folder):
    before = tree(folder)
    for place in ("model.zarr/out", "data.zarr"):
        refused = forked(*OUTLIERS[:-1], place, cwd=folder)
        assert refused.status == 2
        assert "must lie apart" in refused.error
    (folder / "out.zarr").mkdir()
    (folder / "out.zarr/mine").write_text("x")
    assert forked(*OUTLIERS, cwd=folder).status == 1
    assert set(tree(folder)) - set(before) == {"out.zarr", "out.zarr/mine"}


def test_predict_needs_a_threshold(folder):
    predict = ("predict", "data.zarr", "--model", "model.zarr", "--output", "labels.zarr")
    refused = forked(*predict, "--mark-outliers", cwd=folder)
    assert refused.status == 2
    assert "model.zarr has no threshold for outliers" in refused.error
    assert "--save-threshold" in refused.error
    assert not (folder / "labels.zarr").exists()


def test_a_read_that_fails_leaves_no_output_and_no_threshold(folder):
    damaged = chunk(folder / "data.zarr", 7)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    before = tree(folder)
    assert forked(*OUTLIERS, "--save-threshold", cwd=folder).status == 1
    assert tree(folder) == before


# -- Parquet and grids ------------------------------------------------------------------------


def test_parquet_keeps_keys_beside_what_is_written(folder, x):
    frame = pd.DataFrame(x.astype(np.float64), columns=["a", "b", "c"][: x.shape[1]])
    names = list(frame.columns)
    frame["id"] = [f"row {i}" for i in range(len(x))]
    frame.to_parquet(folder / "rows.parquet")
    fit = ("fit", "rows.parquet", "--columns", ",".join(names), "--components", "3")
    assert forked(*fit, "--max-iter", "0", "--output", "named.zarr", cwd=folder).status == 0
    words = ("outliers", "rows.parquet", "--model", "named.zarr", "--output", "out.parquet")
    told = forked(*words, "--keep", "id", "--json", cwd=folder).json
    found = pd.read_parquet(folder / "out.parquet")
    assert list(found.columns) == ["id", "outlier", "log_density"]
    assert found["outlier"].dtype == np.int8
    assert found["outlier"].sum() == told["n_outliers"] == 100
    assert found["id"].tolist() == frame["id"].tolist()
    words = (*words[:-1], "only.parquet", "--only", "--keep", "id")
    assert forked(*words, "--json", cwd=folder).json["n_outliers"] == 100
    few = pd.read_parquet(folder / "only.parquet")
    expected = found[found["outlier"] == 1]
    assert list(few.columns) == ["id", "outlier", "log_density", "row"]
    assert few["row"].tolist() == expected.index.tolist()
    pd.testing.assert_frame_equal(few.drop(columns="row"), expected.reset_index(drop=True))


def test_the_outliers_alone_are_not_for_zarr(folder):
    before = tree(folder)
    refused = forked(*OUTLIERS, "--only", cwd=folder)
    assert refused.status == 2
    assert "a name that ends in .parquet" in refused.error
    assert tree(folder) == before


def test_cells_of_a_grid(folder):
    rng = np.random.default_rng(0)
    t, s = rng.standard_normal((2, 20, 50))
    t[3, 4] = np.nan
    ocean = xr.Dataset({"t": (("lat", "lon"), t), "s": (("lat", "lon"), s)})
    ocean.chunk(lat=5).to_zarr(folder / "ocean.zarr", consolidated=False)
    grid = ("ocean.zarr", "--variables", "t,s")
    fit = ("fit", *grid, "--components", "2", "--max-iter", "0", "--output", "two.zarr")
    assert forked(*fit, cwd=folder).status == 0
    words = ("outliers", *grid, "--model", "two.zarr", "--output", "out.zarr")
    told = forked(*words, "--quantile", "0.1", "--json", cwd=folder).json
    assert told["n_rows"] == 999  # without cells that have a gap, as those of land
    found = zarr.open_group(folder / "out.zarr", mode="r")
    outlier = found["outlier"][...]
    assert outlier.dtype == np.int8
    assert outlier.shape == (20, 50)
    assert outlier[3, 4] == -2
    assert np.isnan(found["log_density"][3, 4])
    # of the 999 cells without a gap
    assert (outlier == 1).sum() == told["n_outliers"] == 99


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("kind", ["rows.zarr", "rows.parquet"])
def test_rows_that_are_left_out_are_not_counted(kind, folder, x):
    """They were among the rows of which so many are outliers."""
    names, rows = ["a", "b", "c"][: x.shape[1]], x.copy()
    rows[::10, 0] = np.nan
    if kind == "rows.zarr":
        zarr.create_array(folder / kind, data=rows, chunks=(1000, rows.shape[1]))
    else:
        pd.DataFrame(rows, columns=names).to_parquet(folder / kind)
    model = load_model(folder / "model.zarr").set_params(missing="drop")
    model.save(folder / "drop.zarr")
    output = str(folder / "out.zarr")
    told = write_outliers(
        str(folder / kind), str(folder / "drop.zarr"), output, choice={"quantile": 0.1}
    )
    outlier = zarr.open_array(f"{output}/outlier", mode="r")[...]
    assert (outlier == -2).sum() == len(rows[::10])
    assert told["n_rows"] == len(rows) - len(rows[::10])
    assert told["n_outliers"] == (outlier == 1).sum()


def test_a_model_of_rows_with_gaps_judges_those_without(folder, x):
    """It was refused with a parameter of Python, which the command had no option for."""
    rows = x.copy()
    rows[::10, 0] = np.nan
    zarr.create_array(folder / "gaps.zarr", data=rows, chunks=(1000, rows.shape[1]))
    load_model(folder / "model.zarr").set_params(missing="em").save(folder / "em.zarr")
    words = ("outliers", "gaps.zarr", "--model", "em.zarr", "--output", "out.zarr", "--json")
    done = forked(*words, cwd=folder)
    way = re.search(r"\((--missing) (drop)\)", done.error)
    found = forked(*words, *way.groups(), "--save-threshold", cwd=folder).json
    assert found["n_rows"] == len(rows) - len(rows[::10])
    marked = ("--mark-outliers", *way.groups(), "--output", "labels.zarr", "--json")
    assert forked("predict", "gaps.zarr", "--model", "em.zarr", *marked, cwd=folder).status == 0
    labels = zarr.open_array(folder / "labels.zarr/labels", mode="r")[...]
    assert (labels == -1).sum() == found["n_outliers"]


def test_from_python(folder, x):
    data, model = str(folder / "data.zarr"), str(folder / "model.zarr")
    told = write_outliers(data, model, str(folder / "out.zarr"), choice={"quantile": 0.1})
    assert told["n_outliers"] == 1000
    assert json.dumps(told["threshold"])
