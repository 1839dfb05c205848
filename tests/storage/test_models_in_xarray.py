"""Models open in xarray, and in plain zarr, without this package.

Warnings are errors here, as everywhere in these tests: an opening that warns fails.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from made_data import made_mixture

from daskgmm.errors import ModelFormatError, ParameterError
from daskgmm.kernel import COMPONENTS
from daskgmm.storage import read_model, save_model

K, D = 3, 4
NAMES = ["Temperatur \N{DEGREE SIGN}C", "salt", "", "a longer name of a feature"]
DIMENSIONS = {
    "full": ("component", "feature", "other_feature"),
    "tied": ("feature", "other_feature"),
    "diag": ("component", "feature"),
    "spherical": ("component",),
}
VERSION_1 = Path(__file__).parents[1] / "data" / "model-version-1.zarr"


@pytest.fixture(params=["local", "memory"])
def root(request, tmp_path):
    return str(tmp_path) if request.param == "local" else f"memory://xarray-{tmp_path.name}"


# -- models --------------------------------------------------------------------


@pytest.mark.parametrize("names", [None, NAMES], ids=["no names", "names"])
@pytest.mark.parametrize("family", COMPONENTS)
def test_a_model_is_a_dataset(root, family, names):
    mixture = made_mixture(family, K, D)
    save_model(f"{root}/m.zarr", mixture, {} if names is None else {"feature_names": names})
    model = xr.open_zarr(f"{root}/m.zarr")
    assert {name: v.dims for name, v in model.data_vars.items()} == {
        "weights": ("component",),
        "means": ("component", "feature"),
        "covariances": COMPONENTS[family].dimensions["covariances"],
    }
    for name in model.data_vars:
        assert model[name].dtype == np.float64
        assert model[name].attrs["long_name"]
        assert not model[name].variable._in_memory  # opened, not read
        np.testing.assert_array_equal(model[name], getattr(mixture, name))
    expected = list(range(D)) if names is None else names
    along = {"feature", *model.covariances.dims} - {"component"}
    assert set(model.coords) == {"component", *along}
    assert model.component.to_numpy().tolist() == list(range(K))
    for dim in along:
        assert model[dim].to_numpy().tolist() == expected
    assert model.attrs["covariance_type"] == family


def test_covariances_have_the_dimensions_that_files_have_had():
    named = {family: COMPONENTS[family].dimensions["covariances"] for family in DIMENSIONS}
    assert named == DIMENSIONS


def test_parameters_are_found_by_the_names_of_features(tmp_path):
    mixture = made_mixture("full", K, 2)
    save_model(tmp_path / "m.zarr", mixture, {"feature_names": ["temp", "salt"]})
    model = xr.open_zarr(tmp_path / "m.zarr")
    assert model.means.sel(component=1, feature="salt") == mixture.means[1, 1]
    found = model.covariances.sel(feature="temp", other_feature="salt")
    np.testing.assert_array_equal(found, mixture.covariances[:, 0, 1])


def test_units_are_a_coordinate_where_they_are_known(tmp_path):
    save_model(tmp_path / "m.zarr", made_mixture("diag", K, 2), {"feature_units": ["K", "g kg-1"]})
    model = xr.open_zarr(tmp_path / "m.zarr")
    assert model.means.units.dims == ("feature",)
    assert model.units.to_numpy().tolist() == ["K", "g kg-1"]
    save_model(tmp_path / "without.zarr", made_mixture("diag", K, 2), {})
    assert "units" not in xr.open_zarr(tmp_path / "without.zarr").variables


@pytest.mark.parametrize("key", ["feature_names", "feature_units"])
@pytest.mark.parametrize("texts", [["a"], ["a", 1], "ab", {"a": "b"}])
def test_texts_of_features_that_do_not_fit_are_refused_before_writing(tmp_path, key, texts):
    with pytest.raises(ParameterError, match=rf"record\['{key}'\] is .*a list of 2 strings"):
        save_model(tmp_path / "m.zarr", made_mixture("diag", K, 2), {key: texts})
    assert not any(tmp_path.iterdir())


def test_a_name_that_is_no_unicode_is_written_all_the_same(tmp_path):
    save_model(tmp_path / "m.zarr", made_mixture("diag", K, 1), {"feature_names": ["a\udcff"]})
    assert xr.open_zarr(tmp_path / "m.zarr").feature.item() == r"a\udcff"
    assert read_model(tmp_path / "m.zarr")[1]["feature_names"] == ["a\udcff"]


def test_nothing_that_is_written_has_a_data_type_without_specification(tmp_path):
    """By the registry of data types of zarr: texts are of its type ``string``."""
    save_model(tmp_path / "m.zarr", made_mixture("full", K, D), {"feature_names": NAMES})
    types = {
        path.parent.name: json.loads(path.read_text())["data_type"]
        for path in (tmp_path / "m.zarr").glob("*/zarr.json")
    }
    assert types == {
        **dict.fromkeys(("weights", "means", "covariances"), "float64"),
        "component": "int64",
        **dict.fromkeys(("feature", "other_feature"), "string"),
    }


# -- models from elsewhere -----------------------------------------------------


@pytest.mark.parametrize("family", DIMENSIONS)
def test_a_model_that_was_written_without_coordinates_is_read(family):
    """Files of the code before there were any: version 1 as it was first written."""
    mixture, record = read_model(VERSION_1 / family)
    assert record["feature_names"] == ["temp", "salt"]
    group = zarr.open_group(VERSION_1 / family, mode="r")
    assert set(group) == {"weights", "means", "covariances"}
    assert group.attrs["format_version"] == 1
    for name in group:
        np.testing.assert_array_equal(group[name][...], getattr(mixture, name))


def test_other_arrays_in_the_group_are_not_even_opened(tmp_path):
    mixture = made_mixture("full", K, D)
    save_model(tmp_path / "m.zarr", mixture, {})
    other = tmp_path / "m.zarr" / "history"
    other.mkdir()
    (other / "zarr.json").write_text("{ no metadata")
    shutil.rmtree(tmp_path / "m.zarr" / "feature")
    (tmp_path / "m.zarr" / "component" / "zarr.json").write_text("damaged")
    assert read_model(tmp_path / "m.zarr")[0].means.tobytes() == mixture.means.tobytes()


def test_what_the_group_says_of_an_array_is_not_what_it_is_checked_by(tmp_path):
    """Consolidated metadata could show a small array where a large one lies."""
    save_model(tmp_path / "m.zarr", made_mixture("full", K, D), {})
    document = tmp_path / "m.zarr" / "means" / "zarr.json"
    metadata = json.loads(document.read_text())
    metadata["shape"] = metadata["chunk_grid"]["configuration"]["chunk_shape"] = [10**6, 10**3]
    document.write_text(json.dumps(metadata))
    with pytest.raises(ModelFormatError, match=r"means: it has shape .*no model is that large"):
        read_model(tmp_path / "m.zarr")
