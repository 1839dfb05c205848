"""Every event can be told; a new one is a class and nothing else.

The laws hold for every class of the package, found by itself. The new event at the end is
defined here, and goes through lines, JSON log, bar, log and metrics as they are.
"""

from __future__ import annotations

import fcntl
import io
import json
import math
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskgmm.em import FitBegan, Iteration, Resumed, ScanDone
from daskgmm.events import (
    Event,
    Failed,
    JsonLines,
    Message,
    MetricsFile,
    ProgressLines,
    Underway,
    Usage,
    listening,
    log_opened,
    teller,
)
from daskgmm.events.bar import ProgressBar
from daskgmm.plain_json import plain_json

KINDS = [kind for kind in Event.__subclasses__() if kind.__module__.startswith("daskgmm.")]
HEAD = {"time", "level", "event"}

FINITE = st.floats(1e-3, 1e9)
BY_TYPE = {
    bool: st.booleans(),
    int: st.integers(1, 10**12),
    float: FINITE,
    str: st.text(),
    str | None: st.none() | st.text(),
    tuple[Iteration, ...]: st.just(()),
}
LEVELS = st.sampled_from(["info", "warning", "error"])


def events_of(kind: type[Event]) -> st.SearchStrategy[Event]:
    """Any event of a kind whose numbers are finite."""
    hints = get_type_hints(kind)
    made = {field.name: BY_TYPE[hints[field.name]] for field in fields(kind)}
    if "level" in made:
        made["level"] = LEVELS
    return st.builds(kind, **made).filter(lambda event: event == event.redacted())


def json_line(*events: Event) -> list[dict]:
    stream = io.StringIO()
    listener = JsonLines(stream)
    for event in events:
        listener(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def text_of(*events: Event, **options) -> str:
    stream = io.StringIO()
    listener = ProgressLines(stream=stream, **options)
    for event in events:
        listener(event)
    return stream.getvalue()


# Laws of every event


def test_there_are_events_and_their_names_tell_them_apart():
    names = [kind.name for kind in KINDS]
    assert len(names) == len(set(names)) >= 11
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


def test_a_class_without_a_name_is_refused_where_it_is_defined():
    with pytest.raises(TypeError, match="name"):

        class Nameless(Event):
            pass


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(data=st.data())
def test_an_event_is_a_json_line_and_can_be_read_back(kind, data):
    event = data.draw(events_of(kind))
    if isinstance(event, Underway):  # written only once it is worth it
        event = Underway(event.pass_key, 1, 2, 10 + event.seconds)
    (line,) = json_line(event)
    assert datetime.fromisoformat(line["time"]).utcoffset().total_seconds() == 0
    assert (line["event"], line["level"]) == (kind.name, event.level)
    assert event.fields().keys() & HEAD <= {"level"}
    names = {field.name for field in fields(kind)}
    assert kind(**{name: value for name, value in line.items() if name in names}) == event
    assert line.keys() - HEAD <= names


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(data=st.data())
def test_the_line_of_text_is_what_the_event_says(kind, data):
    event = data.draw(events_of(kind))
    text = event.text()
    if not isinstance(event, Underway):
        assert text_of(event) == ("" if text is None else f"{text}\n")
    timed = text_of(event, is_timed=True)
    assert timed == "" or re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", timed)


def test_what_is_not_finite_is_null_and_a_first_gain_has_no_words():
    first = Iteration(1, -1.5, math.inf, math.inf, 0.5, 100, 2.0)
    (line,) = json_line(first)
    assert (line["gain"], line["remaining_gain"]) == (None, None)
    assert plain_json(first.fields()) == {k: v for k, v in line.items() if k not in HEAD}
    assert "gain" not in first.text()


def test_secrets_stay_out_of_the_json_log():
    url = "s3://key:secret@bucket/x"
    data = FitBegan(url, True, 9, 2, 1, "full", "gap", 0.0, 10)
    written = json_line(Message(url), Failed(url, 1, traceback=url), data)
    assert "secret" not in json.dumps(written)
    assert written[2]["data"] == "s3://***@bucket/x"


# What listeners add


def test_a_pass_under_way_is_told_every_five_seconds_and_anew_in_the_next():
    told = [Underway(key, n, 100, float(n)) for key in "ab" for n in range(101)]
    spoken = [(line["pass_key"], line["n_done"]) for line in json_line(*told)]
    assert spoken == [(key, n) for key in "ab" for n in range(5, 100, 5)]
    assert text_of(*told).count("% of this pass") == len(spoken)


def test_iterations_have_a_line_for_each_interval_and_say_the_time_that_is_left():
    """Gains halve, so 0.5**n is below 2**-10 after 10 iterations: 8 from the second."""
    began = FitBegan("rows", True, 100, 2, 3, "full", "gap", 2.0**-10, 50)
    told = [Iteration(n, -1.0, 0.5**n, 0.5**n, 0.0, 100, 1.0) for n in (1, 2, 3)]
    first, second, third = text_of(began, *told).splitlines()
    assert "left" not in first  # one gain tells no rate
    assert second.endswith("about 8.0 s left")
    assert third.endswith("about 7.0 s left")
    assert text_of(began, *told, interval=2).splitlines() == [second]


def test_one_pass_that_had_to_wait_changes_no_estimate():
    began = FitBegan("rows", True, 100, 2, 3, "full", "gap", 2.0**-20, 50)
    told = [
        Iteration(n, -1.0, 0.5**n, 0.5**n, 0.0, 100, 60.0 if n == 4 else 1.0) for n in range(1, 6)
    ]
    fourth, fifth = text_of(began, *told).splitlines()[3:]
    assert fourth.endswith("about 16 s left")
    assert fifth.endswith("about 15 s left")


def test_listeners_are_in_force_inside_their_block_only():
    outer, inner, own = [], [], []
    tell = teller(own.append)
    with listening(outer.append):
        with listening(inner.append):
            tell(Message("one"))
        tell(Message("two"))
    tell(Message("three"))
    assert [len(inner), len(outer), len(own)] == [1, 2, 3]


# A new event


@dataclass(frozen=True)
class Cooled(Event, name="cooled"):
    """All that it takes."""

    degrees: float

    @property
    def level(self) -> str:
        return "warning"

    @property
    def next_pass(self) -> str:
        return f"pass at {self.degrees:g} degrees"

    def text(self) -> str:
        return f"cooled to {self.degrees:g} degrees"


@pytest.fixture
def terminal() -> Iterator[tuple[int, io.TextIOBase]]:
    """What a terminal of 100 columns shows, to read, and the terminal, to write to."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        yield ours, stream
    os.close(ours)


def test_a_new_event_is_a_line_of_text_and_of_json():
    assert text_of(Cooled(2.5)) == "cooled to 2.5 degrees\n"
    (line,) = json_line(Cooled(2.5))
    del line["time"]
    assert line == {"level": "warning", "event": "cooled", "degrees": 2.5}


def test_a_new_event_ends_a_bar_and_names_the_next(terminal):
    ours, stream = terminal
    bar = ProgressBar(stream=stream)
    for event in (Underway("a", 1, 4, 1.0), Cooled(2.5), Underway("b", 1, 4, 1.0)):
        bar(event)
    bar.close()
    shown = ""
    while select.select([ours], [], [], 0.2)[0]:  # a terminal gives what has arrived so far
        shown += os.read(ours, 1 << 16).decode()
    before, after = shown.split("cooled to 2.5 degrees\r\n")
    assert re.search(r"reading: +\d+%\|", before)
    assert re.search(r"pass at 2\.5 degrees: +\d+%\|", after)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_new_event_is_in_a_log_and_not_among_the_passes(tmp_path, capsys, log_format):
    metrics = MetricsFile(tmp_path / "metrics.jsonl", Nothing())
    with log_opened(log_format) as log, listening(metrics):
        log.append_to(str(tmp_path / "log"))
        teller()(ScanDone(100, 50, 4.0))
        teller()(Cooled(2.5))
    metrics.close()
    for written in (capsys.readouterr().err, (tmp_path / "log").read_text()):
        scan, cooled = written.splitlines()
        assert "scan" in scan
        assert "cooled" in cooled
        assert "2.5" in cooled
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 1


class Nothing:
    """Meter that knows nothing."""

    def begin(self, *, is_stored: bool) -> None: ...

    def reading(self) -> Usage:
        return Usage()

    def close(self) -> None: ...


def test_history_of_a_resumed_fit_is_not_logged_again():
    history = (Iteration(1, -1.5, 0.25, 0.125, 0.5, 100, 2.0),)
    (line,) = json_line(Resumed(2, history))
    assert line.keys() == HEAD | {"n_passes", "n_iter"}
