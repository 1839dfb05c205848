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


def printed_by(name: str, *arguments: object, cwd: Path | None = None) -> str:
    """What an example prints in a process of its own, as its first lines say it is run.

    In this one its memory limit would be held against what earlier tests have left.
    """
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_every_example_is_tested_and_says_how_it_is_run():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "fit_from_python.py",
        "batch_predict.py",
        "ocean_profiles.py",
        "flights_from_csv.py",
        "wind_regimes.py",
        "image_colours.py",
        "anomalies_in_time.py",
        "choose_k.py",
        "star_catalogue.py",
        "embeddings.py",
        "slurm_job.py",
        "nightly_update.py",
    }
    for path in EXAMPLES.glob("*.py"):
        assert f"python examples/{path.name}" in path.read_text()


@pytest.mark.slow
def test_fit_from_python_chooses_the_truth(tmp_path):
    printed = printed_by("fit_from_python.py", cwd=tmp_path)
    assert "chosen: K = 3" in printed
    means = re.findall(r"mean (-?[\d.]+), (-?[\d.]+)", printed)
    # 10,000 rows a component: means err by some 1 / sqrt(10000) = 0.01
    assert sorted(np.abs(np.round(np.array(means, float))).tolist()) == [[0, 0], [0, 6], [6, 0]]
    assert _is_picture(tmp_path / "fit_from_python.png")


@pytest.mark.slow
def test_batch_predict_finds_the_anomalies(tmp_path):
    printed = printed_by("batch_predict.py", cwd=tmp_path)
    rows = re.findall(r"row (\d+):", printed)
    assert {int(row) for row in rows} == {7, 20_000, 33_333, 77_777, 99_999}
    assert _is_picture(tmp_path / "batch_predict.png")


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
    assert _is_picture(tmp_path / "flights_from_csv.png")


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


@pytest.mark.slow
def test_colours_of_an_image_are_those_that_it_was_made_of(tmp_path):
    printed = printed_by("image_colours.py", "--side", 150, cwd=tmp_path)
    found = [bytes.fromhex(text) for text in re.findall(r"#(\w{6})", printed)]
    for colour in (example("image_colours").SUN, example("image_colours").HILL):
        gaps = [max(abs(a - 255 * b) for a, b in zip(one, colour, strict=True)) for one in found]
        assert min(gaps) < 3  # of 255, and the noise is 4
    labels = xr.open_zarr(tmp_path / "classes.zarr", consolidated=False).labels
    assert labels.sizes == {"y": 150, "x": 150}
    assert _is_picture(tmp_path / "image_colours.png")


@pytest.mark.slow
def test_each_fault_is_an_event(tmp_path):
    printed = printed_by("anomalies_in_time.py", "--days", 20, cwd=tmp_path)
    begins = pd.to_datetime(re.findall(r"^ *(\d{4}-\S+ \S+) ", printed, flags=re.MULTILINE))
    faults = example("anomalies_in_time").FAULTS.values()
    assert len(begins) == len(faults)
    for found, (share, hours) in zip(begins, faults, strict=True):
        begin = pd.Timestamp("2024-01-01") + pd.Timedelta(days=20 * share)
        assert begin - pd.Timedelta("1h") < found < begin + pd.Timedelta(hours=hours)
    assert _is_picture(tmp_path / "anomalies_in_time.png")


@pytest.mark.slow
def test_choose_k_chooses_the_truth_and_leaves_a_report(tmp_path):
    printed = printed_by("choose_k.py", "--rows", 6000, cwd=tmp_path)
    assert re.search(r"K = 5: .* <$", printed, flags=re.MULTILINE)
    assert "Selection" in (tmp_path / "choose_k.html").read_text()
    assert _is_picture(tmp_path / "choose_k.png")


@pytest.mark.slow
def test_a_cluster_is_as_wide_as_it_is_without_its_errors(tmp_path):
    printed = printed_by("star_catalogue.py", "--stars", 6000, cwd=tmp_path)
    seen, true = map(float, re.findall(r"([\d.]+) mas/yr wide", printed))
    # 1,800 stars in two directions: the width errs by some 0.25 / sqrt(3600), and more by the errors
    assert abs(true - example("star_catalogue").CLUSTER["width"]) < 0.03
    assert seen > true + 0.1
    assert _is_picture(tmp_path / "star_catalogue.png")


@pytest.mark.slow
def test_embeddings_are_with_their_topics(tmp_path):
    printed = printed_by("embeddings.py", "--vectors", 4000, cwd=tmp_path)
    assert float(re.search(r"([\d.]+)% of the vectors", printed)[1]) > 98
    assert _is_picture(tmp_path / "embeddings.png")


@pytest.mark.slow
def test_a_batch_script_leaves_what_the_job_file_asks_for(tmp_path):
    """Run as SLURM would run it, but for SLURM: see tests/clusters/run_slurm.sh."""
    printed_by("slurm_job.py", "--rows", 4000, "--folder", tmp_path / "job")
    folder = tmp_path / "job"
    model = load_model(folder / "model.zarr")
    labels = zarr.open_array(folder / "labels.zarr" / "labels", mode="r")[:]
    np.testing.assert_array_equal(labels, model.predict(str(folder / "data.zarr")).compute())
    assert _is_picture(folder / "pairs.png")


@pytest.mark.slow
def test_nightly_updates_count_all_rows(tmp_path):
    printed = printed_by(
        "nightly_update.py", "--rows", 2000, "--nights", 3, "--folder", tmp_path / "nightly"
    )
    nights = re.findall(r"night \d: (\S+) nats per new row before the update, (\S+)", printed)
    assert len(nights) == 2
    assert all(float(after) >= float(before) for before, after in nights)
    assert load_model(tmp_path / "nightly" / "model.zarr").n_rows_ == 6000
    assert _is_picture(tmp_path / "nightly" / "nightly_update.png")


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(0).normal(size=(2_000, 2)) * [1, 3]
    path = tmp_path / "data.zarr"
    zarr.create_array(path, data=x, chunks=(500, 2), compressors=[Crc32cCodec()])
    return path


@pytest.mark.slow
def test_examples_take_data_of_the_user(data, tmp_path):
    printed_by("fit_from_python.py", data, tmp_path / "model.zarr", tmp_path / "rows.png")
    assert _is_picture(tmp_path / "rows.png")
    assert load_model(tmp_path / "model.zarr").n_components == 1

    GaussianMixture(2, random_state=0).fit(data).save(tmp_path / "two.zarr")
    printed_by("batch_predict.py", data, tmp_path / "two.zarr", tmp_path)
    labels = zarr.open_array(tmp_path / "labels.zarr" / "labels", mode="r")[:]
    expected = load_model(tmp_path / "two.zarr").predict(data).compute()
    np.testing.assert_array_equal(labels, expected)
    assert _is_picture(tmp_path / "batch_predict.png")
