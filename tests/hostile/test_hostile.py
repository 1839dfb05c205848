"""Some hundred hostile inputs, or thousands; ``python -m tests.hostile`` makes twenty thousand."""

from __future__ import annotations

import os
import resource

import pytest

from .inputs import READERS, Hostile, outside


@pytest.mark.parametrize("n_inputs", [50, pytest.param(8000, marks=pytest.mark.slow)])
def test_hostile_inputs_are_refused_by_errors_of_our_own_and_touch_nothing(
    tmp_path, n_inputs, is_small
):
    hostile = Hostile(tmp_path, seed=1)
    n_inputs = min(n_inputs, 300) if is_small else n_inputs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hostile.run(n_inputs)
    # Of damaged checkpoints most are passed over for the one before: about one in seven is refused.
    assert all(hostile.counts[f"{name}, refused"] > n_inputs // 200 for name in READERS)
    # In KiB: one bomb that is decoded takes a GiB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19


HERE = "/given/case"
READ, WRITE = os.O_RDONLY, os.O_WRONLY | os.O_CREAT


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("/etc/passwd", None, READ)),
        ("open", ("/given/case-2/x", None, READ)),
        ("open", (f"{HERE}/../x", "r", READ)),
        ("open", (os.__file__, None, WRITE)),
        ("os.scandir", ("/work",)),
        ("os.rename", (f"{HERE}/x", "/given/x", -1, -1)),
        ("os.link", ("/etc/passwd", f"{HERE}/x", -1, -1)),
        ("os.symlink", (f"{HERE}/x", "/given/x", -1)),
        ("os.truncate", ("/given/x", 0)),
        ("os.remove", (b"/given/x", -1)),
        ("shutil.move", (f"{HERE}/x", "/given/x")),
        ("subprocess.Popen", ("sh", ["sh"], None, None)),
        ("socket.connect", (None, ("10.0.0.1", 80))),
        ("pickle.find_class", ("os", "system")),
    ],
)
def test_what_is_touched_outside_would_be_seen(event, arguments):
    assert outside(event, arguments, HERE) is not None


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", (f"{HERE}/x", None, WRITE)),
        ("open", (3, "r", READ)),
        ("open", (os.__file__, "rb", READ)),
        ("os.rename", (f"{HERE}/x", f"{HERE}/y", -1, -1)),
        ("os.scandir", (HERE,)),
        ("import", ("json", None, None, None, None)),
    ],
)
def test_what_is_touched_inside_is_free(event, arguments):
    assert outside(event, arguments, HERE) is None
