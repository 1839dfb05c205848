"""Remote drafts: outputs behind a URL, where nothing is renamed and objects are copied.

A killed process can leave some of the output's objects under its name, beside a note that lets the
next run replace them, and by which readers know that the output is not whole.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from daskgmm.errors import NotFoundError, StorageError, warn
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.outputs.drafts import Draft
from daskgmm.storage.places.locations import PARTIAL_NOTE, Location
from daskgmm.storage.places.remote import RemoteFileSystem

__all__ = ["FileToPut", "RemoteDraft", "RemoteKind"]

_NOTE_TEXT = b"Of a run of daskgmm that goes on, or was killed: then remove what is here.\n"


@dataclass(frozen=True)
class RemoteKind:
    """What an output behind a URL is, and so what it may take the place of.

    Attributes
    ----------
    said : str
        What errors call it.
    is_one : callable
        Whether what is at a path of a file system is one. Nothing else is ever replaced.
    last : frozenset of str
        Names of objects without which readers see no output: they are written last and removed
        first.
    part : str, optional
        Name of what becomes the output, in a draft that holds more while it is written.
    """

    said: str
    is_one: Callable[[RemoteFileSystem, str], bool]
    last: frozenset[str] = frozenset()
    part: str | None = None


class RemoteDraft(Draft):
    """An object, or all those below a folder, which are copied from the draft to the output.

    An object that takes the place of another one is replaced in one step. While an overwrite of
    several objects is under way, there is for some seconds neither the old output nor the new one.
    """

    def __init__(self, target: Location, kind: RemoteKind, *, overwrite: bool) -> None:
        self._of_kind = kind
        super().__init__(target, kind.said, overwrite=overwrite)
        if kind.part is not None:
            self.place = self._root.child(kind.part)

    def _check_parent(self) -> None:
        self._fs, self._target = self.target.filesystem()
        _, self._draft = self._root.filesystem()
        _, self._aside = self._old.filesystem()

    def _exists(self) -> bool:
        self._fs.invalidate_cache()
        if not self._fs.exists(self._target):
            return False
        if not self._fs.exists(f"{self._target}/{PARTIAL_NOTE}"):
            return True
        # It was left by a run that was killed while it copied its draft, with what comes last or not.
        return bool(self._of_kind.last) and self._may_replace()

    def _may_replace(self) -> bool:
        self._fs.invalidate_cache()
        return self._of_kind.is_one(self._fs, self._target)

    def _prepare(self) -> None:
        """Write a note, which is the only way to learn whether anything can be written."""
        try:
            self._fs.pipe_file(f"{self._draft}/{PARTIAL_NOTE}", _NOTE_TEXT)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"the bucket or folder of {self.target.name} does not exist; create it first"
            ) from cause_to_show(error)

    def _keys(self, path: str) -> tuple[list[str], list[str]]:
        """Keys below a path: those that come last, the root's first, and all others but the note."""
        self._fs.invalidate_cache()
        keys = [key[len(path) :] for key in self._fs.find(path)]
        last = [key for key in keys if key.rpartition("/")[2] in self._of_kind.last]
        others = set(keys) - {*last, f"/{PARTIAL_NOTE}"}
        return sorted(last, key=lambda key: (key.count("/"), key)), sorted(others)

    def _is_in_one_step(self, whole: str) -> bool:
        """Whether the output is one object, and what is there is none or one."""
        if self._of_kind.last:
            return False
        self._fs.invalidate_cache()
        return self._fs.find(whole) == [whole] and self._fs.find(self._target) in (
            [],
            [self._target],
        )

    def _copy(self, source: str, target: str) -> None:
        last, others = self._keys(source)
        self._fs.copy_all((source + key, target + key) for key in others)
        for key in reversed(last):
            self._fs.cp_file(source + key, target + key)

    def _empty(self, path: str) -> None:
        for keys in self._keys(path):
            if keys:
                self._fs.rm([path + key for key in keys])

    def _remove(self, path: str) -> None:
        self._empty(path)
        if self._fs.exists(f"{path}/{PARTIAL_NOTE}"):
            self._fs.rm(f"{path}/{PARTIAL_NOTE}")

    def _discard(self, path: str, name: str) -> None:
        """Remove objects that are of no use any more, or warn that they are left."""
        try:
            self._remove(path)
        except OSError as error:
            warn(f"{name} is left over and could not be removed ({one_line(error)}); remove it")

    def _remove_old(self) -> None:
        self._empty(self._target)
        # S3 answers a removal of many objects with a list of failures, which s3fs drops.
        if self._may_replace():
            raise StorageError(f"{self.target.name} cannot be removed; check permissions")

    def _keep_old(self) -> None:
        try:
            self._copy(self._target, self._aside)
        except BaseException:
            self._discard(self._aside, self._old.name)
            raise

    def _replace(self) -> None:
        _, whole = self.place.filesystem()
        had_old = self._exists()
        if self._is_in_one_step(whole):
            self._fs.cp_file(whole, self._target)
            return
        if had_old:
            self._keep_old()
        try:
            self._fs.pipe_file(f"{self._target}/{PARTIAL_NOTE}", _NOTE_TEXT)
            self._remove_old()
            self._copy(whole, self._target)
            self._fs.rm(f"{self._target}/{PARTIAL_NOTE}")
        except BaseException:
            self._remove(self._target)
            if had_old:
                self._copy(self._aside, self._target)
                self._remove(self._aside)
            raise
        self._discard(self._aside, self._old.name)

    def abort(self) -> None:
        """Remove the objects of the draft."""
        self._discard(self._draft, self._root.name)


class FileToPut:
    """A local file to write, which is then put at a place as a whole.

    Parameters
    ----------
    place : Location

    Attributes
    ----------
    path : Path
        The place itself, if it is local; else a temporary file.
    """

    def __init__(self, place: Location) -> None:
        self._place = place
        if place.is_local:
            self.path = place.path
            self.path.parent.mkdir(parents=True, exist_ok=True)
        else:
            self.path = Path(tempfile.mkdtemp(prefix="daskgmm-output-")) / "file"

    def put(self) -> None:
        """Put it at the place.

        Raises
        ------
        StorageError
        """
        if not self._place.is_local:
            fs, target = self._place.filesystem()
            fs.put_file(str(self.path), target, **fs.service.put)
            self.drop()

    def drop(self) -> None:
        """Remove what is temporary."""
        if not self._place.is_local:
            shutil.rmtree(self.path.parent, ignore_errors=True)
