"""Drafts: whatever an output is, it is whole under its name or not there, and the old one stays.

What is special to groups of results is in ``test_outputs``, and durability in ``test_durable``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pytest
import zarr

from daskgmm.errors import NotFoundError, OutputExistsError, StorageError
from daskgmm.storage import Draft, DraftedOutput, Location, atomic_output, file_draft
from daskgmm.storage.outputs.drafts import LocalDraft, LocalKind
from daskgmm.storage.outputs.remote_drafts import RemoteDraft, RemoteKind
from daskgmm.storage.places.locations import PARTIAL_NOTE


@dataclass(frozen=True)
class Kind:
    """A row of the table: how a draft is made, and how a text is kept in what it becomes."""

    draft: Callable[..., Draft]
    write: Callable[[Location, str], object]
    read: Callable[[Location], str]
    root: Callable[[Path], str] = str


def write_file(place: Location, text: str) -> None:
    place.path.write_text(text)


def write_folder(place: Location, text: str) -> None:
    (place.path / "inner").mkdir(parents=True)
    (place.path / "inner" / "of.txt").write_text(text)
    if ".partial-" in place.address:
        (place.path.parent / "scratch").write_text("of no use when all is written")


def write_node(place: Location, text: str) -> None:
    zarr.create_group(place.store(read_only=False), attributes={"text": text})


def read_node(place: Location) -> str:
    return str(zarr.open_group(place.store(), mode="r").attrs["text"])


def write_object(place: Location, text: str) -> None:
    fs, path = place.filesystem()
    fs.pipe_file(path, text.encode())
    if ".partial-" in place.address:
        fs.pipe_file(f"{path.rpartition('/')[0]}/scratch", b"of no use when all is written")


def read_object(place: Location) -> str:
    fs, path = place.filesystem()
    return str(fs.cat_file(path).decode())


def _are_texts(fs, path: str) -> bool:
    return any(not name.endswith(PARTIAL_NOTE) for name in fs.find(path))


TEXTS = RemoteKind("texts", _are_texts, part="whole")
FOLDER = LocalKind("a folder of texts", lambda path: (path / "inner").is_dir(), part="whole")

KINDS = {
    "file": Kind(file_draft, write_file, lambda place: place.path.read_text()),
    "part of a folder": Kind(
        lambda target, **how: LocalDraft(target, FOLDER, **how),
        write_folder,
        lambda place: (place.path / "inner" / "of.txt").read_text(),
    ),
    "node": Kind(atomic_output, write_node, read_node),
    "node behind a URL": Kind(
        atomic_output, write_node, read_node, lambda path: f"memory://drafts-{path.name}"
    ),
    "object": Kind(
        lambda target, **how: RemoteDraft(target, TEXTS, **how),
        write_object,
        read_object,
        lambda path: f"memory://object-{path.name}",
    ),
    "objects": Kind(
        lambda target, **how: RemoteDraft(target, TEXTS, **how),
        lambda place, text: [write_object(place.child(name), text) for name in ("a", "in/b")],
        lambda place: read_object(place.child("in/b")),
        lambda path: f"memory://objects-{path.name}",
    ),
}
LOCAL = [name for name, kind in KINDS.items() if kind.root is str]


@pytest.fixture(params=KINDS)
def kind(request) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def target(kind, tmp_path) -> Location:
    return Location.parse(f"{kind.root(tmp_path)}/out")


def beside(target: Location) -> list[str]:
    """All names in the folder of an output."""
    folder = target.parent
    assert folder is not None
    return folder.children()


def test_an_output_appears_at_the_commit_and_nothing_beside_it(kind, target):
    with kind.draft(target, overwrite=False) as draft:
        kind.write(draft.place, "new")
        assert draft.target == target
        assert [name[: len(".out.partial-")] for name in beside(target)] == [".out.partial-"]
    assert beside(target) == ["out"]
    assert kind.read(target) == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("is_there", [False, True])
def test_after_an_error_all_is_as_before(kind, target, error, is_there):
    def interrupted():
        with kind.draft(target, overwrite=True) as draft:
            kind.write(draft.place, "new")
            raise error

    if is_there:
        kind.write(target, "old")
    with pytest.raises(error):
        interrupted()
    assert beside(target) == ["out"] * is_there
    if is_there:
        assert kind.read(target) == "old"


def test_what_is_there_is_replaced_if_told_and_only_then(kind, target):
    kind.write(target, "old")
    with pytest.raises(OutputExistsError, match=r"out exists.*--overwrite"):
        kind.draft(target, overwrite=False)
    assert kind.read(target) == "old"
    with kind.draft(target, overwrite=True) as draft:
        kind.write(draft.place, "new")
        assert kind.read(target) == "old"
    assert kind.read(target) == "new"
    assert beside(target) == ["out"]


def test_what_came_meanwhile_is_kept(kind, target):
    draft = kind.draft(target, overwrite=False)
    kind.write(draft.place, "new")
    kind.write(target, "of another process")
    with pytest.raises(OutputExistsError, match="out exists"):
        draft.commit()
    assert kind.read(target) == "of another process"
    assert beside(target) == ["out"]


@pytest.mark.parametrize(("name", "other"), [*permutations(LOCAL, 2)])
def test_what_is_of_another_kind_is_never_replaced(name, other, tmp_path):
    target = Location.parse(f"{tmp_path}/out")
    KINDS[other].write(target, "mine")
    with pytest.raises(OutputExistsError, match=r"out exists and is not a .*never replaced"):
        KINDS[name].draft(target, overwrite=True)
    assert KINDS[other].read(target) == "mine"
    assert beside(target) == ["out"]


@pytest.mark.parametrize("name", LOCAL)
def test_a_folder_that_is_not_there_is_named(name, tmp_path):
    with pytest.raises(NotFoundError, match="no/such first"):
        KINDS[name].draft(Location.parse(f"{tmp_path}/no/such/out"), overwrite=False)


@pytest.mark.parametrize("name", LOCAL)
def test_a_rename_that_fails_leaves_the_old(name, tmp_path, monkeypatch):
    """The draft is gone when the old output has been moved aside already."""
    kind, target = KINDS[name], Location.parse(f"{tmp_path}/out")
    kind.write(target, "old")
    draft = kind.draft(target, overwrite=True)
    kind.write(draft.place, "new")
    monkeypatch.setattr(
        "daskgmm.storage.outputs.drafts.settle", lambda path: path.rename(tmp_path / "stolen")
    )
    with pytest.raises(StorageError, match=r"out cannot be put in place: .*check permissions"):
        draft.commit()
    assert kind.read(target) == "old"
    assert beside(target) == ["out", "stolen"]


class Unfinished(DraftedOutput):
    def _finish(self) -> None:
        raise ValueError("not whole")


def test_an_output_that_cannot_be_finished_is_not_shown(kind, target):
    kind.write(target, "old")
    draft = kind.draft(target, overwrite=True)
    kind.write(draft.place, "new")
    with pytest.raises(ValueError, match="not whole"), Unfinished(draft):
        pass
    assert kind.read(target) == "old"
    assert beside(target) == ["out"]
