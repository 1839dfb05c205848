"""``fit --stage``: the same bits, and nothing left, whatever ends the command.

What is staged has no name, so that a folder is seen to be empty even while it is used;
how much is in it is read from the open files of the process.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import DASKGMM, forked, mixture_rows, tree, write_store

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
    commands = [
        subprocess.Popen(
            [DASKGMM, *map(str, SHORT), "--stage", stage, "--output", out / f"{i}.zarr"],
            cwd=rows,
            stderr=subprocess.PIPE,
        )
        for i in range(2)
    ]
    for i, command in enumerate(commands):
        _, said = command.communicate()
        assert command.returncode == 0, said
        (out / f"{i}.zarr").rename(rows / f"{i}.zarr")
        assert_expected(rows / f"{i}.zarr")


def staged_bytes(process: subprocess.Popen[str], folder: Path) -> int:
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
    with subprocess.Popen(
        [DASKGMM, *map(str, FIT), "--max-iter", "1000000", "--stage", stage, "--output", "k.zarr"],
        cwd=rows,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert any(line.startswith("pass 2: ") for line in process.stderr)
            assert staged_bytes(process, stage) >= X_BYTES
            assert list(stage.iterdir()) == []
        finally:
            process.kill()
    assert list(stage.iterdir()) == []
    done = forked(*SHORT, "--stage", stage, "--output", "after.zarr", "--json", cwd=rows)
    assert done.json["staged_bytes_disk"] >= X_BYTES
    assert_expected(rows / "after.zarr")


def test_a_disk_that_refuses_to_grow_is_a_note(rows, stage):
    """A real refusal, by the system: no file of the process may pass 2 MiB."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**20, 2 * 2**20))

    done = subprocess.run(
        [DASKGMM, *map(str, SHORT), "--stage", stage, "--output", "small.zarr"],
        cwd=rows,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: staging")]
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
