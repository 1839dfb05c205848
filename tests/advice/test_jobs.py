"""Advice of errors in job files."""

from __future__ import annotations

from pathlib import Path

import pytest
from following import (
    CommandCase,
    command,
    follow_command,
    job,
    job_file,
    written,
)


def two_jobs(at: Path) -> tuple[object, ...]:
    """A job that is done, and whose file was changed since."""
    if not (at / "job.yaml").exists():
        assert command("run", job_file(at, job(at))) == ""
        job_file(at, job(at, seed=7))
    return ("run", at / "job.yaml")


COMMANDS: dict[str, CommandCase] = {
    "a changed job": (
        two_jobs,
        r"run the job with (--fresh)",
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
}


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS)
def test_advice_on_a_job_works(case, tmp_path):
    follow_command(case, tmp_path)
