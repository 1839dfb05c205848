"""``daskgmm run``: a job file is done once, whatever happens on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
import zarr
from commands import chunk, forked, mixture_rows, result_in, started, tree, write_store
from distributed import LocalCluster

from daskgmm import load_model
from daskgmm.kernel.loops import library as loops

pytestmark = pytest.mark.slow  # whole jobs, interrupted and resumed

JOB = {
    "data": "data.zarr",
    "model": {"components": 4, "tol": 0, "max_iter": 12, "seed": 3, "progressive": False},
    "outputs": {
        "model": "model.zarr",
        "labels": "labels.zarr",
        "probabilities": "probabilities.zarr",
        "scores": "scores.zarr",
        "report": "report.json",
    },
}
OUTPUTS = list(JOB["outputs"].values())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return write_store(folder / "data.zarr", mixture_rows(60_000, 3, 4, spread=1.5), rows=5_000)


@pytest.fixture
def folder(data, tmp_path):
    """A folder with data and a job file."""
    shutil.copytree(data, tmp_path / "here" / "data.zarr")
    write(tmp_path / "here", JOB)
    return tmp_path / "here"


def write(folder: Path, job: dict) -> None:
    (folder / "job.yaml").write_text(yaml.safe_dump(job))


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
        next(line for line in process.stderr if "| numpy" in line or " numpy." in line)
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


SMALL = JOB | {"model": {"components": 2, "max_iter": 2, "tol": 0, "progressive": False}}


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


def test_an_output_that_is_not_ours_is_never_replaced(folder):
    (folder / "report.json").write_text("mine")
    refused = forked("run", "job.yaml", cwd=folder)
    assert "report.json exists" in refused.error
    assert not (folder / "model.zarr").exists()
    assert not (folder / "job.checkpoint").exists()


OVERLAPS = {
    "log in the data": {"log": "data.zarr/zarr.json"},
    "log in the job file": {"log": "job.yaml"},
    "log in the cluster file": {"log": "cluster.yaml"},
    "log in the checkpoint": {"log": "job.checkpoint/job.log"},
    "log in another store": {"log": "other.zarr/job.log"},
    "log by another name": {"log": "link/zarr.json"},
    "log behind a URL": {"log": "s3://bucket/log"},
    "metrics in the data": {"metrics": "data.zarr/metrics.jsonl"},
    "metrics in the log": {"metrics": "job.log", "log": "./job.log"},
    "report in the data": {"report": "data.zarr/report.json"},
    "report in the log": {"report": "job.log", "log": "job.log"},
    "report in the labels": {"report": "labels.zarr/report.json"},
    "labels on the scores": {"scores": "labels.zarr"},
    "labels on the model": {"labels": "model.zarr"},
    "labels on the checkpoint": {"labels": "job.checkpoint"},
    "labels on the data": {"labels": "data.zarr"},
    "model in memory": {"model": "memory://model.zarr"},
}


@pytest.mark.parametrize("case", OVERLAPS)
def test_places_that_do_not_lie_apart_are_refused_before_anything_is_written(folder, case):
    outputs = JOB["outputs"] | OVERLAPS[case]
    write(folder, JOB | {"outputs": outputs, "cluster": "cluster.yaml", "overwrite": True})
    (folder / "cluster.yaml").write_text("cluster: local\nworkers: 1\n")
    (folder / "link").symlink_to("data.zarr")
    shutil.copytree(folder / "data.zarr", folder / "other.zarr")
    before = tree(folder)
    refused = forked("run", "job.yaml", cwd=folder)
    assert refused.status == 1
    assert re.match(r"job.yaml, line \d+: (outputs\.\w+|checkpoint) is ", refused.error)
    assert tree(folder) == before


def test_a_log_is_never_inside_a_store(folder):
    before = tree(folder)
    for option in ("--log", "--metrics"):
        fit = ("fit", "data.zarr", "--components", 2, "--output", "m.zarr")
        refused = forked(*fit, option, "data.zarr/zarr.json", cwd=folder)
        assert "which is Zarr" in refused.stderr
        assert tree(folder) == before


def test_option_beats_variable_beats_file(folder):
    write(folder, JOB | {"outputs": {"model": "model.zarr"}})
    env = {"DASKGMM_MODEL_COMPONENTS": "3", "DASKGMM_MODEL_PROGRESSIVE": "false"}
    by_variable = forked("run", "job.yaml", "--json", cwd=folder, env=env)
    assert by_variable.json["n_components"] == 3
    assert by_variable.json["settings"]["progressive"] is False
    by_option = forked(
        *("run", "job.yaml", "--json", "--model-components", 2, "--model-tol", "1e-4"),
        *("--outputs-model", "two.zarr", "--checkpoint", "two"),
        cwd=folder,
        env=env,
    )
    assert (by_option.json["n_components"], by_option.json["tol"]) == (2, 1e-4)
    assert (folder / "two.zarr").is_dir()


def test_a_misspelt_variable_is_refused_and_a_strange_one_is_left_alone(folder):
    write(folder, SMALL)
    env = {"DASKGMM_MODEL_COMPONENT": "3"}
    refused = forked("run", "job.yaml", cwd=folder, env=env)
    assert refused.status == 1
    assert "did you mean DASKGMM_MODEL_COMPONENTS?" in refused.error
    env = {"DASKGMM_MODEL_COMPONENT": None, "DASKGMM_STORAGE_TIMEOUT": "50"}
    # Those of the loops are read by processes that import them, which this one has done.
    env |= {loops.VARIABLE: "none", loops.LIBRARY_VARIABLE: "x.so", "DASKGMM_COMPILER": "zig"}
    env |= {"DASKGMM_SERVICE_HOST": "10.0.0.1", "DASKGMM_PORT_8786_TCP": "tcp://10.0.0.1:8786"}
    done = forked("run", "job.yaml", cwd=folder, env=env)
    assert done.status == 0
    assert [note.partition("which is")[0] for note in done.notes if "environment" in note] == [
        "note: the environment has DASKGMM_SERVICE_HOST, ",
        "note: the environment has DASKGMM_PORT_8786_TCP, ",
    ]


def test_log_and_metrics_have_the_names_of_other_commands(folder):
    write(folder, SMALL | {"outputs": {"model": "model.zarr", "log": "not.log"}})
    done = forked("run", "job.yaml", "--log", "run.log", "--metrics", "passes.jsonl", cwd=folder)
    assert done.status == 0
    assert "pass 1: " in (folder / "run.log").read_text()
    assert len((folder / "passes.jsonl").read_text().splitlines()) == 3
    assert not (folder / "not.log").exists()
    before = tree(folder)
    refused = forked("run", "job.yaml", "--log", "data.zarr/zarr.json", cwd=folder)
    assert refused.error.startswith("--outputs-log: outputs.log is data.zarr/zarr.json, which")
    assert tree(folder) == before


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\ndata: *b\n"
WRONG = {
    "unknown key": (
        "data: d\nmodle: {components: 2}",
        "line 2: modle is unknown; did you mean model",
    ),
    "unknown inner key": ("model:\n  component: 2", "line 2: model.component is unknown"),
    "wrong type": (
        "data: d\nmodel:\n  components: many",
        "line 3: model.components must be a whole",
    ),
    "out of range": ("model:\n  components: 0", "line 2: model.components must be a whole"),
    "a size that only workers have": ("memory_limit: auto", "line 1: memory_limit must be a size"),
    "another": ("stage: auto\nstage_limit: auto", "line 2: stage_limit must be a size such"),
    "not a choice": ("model: {covariance: fulll}", "model.covariance must be one of full, tied"),
    "nan": ("model: {tol: .nan}", "model.tol must be auto, or a number"),
    "true for a number": ("model: {reg_covar: true}", "model.reg_covar must be auto, or a number"),
    "section of another type": ("model: 8", "line 1: model must hold keys"),
    "missing": ("data: d\nmodel: {components: 2}", "outputs.model is missing"),
    "nothing": ("", "must hold keys and values"),
    "a list": ("- data", "must hold keys and values"),
    "not YAML": ("data: [", "not YAML"),
    "billion laughs": (LAUGHS, "line 1: anchors and aliases"),
    "a Python object": ("data: !!python/object/apply:os.system [ls]", "line 1: not YAML"),
    "deep": ("data: " + "[" * 100, "nested deeper"),
    "large": ("data: " + "x" * 2**17, "exceeds 65536 bytes"),
    "twice": ("data: a\ndata: b", "data is there again on line 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_with_key_and_line(tmp_path, case):
    text, message = WRONG[case]
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "job.yaml").write_text(text)
    refused = forked("run", "job.yaml", cwd=folder)
    assert refused.status == 1
    assert message in refused.error
    assert "job.yaml" in refused.error
    assert os.listdir(folder) == ["job.yaml"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"stage_limit": "1GiB"}, r"job.yaml, line \d+: stage_limit needs stage: "),
        (
            {"data": "s3://key:secret@host/x"},
            r"job.yaml, line \d+: data cannot be used: s3://\*\*\*@",
        ),
        ({"memory_limit": "0.5MB"}, r"memory_limit"),
        ({"performance_report": "report.html"}, r"job.yaml: --performance-report is of a Dask"),
        ({"outputs": {"model": "m.zarr", "metrics": "mine"}}, r"job.yaml: metrics: .*mine holds"),
    ],
)
def test_what_is_wrong_together_is_of_the_file_and_no_usage(folder, keys, message):
    (folder / "mine").write_text("mine")
    write(folder, SMALL | keys)
    refused = forked("run", "job.yaml", cwd=folder)
    assert refused.status == 1
    assert re.search(message, refused.error)
    assert (folder / "mine").read_text() == "mine"


def test_what_stands_in_for_a_key_is_named_where_it_is_wrong(folder):
    refused = forked("run", "job.yaml", "--model-components", "several", cwd=folder)
    assert refused.error.startswith("--model-components: model.components must be a whole number")
    assert "no such file" in forked("run", "none.yaml", cwd=folder).error


@pytest.mark.parametrize(
    ("model", "env", "message"),
    [
        (
            {"components": 100, "truncate": 20},
            {},
            r"job.yaml, line \d+: model.truncate cannot be used: truncate=20 with n_components=100",
        ),
        (
            {"components": 100},
            {"DASKGMM_MODEL_TRUNCATE": "20"},
            "DASKGMM_MODEL_TRUNCATE: model.truncate cannot be used: truncate=20 with",
        ),
        (
            {},
            {"DASKGMM_MODEL_TOL": "-1e-3"},
            "DASKGMM_MODEL_TOL: model.tol must be auto, or a number of 0 or more, got '-1e-3'",
        ),
        (
            {"reg_covar": "-1e-6"},
            {},
            r"job.yaml, line \d+: model.reg_covar must be auto, or a number of 0",
        ),
        ({"reg_covar": -1}, {}, r"job.yaml, line \d+: model.reg_covar must be .*, got -1"),
    ],
)
def test_errors_of_parameters_name_the_place_of_their_value(folder, model, env, message):
    # File, line and key were lost where the message did not begin with the key.
    write(folder, JOB | {"model": JOB["model"] | model})
    refused = forked("run", "job.yaml", cwd=folder, env=env)
    assert refused.status == 1
    assert re.match(message, refused.error)


def test_a_job_on_parquet_keeps_columns_beside_its_labels(tmp_path):
    """As predict --keep; the job had no key for it."""
    frame = pd.DataFrame(mixture_rows(900, 2, 2).astype(float), columns=["a", "b"])
    frame.assign(id=[f"row {i}" for i in range(900)]).to_parquet(tmp_path / "x.parquet")
    places = {"model": "m.zarr", "labels": "labels.parquet"}
    job = {"data": "x.parquet", "columns": ["a", "b"], "model": {"components": 2, "max_iter": 3}}
    for wrong, why in (
        ({"keep": ["no"]}, "'no'"),
        ({"keep": "id", "outputs": {"model": "m"}}, "keep"),
    ):
        write(tmp_path, {**job, "outputs": places, **wrong})
        done = forked("run", "job.yaml", cwd=tmp_path)
        assert done.status == 1
        assert why in done.stderr
        assert not (tmp_path / "m.zarr").exists()
    write(tmp_path, {**job, "outputs": places, "keep": ["id"]})
    assert forked("run", "job.yaml", cwd=tmp_path).status == 0
    found = pd.read_parquet(tmp_path / "labels.parquet")
    assert found.columns.tolist() == ["id", "labels"]
    assert found.id.tolist() == [f"row {i}" for i in range(900)]
    expected = load_model(tmp_path / "m.zarr").predict(frame)
    np.testing.assert_array_equal(found.labels, expected)
    write(tmp_path, {**job, "outputs": places, "keep": ["id", "a"]})
    done = forked("run", "job.yaml", "--json", cwd=tmp_path)
    assert done.json["done"] == ["rows"], done.stderr
    assert pd.read_parquet(tmp_path / "labels.parquet").columns.tolist() == ["id", "a", "labels"]


def test_columns_of_csv_in_a_job_name_the_conversion(tmp_path):
    """It was told that CSV is read as zarr."""
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    job = {"data": "x.csv", "columns": ["a"], "model": {"components": 1}}
    write(tmp_path, {**job, "outputs": {"model": "m.zarr"}})
    assert "daskgmm convert" in forked("run", "job.yaml", cwd=tmp_path).stderr
