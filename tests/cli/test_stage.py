"""``fit --stage``: the same bits, and nothing left, whatever ends the command.

What is staged has no name, so that a folder is seen to be empty even while it is used;
how much is in it is read from the open files of the process.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from commands import Running, forked, mixture_rows, started, tree, write_store

from daskgmm import load_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

X_BYTES = 400_000 * 4 * 4
FIT = ("fit", "data.zarr", "--components", 4, "--tol", 0, "--no-progressive")
SHORT = (*FIT, "--max-iter", 5)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A folder with data of several partitions, and a model fitted without staging."""
    folder = tmp_path_factory.mktemp("staged")
    write_store(folder / "data.zarr", mixture_rows(400_000, 4, 4, spread=1.0), rows=10_000)
    assert forked(*SHORT, "--output", "expected.zarr", cwd=folder).status == 0
    return folder


@pytest.fixture
def stage(tmp_path):
    """Where to stage; it must be empty in the end."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def assert_expected(model: Path) -> None:
    one, other = load_model(model), load_model(model.with_name("expected.zarr"))
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(
    ("options", "memory", "disk"),
    [
        (("--stage", "."), 0, X_BYTES),
        (("--stage", "auto", "--memory-limit", "2GiB"), X_BYTES, 0),
        (("--stage", ".", "--stage-limit", "3MiB"), 0, 2**20),
    ],
    ids=["folder", "auto", "limit"],
)
def test_staged_fit_gives_the_same_bits_and_says_how_much(rows, options, memory, disk, tmp_path):
    before = tree(rows)
    output = tmp_path / "expected.zarr"
    done = forked(*SHORT, *options, "--json", "--output", "new.zarr", cwd=rows)
    result = done.json
    assert_expected(rows / "new.zarr")
    assert result["staged_bytes_memory"] >= memory
    assert bool(result["staged_bytes_memory"]) == bool(memory)
    assert result["staged_bytes_disk"] >= disk
    if "--stage-limit" in options:
        assert result["staged_bytes_disk"] <= 3 * 2**20
    (rows / "new.zarr").rename(output)
    assert tree(rows) == before
    saved = load_model(output)
    assert saved.staged_bytes_disk_ == result["staged_bytes_disk"]


def test_rounding_to_float32_is_recorded(rows, stage, tmp_path):
    done = forked(
        *(*SHORT, "--stage", stage, "--stage-dtype", "float32", "--json"),
        *("--output", tmp_path.parent / f"{tmp_path.name}.zarr"),
        cwd=rows,
    )
    assert done.json["stage_dtype"] == "float32"


def test_processes_in_one_folder_do_not_meet(rows, stage, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with ExitStack() as both:
        command = (*SHORT, "--stage", stage, "--output")
        running = [
            both.enter_context(started(*command, out / f"{i}.zarr", cwd=rows)) for i in range(2)
        ]
        done = [one.finished() for one in running]
    for i in range(2):
        assert done[i].status == 0, done[i].stderr
        (out / f"{i}.zarr").rename(rows / f"{i}.zarr")
        assert_expected(rows / f"{i}.zarr")


def staged_bytes(process: Running, folder: Path) -> int:
    """Bytes in the process's open files in a folder, names or not."""
    found = 0
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            if Path(os.readlink(link)).parent == folder:
                found += link.stat().st_size
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def test_killed_at_any_moment_leaves_nothing_and_the_next_run_is_as_if_alone(rows, stage):
    endless = (*FIT, "--max-iter", 10**6, "--stage", stage, "--output", "k.zarr")
    with started(*endless, cwd=rows) as process:
        process.wait_for("pass 2: ")
        assert staged_bytes(process, stage) >= X_BYTES
        assert list(stage.iterdir()) == []
    assert list(stage.iterdir()) == []
    done = forked(*SHORT, "--stage", stage, "--output", "after.zarr", "--json", cwd=rows)
    assert done.json["staged_bytes_disk"] >= X_BYTES
    assert_expected(rows / "after.zarr")


def test_a_disk_that_refuses_to_grow_is_a_note(rows, stage):
    """A real refusal, by the system: no file of the process may pass 2 MiB."""
    command = (*SHORT, "--stage", stage, "--output", "small.zarr")
    done = forked(*command, cwd=rows, file_bytes=2 * 2**20)
    assert done.status == 0, done.stderr
    notes = [note for note in done.notes if note.startswith("note: staging")]
    assert len(notes) == 1
    assert "File too large" in notes[0]
    assert_expected(rows / "small.zarr")


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--stage", "nowhere"), 1, "nowhere does not exist; create it"),
        (("--stage", "data.zarr/zarr.json"), 1, "nothing can be written in"),
        (("--stage", "s3://bucket/x"), 2, "must be a folder on a local disk"),
        (("--stage-limit", "1GiB"), 2, "stage_limit needs stage"),
        (("--stage-dtype", "float32"), 2, "stage_dtype needs stage"),
        (("--stage", ".", "--stage-limit", "much"), 2, "'--stage-limit': must be a size"),
    ],
)
def test_wrong_options_are_told_before_the_first_pass(rows, options, status, words):
    before = tree(rows)
    done = forked(*SHORT, *options, "--output", "no.zarr", cwd=rows)
    assert done.status == status
    assert words in done.stderr
    assert "scan: " not in done.stderr
    assert tree(rows) == before
