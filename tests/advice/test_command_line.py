"""Advice of the commands, whose options are not named as keywords are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from following import (
    PACKAGE,
    CommandCase,
    command,
    fitted,
    follow_command,
    group,
    stored,
    with_hole,
    written,
)

from daskgmm import load_model


def _twice(at: Path) -> tuple[object, ...]:
    """A fit whose model is there already."""
    if not (at / "m.zarr").exists():
        assert command(*fitted(at)) == ""
    return fitted(at)


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
        lambda at: fitted(at, "--max-itr", 3),
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
