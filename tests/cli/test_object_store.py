"""Data, models and outputs on S3, as users run it: the bits of a local disk, or one line.

The server is moto's, in a process of its own; credentials are in the environment of
each command, and nothing that a command prints or stores may hold the secret.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from commands import Finished, forked, mixture_rows, started, write_store
from faulty_proxy import faulty_proxy
from forks import FORKS
from object_store import SECRET, environment, free_port
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskgmm import load_model
from daskgmm.settings import TIMEOUT_VARIABLE
from daskgmm.storage import ResultArray, RowAxes, RowOutput

pytestmark = pytest.mark.slow  # whole commands on a server of S3; tests/storage has its parts

LOCAL = Path(__file__).parents[2] / "cluster_configs" / "local.yaml"
FIT = ("--components", 3, "--max-iter", 4, "--tol", 0, "--no-progressive")
N_CHUNKS = 20
CODECS = {"compressors": [ZstdCodec(level=1), Crc32cCodec()]}


class Place:
    """A folder and a bucket with the same data: chunked, sharded, in a group."""

    def __init__(self, folder, bucket, store):
        self.folder, self.bucket, self.store = folder, bucket, store
        self.fs = fsspec.filesystem("s3")

    def run(self, *arguments, env=None) -> Finished:
        done = forked(*arguments, cwd=self.folder, env={**self.store.environment, **(env or {})})
        assert SECRET not in done.stdout + done.stderr
        return done

    def files(self, url) -> dict[str, bytes]:
        """Everything below a URL, hidden ones too."""
        self.fs.invalidate_cache()
        return {key: self.fs.cat_file(key) for key in self.fs.find(url)}

    def names(self, bucket) -> set[str]:
        """What is in a bucket, at the top."""
        self.fs.invalidate_cache()
        return {name.rpartition("/")[2] for name in self.fs.ls(bucket)}


@pytest.fixture(scope="module")
def place(tmp_path_factory, object_store):
    folder = tmp_path_factory.mktemp("objects") / "work"
    folder.mkdir()
    x = mixture_rows(200_000, 4, 3, spread=1.0)
    write_store(folder / "data.zarr", x, rows=len(x) // N_CHUNKS)
    chunks, shards = (2_500, 4), (10_000, 4)
    sharded = zarr.create_array(
        folder / "sharded.zarr",
        shape=x.shape,
        dtype=x.dtype,
        chunks=chunks,
        shards=shards,
        **CODECS,
    )
    sharded[:] = x
    shutil.copytree(folder / "data.zarr", folder / "group.zarr" / "x")
    zarr.create_group(folder / "group.zarr")
    place = Place(folder, object_store.bucket(), object_store)
    for name in ("data.zarr", "sharded.zarr", "group.zarr"):
        place.fs.put(f"{folder}/{name}", f"{place.bucket}/{name}", recursive=True)
    for name in ("data.zarr", "sharded.zarr"):
        done = place.run("fit", name, *FIT, "--output", f"model-of-{name}")
        assert done.status == 0, done.stderr
    done = place.run(
        *("predict", "data.zarr", "--model", "model-of-data.zarr", "--output", "labels.zarr")
    )
    assert done.status == 0, done.stderr
    return place


def assert_same_model(one, other):
    one, other = load_model(one), load_model(other)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.lower_bounds_ == other.lower_bounds_


@pytest.mark.parametrize(
    ("data", "options"),
    [("data.zarr", ()), ("sharded.zarr", ()), ("group.zarr", ("--member", "x"))],
)
def test_a_fit_has_the_bits_of_a_local_one(place, data, options):
    model = f"{place.bucket}/model-{time.monotonic_ns()}.zarr"
    with place.store.requests() as requests:
        done = place.run(
            "fit", f"{place.bucket}/{data}", *FIT, "--output", model, "--json", *options
        )
    assert done.json["model"] == model
    kind = "sharded" if data == "sharded.zarr" else "data"
    assert_same_model(model, place.folder / f"model-of-{kind}.zarr")
    assert len(chunks_read(requests)) == done.json["n_passes"] * N_CHUNKS
    listings = [r for r in requests if f"prefix={data.partition('/')[0]}" in r.path]
    assert len(listings) == 1
    assert not any(SECRET.encode() in content for content in place.files(model).values())


def chunks_read(requests):
    """Requests of chunks of rows, which do nothing but read them."""
    outputs = ("model", "labels")
    chunks = [r for r in requests if "/c/" in r.path and not any(o in r.path for o in outputs)]
    assert {request.method for request in chunks} == {"GET"}
    return chunks


def test_on_worker_processes_a_job_has_the_bits_of_a_local_one(place, tmp_path):
    """They take credentials from their environment."""
    bucket = place.store.bucket()
    (tmp_path / "job.yaml").write_text(
        f"data: {place.bucket}/data.zarr\ncluster: {LOCAL}\n"
        "model: {components: 3, tol: 0, max_iter: 4, progressive: false}\n"
        f"outputs: {{model: {bucket}/model.zarr, labels: {bucket}/labels.zarr}}\n"
        f"checkpoint: {tmp_path}/checkpoint\n"
    )
    with place.store.requests() as requests:
        done = place.run("run", tmp_path / "job.yaml", "--json")
    assert done.json["done"] == ["model", "rows"]
    assert_same_model(f"{bucket}/model.zarr", place.folder / "model-of-data.zarr")
    assert_same_files(place, f"{bucket}/labels.zarr", "labels.zarr")
    # Partitions of a predict end where those of its outputs do, within chunks of the data.
    n_most = (done.json["n_passes"] + 2) * N_CHUNKS
    assert n_most - N_CHUNKS <= len(chunks_read(requests)) < n_most
    assert not any(SECRET.encode() in content for content in place.files(bucket).values())


def test_predict_score_info_and_check(place):
    data, model = f"{place.bucket}/data.zarr", f"{place.bucket}/model-of-data.zarr"
    load_model(place.folder / "model-of-data.zarr").save(model, overwrite=True)
    output = f"{place.bucket}/labels-{time.monotonic_ns()}.zarr"
    assert place.run("predict", data, "--model", model, "--output", output).status == 0
    assert_same_files(place, output, "labels.zarr")
    near, far = (xr.open_zarr(p) for p in (place.folder / "labels.zarr", output))
    xr.testing.assert_equal(near, far)
    xr.testing.assert_equal(
        *(xr.open_zarr(p) for p in (place.folder / "model-of-data.zarr", model))
    )
    scores = [
        place.run("score", d, "--model", m, "--json").json | {"model": ""}
        for d, m in ((data, model), ("data.zarr", "model-of-data.zarr"))
    ]
    assert scores[0] == scores[1]
    assert place.run("info", model, "--json").json["kind"] == "model"
    assert place.run("check", data, "--json").json["damage"] is None


def assert_same_files(place, url, name):
    """But for the names of data and model, which the group has in its attributes."""
    far, near = place.files(url), tree_of(place.folder / name)
    far = {key.partition(".zarr/")[2]: value for key, value in far.items()}
    about, expected = (json.loads(files.pop("zarr.json")) for files in (far, near))
    for document in (about, expected):
        for name_of in ("data", "model", "title"):
            document["attributes"].pop(name_of)
    assert far == near
    assert about == expected


def tree_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def copy_without_chunk(place):
    url = f"{place.bucket}/missing.zarr"
    place.fs.copy(f"{place.bucket}/data.zarr", url, recursive=True)
    place.fs.rm(f"{url}/c/3/0")
    return url


def copy_with_flipped_bit(place):
    url = f"{place.bucket}/flipped.zarr"
    place.fs.copy(f"{place.bucket}/data.zarr", url, recursive=True)
    content = bytearray(place.fs.cat_file(f"{url}/c/3/0"))
    content[len(content) // 2] ^= 1
    place.fs.pipe_file(f"{url}/c/3/0", bytes(content))
    return url


NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
BAD = {
    "missing chunk": (copy_without_chunk, {}, r"missing.zarr: 1 of 20 chunks is missing .*'c/3/0'"),
    "damaged chunk": (
        copy_with_flipped_bit,
        {},
        r"flipped.zarr: chunk 'c/3/0' \(rows 30000:40000\) does not decode",
    ),
    "missing store": (
        lambda place: f"{place.bucket}/none.zarr",
        {},
        r"no Zarr array or group at s3://bucket-\d+/none.zarr",
    ),
    "missing bucket": (
        lambda place: f"{place.bucket}-none/data.zarr",
        {},
        r"no Zarr array or group at s3://bucket-\d+-none/data.zarr",
    ),
    "no credentials": (
        lambda place: f"{place.bucket}/data.zarr",
        NO_CREDENTIALS,
        r"s3://bucket-\d+/data.zarr.*: access denied \(NoCredentialsError.*AWS_ACCESS_KEY_ID",
    ),
    "nobody there": (
        lambda place: f"{place.bucket}/data.zarr",
        {**environment(free_port()), TIMEOUT_VARIABLE: "0.5"},
        r"s3://bucket-\d+/data.zarr.*: no answer for 0.5 s .*DASKGMM_STORAGE_TIMEOUT=SECONDS",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_a_line(place, case):
    make, env, expected = BAD[case]
    done = place.run("fit", make(place), *FIT, "--output", "none.zarr", env=env)
    assert done.status == 1
    assert re.search(expected, done.error), done.error
    assert not (place.folder / "none.zarr").exists()


def test_wrong_credentials_are_said_in_a_line(place):
    with place.store.with_authentication():
        for command in (
            ("fit", f"{place.bucket}/data.zarr", *FIT, "--output", "none.zarr"),
            ("fit", "data.zarr", *FIT, "--output", f"{place.bucket}/none.zarr"),
            ("info", f"{place.bucket}/data.zarr"),
        ):
            done = place.run(*command)
            assert done.status == 1
            assert "access denied (PermissionError: " in done.error
            assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in done.error


def test_an_output_that_cannot_be_written_is_known_before_the_fit(place):
    for output, expected in (
        (f"{place.bucket}-none/m.zarr", "bucket or folder of .* does not exist; create it first"),
        (f"{place.bucket}/data.zarr", "exists; choose another name"),
    ):
        done = place.run("fit", "data.zarr", *FIT, "--output", output)
        assert done.status == 1
        assert re.search(expected, done.error)
        assert "pass 1" not in done.stderr


@contextmanager
def started_at(place, *arguments, **env):
    with started(*arguments, cwd=place.folder, env=place.store.environment | env) as process:
        yield process


def test_a_store_that_comes_back_leaves_no_trace_in_the_model(place):
    """Its process is stopped in the middle of the fit, and goes on two seconds later."""
    model = f"{place.bucket}/survived.zarr"
    with started_at(
        *(place, "fit", f"{place.bucket}/data.zarr", *FIT, "--output", model),
        **{TIMEOUT_VARIABLE: "6"},  # a read is given up after 1.5 s
    ) as process:
        process.wait_for("pass 1:")
        with place.store.paused():
            process.wait_for("note: s3://")
        done = process.finished()
    assert done.status == 0, done.stderr
    assert "pass 4" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert_same_model(model, place.folder / "model-of-data.zarr")


def test_a_killed_fit_goes_on_from_a_checkpoint_on_s3(place):
    bucket = place.store.bucket()
    fit = ("fit", f"{place.bucket}/data.zarr", *FIT, "--output", f"{bucket}/resumed.zarr")
    with started_at(place, *fit, "--checkpoint", f"{bucket}/checkpoint") as process:
        process.wait_for("pass 2:")
        process.send_signal(signal.SIGKILL)
    assert "resumed.zarr" not in place.names(bucket)
    again = (*fit, "--checkpoint", f"{bucket}/checkpoint", "--resume")
    done = place.run(*again)
    assert done.status == 0, done.stderr
    assert "pass 1:" not in done.stderr
    assert_same_model(f"{bucket}/resumed.zarr", place.folder / "model-of-data.zarr")
    assert not any(SECRET.encode() in content for content in place.files(bucket).values())


def test_of_two_runs_of_a_job_on_s3_the_second_is_refused(place, tmp_path):
    bucket = place.store.bucket()
    (tmp_path / "job.yaml").write_text(
        f"data: {place.bucket}/data.zarr\n"
        "model: {components: 3, tol: 0, max_iter: 1000000, progressive: false}\n"
        f"outputs: {{model: {bucket}/run.zarr}}\ncheckpoint: {bucket}/checkpoint\n"
    )
    job = ("run", tmp_path / "job.yaml")
    with started_at(place, *job) as first:
        first.wait_for("pass 1:")
        second = place.run(*job)
        assert second.status == 1
        assert re.search(r"another process \(.*:\d+\) is at work there", second.error)
        first.send_signal(signal.SIGTERM)
        assert first.finished().status == 75
    with started_at(place, *job) as again:  # at once: the first let go
        again.wait_for("resumed: ")
        again.send_signal(signal.SIGTERM)
        assert again.finished().status == 75
    assert not any(SECRET.encode() in content for content in place.files(bucket).values())


@pytest.mark.parametrize("options", [(), ("--cluster", LOCAL)])
def test_a_store_that_stays_away_is_an_end_in_time(place, options):
    with started_at(
        *(place, "fit", f"{place.bucket}/data.zarr", *FIT, "--output", "none.zarr", *options),
        **{TIMEOUT_VARIABLE: "2"},
    ) as process:
        process.wait_for("pass 1:")
        with place.store.paused():
            began = time.monotonic()
            done = process.finished()
            assert time.monotonic() - began < 45  # a minute is what a store is given otherwise
    assert done.status == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert re.search(r"Error: s3://bucket-\d+/data.zarr/c/\d+/0: no answer for 2 s", errors[0])
    assert options or "Traceback" not in done.stderr  # workers have a log of their own
    assert not (place.folder / "none.zarr").exists()


def test_a_job_whose_store_is_away_from_the_start_is_to_be_run_again(place, tmp_path):
    (tmp_path / "job.yaml").write_text(
        f"data: {place.bucket}/data.zarr\nmodel: {{components: 3}}\n"
        f"outputs: {{model: {tmp_path}/model.zarr}}\ncheckpoint: {tmp_path}/checkpoint\n"
    )
    away = environment(free_port()) | {TIMEOUT_VARIABLE: "0.5"}
    found = place.run("run", tmp_path / "job.yaml", env=away)
    assert found.status == 75
    assert "no answer for 0.5 s" in found.error
    assert place.run("run", tmp_path / "job.yaml").status == 0


OLD, NEW = np.arange(40, dtype="i4"), np.arange(60, dtype="i4") + 1000


def write_new(output: str, port: int) -> None:
    """Replace an output, in a process that may be killed."""
    os.environ.update(environment(port))
    results = {"labels": ResultArray(NEW.dtype, -2)}
    with RowOutput.create(
        output, RowAxes(NEW.shape), results, partition_rows=30, overwrite=True
    ) as out:
        for start in (0, 30):
            out.writer.write(start, {"labels": NEW[start : start + 30]})


def state_of(output: str) -> str:
    """What a reader finds; anything but these would be half an output."""
    try:
        found = zarr.open(output, mode="r")
    except FileNotFoundError:
        return "nothing"
    if isinstance(found, zarr.Array):
        np.testing.assert_array_equal(found[:], OLD)
        return "old"
    np.testing.assert_array_equal(found["labels"][:], NEW)
    return "new"


def killed_at(place, output: str, n_passed: int) -> bool:
    """Whether ``write_new`` was killed, by the change that follows ``n_passed`` of its commit."""
    process = None
    changes = itertools.count()

    def fault(handler):
        is_change = handler.command in ("PUT", "POST", "DELETE")
        # Before the commit come the writes into the draft.
        in_commit = "/.out.zarr.partial-" not in handler.path
        if not (is_change and in_commit and next(changes) == n_passed):
            return False
        os.kill(process.pid, signal.SIGKILL)
        handler.close_connection = True
        return True

    with faulty_proxy(place.store.port, fault) as port:
        process = FORKS.Process(target=write_new, args=(output, port))
        process.start()
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_kill_at_any_moment_of_a_commit_shows_nothing_half(place, is_small):
    """kill -9 at each request of the commit that changes something, before it is passed on.

    The next run replaces what is left under the output's name.
    """
    states = []
    for n_passed in itertools.count(step=4 if is_small else 1):
        bucket = place.store.bucket()
        output = f"{bucket}/out.zarr"
        zarr.create_array(output, data=OLD, chunks=(20,))
        if not killed_at(place, output, n_passed):
            break
        states.append(state_of(output))
        write_new(output, place.store.port)
        assert state_of(output) == "new"
        keys = {key.partition("/")[2] for key in place.files(bucket)}
        here = {key for key in keys if not re.match(r"\.out\.zarr\.(partial|replaced)-", key)}
        assert here == {
            *("out.zarr/zarr.json", "out.zarr/labels/zarr.json"),
            *("out.zarr/labels/c/0", "out.zarr/labels/c/1"),
        }
    assert state_of(output) == "new"
    # It begins with the old and ends with the new, and nothing comes back that was gone.
    assert [key for key, _ in itertools.groupby(states)] == ["old", "nothing", "new"]


def test_metadata_of_a_model_come_last_and_its_root_at_the_end(place):
    model = f"{place.store.bucket()}/model.zarr"
    with place.store.requests() as requests:
        load_model(place.folder / "model-of-data.zarr").save(model)
    put = [
        request.path.partition("/model.zarr/")[2]
        for request in requests
        if request.method == "PUT" and "/model.zarr/" in request.path
    ]
    arrays = {"weights", "means", "covariances", "component", "feature", "other_feature"}
    arrays |= {f"statistics_{name}" for name in ("n_k", "first", "second", "centres")}
    assert put[0] == ".daskgmm-partial"
    assert {key.partition("/c/")[0] for key in put[1 : 1 + len(arrays)]} == arrays
    assert {key.rpartition("/")[2] for key in put[1 + len(arrays) :]} == {"zarr.json"}
    assert put[-1] == "zarr.json"
    assert len(place.files(model)) == 1 + 2 * len(arrays)
