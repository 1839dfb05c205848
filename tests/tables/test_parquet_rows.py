"""Fits, selection, scores and predictions of rows in Parquet, by names.

Asserted against fits of the same rows in memory, and pandas' reading of what was written.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster

from daskgmm import GaussianMixture, load_model, open_rows, select
from daskgmm.cli import main
from daskgmm.em import Iteration
from daskgmm.em.rows import grain_rows
from daskgmm.errors import (
    DaskGMMError,
    DataError,
    InterruptedFitError,
    NonFiniteError,
    StorageError,
)
from daskgmm.events import listening
from daskgmm.execution.partitions import blocks_within, partition_starts
from daskgmm.storage import Location
from daskgmm.storage.places.locations import PARTIAL_NOTE
from daskgmm.storage.places.remote import RemoteFileSystem
from daskgmm.testing.rows import assert_once_in_order, assert_pieces

N = 4000
NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module", autouse=True)
def _small_grains():
    """So that these few rows are in many partitions, which begin inside of chunks of outputs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("daskgmm.em.rows._GRAIN_ROWS", 256)
        patched.setattr("daskgmm.execution.memory._RESULT_BYTES", 64)
        yield


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Three features, and an id, a time, a text and a weight beside them; two clusters."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3)) + 6 * rng.integers(2, size=(N, 1))
    frame = pd.DataFrame(x, columns=NAMES)
    frame["id"] = [f"row {i}" for i in range(N)]
    frame["time"] = pd.date_range("2020", periods=N, freq="min")
    frame["w"] = rng.integers(1, 4, size=N)
    return frame


@pytest.fixture(scope="module")
def folder(frame, tmp_path_factory):
    """Three files in hive's folders, with row groups of unequal size."""
    top = tmp_path_factory.mktemp("parquet") / "rows"
    for i, (start, stop, size) in enumerate([(0, 700, 130), (700, 3100, 2400), (3100, N, 17)]):
        at = top / f"year={i}"
        at.mkdir(parents=True)
        frame[start:stop].to_parquet(at / "part.parquet", row_group_size=size, index=False)
    return top


def _model(**settings):
    return GaussianMixture(2, random_state=0, **settings)


@pytest.fixture(scope="module")
def rows(folder):
    return open_rows(folder, columns=NAMES)


@pytest.fixture(scope="module")
def fitted(rows):
    return _model().fit(rows)


def _assert_same(one, other):
    for name in ("weights_", "means_", "covariances_"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def _run(*arguments):
    done = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_a_fit_is_that_of_the_same_rows_in_memory(frame, fitted):
    in_memory = _model().fit(frame[NAMES])
    assert fitted.feature_names_in_.tolist() == NAMES
    assert fitted.n_passes_ == in_memory.n_passes_
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(fitted, name), getattr(in_memory, name), rtol=1e-9)


def test_no_bit_depends_on_limits_threads_workers_or_staging(rows, fitted, tmp_path):
    import dask

    for settings in ({"memory_limit": "2GiB"}, {"stage": tmp_path}):
        _assert_same(_model(**settings).fit(rows), fitted)
    with dask.config.set(scheduler="synchronous"):
        _assert_same(_model().fit(rows), fitted)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        _assert_same(_model().fit(rows), fitted)


def test_a_fit_goes_on_from_its_checkpoint(folder, tmp_path):
    def interrupt(event):
        if isinstance(event, Iteration):
            raise KeyboardInterrupt

    def rows():
        return open_rows(folder, columns=NAMES)

    how = {"stepper": "plain", "progressive": False, "checkpoint": tmp_path / "c"}
    with listening(interrupt), pytest.raises(InterruptedFitError):
        _model(**how).fit(rows())
    resumed = _model(**how, resume=True).fit(rows())
    _assert_same(resumed, _model(stepper="plain", progressive=False).fit(rows()))


def test_predict_finds_the_features_of_a_model_by_name(folder, frame, fitted, tmp_path):
    expected = fitted.predict(frame[NAMES])
    lazy = fitted.predict(folder)
    np.testing.assert_array_equal(lazy.compute(), expected)
    assert fitted.predict(folder).name == lazy.name
    frame[["c", "w", "a", "b"]].to_parquet(tmp_path / "other.parquet")
    np.testing.assert_array_equal(fitted.predict(tmp_path / "other.parquet").compute(), expected)
    assert fitted.score(folder) == pytest.approx(fitted.score(frame[NAMES]), rel=1e-12)
    with pytest.raises(DataError, match="same order as they were in fit"):
        fitted.predict(open_rows(folder, columns=["b", "a", "c"]))
    frame[["a", "b", "id"]].to_parquet(tmp_path / "less.parquet")
    with pytest.raises(DataError, match="yet now missing:\n- c"):
        fitted.predict(tmp_path / "less.parquet")


def test_a_column_can_be_the_weights(folder, frame, rows, tmp_path):
    repeated = _model().fit(frame[NAMES].loc[frame.index.repeat(frame["w"])])
    by_name = _model().fit(rows, sample_weight="w")
    np.testing.assert_allclose(by_name.weights_, repeated.weights_, rtol=1e-6)
    frame[[*NAMES, "w"]].to_parquet(tmp_path / "x.parquet", row_group_size=777)
    model = _model().fit(tmp_path / "x.parquet", sample_weight="w")
    assert model.feature_names_in_.tolist() == NAMES, "the weights are no feature"
    np.testing.assert_allclose(model.means_, by_name.means_, rtol=1e-9)
    with pytest.raises(DaskGMMError, match="no column 'weight'"):
        _model().fit(folder, sample_weight="weight")


@pytest.mark.slow
def test_select_takes_columns(rows):
    assert select(rows, range(1, 4), random_state=0).best.n_components == 2


def test_rows_come_once_in_order_in_any_cut(rows, frame):
    from daskgmm.execution import MixtureSize, Work
    from daskgmm.tables import open_input

    opened = open_input(rows, Work((MixtureSize("diag", 2),), sampled=True))
    assert_once_in_order(opened.rows, frame[NAMES].to_numpy())


def test_a_fold_decodes_each_row_once(rows, monkeypatch):
    from daskgmm.execution import MixtureSize, Work
    from daskgmm.storage.rows import parquet_streams
    from daskgmm.tables import open_input

    decoded, own = [], parquet_streams._Stream._next

    def counted(stream):
        own(stream)
        decoded.append(stream._n)

    monkeypatch.setattr(parquet_streams._Stream, "_next", counted)
    monkeypatch.setattr("daskgmm.execution.memory._READ_BYTES", 1)  # pieces of one grain
    opened = open_input(rows, Work((MixtureSize("diag", 2),), sampled=True))
    assert opened.rows.fold(len) == N
    assert sum(decoded) == N


def test_pieces_begin_at_row_groups(frame, tmp_path):
    from daskgmm.execution import MixtureSize, Work
    from daskgmm.tables import open_input

    frame[NAMES].to_parquet(tmp_path / "x.parquet", row_group_size=20)
    opened = open_input(tmp_path / "x.parquet", Work((MixtureSize("diag", 2),), sampled=True))
    assert_pieces(opened.rows, frame[NAMES].to_numpy())


def test_partitions_are_whole_units_from_the_data_alone():
    rng = np.random.default_rng(0)
    cuts = np.concatenate([[0], np.cumsum(rng.integers(1, 10**6, size=300))])
    starts = partition_starts(cuts, 64, grain_rows(8))
    assert set(starts) <= set(cuts)
    assert (np.diff(starts)[:-1] + np.diff(starts)[1:]).min() > 2**20
    aligned = partition_starts(cuts, 64, 1 << 16, aligned=True)
    assert not (aligned[:-1] % (1 << 16)).any()
    assert sum(blocks_within(starts, 10**5)) == cuts[-1]
    assert max(blocks_within(starts, 10**5)) == 10**5


def test_other_names_are_told_before_gaps_in_columns_of_no_use(frame, tmp_path):
    """It was the nulls of columns that the model has not."""
    model = GaussianMixture(1).fit(frame[NAMES])
    pd.DataFrame({"a": frame.a, "z": frame.b.where(frame.b > 0)}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="yet now missing:\n- b\n- c"):
        model.update(tmp_path / "x.parquet")


def test_nulls_are_refused_before_the_first_pass(frame, tmp_path):
    gaps = frame[NAMES].copy()
    gaps.loc[5:7, "b"] = np.nan
    gaps.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(NonFiniteError, match="'b' has 3"):
        _model().fit(tmp_path / "x.parquet")
    table = pa.table({name: gaps[name].to_numpy() for name in NAMES})
    pq.write_table(table, tmp_path / "nan.parquet")
    with pytest.raises(NonFiniteError, match="row 5"):
        _model().fit(tmp_path / "nan.parquet")


def test_the_command_line_from_fit_to_labels(folder, frame, fitted, tmp_path):
    model, out = tmp_path / "m.zarr", tmp_path / "labels.parquet"
    status, said = _run("fit", folder, "--components", 2, "--output", model)
    assert status == 1
    assert "'id' is" in said
    assert "--columns a,b,c,w" in said
    how = ("--components", 2, "--output", model, "--columns", "a,b,c")
    assert _run("fit", folder, *how)[0] == 0
    _assert_same(load_model(model), fitted)
    status, said = _run(
        *("predict", folder, "--model", model, "--output", out, "--keep", "id,time"),
        *("--probabilities", tmp_path / "p.parquet", "--log-density", tmp_path / "d.zarr"),
    )
    assert status == 0, said
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.parquet"))
    assert names == [f"year={i}/part.parquet" for i in range(3)]
    found = pd.concat([pq.read_table(out / n, partitioning=None).to_pandas() for n in names])
    assert found.columns.tolist() == ["id", "time", "labels"]
    assert found["labels"].dtype == np.int32
    np.testing.assert_array_equal(found["labels"], fitted.predict(frame[NAMES]))
    assert found["id"].tolist() == frame["id"].tolist()
    assert (found["time"].to_numpy() == frame["time"].to_numpy()).all()
    shown = pd.concat(
        [pq.read_table(tmp_path / "p.parquet" / n, partitioning=None).to_pandas() for n in names]
    )
    expected = fitted.predict_proba(frame[NAMES])
    np.testing.assert_allclose(shown[["probabilities_0", "probabilities_1"]], expected, rtol=1e-9)
    status, said = _run("check", folder)
    assert status == 1, "columns that are no numbers"
    status, said = _run("check", folder, "--columns", "a", "--json")
    assert status == 0, said
    assert json.loads(said[said.index("{") :])["shape"] == [N, 1]


def test_outputs_in_parquet_are_whole_or_not_there(folder, frame, fitted, tmp_path, monkeypatch):
    fitted.save(tmp_path / "m.zarr")
    file, out = folder / "year=1" / "part.parquet", tmp_path / "labels.parquet"
    how = ("predict", file, "--model", tmp_path / "m.zarr", "--output", out)
    assert _run(*how)[0] == 0
    expected = fitted.predict(frame[NAMES])[700:3100]
    np.testing.assert_array_equal(pd.read_parquet(out)["labels"], expected)
    status, said = _run(*how)
    assert status == 1
    assert "--overwrite" in said
    before = out.read_bytes()

    def fails(path):
        if path.name == "whole":
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("daskgmm.storage.outputs.drafts.settle", fails)
        status, said = _run(*how, "--overwrite")
    assert status == 1
    assert "No space left" in said
    assert out.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels.parquet", "m.zarr"]
    assert _run(*how, "--overwrite", "--keep", "w")[0] == 0
    assert pd.read_parquet(out).columns.tolist() == ["w", "labels"]


def _behind(url):
    """Everything below a URL."""
    fs, path = Location.parse(url).filesystem()
    fs.invalidate_cache()
    return {name[len(path) + 1 :]: fs.cat_file(name) for name in fs.find(path)}


def test_outputs_behind_a_url_are_files_for_files(folder, frame, fitted, bucket, tmp_path):
    fitted.save(tmp_path / "m.zarr")
    expected = fitted.predict(frame[NAMES])
    how = (
        "predict",
        folder,
        "--model",
        tmp_path / "m.zarr",
        "--output",
        f"{bucket}/labels.parquet",
    )
    status, said = _run(*how, "--keep", "id")
    assert status == 0, said
    names = [f"labels.parquet/year={i}/part.parquet" for i in range(3)]
    assert sorted(_behind(bucket)) == names
    found = open_rows(f"{bucket}/labels.parquet", columns="labels")
    np.testing.assert_array_equal(found.read(0, N)[:, 0], expected)
    status, said = _run(*how)
    assert status == 1
    assert "--overwrite" in said
    status, said = _run(*how, "--overwrite")
    assert status == 0, said
    assert open_rows(f"{bucket}/labels.parquet").feature_names == ("labels",)
    one = ("predict", folder / "year=1" / "part.parquet", *how[2:-1], f"{bucket}/one.parquet")
    for more in ((), ("--overwrite",)):
        status, said = _run(*one, *more)
        assert status == 0, said
    assert sorted(_behind(bucket)) == [*names, "one.parquet"]
    found = open_rows(f"{bucket}/one.parquet").read(0, 2400)
    np.testing.assert_array_equal(found[:, 0], expected[700:3100])


@pytest.mark.parametrize(
    "when", [pytest.param("the old is copied aside", marks=pytest.mark.slow), "the new is copied"]
)
def test_what_fails_behind_a_url_leaves_the_old(
    when, folder, fitted, bucket, tmp_path, monkeypatch
):
    fitted.save(tmp_path / "m.zarr")
    how = (
        "predict",
        folder,
        "--model",
        tmp_path / "m.zarr",
        "--output",
        f"{bucket}/labels.parquet",
    )
    copy_all, n_tries = RemoteFileSystem.copy_all, []

    def breaks(self, pairs):
        pairs = list(pairs)
        n_tries.append(len(pairs))
        if len(n_tries) == n_failing:
            copy_all(self, pairs[:2])
            raise StorageError("the line is cut")
        copy_all(self, pairs)

    monkeypatch.setattr(RemoteFileSystem, "copy_all", breaks)
    n_failing = 1  # there is nothing old
    assert "the line is cut" in _run(*how)[1]
    assert _behind(bucket) == {}
    assert _run(*how)[0] == 0
    old = _behind(bucket)
    n_failing = len(n_tries) + (1 if when == "the old is copied aside" else 2)
    assert "the line is cut" in _run(*how, "--overwrite", "--keep", "id")[1]
    assert _behind(bucket) == old


def test_files_of_a_run_that_was_killed_are_no_rows(folder, fitted, bucket, tmp_path):
    fitted.save(tmp_path / "m.zarr")
    fs, root = Location.parse(bucket).filesystem()
    left = (folder / "year=0" / "part.parquet").read_bytes()
    fs.pipe_file(f"{root}/labels.parquet/year=7/part.parquet", left)
    fs.pipe_file(f"{root}/labels.parquet/{PARTIAL_NOTE}", b"")
    with pytest.raises(DataError, match=r"not all files of .*labels\.parquet were written"):
        open_rows(f"{bucket}/labels.parquet")
    status, said = _run(
        *("predict", folder, "--model", tmp_path / "m.zarr"),
        *("--output", f"{bucket}/labels.parquet"),
    )
    assert status == 0, said
    assert sorted(_behind(bucket)) == [f"labels.parquet/year={i}/part.parquet" for i in range(3)]


def test_outputs_that_cannot_be_are_refused_before_the_pass(folder, frame, fitted, tmp_path):
    fitted.save(tmp_path / "m.zarr")
    np.save(tmp_path / "x.npy", frame[NAMES].to_numpy())
    (tmp_path / "notes.parquet").mkdir()
    (tmp_path / "notes.parquet" / "notes.txt").write_text("mine")
    file = folder / "year=0" / "part.parquet"
    for data, arguments, said in [
        (tmp_path / "x.npy", ("--output", tmp_path / "l.parquet"), "name it .*l.zarr"),
        (tmp_path / "x.npy", ("--output", tmp_path / "l.zarr", "--keep", "a"), "keep copies"),
        (folder, ("--output", tmp_path / "l.zarr", "--keep", "id"), "keep copies"),
        (folder, ("--output", tmp_path / "l.parquet", "--keep", "idd"), "did you mean 'id'"),
        (folder, ("--output", "memory://x/l.parquet"), "memory of this process"),
        (folder, ("--output", tmp_path / "no" / "l.parquet"), "does not exist"),
        (folder, ("--output", tmp_path / "notes.parquet", "--overwrite"), "never replaced"),
        (f"{folder}/*/part.parquet", ("--output", file, "--overwrite"), "overlap"),
    ]:
        status, text = _run("predict", data, "--model", tmp_path / "m.zarr", *arguments)
        assert status in (1, 2), text
        assert pd.Series([text]).str.contains(said).all(), text
    left = {"m.zarr", "x.npy", "notes.parquet"}
    assert {p.name for p in tmp_path.iterdir()} == left


def test_rows_in_parquet_can_have_outputs_in_zarr(folder, frame, fitted, tmp_path):
    import zarr

    fitted.save(tmp_path / "m.zarr")
    how = ("--model", tmp_path / "m.zarr", "--output", tmp_path / "l.zarr")
    assert _run("predict", folder, *how)[0] == 0
    labels = zarr.open_array(tmp_path / "l.zarr" / "labels")[:]
    np.testing.assert_array_equal(labels, fitted.predict(frame[NAMES]))


def test_info_tells_of_all_columns(folder):
    status, said = _run("info", folder, "--json")
    assert status == 0, said
    found = json.loads(said)
    assert found["kind"] == "data"
    assert found["format"] == "parquet"
    assert found["shape"] == [N, 4], "those that are numbers"
    assert list(found["columns"]) == [*NAMES, "id", "time", "w"]
    assert found["columns"]["w"] == "int64"


def test_a_job_of_rows_in_parquet(folder, frame, fitted, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(
        f"data: {folder}\ncolumns: [a, b, c]\nmodel: {{components: 2}}\nweights: w\n"
        "outputs: {model: m.zarr, labels: labels.parquet, scores: scores.zarr}\n"
    )
    status, said = _run("run", job)
    assert status == 0, said
    assert "nothing to do" in _run("run", job)[1]
    written = sorted((tmp_path / "labels.parquet").rglob("*.parquet"))
    labels = np.concatenate([pq.read_table(p, partitioning=None)["labels"] for p in written])
    expected = load_model(tmp_path / "m.zarr").predict(frame[NAMES])
    np.testing.assert_array_equal(labels, expected)
