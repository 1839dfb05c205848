"""The examples run as they are, without arguments, and on what they are given."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
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


def test_batch_predict_finds_the_anomalies():
    printed = printed_by("batch_predict.py")
    rows = re.findall(r"row (\d+):", printed)
    assert {int(row) for row in rows} == {7, 20_000, 33_333, 77_777, 99_999}


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
