"""What a command says while it runs: lines of text or JSON, a bar on a terminal, reports.

Asserted: that each stream and file can be read by whom it is for, and exit statuses. Not
asserted: the wording of text for people.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from datetime import datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from commands import DASKGMM, forked, started

from daskgmm.cli import main
from daskgmm.cli.errors import reported

LOCAL = Path(__file__).parents[2] / "cluster_configs" / "local.yaml"
FIT = ("fit", "data.zarr", "--components", 3, "--max-iter", 3, "--tol", 0, "--overwrite")
OUT = ("--output", "new.zarr")


def events(text: str) -> list[dict]:
    """Lines that must each be a JSON object with a time, a level and an event."""
    found = [json.loads(line) for line in text.splitlines()]
    for event in found:
        assert datetime.fromisoformat(event["time"]).utcoffset().total_seconds() == 0
        assert event["level"] in ("info", "warning", "error")
        assert event["event"]
    return found


def test_json_log_parses_line_by_line_on_standard_error_and_in_the_file(folder):
    log = ("--log-format", "json", "--log", "log.jsonl")
    done = forked(*FIT, *OUT, *log, "--json", cwd=folder)
    seen = events(done.stderr)
    names = [event["event"] for event in seen]
    rounds = ["starts_fitted"] * max(1, names.count("starts_fitted"))
    passes = ["pass_done"] * 3
    assert names == ["fit_began", "scan_done", *rounds, *passes, "message", "fit_ended"]
    assert [event["n_left"] for event in seen if event["event"] == "starts_fitted"][-1] == 1
    assert seen[-2]["level"] == "warning"
    assert "not converged" in seen[-2]["message"]
    first, _, last = (event for event in seen if event["event"] == "pass_done")
    assert first["gain"] is None  # infinite: JSON has no word for it
    assert last["log_likelihood"] == done.json["log_likelihood_per_row"]
    written = events((folder / "log.jsonl").read_text())
    assert [event | {"time": None} for event in written] == [e | {"time": None} for e in seen]


def test_the_format_is_a_variable_too_and_the_option_comes_first(folder):
    env = {"DASKGMM_LOG_FORMAT": "json"}
    (failed,) = events(forked("fit", "nowhere.zarr", *FIT[2:], *OUT, cwd=folder, env=env).stderr)
    assert failed["status"] == 1
    options = ("--log-format", "text")
    text = forked("fit", "nowhere.zarr", *FIT[2:], *OUT, *options, cwd=folder, env=env).stderr
    assert text.startswith("Error: nowhere.zarr")


def test_a_log_file_has_the_lines_of_all_runs_and_their_errors(folder):
    log = ("--log", "log.txt")
    assert forked(*FIT, *OUT, *log, cwd=folder).status == 0
    assert "nowhere.zarr" in forked("fit", "nowhere.zarr", *FIT[2:], *OUT, *log, cwd=folder).error
    lines = (folder / "log.txt").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    # A line for starts is there if they took long, as they do on a machine with other work.
    said = [line.split(" ", 2)[2] for line in lines if " starts: " not in line]
    starts = ("scan: ", "pass 1: ", "pass 2: ", "pass 3: ", "note: not", "Error: nowhere.zarr")
    assert len(said) == len(starts)
    assert all(line.startswith(start) for line, start in zip(said, starts, strict=True))


@pytest.mark.slow
def test_a_log_that_takes_no_more_lines_does_not_end_the_fit(folder):
    done = forked(*FIT, *OUT, "--log", "/dev/full", cwd=folder)
    assert done.status == 0
    assert done.stderr.count("note: the log /dev/full takes no more lines") == 1
    with open("/dev/full", "w") as full:
        command = [DASKGMM, *map(str, (*FIT, *OUT, "--overwrite", "--log", "log.txt"))]
        assert subprocess.run(command, cwd=folder, stderr=full, check=False).returncode == 0
    assert "standard error takes no more lines" in (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("fit", "nowhere.zarr", *FIT[2:], *OUT), 1, "nowhere.zarr does not exist"),
        (("fit", "data.zarr"), 2, "--components"),
        (("fit", "data.zarr", "--nonsense"), 2, "--nonsense"),
        (("fitt",), 2, "No such command"),
        ((*FIT, *OUT, "--stage-limit", "1GiB"), 2, "stage_limit needs stage"),
        ((*FIT, *OUT, "--performance-report", "r.html"), 2, "add --cluster"),
        ((*FIT, *OUT, "--log", "s3://key:secret@host/log"), 1, "s3://***@host/log"),
        (("info", "nowhere.zarr"), 1, "nowhere.zarr does not exist"),
    ],
)
@pytest.mark.parametrize("spelling", [("--log-format", "json"), ("--log-format=json",)])
def test_an_error_is_one_json_line_of_the_same_status(folder, arguments, status, words, spelling):
    if arguments[0] == "fitt" and len(spelling) == 1:
        arguments = ("fitt", "x")
    done = forked(*arguments, *spelling, cwd=folder)
    assert done.status == status
    assert done.stdout == ""
    (error,) = events(done.stderr)
    assert (error["event"], error["level"], error["status"]) == ("failed", "error", status)
    assert words in error["message"]
    assert "secret" not in done.stderr


def test_an_error_that_nobody_foresaw_is_a_json_line_without_secrets():
    @click.command("crash")
    def crash() -> None:
        raise RuntimeError("s3://key:secret@bucket/x broke")

    group = type(main)("daskgmm", commands=[crash])
    group.commands["crash"].params.append(click.Option(["--log-format"], expose_value=False))
    done = CliRunner().invoke(group, ["crash", "--log-format", "json"])
    assert done.exit_code == 1
    (error,) = events(done.stderr)
    assert error["message"] == "RuntimeError: s3://***@bucket/x broke"
    assert "test_logs.py" in error["traceback"]
    assert "secret" not in done.stderr


def test_an_allocation_that_fails_outside_of_passes_is_one_line_as_well():
    with (
        pytest.raises(click.ClickException) as raised,
        reported("text", log_file=None, way_on=None),
    ):
        raise MemoryError("no room for 8 GiB")
    assert raised.value.exit_code == 1
    told = "gave no more memory (MemoryError: no room for 8 GiB); lower --memory-limit"
    assert told in raised.value.message


def test_an_interruption_that_can_be_resumed_is_a_json_line_with_75(folder):
    fit = ("fit", "data.zarr", "--components", 3, "--tol", 0, "--max-iter", 10**6)
    options = ("--checkpoint", "kept", "--log-format", "json")
    with started(*fit, *OUT, *options, cwd=folder) as running:
        next(line for line in running.stderr if json.loads(line)["event"] == "pass_done")
        running.send_signal(signal.SIGTERM)
        done = running.finished()
    *_, last = events(done.stderr)
    assert done.status == last["status"] == 75
    assert "--resume" in last["message"]


def on_terminal(*arguments: object, cwd: Path) -> tuple[int, str, str]:
    """Status, standard output, and what a terminal of 100 columns showed of standard error."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
    with subprocess.Popen(
        [DASKGMM, *map(str, arguments)], cwd=cwd, stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # all who could write to it have ended
                break
        assert process.stdout is not None
        stdout = process.stdout.read()
    os.close(ours)
    return process.returncode, stdout, shown.decode()


@pytest.mark.slow
def test_a_terminal_shows_a_bar_for_the_pass_in_hand(folder):
    status, stdout, shown = on_terminal(*FIT, *OUT, "--json", cwd=folder)
    assert status == 0
    assert json.loads(stdout)["n_rows"] == 10_000
    for name in ("scan", "pass 1", "pass 2", "pass 3"):
        assert re.search(rf"\r{name}: +0%\|.*\| 0/1 parts \[", shown)
    # What is left when every bar has been wiped away is the lines of a log.
    # Starts have a line where they take over a second, as on a busy machine.
    left = [line.rpartition("\r")[2] for line in shown.replace("\r\n", "\n").split("\n")]
    left = [line for line in left if not line.startswith("starts: ")]
    starts = ("scan: ", "pass 1: ", "pass 2: ", "pass 3: ", "note: not converged")
    assert len(left) == len(starts) + 1
    assert all(line.startswith(start) for line, start in zip(left, starts, strict=False))
    assert left[-1] == ""


def test_without_a_terminal_there_is_no_bar(folder):
    done = forked("score", "data.zarr", "--model", "model.zarr", cwd=folder)
    assert done.status == 0
    assert done.stderr == ""


def test_dashboard_of_threads_is_a_note_that_says_what_to_do(folder):
    done = forked("score", "data.zarr", "--model", "model.zarr", "--dashboard", cwd=folder)
    assert done.status == 0
    (note,) = done.notes
    assert "--cluster" in note


def test_a_report_that_could_not_be_written_is_refused_first(folder):
    report = ("--performance-report", "nowhere/r.html", "--cluster", LOCAL)
    error = forked(*FIT, *OUT, *report, cwd=folder).error
    assert "nowhere" in error
    assert "folder that exists" in error


def test_a_job_keeps_its_log_and_metrics_where_its_file_says(folder):
    (folder / "job.yaml").write_text(
        "data: data.zarr\n"
        "model: {components: 2, max_iter: 2, tol: 0}\n"
        "outputs: {model: out.zarr, log: job.log, metrics: metrics.jsonl}\n"
    )
    assert forked("run", "job.yaml", cwd=folder).status == 0
    first, *_ = (folder / "job.log").read_text().splitlines()
    assert first.split(" ", 2)[2].startswith("scan: ")
    metrics = (folder / "metrics.jsonl").read_text().splitlines()
    passes = [json.loads(line)["pass"] for line in metrics]
    assert passes == [0, 1, 2]
    # Other places for them are no other job, and what is refused is in the log, too.
    moved = ("--outputs-log", folder / "other.log", "--outputs-metrics", "other.jsonl")
    assert "nothing to do" in forked("run", "job.yaml", *moved, cwd=folder).stdout
    refused = forked("run", "job.yaml", "--model-components", 3, cwd=folder)
    assert (folder / "job.log").read_text().splitlines()[-1].endswith(refused.error)
