"""``GaussianMixture(stage=...)``: what is staged of which data, and what is refused."""

from __future__ import annotations

import os
import warnings

import dask.array as da
import numpy as np
import pytest
from made_data import assert_same_bits, made_mixture, precisions_of, rows_of, write_store
from sklearn.exceptions import ConvergenceWarning

from daskgmm import GaussianMixture, open_rows
from daskgmm.errors import IntegrityWarning, MemoryLimitError, ParameterError
from daskgmm.execution import Machine, MixtureSize, StoredShape, Work, plan_memory
from daskgmm.execution.memory import kept_bytes
from daskgmm.execution.process_memory import resident_bytes

N, D, K = 60_000, 4, 2
TRUTH = made_mixture("full", K, D)


@pytest.fixture(scope="module")
def x():
    return rows_of(TRUTH, N)


@pytest.fixture(scope="module")
def store(x, tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("x") / "x.zarr", x, 5000)


def fitted(data, **settings):
    model = GaussianMixture(
        K,
        tol=0.0,
        max_iter=3,
        weights_init=TRUTH.weights,
        means_init=TRUTH.means,
        precisions_init=precisions_of(TRUTH),
        **settings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", IntegrityWarning)
        return model.fit(data)


def test_the_fit_is_the_same_and_says_what_was_staged(store, x, tmp_path):
    plain = fitted(store)
    assert (plain.staged_bytes_memory_, plain.staged_bytes_disk_) == (0, 0)
    for stage in (str(tmp_path), tmp_path, f"file://{tmp_path}"):
        staged = fitted(store, stage=stage)
        assert_same_bits(staged._mixture, plain._mixture)
        assert staged.staged_bytes_memory_ == 0
        assert x.nbytes <= staged.staged_bytes_disk_ <= 1.1 * x.nbytes
    staged = fitted(open_rows(store), stage="auto")
    assert_same_bits(staged._mixture, plain._mixture)
    assert x.nbytes <= staged.staged_bytes_memory_ <= 1.1 * x.nbytes
    assert staged.record()["staged_bytes_memory"] == staged.staged_bytes_memory_
    assert (staged.n_passes_, staged.rows_read_) == (plain.n_passes_, plain.rows_read_)


def test_what_memory_does_not_take_goes_to_the_temporary_folder(store, x, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(MemoryLimitError) as caught:
        fitted(store, stage="auto", memory_limit="1MiB")
    needed = str(caught.value).split("raise it to ")[1].split(",")[0]
    staged = fitted(store, stage="auto", memory_limit=needed.replace(" ", ""))
    assert staged.staged_bytes_memory_ + staged.staged_bytes_disk_ >= x.nbytes
    assert_same_bits(staged._mixture, fitted(store)._mixture)
    assert os.listdir(tmp_path) == []


def test_a_plain_file_is_kept_in_memory_but_not_copied_to_a_disk(x, tmp_path):
    np.save(tmp_path / "x.npy", x)
    plain = fitted(tmp_path / "x.npy")
    on_disk = fitted(tmp_path / "x.npy", stage=tmp_path)
    auto = fitted(tmp_path / "x.npy", stage="auto")
    assert (on_disk.staged_bytes_memory_, on_disk.staged_bytes_disk_) == (0, 0)
    assert auto.staged_bytes_memory_ >= x.nbytes
    for model in (on_disk, auto):
        assert_same_bits(model._mixture, plain._mixture)


def test_rounding_is_that_of_the_data(store, x, tmp_path):
    rounded = write_store(tmp_path / "rounded.zarr", x.astype(np.float32), 5000)
    staged = fitted(store, stage="auto", stage_dtype="float32")
    assert_same_bits(staged._mixture, fitted(rounded)._mixture)
    assert staged.staged_bytes_memory_ < 0.6 * x.nbytes
    assert staged.record()["stage_dtype"] == "float32"


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_data_that_are_not_stored_are_not_staged(kind, x, tmp_path):
    data = x if kind == "numpy" else da.from_array(x, chunks=(20_000, D))
    assert_same_bits(fitted(data, stage="auto")._mixture, fitted(data)._mixture)
    for settings in ({"stage": tmp_path}, {"stage": "auto", "stage_dtype": "float32"}):
        with pytest.raises(ParameterError, match="are for stored rows"):
            fitted(data, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stage_limit": "1GiB"}, "stage_limit needs stage"),
        ({"stage_dtype": "float32"}, "stage_dtype needs stage"),
        ({"stage": "auto", "stage_limit": "nothing"}, "stage_limit must be a size such as 8GiB"),
        ({"stage": "s3://bucket"}, "must be a folder on a local disk"),
        ({"stage": "auto", "stage_dtype": "float16"}, "stage_dtype"),
        ({"stage": 3}, "stage"),
    ],
)
def test_wrong_parameters_are_refused(store, settings, message):
    with pytest.raises(ValueError, match=message):
        fitted(store, **settings)


def test_predicting_stages_nothing(store, tmp_path):
    """It is a single pass; and what it gives is lazy, so that no fit would end it."""
    (tmp_path / "gone").mkdir()
    model = fitted(store, stage=tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert model.predict(store).shape == (N,)
    assert np.isfinite(model.score(store))


@pytest.mark.parametrize("beyond", [2**28, 2**29, 2**34])
def test_the_plan_counts_what_may_be_kept(beyond):
    limit = resident_bytes() + beyond
    data = StoredShape(10**7, 8, itemsize=8, unit_rows=10_000, unit_overhead=2**20)
    plan, keeping = (
        plan_memory(
            data,
            Work((MixtureSize("full", 4),), sampled=True, keep_rows=keep_rows),
            Machine(n_threads=2, limit=limit),
        )
        for keep_rows in (False, True)
    )
    assert plan.kept == 0
    expected = min(limit - plan.peak, kept_bytes(10**7, 64, keeping.grain))
    # Resident memory moves by a little between two plans.
    assert keeping.kept == pytest.approx(expected, abs=2**22)
    assert keeping.peak <= limit
    assert keeping.peak == pytest.approx(plan.peak + keeping.kept, abs=2**22)
    cut = ("n_threads", "grain", "partition_rows", "n_sampled")
    assert all(getattr(plan, name) == getattr(keeping, name) for name in cut)
