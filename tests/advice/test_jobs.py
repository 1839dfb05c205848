"""Advice of errors in job files."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest
from following import (
    CommandCase,
    X,
    command,
    follow_command,
    found_in,
    group,
    interrupt,
    job,
    job_file,
    stored,
    written,
)

from daskgmm import load_model
from daskgmm.events import listening

pytestmark = pytest.mark.slow  # a job or two for each advice


def two_jobs(at: Path) -> tuple[object, ...]:
    """A job that is done, and whose file was changed since."""
    if not (at / "job.yaml").exists():
        assert command("run", job_file(at, job(at))) == ""
        job_file(at, job(at, seed=7))
    return ("run", at / "job.yaml")


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


def only(content: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name in keys}


def writing(at: Path, **outputs: object) -> dict[str, Any]:
    content = job(at)
    return content | {
        "outputs": content["outputs"] | {name: str(place) for name, place in outputs.items()}
    }


def made(folder: Path | str) -> Path:
    Path(folder).mkdir(exist_ok=True)
    return Path(folder)


def of_few_rows(at: Path, components: object) -> dict[str, Any]:
    """A job of few rows, as the ranges that messages name are long."""
    content = job(at, components=components, max_iter=1, progressive=False)
    return content | {"data": str(stored(at, X[:60], "few.zarr")), "overwrite": True}


def _on_mine(at: Path) -> dict[str, Any]:
    """A job whose report is there, of somebody else."""
    return writing(at, report=written(at / "mine.json", "mine"), model=at / "of-mine.zarr") | {
        "checkpoint": str(at / "of-mine")
    }


def _elsewhere(at: Path, key: str) -> dict[str, Any]:
    return job(at) | {key: str(at / "another")}


def _with_line(at: Path, line: str) -> Path:
    path = job_file(at, job(at))
    return written(path, f"{path.read_text()}{line}\n")


def _without_line(at: Path, number: int) -> Path:
    lines = (at / "job.yaml").read_text().splitlines()
    return written(at / "job.yaml", "\n".join(lines[: number - 1] + lines[number:]))


def _beside(at: Path, _: object) -> Path:
    """The job, after something else was done."""
    return job_file(at, job(at))


def _of_another_file(at: Path) -> Path:
    path = job_file(at, job(at))
    assert command("run", path) == ""
    return path.rename(at / "other.yaml")


def _damage(path: Path) -> tuple[()]:
    path.write_text("{}")
    return ()


COMMANDS: dict[str, CommandCase] = {
    "results without a place": (
        lambda at: ("run", job_file(at, job(at) | {"results": ["labels", "top:2"]})),
        r"results says what (outputs\.results) holds; give its place",
        lambda at, said: (
            "run",
            job_file(
                at, writing(at, results=at / "results.zarr") | {"results": ["labels", "top:2"]}
            ),
        ),
    ),
    "a changed job": (
        two_jobs,
        r"give daskgmm run (--fresh)",
        lambda at, said: (*two_jobs(at), said[1]),
    ),
    "a key that is misspelt": (
        lambda at: ("run", job_file(at, job(at, max_itr=3))),
        r"did you mean (\w+)\?",
        lambda at, said: ("run", job_file(at, job(at, **{said[1]: 3}))),
    ),
    "anchors in a job file": (
        lambda at: ("run", written(at / "job.yaml", "data: &x a.zarr\nmodel: {components: 1}\n")),
        r"write the value out",
        lambda at, said: ("run", job_file(at, job(at))),
    ),
    "a criterion for one model": (
        lambda at: ("run", job_file(at, job(at, criterion="bic"))),
        r"give model.components as (\d+:)\d+, say, or leave it out",
        lambda at, said: ("run", job_file(at, job(at, criterion="bic", components="1:2"))),
    ),
    "a model in the memory of a process": (
        lambda at: ("run", job_file(at, job(at) | {"outputs": {"model": "memory://m.zarr"}})),
        r"name a folder, or a URL of a store that stays",
        lambda at, said: ("run", job_file(at, job(at))),
    ),
    "truncation of few components": (
        lambda at: ("run", job_file(at, job(at, truncate=2))),
        r"(leave) truncate out \(None\)",
        lambda at, said: ("run", job_file(at, job(at))),
    ),
    "one read without a start": (
        lambda at: ("run", job_file(at, job(at, reads=1))),
        r"line \d+: model\.reads .* or set (reads)=(\d)",
        lambda at, said: ("run", job_file(at, job(at, **{said[1]: int(said[2])}))),
    ),
    "a stepper that is none": (
        lambda at: ("run", job_file(at, job(at, stepper="large"))),
        r"model\.(stepper) must be one of ([\w, ]+), got",
        lambda at, said: (
            ("run", job_file(at, job(at, **{said[1]: word})), "--fresh")
            for word in said[2].split(", ")
        ),
    ),
    "components that are none": (
        lambda at: ("run", job_file(at, job(at, components="few"))),
        r"number of (\d) or more, a range such as (\d+:\d+), or a list such as (\[[\d, ]+\])",
        lambda at, said: (
            ("run", job_file(at, of_few_rows(at, components)), "--fresh")
            for components in (int(said[1]), said[2], ast.literal_eval(said[3]))
        ),
    ),
    "no components": (
        lambda at: ("run", job_file(at, job(at, components=...))),
        r"model\.(components) is missing; it must be a whole number of (\d) or more",
        lambda at, said: ("run", job_file(at, job(at, **{said[1]: int(said[2])}))),
    ),
    "no data": (
        lambda at: ("run", job_file(at, without(job(at), "data"))),
        r"(data) is missing; it must be a path or a URL",
        lambda at, said: (
            ("run", job_file(at, job(at) | {said[1]: place}), "--fresh")
            for place in (str(stored(at)), stored(at).as_uri())
        ),
    ),
    "memory": (
        lambda at: ("run", job_file(at, job(at) | {"memory_limit": "1MiB"})),
        r"raise it to ([\d.]+ \w+)",
        lambda at, said: ("run", job_file(at, job(at) | {"memory_limit": said[1]})),
    ),
    "a size that is none": (
        lambda at: ("run", job_file(at, job(at) | {"memory_limit": "much"})),
        r"(memory_limit) must be a size such as (\w+), or a number of bytes",
        lambda at, said: ("run", job_file(at, job(at) | {said[1]: said[2]})),
    ),
    "an unknown key": (
        lambda at: ("run", job_file(at, job(at) | {"quality": 1})),
        r"quality is unknown; known are ([\w, ]+)",
        lambda at, said: ("run", job_file(at, only(job(at), said[1].split(", ")))),
    ),
    "outputs without keys": (
        lambda at: ("run", job_file(at, job(at) | {"outputs": str(at / "m.zarr")})),
        r"(outputs) must hold keys \((\w+), ",
        lambda at, said: (
            "run",
            job_file(at, job(at) | {said[1]: {said[2]: str(at / "m.zarr")}}),
        ),
    ),
    "a key that is there twice": (
        lambda at: ("run", _with_line(at, "data: elsewhere.zarr")),
        r"line (\d+): data is there again on line (\d+); keep one",
        lambda at, said: ("run", _without_line(at, int(said[2]))),
    ),
    "outputs that overlap": (
        lambda at: ("run", job_file(at, writing(at, model=at / "kept" / "m.zarr"))),
        r"all places of a job must lie apart",
        lambda at, said: ("run", job_file(at, writing(at, model=at / "m.zarr"))),
    ),
    "a log behind a URL": (
        lambda at: ("run", job_file(at, writing(at, log="s3://bucket/fit.log"))),
        r"outputs\.(log) is .*; only a local file can be appended to",
        lambda at, said: ("run", job_file(at, writing(at, **{said[1]: at / "fit.log"}))),
    ),
    "metrics inside a store": (
        lambda at: ("run", job_file(at, writing(at, metrics=Path(group(at)) / "m.jsonl"))),
        r"outputs\.(metrics) is .*, which is Zarr; name another file",
        lambda at, said: ("run", job_file(at, writing(at, **{said[1]: at / "m.jsonl"}))),
    ),
    "a report in a folder that is not there": (
        lambda at: ("run", job_file(at, writing(at, report=at / "no" / "r.json"))),
        r"the folder of (\S+) does not exist; create (\S+) first",
        lambda at, said: ("run", job_file(at, writing(made(said[2]), report=said[1]))),
    ),
    "a report that is there": (
        lambda at: ("run", job_file(at, writing(at, report=written(at / "r.json", "mine")))),
        r"choose another name, or replace it with (overwrite)=True \((--overwrite)\)",
        lambda at, said: [
            lambda: ("run", job_file(at, writing(at, report=at / "other.json"))),
            lambda: ("run", job_file(at, _on_mine(at)), said[2], "--fresh"),
            lambda: ("run", job_file(at, _on_mine(at) | {said[1]: True}), "--fresh"),
        ],
    ),
    "a folder of something else": (
        lambda at: ("run", _beside(at, written(made(at / "kept") / "notes.txt", "mine"))),
        r"name another folder \((checkpoint)\), or remove this one",
        lambda at, said: [
            lambda: ("run", job_file(at, job(at) | {said[1]: str(at / "another")})),
            lambda: ("run", _beside(at, shutil.rmtree(at / "kept")), "--overwrite"),
        ],
    ),
    "a file in place of the checkpoints": (
        lambda at: ("run", _beside(at, written(at / "kept", "mine"))),
        r"is a file; name a folder, which is made where there is none",
        lambda at, said: ("run", job_file(at, job(at) | {"checkpoint": str(at / "another")})),
    ),
    "checkpoints of a job in another file": (
        lambda at: ("run", _of_another_file(at), "--fresh"),
        r"is of the job (\S+); name another folder \((checkpoint)\), or remove this one",
        lambda at, said: [
            lambda: ("run", job_file(at, _elsewhere(at, said[2])), "--overwrite"),
            lambda: ("run", _beside(at, shutil.rmtree(at / "kept")), "--overwrite"),
        ],
    ),
    "a progress that is damaged": (
        lambda at: ("run", two_jobs(at)[1], *_damage(at / "kept" / "job.json")),
        r"is not as daskgmm writes it: .*; remove (\S+) to begin anew",
        lambda at, said: ("run", _beside(at, shutil.rmtree(said[1])), "--overwrite"),
    ),
}


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS)
def test_advice_on_a_job_works(case, tmp_path):
    follow_command(case, tmp_path)


def test_a_variable_that_is_misspelt_is_the_one_that_is_named(tmp_path, monkeypatch):
    words = ("run", job_file(tmp_path, job(tmp_path)))
    monkeypatch.setenv("DASKGMM_MODEL_COMPONENT", "2")
    said = found_in(command(*words), r"has (\w+), which is of no key; did you mean (\w+)\?")
    monkeypatch.delenv(said[1])
    monkeypatch.setenv(said[2], "2")
    assert command(*words) == ""
    assert load_model(tmp_path / "model.zarr").n_components == 2


@pytest.mark.parametrize("left_out", ["checkpoint", "nothing"])
def test_an_interrupted_job_goes_on_when_the_same_command_is_run_again(left_out, tmp_path):
    content = job(tmp_path, components=2, tol=0, max_iter=6, stepper="plain")
    words = ("run", job_file(tmp_path, without(content, left_out)))
    with listening(interrupt):
        found_in(command(*words), r"run the same command again to go on")
    assert command(*words) == ""
