"""The examples run as they are, without arguments, and on what they are given."""

import re
import subprocess
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture as InMemory
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from zarr.codecs import Crc32cCodec

from daskgmm import GaussianMixture, load_model

EXAMPLES = Path(__file__).parents[1] / "examples"


def printed_by(name: str, *arguments: object) -> str:
    """What an example prints in a process of its own, as its first lines say it is run.

    In this one its memory limit would be held against what earlier tests have left.
    """
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested_and_says_how_it_is_run():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "fit_from_python.py",
        "batch_predict.py",
        "ocean_profiles.py",
        "flights_from_csv.py",
        "wind_regimes.py",
    }
    for path in EXAMPLES.glob("*.py"):
        assert f"python examples/{path.name}" in path.read_text()


@pytest.mark.slow
def test_fit_from_python_chooses_the_truth():
    printed = printed_by("fit_from_python.py")
    assert "chosen: K = 3" in printed
    means = re.findall(r"mean (-?[\d.]+), (-?[\d.]+)", printed)
    # 10,000 rows a component: means err by some 1 / sqrt(10000) = 0.01
    assert sorted(np.abs(np.round(np.array(means, float))).tolist()) == [[0, 0], [0, 6], [6, 0]]


@pytest.mark.slow
def test_batch_predict_finds_the_anomalies():
    printed = printed_by("batch_predict.py")
    rows = re.findall(r"row (\d+):", printed)
    assert {int(row) for row in rows} == {7, 20_000, 33_333, 77_777, 99_999}


def example(name: str) -> ModuleType:
    """An example as a module, for what makes its data."""
    found = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_ocean_profiles_are_classified_as_scikit_learn_does(tmp_path):
    """At a tenth of its size, from and to files of the user."""
    places = [tmp_path / name for name in ("ocean.zarr", "classes.zarr", "map.png")]
    example("ocean_profiles").make_ocean(places[0], step=6, n_times=2)
    printed = printed_by("ocean_profiles.py", *places)
    assert printed.count("% of the sea") == 4
    assert places[2].exists() == (find_spec("matplotlib") is not None)

    ocean = xr.open_zarr(places[0], consolidated=False)
    found = xr.open_zarr(places[1], consolidated=False)
    dims = ("time", "latitude", "longitude")
    rows = np.concatenate(
        [ocean[name].transpose(*dims, "depth").to_numpy() for name in ("TEMP", "PSAL")], axis=-1
    )
    there = ~np.isnan(rows).any(axis=-1)
    np.testing.assert_array_equal(found.labels.notnull(), there)
    labels = found.labels.to_numpy()[there]
    np.testing.assert_array_equal(labels, found.probabilities.to_numpy()[there].argmax(axis=1))
    projected = make_pipeline(StandardScaler(), PCA(0.99)).fit_transform(rows[there])
    peer = InMemory(4, random_state=0, n_init=10).fit(projected)
    same = adjusted_rand_score(labels, peer.predict(projected))
    # fronts are narrow, and the peer has no weights
    assert same > 0.95


@pytest.mark.slow
def test_flights_have_labels_beside_their_keys(tmp_path):
    example("flights_from_csv").make_flights(tmp_path / "flights.csv", n=6_000)
    printed = printed_by("flights_from_csv.py", tmp_path / "flights.csv")
    ours, theirs = map(float, re.search(r"row: (\S+), scikit-learn (\S+)", printed).groups())
    assert ours > theirs - 1e-3  # where it ends at another optimum, theirs is lower
    found = pd.read_parquet(tmp_path / "labels.parquet")
    flights = pd.read_csv(tmp_path / "flights.csv").dropna()
    assert found.flight.tolist() == flights.flight.tolist()
    assert found.carrier.tolist() == flights.carrier.tolist()
    model = load_model(tmp_path / "model.zarr")
    expected = model.to_sklearn().predict(flights[model.feature_names_in_])
    np.testing.assert_array_equal(found.labels, expected)


@pytest.mark.slow
def test_wind_regimes_are_found_by_bic(tmp_path):
    """At a sixth of its size, from and to files of the user."""
    places = [tmp_path / name for name in ("winds.zarr", "regimes.zarr", "regimes.png")]
    winds = example("wind_regimes")
    winds.make_winds(places[0], step=4.0, n_times=16)
    printed = printed_by("wind_regimes.py", *places)
    assert printed.startswith("6 regimes")
    assert places[2].exists() == (find_spec("matplotlib") is not None)
    truth = np.array(list(winds.REGIMES.values()))[:, :2]
    found = np.array(re.findall(r"area, (\S+) (\S+)", printed), float)
    gaps = np.abs(found[:, None] - truth).max(axis=2)
    # A regime has 2,000 cells and more, correlated over some ten: means err by some 3 / sqrt(200).
    assert (gaps.min(axis=0) < 0.5).all()
    labels = xr.open_zarr(places[1], consolidated=False).labels
    assert labels.dims == winds.DIMS
    assert labels.notnull().all()


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(0).normal(size=(2_000, 2)) * [1, 3]
    path = tmp_path / "data.zarr"
    zarr.create_array(path, data=x, chunks=(500, 2), compressors=[Crc32cCodec()])
    return path


@pytest.mark.slow
def test_examples_take_data_of_the_user(data, tmp_path):
    printed_by("fit_from_python.py", data, tmp_path / "model.zarr")
    assert load_model(tmp_path / "model.zarr").n_components == 1

    GaussianMixture(2, random_state=0).fit(data).save(tmp_path / "two.zarr")
    printed_by("batch_predict.py", data, tmp_path / "two.zarr", tmp_path)
    labels = zarr.open_array(tmp_path / "labels.zarr" / "labels", mode="r")[:]
    expected = load_model(tmp_path / "two.zarr").predict(data).compute()
    np.testing.assert_array_equal(labels, expected)
