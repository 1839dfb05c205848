"""Variables chosen from grids: by name, along a dimension, behind a mask, in memory and stored."""

from __future__ import annotations

import json
import shutil

import dask
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from commands import forked

from daskgmm import GaussianMixture, job, load_model, open_rows, select
from daskgmm.cli import main
from daskgmm.errors import DamagedDataError, DataError, MemoryLimitError, ParameterError
from daskgmm.events import Message, listening

DIMS = ("time", "lat", "lon")
SIZES = (4, 6, 50)
PLAIN = {"random_state": 0, "progressive": False}
"""For what is asked of cells as rows, wherever fits of them begin."""


@pytest.fixture(scope="module")
def ocean():
    """Profiles of two variables, a surface field, areas by latitude, and a mask of the sea."""
    rng = np.random.default_rng(0)
    shift = 4 * (rng.random(SIZES) < 0.4)
    temp = rng.normal(size=(*SIZES, 3)) + shift[..., None] - np.arange(3)
    salt = rng.normal(size=(*SIZES, 3))
    temp[0, 1, 2, 1] = np.nan
    coords = {"lat": np.linspace(-50, 50, 6), "level": [0.0, 10.0, 100.0], "time": np.arange(4)}
    variables = {
        "temp": ((*DIMS, "level"), temp, {"units": "degC"}),
        "salt": ((*DIMS, "level"), salt),
        "ice": (DIMS, rng.normal(size=SIZES)),
        "sea": (("lat", "lon"), rng.random(SIZES[1:]) < 0.7),
        "area": (("lat",), np.cos(np.deg2rad(coords["lat"]))),
        "when": (("time",), np.arange(4).astype("M8[D]").astype("M8[ns]")),
    }
    return xr.Dataset(variables, coords)


@pytest.fixture(scope="module")
def stored(ocean, tmp_path_factory):
    path = tmp_path_factory.mktemp("grids") / "ocean.zarr"
    chunks = {"temp": (2, 3, 50, 2), "salt": (2, 3, 50, 2), "ice": (2, 3, 50)}
    ocean.to_zarr(
        path, consolidated=False, encoding={name: {"chunks": c} for name, c in chunks.items()}
    )
    return path


def _table(ocean, names=("temp", "salt"), *, masked=False):
    """Complete cells as rows, by NumPy alone, and where they are."""
    parts = [ocean[name].to_numpy().reshape(np.prod(SIZES), -1) for name in names]
    x = np.concatenate(parts, axis=1)
    there = ~np.isnan(x).any(axis=1)
    if masked:
        there &= np.broadcast_to(ocean.sea.to_numpy(), SIZES).ravel()
    return x[there], there.reshape(SIZES)


def _means(model):
    return model.means_[np.argsort(model.weights_)]


@pytest.mark.parametrize("masked", [False, True], ids=["all cells", "behind a mask"])
@pytest.mark.parametrize("where", ["in memory", "stored"])
def test_values_along_a_dimension_are_features(where, masked, ocean, stored):
    how = {"variables": ["temp", "salt"], "feature_dim": "level"}
    how |= {"mask": "sea"} if masked else {}
    data = open_rows(ocean if where == "in memory" else stored, **how)
    rows, there = _table(ocean, masked=masked)
    expected = GaussianMixture(2, **PLAIN).fit(rows)
    model = GaussianMixture(2, **PLAIN).fit(data)
    assert model.n_rows_ == len(rows)
    names = ["temp_0", "temp_10", "temp_100", "salt_0", "salt_10", "salt_100"]
    assert list(model.feature_names_in_) == names
    np.testing.assert_allclose(_means(model), _means(expected), atol=0.02)
    labels, density = model.predict(data), model.score_samples(data)
    assert labels.dims == DIMS
    np.testing.assert_array_equal(labels.lat, ocean.lat)
    np.testing.assert_array_equal(labels == -2, ~there)
    np.testing.assert_allclose(
        density.to_numpy()[there],
        model.from_parameters(model.weights_, model.means_, model.covariances_).score_samples(rows),
    )


def test_one_variable_and_one_array_along_a_dimension(ocean):
    expected = _table(ocean, ["temp"])[0].mean(axis=0)
    for data in (ocean[["temp"]], ocean.temp, ocean.temp.transpose("level", ...)):
        model = GaussianMixture(1).fit(open_rows(data, feature_dim="level"))
        np.testing.assert_allclose(model.means_[0], expected, rtol=1e-12)


def test_a_variable_without_the_dimension_is_one_feature(ocean):
    data = open_rows(ocean, variables=["ice", "temp"], feature_dim="level")
    model = GaussianMixture(1).fit(data)
    assert list(model.feature_names_in_) == ["ice", "temp_0", "temp_10", "temp_100"]
    expected = _table(ocean, ["ice", "temp"])[0].mean(axis=0)
    np.testing.assert_allclose(model.means_[0], expected, rtol=1e-12)


def test_variables_in_place_of_their_values_along_a_dimension_are_told_the_way(ocean):
    variables = ["temp", "salt"]
    model = GaussianMixture(1).fit(open_rows(ocean, variables=variables, feature_dim="level"))
    with pytest.raises(DataError, match="along a dimension") as refused:
        model.predict(ocean[variables])
    way = str(refused.value).partition("give ")[2].strip().rstrip(".")
    assert way == "open_rows(X, variables=['temp', 'salt'], feature_dim=...)"
    labels = model.predict(
        eval(way.replace("...", "'level'"), {"open_rows": open_rows, "X": ocean})
    )
    assert labels.shape == ocean.ice.shape


def test_packed_variables_are_decoded(ocean, tmp_path):
    packed = {"dtype": "i2", "scale_factor": 0.001, "add_offset": 1.0, "_FillValue": -32768}
    how = {"temp": packed, "ice": packed}
    ocean[["temp", "ice"]].to_zarr(tmp_path / "p.zarr", consolidated=False, encoding=how)
    data = open_rows(tmp_path / "p.zarr", variables=["ice", "temp"], feature_dim="level")
    model = GaussianMixture(1).fit(data)
    rows = _table(ocean, ["ice", "temp"])[0]
    assert model.n_rows_ == len(rows)
    np.testing.assert_allclose(model.means_[0], rows.mean(axis=0), atol=1e-3)


def test_nothing_is_read_before_it_is_asked_for(stored, tmp_path):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(stored, copy)
    data = open_rows(copy, variables=["ice"])
    shutil.rmtree(copy / "ice" / "c")
    with pytest.raises(DamagedDataError, match=r"ice: 4 of 4 chunks are missing"):
        GaussianMixture(1).fit(data)


def test_a_chunk_that_is_damaged_is_named_and_no_gap(stored, tmp_path):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(stored, copy)
    chunk = copy / "ice" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-9] + b"123456789")
    with pytest.raises(DamagedDataError, match=r"ice: chunk 'c/1/0/0'"):
        GaussianMixture(1).fit(open_rows(copy, variables="ice"))


# -- weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [None, {"time": 2, "lat": 4, "lon": 20}], ids=["memory", "Dask"])
def test_weights_along_some_dimensions_are_those_of_all_cells(chunks, ocean):
    data = ocean[["ice"]].where(ocean.sea)
    rows, there = _table(ocean, ["ice"], masked=True)
    area = np.broadcast_to(ocean.area.to_numpy()[:, None], SIZES)[there]
    data = data if chunks is None else data.chunk(chunks)
    expected = np.average(rows, axis=0, weights=area)
    for weights in (
        ocean.area,
        ocean.area.expand_dims(lon=50),
        ocean.area.broadcast_like(ocean.ice),
    ):
        model = GaussianMixture(1).fit(data, sample_weight=weights)
        np.testing.assert_allclose(model.means_[0], expected, rtol=1e-12)
    score = GaussianMixture(1).fit(rows, sample_weight=area).score(rows, sample_weight=area)
    np.testing.assert_allclose(model.score(data, sample_weight=ocean.area), score, rtol=1e-10)


def test_weights_of_a_level_that_was_selected_lie_on_its_cells(ocean):
    """The level is a scalar coordinate of the cells, which the weights do not have."""
    level = ocean[["temp"]].isel(level=0)
    model = GaussianMixture(1).fit(level, sample_weight=ocean.area)
    own = GaussianMixture(1).fit(level, sample_weight=ocean.area.assign_coords(level=level.level))
    np.testing.assert_array_equal(model.means_, own.means_)


WRONG_WEIGHTS = {
    "another dimension": (
        lambda o: o.temp[0, 0, 0],
        r"have dimension 'level', .*\.isel\(level=0\)",
    ),
    "other coordinates": (
        lambda o: o.area.assign_coords(lat=o.lat + 1),
        r"other coordinates along 'lat' .*reindex_like",
    ),
    "another length": (lambda o: o.area[1:].drop_vars("lat"), "other coordinates along 'lat'"),
    "negative": (lambda o: o.area - 1, "weights must be finite and 0 or more"),
}


@pytest.mark.parametrize(("make", "said"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_weights_that_do_not_lie_on_the_cells_are_refused(make, said, ocean):
    for data in (ocean[["ice"]], ocean[["ice"]].chunk(time=1)):
        with pytest.raises(DataError, match=said):
            GaussianMixture(1).fit(data, sample_weight=make(ocean))


# -- what does not fit -------------------------------------------------------------------

REFUSED = {
    "no such variable": ({"variables": ["tmp"]}, "no 'tmp' among the variables of .*mean 'temp'"),
    "a variable twice": ({"variables": ["ice", "ice"]}, "'ice' is named twice"),
    "no such dimension": (
        {"variables": "temp", "feature_dim": "depth"},
        "no 'depth' among the dimensions of the data; name one of time, lat, lon, level",
    ),
    "no such mask": ({"variables": "ice", "mask": "see"}, "no 'see' among .*did you mean 'sea'"),
    "a mask of other cells": (
        {"variables": "ice", "mask": "salt"},
        r"mask has dimension 'level', .*\.isel\(level=0\)",
    ),
    "dates": ({"variables": ["when"]}, "variable 'when' has dtype datetime64"),
    "other cells": (
        {"variables": ["area", "temp"], "feature_dim": "level"},
        "'temp' has cells along .*xarray.broadcast",
    ),
}


@pytest.mark.parametrize(("how", "said"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("where", ["in memory", "stored"])
def test_what_cannot_be_chosen_is_refused_by_name(where, how, said, ocean, stored):
    with pytest.raises(DataError, match=said):
        GaussianMixture(1).fit(open_rows(ocean if where == "in memory" else stored, **how))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda sea: sea.isel(lat=slice(None, None, -1)), "other coordinates along 'lat'"),
        (lambda sea: sea.assign_coords(lat=sea.lat + 60), "other coordinates along 'lat'"),
        (lambda sea: sea.to_numpy(), r"type ndarray, .*\.copy\(data=mask\)"),
    ],
    ids=["from north to south", "elsewhere", "an array without dimensions"],
)
def test_a_mask_lies_where_its_coordinates_say(change, said, ocean):
    """One from north to south was laid on by position: the other hemisphere was fitted."""
    with pytest.raises(DataError, match=said):
        open_rows(ocean[["ice"]], mask=change(ocean.sea))


def test_coordinates_of_a_mask_may_differ_in_their_last_digits(ocean):
    near = ocean.sea.assign_coords(lat=ocean.lat.astype("f4"))
    found, same = (open_rows(ocean[["ice"]], mask=mask) for mask in (near, ocean.sea))
    assert found.equals(same)


def test_an_array_has_no_variables(stored):
    with pytest.raises(DataError, match=r"is an array, .*\(--variables\)"):
        open_rows(stored / "ice", variables="ice")
    with pytest.raises(ParameterError, match="give one of the two"):
        open_rows(stored, member="ice", variables="ice")


# -- commands ----------------------------------------------------------------------------


def test_commands_take_variables_by_name(ocean, stored, tmp_path):
    how = ["--variables", "temp,salt", "--feature-dim", "level", "--mask", "sea"]
    model = tmp_path / "model.zarr"
    fit = ["fit", stored, "--components", 2, "--weights", "area", "--output", model, "--json"]
    result = forked(*fit, *how, cwd=tmp_path).json
    assert result["n_features"] == 6
    assert "salt_100" in load_model(model).feature_names_in_
    rows = _table(ocean, masked=True)[0]
    score = forked("score", stored, *how, "--model", model, "--json", cwd=tmp_path).json
    assert score["n_rows"] == len(rows)
    results = tmp_path / "results.zarr"
    predict = ["predict", stored, *how, "--model", model, "--output", results]
    asked = "labels,probabilities,top:1,log_density"
    assert forked(*predict, "--results", asked, "--json", cwd=tmp_path).json["n_rows"] == np.prod(
        SIZES
    )
    written = xr.open_zarr(results)
    fitted = load_model(model)
    data = open_rows(stored, variables=["temp", "salt"], feature_dim="level", mask="sea")
    xr.testing.assert_equal(written.log_density, fitted.score_samples(data))
    xr.testing.assert_equal(written.labels.fillna(-2), fitted.predict(data).astype(float))
    assert written.probabilities.dims == (*DIMS, "component")
    assert written.labels.attrs["flag_meanings"] == "component_0 component_1"
    np.testing.assert_array_equal(np.isnan(written.log_density), ~_table(ocean, masked=True)[1])
    best = written.top_labels.isel(rank=0)
    np.testing.assert_array_equal(best.fillna(-2), written.labels.fillna(-2))
    check = forked("check", stored, *how, "--json", cwd=tmp_path).json
    assert check["damage"] is None
    assert sorted(check["variables"]) == ["salt", "sea", "temp"]


# -- masks as CF writes them ---------------------------------------------------------------


@pytest.mark.parametrize("where", ["in memory", "stored"])
def test_a_mask_may_say_what_its_values_are_called(where, ocean, tmp_path):
    """CF land masks have flag_values, for which stored ones were refused."""
    flags = {"flag_values": np.array([0, 1], "i1"), "flag_meanings": "land sea"}
    named = ocean.assign(sea=ocean.sea.astype("i1").assign_attrs(flags)).drop_vars("when")
    if where == "stored":
        named.to_zarr(tmp_path / "o.zarr", consolidated=False)
        named = tmp_path / "o.zarr"
    model = GaussianMixture(1).fit(open_rows(named, variables="ice", mask="sea"))
    assert model.n_rows_ == len(_table(ocean, ["ice"], masked=True)[0])
    for features in ({"variables": "sea"}, {"variables": ["temp", "sea"], "feature_dim": "level"}):
        with pytest.raises(DataError, match=r"'sea' has flag_\w+, .* naming the other variables"):
            GaussianMixture(1).fit(open_rows(named, **features))


def test_a_mask_that_leaves_no_cell_is_refused_before_the_first_pass(ocean, tmp_path, monkeypatch):
    """It took a pass to learn that. Predictions of such a part of the ocean are gaps."""
    dry = ocean.drop_vars("when").assign(sea=xr.zeros_like(ocean.sea, dtype="i1"))
    whole = {"sea": {"write_empty_chunks": True}}
    dry.to_zarr(tmp_path / "o.zarr", consolidated=False, zarr_format=3, encoding=whole)
    how = {"variables": ["temp", "salt"], "feature_dim": "level"}
    model = GaussianMixture(2, random_state=0).fit(open_rows(tmp_path / "o.zarr", **how))
    masked = open_rows(tmp_path / "o.zarr", mask="sea", **how)
    assert (model.predict(masked) == -2).all()
    monkeypatch.setattr("daskgmm.storage.rows.grid_source.GridSource.read", None)
    for refused in (GaussianMixture(2).fit, model.score):
        with pytest.raises(DataError, match=r"the mask 'sea' of .*o\.zarr leaves no cell"):
            refused(masked)


# -- as stored rows -------------------------------------------------------------------------


def test_bits_depend_on_the_data_alone(stored, tmp_path):
    """Neither on threads, nor on what memory allows, nor on whether rows are kept near."""

    def fitted(scheduler, **how):
        data = open_rows(stored, variables=["temp", "salt"], feature_dim="level", mask="sea")
        with dask.config.set(scheduler=scheduler, num_workers=2):
            return GaussianMixture(2, random_state=0, **how).fit(data)

    expected = fitted("threads")
    for scheduler, how in (
        ("synchronous", {"memory_limit": "4GiB"}),
        ("threads", {"stage": tmp_path}),
        ("threads", {"stage": "auto", "memory_limit": "4GiB"}),
    ):
        found = fitted(scheduler, **how)
        assert found.means_.tobytes() == expected.means_.tobytes()
        assert found.covariances_.tobytes() == expected.covariances_.tobytes()
    assert found.staged_bytes_memory_ > 0


def test_what_cannot_fit_into_memory_is_refused_with_numbers(stored):
    data = open_rows(stored, variables=["temp", "salt"], feature_dim="level")
    with pytest.raises(
        MemoryLimitError, match=r"1\.00 MiB is too small: .* \(chunks of 1200 rows\); raise it to"
    ):
        GaussianMixture(2, memory_limit="1MiB").fit(data)


def test_a_choice_of_models_reads_a_grid_as_often_as_it_says(ocean, stored):
    data = open_rows(stored, variables=["temp", "salt"], feature_dim="level", mask="sea")
    rows = _table(ocean, masked=True)[0]
    found, expected = (select(x, [1, 2], random_state=0) for x in (data, rows))
    assert found.best.n_components == expected.best.n_components
    np.testing.assert_allclose(found.best.bic, expected.best.bic, rtol=1e-3)
    assert found.model.n_rows_ == len(rows)
    assert found.model.rows_read_ == found.model.n_passes_ * np.prod(SIZES)


def test_weights_in_the_order_of_cells_need_no_chunks_of_their_own(ocean, stored):
    """They were refused where cells are in chunks along more than the first dimension."""
    rows, there = _table(ocean, ["ice"])
    weight = np.random.default_rng(1).random(SIZES)
    expected = np.average(rows, axis=0, weights=weight[there])
    for given in (
        weight.ravel(),
        xr.DataArray(weight, dims=DIMS).transpose("lon", ...),
        xr.DataArray(weight, dims=DIMS).chunk({"lat": 4}),
    ):
        model = GaussianMixture(1).fit(open_rows(stored, variables="ice"), sample_weight=given)
        np.testing.assert_allclose(model.means_[0], expected, rtol=1e-12)
    with pytest.raises(DataError, match=r"has 1199 weights, but .* has 1200 rows"):
        GaussianMixture(1).fit(open_rows(stored, variables="ice"), sample_weight=weight.ravel()[1:])


# -- models that remember how their rows were read -----------------------------------------


@pytest.fixture(scope="module")
def remembering(stored, tmp_path_factory):
    """A saved model of profiles behind a mask, and the data that it was fitted to, as opened."""
    data = open_rows(stored, variables=["temp", "salt"], feature_dim="level", mask="sea")
    path = tmp_path_factory.mktemp("models") / "model.zarr"
    GaussianMixture(2, **PLAIN).fit(data).save(path)
    return path, data


def test_a_path_is_read_as_the_rows_of_the_fit_were(ocean, stored, remembering, tmp_path):
    path, data = remembering
    model = load_model(path)
    told = []
    with listening(told.append):
        xr.testing.assert_identical(model.predict(str(stored)), model.predict(data))
    lines = [event.message for event in told if isinstance(event, Message)]
    assert len(lines) == 1
    assert "variables temp, salt along level, behind the mask sea; variables" in lines[0]
    assert model.score(stored, sample_weight="area") == model.score(data, sample_weight="area")
    job.predict(str(stored), str(path), {"labels": str(tmp_path / "labels.zarr")})
    labels = xr.open_zarr(tmp_path / "labels.zarr").labels
    np.testing.assert_array_equal(np.isnan(labels), model.predict(data) == -2)
    model.update(stored)
    assert model.updates_[0].n_rows == len(_table(ocean, masked=True)[0])
    model.save(tmp_path / "updated.zarr")
    record = load_model(tmp_path / "updated.zarr").record()
    assert record["read_as"] == {
        "variables": ["temp", "salt"],
        "feature_dim": "level",
        "mask": "sea",
    }
    anew = model.fit(_table(ocean)[0])
    assert "read_as" not in anew.record()


def test_what_the_command_line_says_wins(ocean, stored, remembering):
    def score(*how):
        arguments = ("score", stored, "--model", remembering[0], *how, "--json")
        return CliRunner().invoke(main, [str(a) for a in arguments])

    def n_rows(*how):
        return json.loads(score(*how).stdout)["n_rows"]

    assert n_rows() == len(_table(ocean, masked=True)[0])
    features = ("--variables", "temp,salt", "--feature-dim", "level")
    assert n_rows(*features) == len(_table(ocean)[0])
    assert n_rows("--mask", "ice") == len(_table(ocean)[0])
    refused = score("--variables", "temp")
    assert refused.exit_code == 1
    assert "temp_0" in refused.stderr


def test_info_lists_the_variables_that_can_be_chosen(stored, remembering, tmp_path):
    found = forked("info", stored, "--json", cwd=tmp_path).json
    assert found["kind"] == "data"
    assert found["variables"]["temp"] == {
        "dims": [*DIMS, "level"],
        "shape": [*SIZES, 3],
        "chunks": [2, 3, 50, 2],
        "dtype": "float64",
        "units": "degC",
    }
    assert {"sea", "area", "salt", "ice"} < found["variables"].keys()
    shown = forked("info", remembering[0], "--json", cwd=tmp_path).json
    assert shown["read_as"]["feature_dim"] == "level"


def test_other_data_are_read_as_ever(ocean, stored, remembering, tmp_path):
    model = load_model(remembering[0])
    rows = _table(ocean)[0]
    np.save(tmp_path / "rows.npy", rows)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert len(model.predict(str(tmp_path / "rows.npy"))) == len(rows)
    ocean[["ice", "area"]].to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(DataError, match=r"holds 2 arrays: .* \(--variables ice\)"):
        model.predict(str(tmp_path / "other.zarr"))
    ocean[["temp", "ice"]].to_zarr(tmp_path / "part.zarr", consolidated=False)
    with pytest.raises(DataError, match=r"no 'salt' among the variables of .*part\.zarr"):
        model.predict(str(tmp_path / "part.zarr"))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("text", [False, True], ids=["numbers and dates", "and text"])
def test_results_have_coordinates_of_grids_in_either_format_of_zarr(text, zarr_format, tmp_path):
    """Codecs that a coordinate was stored with are of that format, and are not taken along."""
    rng = np.random.default_rng(0)
    coords = {
        "time": np.arange("2020-01", "2020-05", dtype="M8[M]").astype("M8[ns]"),
        "lat": np.linspace(-50, 50, 6, dtype=np.float32),
        "depth": ("lat", rng.normal(size=6), {"units": "m"}),
    }
    if text:
        coords["station"] = ("lat", np.array([f"s{i}" for i in range(6)], dtype=object))
    x = rng.normal(size=(2, 4, 6, 30))
    grid = xr.Dataset(
        {n: (("time", "lat", "lon"), v) for n, v in zip("ab", x, strict=True)}, coords
    )
    encoding = {"time": {"units": "days since 1970-01-01"}, "lat": {"chunks": (2,)}}
    grid.to_zarr(
        tmp_path / "grid.zarr", zarr_format=zarr_format, consolidated=False, encoding=encoding
    )
    model = GaussianMixture(2, **PLAIN).fit(grid)
    model.save(tmp_path / "m.zarr")
    places = [str(tmp_path / name) for name in ("grid.zarr", "m.zarr", "labels.zarr")]
    job.predict(open_rows(places[0], variables=["a", "b"]), places[1], {"labels": places[2]})
    found = xr.open_zarr(places[2], consolidated=False)
    xr.testing.assert_equal(found.labels.astype(int), model.predict(grid).astype(int))
    assert found.depth.attrs == {"units": "m"}
    assert found.time.encoding["units"] == "days since 1970-01-01"
