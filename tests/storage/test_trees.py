"""Trees: values in plain parts, of which an older version may have written fewer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from daskgmm.storage.snapshots.trees import TreeError, from_tree, to_tree


@dataclass(frozen=True)
class Note:
    name: str
    seen: list[int] = field(default_factory=list)
    word: str = "none"


def without(tree, *names):
    return replace(tree, plain={k: v for k, v in tree.plain.items() if k not in names})


def test_a_field_with_a_default_may_be_absent():
    tree = to_tree(Note("one", [1, 2], "two"))
    assert from_tree(Note, tree) == Note("one", [1, 2], "two")
    assert from_tree(Note, without(tree, "seen", "word")) == Note("one")


def test_one_without_a_default_may_not():
    with pytest.raises(TreeError, match=r"needs \['name'\] and may have \['seen', 'word'\]"):
        from_tree(Note, without(to_tree(Note("one")), "name"))


def test_one_that_nobody_knows_is_refused():
    tree = to_tree(Note("one"))
    with pytest.raises(TreeError, match=r"has the fields .*'other'"):
        from_tree(Note, replace(tree, plain=tree.plain | {"other": 1}))
