"""``daskgmm run``: what a job file says, and what is refused before anything is written."""

from __future__ import annotations

import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from commands import forked, mixture_rows, tree
from job_folder import JOB, SMALL, folder_of_job, write, written_rows

from daskgmm import load_model
from daskgmm.kernel.loops import library as loops

pytestmark = pytest.mark.slow  # whole jobs


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return written_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture
def folder(data, tmp_path):
    return folder_of_job(data, tmp_path / "here")


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
    "a key of a section": (
        "data: d\nmissing: em",
        "line 2: missing is unknown; it is a key of model: write it there, as model.missing",
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
