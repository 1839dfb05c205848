"""``daskgmm update``, and jobs whose data change from night to night."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr
from commands import forked, mixture_rows, tree, write_store

from daskgmm import load_model

pytestmark = pytest.mark.slow  # whole jobs, night after night; tests/test_updates.py has the laws

JOB = {
    "data": "data.zarr",
    "model": {"components": 3},
    "outputs": {"model": "model.zarr", "labels": "labels.zarr", "report": "report.json"},
}
N = 10_000


@pytest.fixture
def new(folder) -> Path:
    """New rows beside data and model."""
    return write_store(folder / "new.zarr", mixture_rows(2000, 3, 3))


# -- the command ---------------------------------------------------------------


def test_a_model_is_replaced_by_itself_updated(folder, new):
    expected = load_model(folder / "model.zarr").update(new)
    done = forked("update", "model.zarr", "new.zarr", "--json", cwd=folder)
    assert (done.json["n_rows"], done.json["update"]["n_rows"]) == (12_000, 2000)
    np.testing.assert_array_equal(load_model(folder / "model.zarr").means_, expected.means_)
    assert [p.name for p in folder.glob(".*model*")] == []
    shown = forked("info", "model.zarr", cwd=folder).stdout
    assert "drift                   n_updates 1, log_likelihood_before -" in shown
    assert "updates " in shown


def test_another_output_leaves_the_model_as_it_is(folder, new):
    before = tree(folder / "model.zarr")
    arguments = ("update", "model.zarr", "new.zarr", "--output", "other.zarr")
    done = forked(*arguments, "--half-life", 2000, cwd=folder)
    assert done.status == 0, done.stderr
    assert "new rows" in done.stdout
    assert tree(folder / "model.zarr") == before
    assert load_model(folder / "other.zarr")._statistics().weight == pytest.approx(N / 2 + 2000)
    assert "other.zarr exists" in forked(*arguments, cwd=folder).error


def test_new_rows_have_weights(folder, new):
    zarr.save_array(folder / "w.zarr", np.full(2000, 2.0))
    done = forked("update", "model.zarr", "new.zarr", "--weights", "w.zarr", cwd=folder)
    assert done.status == 0, done.stderr
    assert load_model(folder / "model.zarr")._statistics().weight == pytest.approx(N + 4000)


def test_what_cannot_be_is_refused_on_one_line_with_nothing_written(folder, new):
    zarr.save_array(folder / "wide.zarr", np.ones((10, 5)))
    zarr.save_array(folder / "few.zarr", np.zeros((0, 3)))
    del zarr.open_group(folder / "model.zarr").attrs["statistics"]
    shutil.copytree(folder / "model.zarr", folder / "old.zarr")
    fit = ("fit", "data.zarr", "--components", 3, "--output", "model.zarr", "--overwrite")
    assert forked(*fit, cwd=folder).status == 0
    before = tree(folder)
    for arguments, said in (
        (("model.zarr", "wide.zarr"), "expecting 3 features"),
        (("model.zarr", "few.zarr"), "no rows"),
        (("model.zarr", "model.zarr"), "holds 7 arrays"),
        (("old.zarr", "new.zarr"), "keeps no statistics .* fit its rows again"),
        (("nothing.zarr", "new.zarr"), "nothing.zarr"),
    ):
        error = forked("update", *arguments, cwd=folder).error
        assert re.search(said, error), error
    assert tree(folder) == before


# -- jobs ----------------------------------------------------------------------


def night(folder: Path, seed: int, n: int = 4000) -> np.ndarray:
    """Replace the data by those of another night, of the same clusters."""
    x = mixture_rows(20_000, 3, 3)[seed * n : (seed + 1) * n]
    shutil.rmtree(folder / "data.zarr", ignore_errors=True)
    write_store(folder / "data.zarr", x)
    return x


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, Path]:
    """A folder with a job that is done, and a copy of it: a job knows its outputs by address."""
    folder = tmp_path_factory.mktemp("job") / "here"
    folder.mkdir()
    (folder / "job.yaml").write_text(yaml.safe_dump(JOB))
    night(folder, 0)
    assert forked("run", "job.yaml", cwd=folder).status == 0
    return folder, Path(shutil.copytree(folder, folder.with_name("copy")))


def put_back(done: tuple[Path, Path]) -> Path:
    folder, copy = done
    shutil.rmtree(folder)
    return Path(shutil.copytree(copy, folder))


@pytest.fixture
def job(done) -> Path:
    """A folder with a job that is done."""
    return put_back(done)


def run(folder: Path, mode: str, *options: object) -> dict:
    done = forked("run", "job.yaml", "--on-new-data", mode, *options, "--json", cwd=folder)
    return done.json


def test_without_a_word_new_data_are_refused_and_the_word_is_named(done):
    for mode in ("refit", "update", "predict"):  # each a way out
        folder = put_back(done)
        night(folder, 1)
        error = forked("run", "job.yaml", cwd=folder).error
        assert "data.fingerprint was" in error
        assert "on_new_data: refit, update or predict (--on-new-data)" in error
        (folder / "job.yaml").write_text(yaml.safe_dump(JOB | {"on_new_data": mode}))
        assert forked("run", "job.yaml", cwd=folder).status == 0, mode


def test_other_settings_stay_refused(job):
    night(job, 1)
    refused = forked("run", "job.yaml", "--on-new-data", "update", "--model-tol", 1, cwd=job)
    assert "settings.tol was" in refused.error


def test_update_counts_each_night_once(job):
    expected = load_model(job / "model.zarr")
    for n in (1, 2):
        expected.update(night(job, n))
        assert run(job, "update")["done"] == ["model", "rows", "report"]
        assert run(job, "update")["done"] == []
    found = load_model(job / "model.zarr")
    assert found.n_rows_ == 12_000
    np.testing.assert_allclose(found.means_, expected.means_, atol=1e-6)
    labels = zarr.open_group(job / "labels.zarr", mode="r")["labels"][:]
    np.testing.assert_array_equal(labels, found.predict(night(job, 2)))


def test_an_update_that_could_not_be_noted_is_not_made_again(job):
    """As if it had been killed between the model and the note."""
    night(job, 1)
    before = (job / "job.checkpoint" / "job.json").read_bytes()
    assert run(job, "update")["n_rows"] == 8000
    (job / "job.checkpoint" / "job.json").write_bytes(before)
    assert run(job, "update")["n_rows"] == 8000


@pytest.mark.parametrize("order", [1, -1], ids=["new rows last", "new rows first"])
def test_an_update_refuses_data_that_have_grown(job, order):
    """Of a folder or an array that grows, rows of earlier rounds would count twice."""
    old = mixture_rows(20_000, 3, 3)[:4000]
    added = night(job, 1)
    shutil.rmtree(job / "data.zarr")
    write_store(job / "data.zarr", np.concatenate([old, added][::order]))
    before = tree(job)
    refused = forked("run", "job.yaml", "--on-new-data", "update", cwd=job)
    assert "holds 4,000 rows that the model has seen" in refused.error
    assert tree(job) == before

    # Both ways out work.
    assert run(job, "refit")["n_rows"] == 8000
    night(job, 2)
    assert run(job, "update")["n_rows"] == 12_000
    write_store(job / "both.zarr", np.concatenate([old, added][::order]))
    again = forked("run", "job.yaml", "--data", "both.zarr", "--on-new-data", "update", cwd=job)
    assert "holds 8,000 rows that the model has seen" in again.error


def test_an_update_refuses_a_grid_that_has_grown_along_time(tmp_path):
    x = mixture_rows(20_000, 2, 3)[:4800].reshape(12, 20, 20, 2)
    made = {n: (("time", "lat", "lon"), x[..., i]) for i, n in enumerate("ab")}
    grid = xr.Dataset(made, {"time": np.arange(12)})
    words = JOB | {"data": "grid.zarr", "variables": ["a", "b"], "on_new_data": "update"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(words))
    grid.isel(time=slice(8)).chunk(time=4).to_zarr(tmp_path / "grid.zarr", consolidated=False)
    assert forked("run", "job.yaml", cwd=tmp_path).status == 0
    later = grid.isel(time=slice(8, None)).chunk(time=4)
    later.to_zarr(tmp_path / "grid.zarr", append_dim="time", consolidated=False)
    error = forked("run", "job.yaml", cwd=tmp_path).error
    assert "holds 3,200 rows that the model has seen" in error


def test_new_rows_are_not_taken_for_old_ones_that_are_alike(tmp_path):
    """Land, which has no value, lies at the same places of each week; small batches are alike by chance."""
    rng = np.random.default_rng(0)
    (tmp_path / "job.yaml").write_text(
        yaml.safe_dump(
            JOB | {"data": "grid.zarr", "variables": ["a", "b"], "on_new_data": "update"}
        )
    )
    for week in range(2):
        x = rng.normal(size=(7, 40, 50, 2)) + 5.0 * (rng.random((7, 40, 50, 1)) < 0.4)
        x[:, :3] = x[:, -2:] = np.nan
        made = {n: (("time", "lat", "lon"), x[..., i]) for i, n in enumerate("ab")}
        shutil.rmtree(tmp_path / "grid.zarr", ignore_errors=True)
        grid = xr.Dataset(made, {"time": 7 * week + np.arange(7)})
        grid.chunk(time=1).to_zarr(tmp_path / "grid.zarr", consolidated=False)
        done = forked("run", "job.yaml", cwd=tmp_path)
        assert done.status == 0, done.stderr
    assert load_model(tmp_path / "model.zarr").n_rows_ == 2 * 7 * 35 * 50


def test_rows_of_each_round_are_noted_once(job):
    for n in (1, 2):
        night(job, n)
        run(job, "update")
    noted = json.loads((job / "job.checkpoint" / "job.json").read_text())
    seen = json.loads(noted["state"])["seen"]
    assert [one["n_rows"] for one in seen] == [4000] * 3
    assert all(len(set(one["digests"])) >= 3 for one in seen)


def test_a_job_of_a_version_that_did_not_note_rows_goes_on(job):
    noted = job / "job.checkpoint" / "job.json"
    written = json.loads(noted.read_text())
    state = json.loads(written["state"])
    assert state.pop("seen")
    noted.write_text(json.dumps(written | {"state": json.dumps(state)}))
    night(job, 1)
    assert run(job, "update")["n_rows"] == 8000


def test_refit_begins_from_the_last_model_and_keeps_its_order(job):
    before = load_model(job / "model.zarr")
    for n in (1, 2):
        x = night(job, n)
        assert run(job, "refit")["done"] == ["model", "rows", "report"]
    after = load_model(job / "model.zarr")
    assert after.n_rows_ == len(x)
    deviations = np.sqrt(before._mixture.components.variances())
    assert (np.abs(after.means_ - before.means_) < 0.3 * deviations).all()
    state = (job / "job.checkpoint" / "job.json").read_bytes()
    assert run(job, "refit")["done"] == []
    assert (job / "job.checkpoint" / "job.json").read_bytes() == state


def test_predict_keeps_the_model(job):
    before = tree(job / "model.zarr")
    x = night(job, 1)
    assert run(job, "predict")["done"] == ["rows", "report"]
    assert tree(job / "model.zarr") == before
    labels = zarr.open_group(job / "labels.zarr", mode="r")["labels"][:]
    np.testing.assert_array_equal(labels, load_model(job / "model.zarr").predict(x))


def test_forgetting_is_for_updates(job):
    night(job, 1)
    assert (
        "half_life is for on_new_data: update"
        in forked(*("run", "job.yaml", "--half-life", 100, "--on-new-data", "refit"), cwd=job).error
    )
    run(job, "update", "--half-life", 4000)
    weight = load_model(job / "model.zarr")._statistics().weight
    assert weight == pytest.approx(2000 + 4000)


def test_rows_with_gaps_are_not_added_to_statistics(job):
    """It is known when the job is first run, and not in the night that brings new rows."""
    words = ("--on-new-data", "update", "--model-missing", "em", "--fresh")
    error = forked("run", "job.yaml", *words, cwd=job).error
    assert "on_new_data is update, which goes on from complete rows alone" in error


def test_a_job_says_what_a_fit_and_an_update_say(job):
    x = night(job, 1)
    x[:300, 1] = -9999.0
    shutil.rmtree(job / "data.zarr")
    write_store(job / "data.zarr", x)
    words = ("--log", "night.log", "--on-new-data")
    done = forked("run", "job.yaml", *words, "update", cwd=job)
    assert "4,000 new rows have a log-likelihood per row of -" in done.stderr
    done = forked("run", "job.yaml", *words, "refit", "--fresh", cwd=job)
    assert "note: " in done.stderr
    assert "is -9999 in 300 rows" in done.stderr
    assert "is -9999 in 300 rows" in (job / "night.log").read_text()


def test_a_selection_is_not_refitted(job):
    refused = forked(
        *("run", "job.yaml", "--on-new-data", "refit", "--model-components", "2:3"), cwd=job
    )
    assert "on_new_data is refit, which goes on from one model" in refused.error
