"""``daskgmm run``: a job file is done once, whatever happens on the way."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from commands import chunk, forked, mixture_rows, result_in, started, tree, write_store
from distributed import LocalCluster
from job_folder import JOB, SMALL, folder_of_job, write, written_rows

pytestmark = pytest.mark.slow  # whole jobs, interrupted and resumed

OUTPUTS = list(JOB["outputs"].values())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return written_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture
def folder(data, tmp_path):
    return folder_of_job(data, tmp_path / "here")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """Outputs of the separate commands."""
    folder = tmp_path_factory.mktemp("undisturbed")
    fit = ("--components", 4, "--tol", 0, "--max-iter", 12, "--seed", 3, "--no-progressive")
    assert forked("fit", data, *fit, "--output", "model.zarr", cwd=folder).status == 0
    done = forked(
        *("predict", data, "--model", "model.zarr", "--output", "labels.zarr"),
        *("--probabilities", "probabilities.zarr", "--log-density", "scores.zarr"),
        cwd=folder,
    )
    assert done.status == 0, done.stderr
    return folder


def assert_same_outputs(found: Path, expected: Path) -> None:
    for name in ("labels", "probabilities", "scores"):
        got, want = (result_in(f / f"{name}.zarr")[...] for f in (found, expected))
        np.testing.assert_array_equal(got, want)
    for name in ("weights", "means", "covariances"):
        got, want = (zarr.open(f / "model.zarr", mode="r")[name][...] for f in (found, expected))
        np.testing.assert_array_equal(got, want)


def test_it_gives_what_the_separate_commands_give_and_is_done_once(folder, undisturbed, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = forked("run", folder / "job.yaml", "--json", cwd=elsewhere)  # paths are the file's
    assert done.json["done"] == ["model", "rows", "report"]
    assert_same_outputs(folder, undisturbed)
    report = json.loads((folder / "report.json").read_text())
    assert report["n_passes"] == done.json["n_passes"]
    assert report["weights"] == done.json["weights"]
    before = tree(folder)
    again = forked("run", folder / "job.yaml", cwd=elsewhere)
    assert again.status == 0
    assert again.stdout.startswith("nothing to do: ")
    assert tree(folder) == before
    shutil.rmtree(folder / "labels.zarr")  # what has gone is made again, and no more than that
    third = forked("run", folder / "job.yaml", "--json", "--overwrite", cwd=elsewhere)
    assert third.json["done"] == ["rows"]
    assert_same_outputs(folder, undisturbed)


def stopped(folder: Path, by: signal.Signals, at: str | None = None, when: str = "") -> int:
    """Exit status of a run that gets a signal at a line, or when a file has appeared."""
    with started("run", "job.yaml", cwd=folder) as process:
        if at is not None:
            process.wait_for(at)
        else:
            while process.poll() is None and not list(folder.glob(when)):
                pass
        process.send_signal(by)
        return process.finished().status


def test_interrupted_in_every_step_it_goes_on_to_the_same_outputs(folder, undisturbed):
    assert stopped(folder, signal.SIGKILL, at="scan: ") == -signal.SIGKILL
    assert stopped(folder, signal.SIGTERM, at="pass 3: ") == 75
    assert stopped(folder, signal.SIGKILL, at="pass 6: ") == -signal.SIGKILL
    assert not [name for name in OUTPUTS if (folder / name).exists()]
    # With metadata: an empty folder is the look whether one can be written at all.
    killed = stopped(folder, signal.SIGKILL, when=".scores.zarr.partial-*/zarr.json")
    assert killed == -signal.SIGKILL
    assert (folder / "model.zarr").exists()
    assert not (folder / "scores.zarr").exists()
    done = forked("run", "job.yaml", "--json", cwd=folder)
    assert done.json["done"] == ["rows", "report"]
    assert_same_outputs(folder, undisturbed)


def waited_for_a_worker(folder: Path, *command: object) -> tuple[int, str]:
    """Status and last line of a command that is terminated while it waits for a worker."""
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1") as cluster:
        arguments = (*command, "--cluster", cluster.scheduler_address)
        with started(*arguments, cwd=folder) as process:
            while len(cluster.scheduler.clients) < 2 and process.poll() is None:
                time.sleep(0.05)  # one is the scheduler's own
            process.send_signal(signal.SIGTERM)
            done = process.finished()
    return done.status, done.stderr.splitlines()[-1]


def test_terminated_before_the_first_pass_it_goes_on_as_well(folder):
    write(folder, SMALL)
    status, last = waited_for_a_worker(folder, "run", "job.yaml")
    assert (status, last) == (75, "Error: interrupted; run the same command again to go on")
    assert forked("run", "job.yaml", cwd=folder).status == 0
    fit = ("fit", "data.zarr", "--components", 2, "--max-iter", 2, "--output", "m.zarr")
    kept = ("--checkpoint", "kept")
    status, last = waited_for_a_worker(folder, *fit, *kept)
    assert status == 75
    assert "--resume" in last
    assert forked(*fit, *kept, "--resume", cwd=folder).status == 0
    assert waited_for_a_worker(folder, *fit, "--overwrite")[0] == 1  # nothing to go on from


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("run", "job.yaml"), 75),
        (("fit", "data.zarr", "--checkpoint=kept", "--resume"), 75),
        (("fit", "data.zarr"), 1),
        (("run", "job.yaml", "--log-format", "json"), 75),
    ],
)
def test_a_signal_is_heard_while_modules_are_imported(tmp_path, command, status, by):
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "daskgmm", *command],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if " daskgmm.errors" in line)  # others follow
        process.send_signal(by)
        *_, last = process.communicate()[1].splitlines()
    assert process.returncode == status
    if "json" in command:
        assert json.loads(last)["status"] == status
    else:
        assert last.startswith("Error: interrupted; ")


def test_a_full_disk_is_an_end_that_can_be_gone_on_from(folder, undisturbed):
    assert stopped(folder, signal.SIGTERM, at="pass 3: ") == 75
    full = forked("run", "job.yaml", cwd=folder, file_bytes=200_000)
    assert full.status == 75, full.stderr
    assert "check permissions and space" in full.stderr.splitlines()[-1]
    assert not (folder / "probabilities.zarr").exists()
    assert forked("run", "job.yaml", "--json", cwd=folder).json["done"] == ["rows", "report"]
    assert_same_outputs(folder, undisturbed)


def test_a_changed_job_is_refused_with_what_changed(folder):
    assert stopped(folder, signal.SIGTERM, at="pass 2: ") == 75
    before = tree(folder)
    refused = forked("run", "job.yaml", "--model-components", 5, cwd=folder)
    assert refused.status == 1
    assert "settings.n_components was 4, is 5" in refused.error
    assert tree(folder) == before
    shutil.rmtree(folder / "data.zarr")
    write_store(folder / "data.zarr", mixture_rows(60_000, 3, 4, seed=9), rows=5_000)
    assert "data.fingerprint was" in forked("run", "job.yaml", cwd=folder).error
    assert forked("run", "job.yaml", "--fresh", cwd=folder).status == 0


def test_damaged_data_that_are_whole_again_are_no_other_job(folder):
    victim = chunk(folder / "data.zarr", 3)
    good = victim.read_bytes()
    victim.write_bytes(good[: len(good) // 2])
    damaged = forked("run", "job.yaml", cwd=folder)
    assert damaged.status == 1
    assert "does not decode" in damaged.error
    assert list(folder.glob("*/job.json"))
    victim.write_bytes(good)
    assert forked("run", "job.yaml", cwd=folder).status == 0


def refused_with_nothing_changed(folder: Path, *options: object, cwd: Path | None = None) -> str:
    before = tree(folder)
    refused = forked("run", folder / "job.yaml", *options, cwd=cwd or folder)
    assert refused.status == 1
    assert tree(folder) == before
    return refused.error


def test_fresh_replaces_what_the_job_wrote_and_nothing_else(folder):
    write(folder, SMALL)
    assert forked("run", "job.yaml", cwd=folder).status == 0
    before = tree(folder)
    (folder / "mine.json").write_text("mine")
    mine = ("--fresh", "--outputs-report", "mine.json")
    assert "mine.json exists" in refused_with_nothing_changed(folder, *mine)
    assert "nothing to do" in forked("run", "job.yaml", cwd=folder).stdout
    changed = forked("run", "job.yaml", "--fresh", "--model-max-iter", 3, "--json", cwd=folder)
    assert changed.json["done"] == ["model", "rows", "report"]
    assert changed.json["n_iter"] == 3
    assert tree(folder)["report.json"] != before["report.json"]
    again = forked("run", "job.yaml", "--fresh", "--json", cwd=folder)
    assert again.json["done"] == ["model", "rows", "report"]
    assert "nothing to do" in forked("run", "job.yaml", cwd=folder).stdout


def test_fresh_forgets_no_other_job(folder):
    write(folder, SMALL)
    (folder / "job.yaml").rename(folder / "first.yaml")
    first = ("run", "first.yaml", "--checkpoint", "job.checkpoint")
    assert forked(*first, cwd=folder).status == 0
    fit = ("fit", "data.zarr", "--components", 2, "--max-iter", 2, "--output", "m.zarr")
    assert forked(*fit, "--checkpoint", "kept", cwd=folder).status == 0
    write(folder, SMALL | {"outputs": {"model": "other.zarr"}})
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").write_text("mine")
    for checkpoint, why in (
        ("job.checkpoint", "is of the job .*first.yaml"),
        ("kept", "something else than checkpoints of a job"),
        ("mine", "something else than checkpoints of a job"),
        ("first.yaml", "is a file; name a folder"),
    ):
        options = ("--fresh", "--checkpoint", folder / checkpoint)
        assert re.search(why, refused_with_nothing_changed(folder, *options)), checkpoint
    assert "is a file" in refused_with_nothing_changed(folder, "--checkpoint", "first.yaml")
    assert "nothing to do" in forked(*first, cwd=folder).stdout


def test_an_output_is_known_by_its_address(folder, tmp_path):
    """The same words in another folder are another output, and may be somebody's."""
    write(folder, SMALL)
    options = ("--outputs-model", "m.zarr", "--checkpoint", folder / "kept")
    assert forked("run", "job.yaml", *options, cwd=folder).status == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(folder / "m.zarr", elsewhere / "m.zarr")
    before = tree(elsewhere)
    assert "m.zarr exists" in refused_with_nothing_changed(folder, *options, cwd=elsewhere)
    assert tree(elsewhere) == before


def test_an_output_that_was_wrong_can_be_put_right(folder, undisturbed):
    """Hours of passes are not lost by the name of a file."""
    assert stopped(folder, signal.SIGTERM, at="pass 3: ") == 75
    write(folder, JOB | {"outputs": JOB["outputs"] | {"labels": "right.zarr"}})
    moved = ("--outputs-model", folder / "moved.zarr")
    done = forked("run", "job.yaml", *moved, "--json", cwd=folder)
    assert "resumed: " in done.stderr
    assert done.json["done"] == ["model", "rows", "report"]
    (folder / "right.zarr").rename(folder / "labels.zarr")
    (folder / "moved.zarr").rename(folder / "model.zarr")
    assert_same_outputs(folder, undisturbed)


def test_of_two_runs_the_second_is_refused_and_the_first_undisturbed(folder, undisturbed):
    write(folder, JOB | {"outputs": JOB["outputs"] | {"log": "job.log"}})
    with started("run", "job.yaml", cwd=folder) as first:
        first.wait_for("pass 2: ")
        first.send_signal(signal.SIGSTOP)  # or it may end before the second has begun
        before = (folder / "job.checkpoint/job.json").read_text()
        for options in ((), ("--fresh",)):
            second = forked("run", "job.yaml", *options, cwd=folder)
            assert second.status == 1
            assert "another process is at work there" in second.error
        assert (folder / "job.checkpoint/job.json").read_text() == before
        first.send_signal(signal.SIGCONT)
        assert first.finished().status == 0
    assert "another process" not in (folder / "job.log").read_text()
    assert_same_outputs(folder, undisturbed)


def test_what_is_done_stays_done_when_daskgmm_is_upgraded(folder):
    write(folder, SMALL)
    assert forked("run", "job.yaml", cwd=folder).status == 0
    assert "version" not in json.loads((folder / "job.checkpoint/job.json").read_text())["identity"]
