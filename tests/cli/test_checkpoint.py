"""Fits that are killed, terminated or interrupted, as real processes, and then resumed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from commands import forked, mixture_rows, started, tree, write_store

from daskgmm import load_model

pytestmark = pytest.mark.slow  # whole commands, killed on the way

FIT = ("fit", "data.zarr", "--components", 6, "--tol", 0, "--max-iter", 12, "--no-progressive")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    write_store(folder / "data.zarr", mixture_rows(60_000, 3, 5, spread=1.5), rows=5_000)
    done = forked(*FIT, "--output", "undisturbed.zarr", cwd=folder)
    assert done.status == 0, done.stderr
    return folder


def stopped_at(line: str, by: signal.Signals, checkpoint: str, cwd: Path) -> tuple[int, str]:
    """Status and last line of a fit that is sent a signal when it prints a line."""
    arguments = (*FIT, "--output", f"{checkpoint}.zarr", "--checkpoint", checkpoint, "--resume")
    with started(*arguments, cwd=cwd) as running:
        running.wait_for(line)
        running.send_signal(by)
        done = running.finished()
    *_, last = ["", *done.stderr.splitlines()]
    return done.status, last


def assert_as_undisturbed(folder: Path, output: str) -> None:
    found, expected = load_model(folder / output), load_model(folder / "undisturbed.zarr")
    for name in ("weights_", "means_", "covariances_"):
        assert (getattr(found, name) == getattr(expected, name)).all()
    assert found.lower_bounds_ == expected.lower_bounds_


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_ends_with_75_and_says_how_to_go_on(folder, by):
    name = by.name.lower()
    status, last = stopped_at("pass 3: ", by, name, folder)
    assert status == 75
    assert last.startswith("Error: interrupted after ")
    assert "--resume" in last
    assert not (folder / f"{name}.zarr").exists()
    refused = forked(*FIT, "--output", f"{name}.zarr", "--checkpoint", name, cwd=folder)
    assert refused.status == 1
    assert "interrupted run" in refused.error
    done = forked(
        *(*FIT, "--output", f"{name}.zarr", "--checkpoint", name, "--resume", "--json"), cwd=folder
    )
    assert done.json["n_passes"] == 13
    assert "resumed: " in done.stderr
    assert_as_undisturbed(folder, f"{name}.zarr")


def test_killed_at_every_third_pass_it_still_ends_with_the_same_bits(folder):
    for line in ("scan: ", "pass 2: ", "pass 5: ", "pass 8: "):
        status, _ = stopped_at(line, signal.SIGKILL, "killed", folder)
        assert status == -signal.SIGKILL
    before = tree(folder)
    assert not [name for name in before if name.startswith((".killed.zarr", "killed.zarr"))]
    done = forked(
        *(*FIT, "--output", "killed.zarr", "--checkpoint", "killed", "--resume"), cwd=folder
    )
    assert done.status == 0, done.stderr
    assert_as_undisturbed(folder, "killed.zarr")


def test_checkpoints_can_be_kept_less_often(folder):
    options = ("--checkpoint", "seldom", "--checkpoint-every", 5)
    done = forked(*FIT, "--output", "seldom.zarr", *options, cwd=folder)
    assert done.status == 0, done.stderr
    kept = sorted(path.name[:11] for path in (folder / "seldom").glob("pass-*"))
    assert kept == ["pass-000011", "pass-000013"]


def test_resume_without_anything_to_resume_begins(folder):
    done = forked(*(*FIT, "--output", "new.zarr", "--checkpoint", "new", "--resume"), cwd=folder)
    assert done.status == 0, done.stderr
    assert_as_undisturbed(folder, "new.zarr")


def test_interrupted_before_the_first_checkpoint_it_can_be_begun_by_the_same_words(folder):
    fit = (*FIT, "--output", "early.zarr", "--checkpoint", "early", "--resume")
    with started(*fit, "--log-format", "json", cwd=folder) as running:
        next(line for line in running.stderr if "fit_began" in line)
        running.send_signal(signal.SIGTERM)
        done = running.finished()
    assert done.status == 75
    *_, last = done.stderr.splitlines()
    assert "--resume" in last
    done = forked(*fit, cwd=folder)
    assert done.status == 0, done.stderr
    assert_as_undisturbed(folder, "early.zarr")
