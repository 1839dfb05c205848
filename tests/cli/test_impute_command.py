"""``daskgmm impute``: rows of every kind of store, filled as ``GaussianMixture.impute`` fills them.

Asserted: the same numbers as in memory; the output is rows, with their names and dtype; it is whole
or not there; what cannot be imputed is refused before a read.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from commands import mixture_rows

from daskgmm import GaussianMixture, load_model, open_rows
from daskgmm.cli import main

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Rows of which a third have a gap, and one has no value."""
    x = mixture_rows(600, 3, 2).astype(np.float32)
    x[::3, 0] = x[1::6, 2] = np.nan
    x[7] = np.nan
    x.flags.writeable = False
    return x


@pytest.fixture(scope="module")
def made(x, tmp_path_factory):
    """The rows in each format, and a model of them."""
    made = tmp_path_factory.mktemp("made")
    frame = pd.DataFrame(x, columns=NAMES)
    options = {"missing": "em", "random_state": 0, "max_iter": 3, "tol": 1.0}
    GaussianMixture(2, **options).fit(frame).save(made / "m.zarr")
    zarr.create_array(made / "x.zarr", data=x, chunks=(100, 3))
    frame.astype(np.float64).to_csv(made / "x.csv", index=False)
    frame.to_parquet(made / "x.parquet")
    return made


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def run(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("draw", [(), ("--draw", "--seed", 3)])
@pytest.mark.parametrize("data", ["x.zarr", "x.csv", "x.parquet"])
def test_rows_are_those_that_impute_gives(data, draw, x, folder):
    done = run("impute", data, "--model", "m.zarr", "--output", "filled.zarr", "--json", *draw)
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    # The row without any value stays as it is.
    assert (said["n_rows"], said["n_filled"]) == (600, np.isnan(x).sum() - 3)
    model = load_model("m.zarr")
    # Text and Parquet of NumPy's NaN come as float64 and float32.
    dtype = np.float64 if data == "x.csv" else np.float32
    rows = pd.DataFrame(x.astype(dtype), columns=NAMES)
    expected = model.set_params(random_state=3).impute(rows, draw=bool(draw)).to_numpy()
    found = open_rows("filled.zarr")
    assert (found.feature_names, found.dtype) == (tuple(NAMES), dtype)
    np.testing.assert_array_equal(found.read(0, 600), expected)
    assert np.isnan(expected).any(axis=1).tolist() == [row == 7 for row in range(600)]


def test_cells_of_a_grid_are_counted_as_rows_are(x, folder):
    cells = xr.Dataset({n: (("lat", "lon"), x[:, i].reshape(20, 30)) for i, n in enumerate(NAMES)})
    cells.chunk(lat=7).to_zarr("grid.zarr", zarr_format=2)
    words = ("grid.zarr", "--variables", "a,b,c", "--model", "m.zarr", "--output", "filled.zarr")
    done = run("impute", *words, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["n_filled"] == np.isnan(x).sum() - 3


def test_a_grid_comes_back_with_its_variables_names_units_and_coordinates(x, folder):
    values = {n: x[:, i].reshape(20, 30) for i, n in enumerate(NAMES)}
    cells = xr.Dataset(
        {n: (("lat", "lon"), v, {"units": f"{n}^2"}) for n, v in values.items()},
        {"lat": np.linspace(-40.0, 40.0, 20), "lon": np.arange(30.0)},
    )
    cells["c"] = cells["c"].transpose("lon", "lat")
    cells.chunk(lat=7).to_zarr("grid.zarr", zarr_format=2)
    words = ("grid.zarr", "--variables", "a,b,c", "--model", "m.zarr", "--output", "filled.zarr")
    done = run("impute", *words)
    assert done.exit_code == 0, done.stderr
    found = xr.open_zarr("filled.zarr")
    expected = load_model("m.zarr").impute(cells.chunk(lat=7))
    xr.testing.assert_allclose(found, expected)
    assert all(found[n].dims == cells[n].dims for n in NAMES)
    assert all(found[n].attrs == cells[n].attrs and found[n].dtype == x.dtype for n in NAMES)
    # They are rows that a fit takes again.
    words = ("--variables", "a,b,c", "--components", 1, "--output", "n.zarr", "--mask", "there")
    there = found["a"].notnull()
    found.load().assign(there=there).to_zarr("again.zarr", consolidated=False)
    done = run("fit", "again.zarr", *words)
    assert done.exit_code == 0, done.stderr


def test_features_along_a_dimension_are_along_one(x, folder):
    bands = xr.DataArray(
        x.reshape(20, 30, 3),
        {"y": np.arange(20.0), "band": NAMES},
        ("y", "x", "band"),
        "radiance",
        {"units": "W m-2"},
    )
    bands.to_dataset().to_zarr("bands.zarr", zarr_format=2)
    words = ("bands.zarr", "--variables", "radiance", "--feature-dim", "band")
    done = run("fit", *words, "--missing", "em", "--components", 2, "--output", "bands_model.zarr")
    assert done.exit_code == 0, done.stderr
    done = run("impute", "bands.zarr", "--model", "bands_model.zarr", "--output", "filled.zarr")
    assert done.exit_code == 0, done.stderr
    found = xr.open_zarr("filled.zarr")["x"]
    assert found.dims == ("y", "x", "feature")
    assert found["feature"].to_numpy().tolist() == [f"radiance_{n}" for n in NAMES]
    assert found["units"].to_numpy().tolist() == ["W m-2"] * 3
    is_there = ~np.isnan(bands.to_numpy())
    np.testing.assert_array_equal(found.to_numpy()[is_there], bands.to_numpy()[is_there])
    assert np.isnan(found.to_numpy()).sum() == 3


def test_rows_without_names_have_none(x, folder):
    GaussianMixture(1, missing="em", max_iter=1, tol=1.0).fit(x).save("plain.zarr")
    done = run("impute", "x.zarr", "--model", "plain.zarr", "--output", "filled.zarr")
    assert done.exit_code == 0, done.stderr
    assert open_rows("filled.zarr").feature_names is None
    GaussianMixture(1).fit(open_rows("filled.zarr").read(8, 600))


@pytest.mark.parametrize("data", ["x.csv", "x.parquet"])
def test_keys_are_kept_beside_filled_rows_in_parquet(data, x, folder):
    keys = [f"row {i}" for i in range(600)]  # text, which is no feature of the model
    frame = pd.DataFrame(x.astype(np.float64), columns=NAMES).assign(key=keys)
    frame.to_csv("x.csv", index=False) if data == "x.csv" else frame.to_parquet("x.parquet")
    words = (data, "--model", "m.zarr", "--output", "filled.parquet")
    done = run("impute", *words, "--keep", "key")
    assert done.exit_code == 0, done.stderr
    expected = load_model("m.zarr").impute(frame[NAMES])
    found = pd.read_parquet("filled.parquet")
    pd.testing.assert_frame_equal(found[NAMES], expected)
    assert found["key"].tolist() == keys
    done = run("impute", *words, "--keep", "a", "--overwrite")
    assert "the name of a column of results; leave it out" in done.stderr


def test_what_cannot_be_is_refused_before_a_read(x, folder):
    GaussianMixture(1, noise=True, max_iter=1, tol=1.0).fit(np.nan_to_num(x)).save("noise.zarr")
    for words, said in (
        (("x.zarr", "--model", "noise.zarr", "--output", "filled.zarr"), "impute needs a density"),
        (("x.zarr", "--model", "m.zarr", "--output", "filled.parquet"), "name it filled.zarr"),
        (("x.zarr", "--model", "m.zarr", "--output", "x.zarr", "--overwrite"), "overlap"),
        (("x.zarr", "--model", "m.zarr", "--output", "m.zarr"), "overlap"),
    ):
        before = sorted(folder.rglob("*"))
        done = run("impute", *words)
        assert done.exit_code != 0
        assert said in done.stderr
        assert sorted(folder.rglob("*")) == before


def test_an_output_is_whole_or_not_there(x, folder):
    bad = x.copy()
    bad[590, 1] = np.inf
    zarr.create_array("bad.zarr", data=bad, chunks=(100, 3))
    before = sorted(folder.rglob("*"))
    done = run("impute", "bad.zarr", "--model", "m.zarr", "--output", "filled.zarr")
    assert done.exit_code == 1
    assert "row 590" in done.stderr
    assert sorted(folder.rglob("*")) == before
