"""Pointers: read whole, swapped by one of several writers, on disk and on S3."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import fsspec
import pytest
from forks import FORKS
from fsspec.implementations.memory import MemoryFileSystem

from daskgmm.errors import DamagedDataError, DaskGMMWarning, PointerMovedError, StorageError
from daskgmm.storage import Location
from daskgmm.storage.places.pointer import read_pointer, swap_pointer


@pytest.fixture(params=["local", "s3", "memory"])
def folder(request, tmp_path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/pointers"
    return str(tmp_path) if request.param == "local" else f"memory://pointers-{tmp_path.name}"


@pytest.fixture
def place(folder) -> Location:
    return Location.parse(f"{folder}/latest")


def test_nothing_is_none(place):
    assert read_pointer(place) is None


def test_what_was_put_is_read(place):
    swap_pointer(place, "first", None)
    assert read_pointer(place) == "first"
    swap_pointer(place, "sécond", "first")
    assert read_pointer(place) == "sécond"


@pytest.mark.parametrize("expected", [None, "another"])
def test_what_another_put_stays(place, expected):
    swap_pointer(place, "theirs", None)
    with pytest.raises(PointerMovedError, match=r"latest holds 'theirs' where .* was expected"):
        swap_pointer(place, "ours", expected)
    assert read_pointer(place) == "theirs"


def test_what_another_removed_is_not_put_again(place):
    with pytest.raises(PointerMovedError, match="holds None where 'first'"):
        swap_pointer(place, "second", "first")
    assert read_pointer(place) is None


class UnconditionalFileSystem(MemoryFileSystem):
    """A service whose library has no conditional put, as gcsfs."""

    protocol = "unconditional"


def test_where_two_writers_could_both_win_that_is_said_once(tmp_path):
    fsspec.register_implementation("unconditional", UnconditionalFileSystem, clobber=True)
    place = Location.parse(f"unconditional://{tmp_path.name}/latest")
    swap_pointer(place, "first", None)  # on the condition that nothing is there
    with pytest.warns(DaskGMMWarning, match=r"latest .*two runs.*a folder of its own"):
        swap_pointer(place, "second", "first")
    swap_pointer(place, "third", "second")  # warnings are errors here
    assert read_pointer(place) == "third"


def race(place, writers, expected):
    """Who won, of several threads that swap at the same time."""
    begin = threading.Barrier(len(writers))
    won = []

    def writer(text):
        begin.wait()
        try:
            swap_pointer(place, text, expected)
        except PointerMovedError:
            return
        won.append(text)

    threads = [threading.Thread(target=writer, args=[text]) for text in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_of_writers_that_race_one_wins(kind, tmp_path, request):
    folder = tmp_path if kind == "local" else request.getfixturevalue("bucket")
    place = Location.parse(f"{folder}/latest")
    now = None
    for turn in range(10):
        won = race(place, [f"{turn}-{writer}" for writer in "abcd"], now)
        assert len(won) == 1
        now = read_pointer(place)
        assert [now] == won


def test_writers_in_other_processes_race_as_well(tmp_path):
    """A lock within the process would pass the test above."""
    for turn in range(200):
        (tmp_path / f"latest-{turn}").write_text("start")
    both_there, won = FORKS.Barrier(2), FORKS.SimpleQueue()
    processes = [
        FORKS.Process(target=_swap_all, args=(tmp_path, name, both_there, won))
        for name in ("one", "two")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert won.get() + won.get() == 200


def _swap_all(folder, name, both_there, won):
    """How many pointers one writer moves, of those that another one moves at the same time."""
    both_there.wait(60)
    n_won = 0
    for turn in range(200):
        try:
            swap_pointer(Location.parse(f"{folder}/latest-{turn}"), name, "start")
            n_won += 1
        except PointerMovedError:
            pass
    won.put(n_won)


def test_a_swap_leaves_pointer_and_lock(tmp_path):
    place = Location.parse(tmp_path / "latest")
    swap_pointer(place, "first", None)
    swap_pointer(place, "second", "first")
    assert sorted(os.listdir(tmp_path)) == [".latest.lock", "latest"]


def test_a_put_that_fails_leaves_the_old(tmp_path):
    place = Location.parse(tmp_path / "latest")
    swap_pointer(place, "first", None)
    with pytest.raises(StorageError, match="latest cannot be written: UnicodeEncodeError"):
        swap_pointer(place, "\ud800", "first")
    assert read_pointer(place) == "first"
    assert sorted(os.listdir(tmp_path)) == [".latest.lock", "latest"]


def test_what_cannot_be_read_is_said(tmp_path):
    (tmp_path / "latest").write_bytes(b"\xff")
    with pytest.raises(DamagedDataError, match="latest is not text"):
        read_pointer(Location.parse(tmp_path / "latest"))
    with pytest.raises(StorageError, match="cannot be read: IsADirectoryError"):
        read_pointer(Location.parse(tmp_path))


def test_a_folder_that_is_not_there_is_said(tmp_path):
    place = Location.parse(Path(tmp_path / "none" / "latest"))
    assert read_pointer(place) is None
    with pytest.raises(StorageError, match="cannot be written: FileNotFoundError"):
        swap_pointer(place, "first", None)


def test_a_bucket_that_is_not_there_is_said(bucket):
    place = Location.parse(f"{bucket}-none/latest")
    with pytest.raises(StorageError, match="latest cannot be written"):
        swap_pointer(place, "first", None)


def test_a_put_whose_answer_was_lost_has_won(bucket, monkeypatch):
    """The put is tried again by whatever lies beneath, and then finds its own text."""
    place = Location.parse(f"{bucket}/latest")
    kind = type(place.filesystem()[0]._fs)
    put = kind._pipe_file

    async def put_twice(*arguments, **condition):
        await put(*arguments, **condition)
        await put(*arguments, **condition)

    monkeypatch.setattr(kind, "_pipe_file", put_twice)
    swap_pointer(place, "first", None)
    swap_pointer(place, "second", "first")
    assert read_pointer(place) == "second"
