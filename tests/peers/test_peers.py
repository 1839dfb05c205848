"""What of a peer's tests fails here has a reason, and a guide has a row for it."""

from __future__ import annotations

from pathlib import Path

import daskgmm

from .scikit_learn import BY_MESSAGE, OURS, REASONS, SKIPPED, THEIRS, swapped

GUIDE = Path(daskgmm.__file__).parent / "guides/from-scikit-learn.md"


def test_their_tests_are_found_and_name_our_class():
    text = swapped()
    assert OURS in text
    assert THEIRS not in text
    for name in REASONS:
        assert f"def {name}(" in text


def test_the_guide_names_every_reason():
    rows = [line for line in GUIDE.read_text().splitlines() if line.startswith("|")]
    for reason in {SKIPPED, *REASONS.values(), *BY_MESSAGE.values()}:
        assert any(reason.partition(":")[0] in row.split("|")[1] for row in rows), reason
