"""Job and cluster files are YAML by the core schema of version 1.2: a text stays a text."""

from __future__ import annotations

import json

import numpy as np
import pytest

from daskgmm.configuration import read_file
from daskgmm.errors import JobError
from daskgmm.jobfile import Given, read_job

TEXTS = [
    *("2:12", "02:00:00", "190:20:30.15", "1_000", "0b11", "1.2.3", "<<", "="),
    *("yes", "no", "on", "off", "y", "n", "Yes", "NO", "On", "OFF", "tRue"),
    *("2024-01-31", "2024-01-31 12:00:00", "2024-01-31T12:00:00Z", "1e", "e5", "+"),
]
VALUES = {
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    "12": 12,
    "-3": -3,
    "010": 10,
    "0o17": 15,
    "0x1f": 31,
    "1e-6": 1e-6,
    "-.5": -0.5,
    "12.": 12.0,
    "6.02E+23": 6.02e23,
    ".inf": float("inf"),
}


def _read(path, text):
    path.write_text(text)
    return read_file(str(path), "a file", JobError).values


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_number_flag_or_null_is_a_text(tmp_path, text):
    assert _read(tmp_path / "a.yaml", f"key: {text}\n")["key"] == text


@pytest.mark.parametrize("text", TEXTS)
def test_keys_are_texts_too(tmp_path, text):
    assert text in _read(tmp_path / "a.yaml", f"{text}: 1\n")


@pytest.mark.parametrize("text", VALUES)
def test_the_core_schema_has_its_values(tmp_path, text):
    got = _read(tmp_path / "a.yaml", f"key: {text}\n")["key"]
    assert (got, type(got)) == (VALUES[text], type(VALUES[text]))


@pytest.mark.parametrize("number", [0, -7, 10**20, 1e-300, 1.5, 3e8, -0.25])
def test_numbers_of_json_are_the_same(tmp_path, number):
    assert _read(tmp_path / "a.yaml", json.dumps({"key": number}))["key"] == number


@pytest.mark.parametrize("text", ["!!int 2:12", "!!python/name:os.system", "!!int on"])
def test_what_a_tag_says_wrongly_is_refused_with_the_file(tmp_path, text):
    with pytest.raises(JobError, match=r"a\.yaml.*not YAML"):
        _read(tmp_path / "a.yaml", f"key: {text}\n")


# -- selections ----------------------------------------------------------------


def _job(path, model, **given):
    path.write_text(f"data: d\nmodel: {model}\noutputs: {{model: m}}\n")
    return read_job(str(path), {f"model.{k}": Given(v, f"--model-{k}") for k, v in given.items()})


@pytest.mark.parametrize(
    ("components", "expected"),
    [("2:4", [2, 3, 4]), ("[2, 5]", [2, 5]), ('"2:3,8"', [2, 3, 8]), ("[3]", [3])],
)
def test_several_components_are_a_selection(tmp_path, components, expected):
    job = _job(tmp_path / "job.yaml", f"{{components: {components}}}")
    assert job.candidates == {"components": expected, "random_state": 0, "criterion": "bic"}


def test_one_number_is_a_fit(tmp_path):
    for text in ("8", '"8"'):
        job = _job(tmp_path / "job.yaml", f"{{components: {text}}}")
        assert job.candidates is None
        assert job.settings["n_components"] == 8


def test_several_covariances_are_a_selection(tmp_path):
    model = "{components: 3, covariance: [full, diag], criterion: icl, n_init: 2}"
    job = _job(tmp_path / "job.yaml", model.replace("n_init", "restarts"))
    assert job.candidates == {
        "components": [3],
        "covariance_type": ["full", "diag"],
        "criterion": "icl",
        "n_init": 2,
        "random_state": 0,
    }
    assert job.deciding_settings["criterion"] == "icl"


def test_options_and_variables_select_too(tmp_path):
    given = {"components": "2:3", "covariance": "tied,diag"}
    job = _job(tmp_path / "job.yaml", "{components: 3}", **given)
    assert job.candidates is not None
    assert job.candidates["components"] == [2, 3]
    assert job.candidates["covariance_type"] == ["tied", "diag"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{components: 12:2}", "line 2: model.components must be .* a range such as 2:12"),
        ("{components: 0:2}", "line 2: model.components must be"),
        ("{components: []}", "line 2: model.components must be"),
        ("{components: [2, two]}", "line 2: model.components must be"),
        ("{components: 2, covariance: [full, round]}", "line 2: model.covariance must be one of"),
        ("{components: 2:4, criterion: best}", "line 2: model.criterion must be one of"),
        ("{components: 2, criterion: bic}", "line 2: model.criterion decides between several"),
    ],
)
def test_what_is_no_selection_names_key_and_line(tmp_path, model, message):
    with pytest.raises(JobError, match=message):
        _job(tmp_path / "job.yaml", model)


def test_a_job_selects_and_reports_the_candidates(tmp_path):
    from commands import forked

    x = np.random.default_rng(0).normal(size=(1000, 2))
    x[:400] += 8
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "job.yaml").write_text(
        "data: x.npy\nmodel: {components: 1:3, covariance: [full, spherical], criterion: icl}\n"
        "outputs: {model: m.zarr, labels: l.zarr, report: r.json}\n"
    )
    done = forked("run", "job.yaml", cwd=tmp_path)
    assert done.status == 0
    assert "a selection keeps no checkpoints" in done.stderr
    assert "chosen by icl of 6 candidates" in done.stdout
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["n_components"] == 2
    assert len(report["selection"]["candidates"]) == 6
    assert report["selection"]["best"]["n_components"] == 2
    again = forked("run", "job.yaml", cwd=tmp_path)
    assert "nothing to do" in again.stdout
    other = forked("run", "job.yaml", "--model-components", "1:2", cwd=tmp_path)
    assert (other.status, "n_components" in other.stderr) == (1, True)


def test_a_selection_refuses_what_it_has_no_use_for(tmp_path):
    from commands import forked

    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(100, 2)))
    text = "data: x.npy\nmodel: {components: 1:3, truncate: 2}\noutputs: {model: m.zarr}\n"
    (tmp_path / "job.yaml").write_text(text)
    done = forked("run", "job.yaml", cwd=tmp_path)
    assert done.status == 1
    assert "job.yaml" in done.stderr
    assert "truncate" in done.stderr
    assert not (tmp_path / "m.zarr").exists()
