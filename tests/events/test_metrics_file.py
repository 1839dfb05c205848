"""The file of metrics: a line for each pass, once, and nothing else is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daskgmm.em import FitBegan, Iteration, Resumed, ScanDone
from daskgmm.errors import ParameterError, StorageError
from daskgmm.events import Event, MetricsFile, Usage

BEGAN = FitBegan("rows", True, 100, 2, 3, "full", "gap", 0.0, 10)


class Counting:
    """Meter of processes that read 7 bytes between two readings."""

    def begin(self, *, is_stored: bool) -> None:
        self.is_stored = is_stored

    def reading(self) -> Usage:
        return Usage(7 if self.is_stored else None, 0, 0, 1000)

    def close(self) -> None:
        pass


def iteration(n_iter: int) -> Iteration:
    return Iteration(n_iter, -1.5, 0.25, 0.125, 0.5, 100, 2.0)


def write(path: Path, *events: Event) -> list[dict]:
    """Lines of a file after these events, too."""
    metrics = MetricsFile(path, Counting())
    for event in events:
        metrics(event)
    metrics.close()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_a_line_has_what_the_event_and_the_meter_say(path):
    scan, first = write(path, BEGAN, ScanDone(100, 50, 4.0), iteration(1))
    assert (scan["pass"], scan["log_likelihood"], scan["rows_per_second"]) == (0, None, 25.0)
    assert (first["pass"], first["log_likelihood"], first["gain"]) == (1, -1.5, 0.25)
    assert (first["bytes_read"], first["peak_memory_bytes"]) == (7, 1000)


def test_a_fit_that_goes_on_adds_the_lines_that_are_missing(path):
    before = write(path, BEGAN, ScanDone(100, 50, 4.0), iteration(1))
    resumed = Resumed(3, (iteration(1), iteration(2)))
    after = write(path, BEGAN, resumed, iteration(3))
    assert after[: len(before)] == before
    assert [line["pass"] for line in after] == [0, 1, 2, 3]
    assert len({line["fit"] for line in after}) == 1
    assert [line["bytes_read"] for line in after] == [7, 7, None, 7]


def test_a_line_that_was_cut_off_is_taken_off(path):
    write(path, BEGAN, ScanDone(100, 50, 4.0), iteration(1))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    write(path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "no line", "{}\n", '{"fit": 1}\n', "1\n"])
def test_a_file_of_something_else_is_left_alone(path, content):
    path.write_text(content)
    with pytest.raises(ParameterError, match="something else than metrics"):
        MetricsFile(path, Counting())
    assert path.read_text() == content


def test_a_file_that_cannot_be_written_is_an_error_before_the_fit(tmp_path):
    with pytest.raises(StorageError, match="name a file in a local folder"):
        MetricsFile(tmp_path / "nowhere" / "m.jsonl", Counting())
