"""Advice of the commands, whose options are not named as keywords are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from following import (
    PACKAGE,
    CommandCase,
    Words,
    X,
    command,
    fitted,
    follow_command,
    found_in,
    group,
    interrupt,
    stored,
    with_hole,
    written,
)

from daskgmm import load_model
from daskgmm.cli import main
from daskgmm.events import listening

pytestmark = pytest.mark.slow  # commands, one after the other, for each advice


def _twice(at: Path) -> tuple[object, ...]:
    """A fit whose model is there already."""
    if not (at / "m.zarr").exists():
        assert command(*fitted(at)) == ""
    return fitted(at)


ON_THREADS = ("--cluster", PACKAGE.parent / "cluster_configs" / "local-threads.yaml")


def selected(at: Path, components: object) -> Words:
    few = stored(at, X[:60], "few.zarr")  # the ranges that messages name are long
    words = ("--components", components, "--max-iter", 1, "--no-progressive")
    return ("select", few, *words, "--output", at / "s.zarr")


def predicted(at: Path) -> Words:
    """Words of a prediction by a model that is made first."""
    if not (at / "m.zarr").exists():
        assert command(*fitted(at)) == ""
    return ("predict", stored(at), "--model", at / "m.zarr", "--output", at / "labels.zarr")


def _again(words: Words) -> Words:
    """What has been done once."""
    assert command(*words, "--overwrite") == ""
    return words


def _kept(at: Path) -> Words:
    words = ("--checkpoint", at / "kept", "--tol", 0, "--max-iter", 6, "--stepper", "plain")
    return (*fitted(at)[:2], "--components", 2, *fitted(at)[4:], *words)


def _interrupted_before(at: Path, *more: object) -> Words:
    if not (at / "kept").exists():
        with listening(interrupt):
            assert "interrupted" in command(*_kept(at))
    return (*_kept(at), *more)


def _without_checkpoints(at: Path) -> Words:
    shutil.rmtree(at / "kept")
    return _kept(at)


COMMANDS: dict[str, CommandCase] = {
    "a group": (
        lambda at: ("fit", group(at), "--components", 1, "--output", at / "m.zarr"),
        r"name one, as (\S+) or",
        lambda at, said: ("fit", said[1], "--components", 1, "--output", at / "m.zarr"),
    ),
    "missing chunks": (
        lambda at: ("fit", with_hole(at), "--components", 1, "--output", at / "m.zarr"),
        r"\((--missing-chunks) (fill)\)",
        lambda at, said: (
            *("fit", with_hole(at), "--components", 1, "--output", at / "m.zarr"),
            *(said[1], said[2]),
        ),
    ),
    "memory": (
        lambda at: fitted(at, "--memory-limit", "1MiB"),
        r"raise it to ([\d.]+) (\w+)",
        lambda at, said: fitted(at, "--memory-limit", said[1] + said[2]),
    ),
    "several numbers of components": (
        lambda at: (*fitted(at)[:3], "1:2", *fitted(at)[4:]),
        r"run daskgmm (select)",
        lambda at, said: (said[1], *fitted(at)[1:3], "1:2", *fitted(at)[4:]),
    ),
    "an option that is misspelt": (
        lambda at: fitted(at, "--max-iterations", 3),
        r"Did you mean '(--[\w-]+)'\?",
        lambda at, said: fitted(at, said[1], 3),
    ),
    "an output of another format": (
        lambda at: (*fitted(at)[:5], at / "m.csv"),
        r"name it (\S+),",
        lambda at, said: (*fitted(at)[:5], said[1]),
    ),
    "a file of metrics inside a store": (
        lambda at: fitted(at, "--metrics", stored(at) / "metrics.jsonl"),
        r"metrics: .* is inside .*, which is Zarr; name another",
        lambda at, said: fitted(at, "--metrics", at / "metrics.jsonl"),
    ),
    "a file of metrics that holds something else": (
        lambda at: fitted(at, "--metrics", written(at / "notes.txt", "mine")),
        r"holds something else than metrics; name another file",
        lambda at, said: fitted(at, "--metrics", at / "metrics.jsonl"),
    ),
    "a log in a folder that is not there": (
        lambda at: fitted(at, "--log", at / "no" / "fit.log"),
        r"name a file in a local folder that exists",
        lambda at, said: fitted(at, "--log", at / "fit.log"),
    ),
    "a model that is there": (
        lambda at: _twice(at),
        r"choose another name, or replace it with .*\((--overwrite)\)",
        lambda at, said: (*_twice(at), said[1]),
    ),
    "a report of a cluster without one": (
        lambda at: fitted(at, "--performance-report", at / "report.html"),
        r"add (--cluster), such as (\S+)",
        lambda at, said: (
            *fitted(at, "--performance-report", at / "report.html"),
            *(said[1], PACKAGE.parent / said[2]),
        ),
    ),
    "memory of predictions": (
        lambda at: (*predicted(at), "--memory-limit", "1MiB"),
        r"raise it to ([\d.]+) (\w+)",
        lambda at, said: (*predicted(at), "--memory-limit", said[1] + said[2]),
    ),
    "memory of scores": (
        lambda at: ("score", *predicted(at)[1:4], "--memory-limit", "1MiB"),
        r"raise it to ([\d.]+ \w+)",
        lambda at, said: ("score", *predicted(at)[1:4], "--memory-limit", said[1]),
    ),
    "memory of a selection": (
        lambda at: (*selected(at, "1:2"), "--memory-limit", "1MiB"),
        r"raise it to ([\d.]+ \w+)",
        lambda at, said: (*selected(at, "1:2"), "--memory-limit", said[1]),
    ),
    "a size that is none": (
        lambda at: fitted(at, "--memory-limit", "much"),
        r"'(--[\w-]+)': must be a size such as (\w+), or a number of bytes",
        lambda at, said: [
            fitted(at, said[1], said[2]),
            (*fitted(at), said[1], 2**30, "--overwrite"),
        ],
    ),
    "numbers of components that are none": (
        lambda at: selected(at, "few"),
        r"is not like (\d+:\d+), or ([\d,]+)",
        lambda at, said: [(*selected(at, text), "--overwrite") for text in said.groups()],
    ),
    "numbers of components that go down": (
        lambda at: selected(at, "3:2"),
        r"'(\d):(\d)' must go up, from 1 or more",
        lambda at, said: selected(at, f"{said[2]}:{said[1]}"),
    ),
    "a criterion that is none": (
        lambda at: (*selected(at, 1), "--criterion", "best"),
        r"'best' is not one of (.*)\.",
        lambda at, said: [
            (*selected(at, 1), "--overwrite", "--criterion", word)
            for word in re.findall(r"'([\w-]+)'", said[1])
        ],
    ),
    "covariances that are none": (
        lambda at: fitted(at, "--covariance", "round"),
        r"is not one of (.*)\.",
        lambda at, said: [
            fitted(at, "--overwrite", "--covariance", word)
            for word in re.findall(r"'([\w-]+)'", said[1])
        ],
    ),
    "truncation of few components": (
        lambda at: fitted(at, "--truncate", 2),
        r"(leave) truncate out \(None\)",
        lambda at, said: fitted(at),
    ),
    "one read without a start": (
        lambda at: fitted(at, "--reads", 1),
        r"or set (reads)=(\d)",
        lambda at, said: fitted(at, f"--{said[1]}", said[2]),
    ),
    "resuming without checkpoints": (
        lambda at: fitted(at, "--resume"),
        r"resume needs (\w+), the folder to continue from",
        lambda at, said: fitted(at, "--resume", f"--{said[1]}", at / "kept"),
    ),
    "an interrupted run": (
        lambda at: _interrupted_before(at),
        r"continue it with resume=True \((--resume)\), or remove the folder to begin anew",
        lambda at, said: _interrupted_before(at, said[1]),
    ),
    "checkpoints of another fit": (
        lambda at: (*_interrupted_before(at, "--resume"), "--seed", 7),
        r"name another folder, or begin anew: remove this one",
        lambda at, said: [
            (*_interrupted_before(at), "--seed", 7, "--checkpoint", at / "another"),
            lambda: (*_without_checkpoints(at), "--seed", 7, "--overwrite"),
        ],
    ),
    "a log inside a store": (
        lambda at: fitted(at, "--log", stored(at) / "fit.log"),
        r"log: .* is inside .*, which is Zarr; name another",
        lambda at, said: fitted(at, "--log", at / "fit.log"),
    ),
    "metrics in a folder that is not there": (
        lambda at: fitted(at, "--metrics", at / "no" / "metrics.jsonl"),
        r"metrics: .* name a file in a local folder that exists",
        lambda at, said: fitted(at, "--metrics", at / "metrics.jsonl"),
    ),
    "a report in a folder that is not there": (
        lambda at: fitted(at, *ON_THREADS, "--performance-report", at / "no" / "report.html"),
        r"performance report: .* name a file in a local folder that exists",
        lambda at, said: fitted(at, *ON_THREADS, "--performance-report", at / "report.html"),
    ),
    "labels that are there": (
        lambda at: _again(predicted(at)),
        r"choose another name, or replace it with .*\((--overwrite)\)",
        lambda at, said: [(*predicted(at), said[1]), (*predicted(at)[:-1], at / "other.zarr")],
    ),
    "a selected model that is there": (
        lambda at: _again(selected(at, 1)),
        r"choose another name, or replace it with .*\((--overwrite)\)",
        lambda at, said: (*selected(at, 1), said[1]),
    ),
    "a cluster that is none": (
        lambda at: fitted(at, "--cluster", "https://host:8786"),
        r"must be an address such as \S+ \(tcp, tls, ws or wss\), or a YAML file",
        lambda at, said: fitted(at, *ON_THREADS),
    ),
    "a file of a cluster that is not there": (
        lambda at: fitted(at, "--cluster", at / "no.yaml"),
        r"no such file; give .* or a YAML file as in (cluster_configs)/",
        lambda at, said: fitted(at, "--cluster", PACKAGE.parent / said[1] / "local-threads.yaml"),
    ),
    "a model that is rows": (
        lambda at: ("predict", stored(at), "--model", stored(at), "--output", at / "l.zarr"),
        r"is a Zarr array, not a model; name the model's group",
        lambda at, said: predicted(at),
    ),
}


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS)
def test_advice_of_a_command_works(case, tmp_path):
    follow_command(case, tmp_path)


def test_an_output_that_is_there_can_be_replaced_by_the_option_that_is_named(tmp_path):
    assert command(*fitted(tmp_path)) == ""
    said = command(*fitted(tmp_path))
    option = re.search(r"\((--overwrite)\)", said)
    assert option is not None, said
    assert command(*fitted(tmp_path, option[1])) == ""
    assert load_model(tmp_path / "m.zarr").n_components == 1


def test_a_dashboard_is_promised_by_the_same_words_as_a_report(tmp_path):
    """What they name is done in the case of the report: starting that cluster takes seconds."""
    done = CliRunner().invoke(main, [str(word) for word in fitted(tmp_path, "--dashboard")])
    cluster = r"add (--cluster), such as (\S+)"
    fails, advice, _ = COMMANDS["a report of a cluster without one"]
    report = found_in(command(*fails(tmp_path)), advice)
    assert found_in(done.stderr, rf"no dashboard: .*{cluster}").groups() == report.groups()


def test_an_interrupted_fit_goes_on_with_the_option_that_is_named(tmp_path):
    words = _kept(tmp_path)
    with listening(interrupt):
        said = found_in(command(*words), r"continue with resume=True \((--resume)\)")
    assert command(*words, said[1]) == ""
