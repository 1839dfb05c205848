"""A few hundred hostile inputs; ``python -m tests.hostile`` makes twenty thousand."""

from __future__ import annotations

from .inputs import READERS, Hostile


def test_hostile_inputs_are_refused_by_errors_of_our_own_and_touch_nothing(tmp_path):
    hostile = Hostile(tmp_path, seed=1)
    hostile.run(400)
    assert all(hostile.counts[f"{name}, refused"] > 10 for name in READERS)
