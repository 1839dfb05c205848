"""Drafts: an output appears under its name when it is whole, or not at all.

It is written as a draft under a name beside its own, which is renamed when it is done. A killed
process can leave only names that start with a dot: ``.NAME.partial-*`` is a draft, of no use to
anyone; ``.NAME.replaced-*`` is the old output, if the process died while an overwrite put the new
one in place. Nothing removes them, because the process that they are of may still be at work.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from daskgmm.errors import DaskGMMError, NotFoundError, OutputExistsError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.places.durable import settle, settle_entry
from daskgmm.storage.places.locations import Location

__all__ = [
    "AllOrNothing",
    "Draft",
    "DraftedOutput",
    "LocalDraft",
    "LocalKind",
    "already_there",
    "failures_named",
    "file_draft",
]


@contextmanager
def failures_named(name: str, what: str, of: type[Exception] = OSError) -> Iterator[None]:
    """A context that turns errors of the system into one that names the output.

    Parameters
    ----------
    name : str
        Name of the output, for messages.
    what : str
        What cannot be done to it, such as ``written``.
    of : type of Exception, default=OSError
        What is turned. Our own errors and MemoryError never are.

    Raises
    ------
    StorageError
    """
    try:
        yield
    except (DaskGMMError, MemoryError):
        raise
    except of as error:
        raise StorageError(
            f"{name} cannot be {what}: {one_line(error)}; check permissions and space"
        ) from cause_to_show(error)


def already_there(name: str) -> OutputExistsError:
    """The error of an output that is there and is not to be replaced."""
    return OutputExistsError(
        f"{name} exists; choose another name, or replace it with overwrite=True (--overwrite)"
    )


class AllOrNothing(ABC):
    """A context that commits on success and aborts on anything else, KeyboardInterrupt included."""

    @abstractmethod
    def commit(self) -> None:
        """Show the output under its name, in place of one that was there before.

        Raises
        ------
        OutputExistsError
            If another process has put something there meanwhile.
        StorageError
            If the output is not whole, or cannot be renamed. Nothing of it is left then, and an
            output that was there before still is.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written; what was there before stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.commit()
        else:
            self.abort()


class Draft(AllOrNothing):
    """A place to write an output to, which is shown under its name by the commit.

    Attributes
    ----------
    target : Location
        Where the output will be.
    place : Location
        Where it is to be written.

    Raises
    ------
    OutputExistsError
        If something is there that must not be replaced; nothing was written.
    NotFoundError
        If the parent folder does not exist.
    StorageError
        If nothing can be written there.
    """

    def __init__(self, target: Location, kind: str, *, overwrite: bool) -> None:
        self.target = target
        token = secrets.token_hex(4)
        self._root = self.place = target.sibling(".", f".partial-{token}")
        self._old = target.sibling(".", f".replaced-{token}")
        self._kind, self._overwrite = kind, overwrite
        with failures_named(target.name, "written", Exception):
            self._check_parent()
            self._check_target()
            self._prepare()

    def _check_target(self) -> None:
        if not self._exists():
            return
        if not self._may_replace():
            raise OutputExistsError(
                f"{self.target.name} exists and is not {self._kind}, so it is never replaced; "
                "choose another name"
            )
        if not self._overwrite:
            raise already_there(self.target.name)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """A context of the first writes, after an error in which the draft is removed.

        Raises
        ------
        StorageError
            If the system refuses a write.
        """
        try:
            with failures_named(self.target.name, "written"):
                yield
        except BaseException:
            self.abort()
            raise

    def commit(self) -> None:
        """Show the output; see :meth:`AllOrNothing.commit`."""
        try:
            with failures_named(self.target.name, "put in place", Exception):
                self._check_target()
                self._replace()
        finally:
            self.abort()  # removes what else the draft holds, or all of it after an error

    @abstractmethod
    def _check_parent(self) -> None: ...

    @abstractmethod
    def _exists(self) -> bool: ...

    @abstractmethod
    def _may_replace(self) -> bool: ...

    @abstractmethod
    def _prepare(self) -> None: ...

    @abstractmethod
    def _replace(self) -> None: ...


@dataclass(frozen=True)
class LocalKind:
    """What a local output is, and so what it may take the place of.

    Attributes
    ----------
    said : str
        What errors call it.
    is_one : callable
        Whether what is at a path is one. Nothing else is ever replaced.
    is_folder : bool, default=True
        Whether the draft is a folder, which is made at once.
    part : str, optional
        Name of what becomes the output, in a draft that holds more while it is written.
    """

    said: str
    is_one: Callable[[Path], bool]
    is_folder: bool = True
    part: str | None = None


class LocalDraft(Draft):
    """A file or a folder on a local disk, which is renamed."""

    def __init__(self, target: Location, kind: LocalKind, *, overwrite: bool) -> None:
        self._is_one, self._is_folder = kind.is_one, kind.is_folder
        super().__init__(target, kind.said, overwrite=overwrite)
        if kind.part is not None:
            self.place = self._root.child(kind.part)

    def _check_parent(self) -> None:
        if not self.target.path.parent.is_dir():
            raise NotFoundError(
                f"the folder of {self.target.name} does not exist; create "
                f"{self.target.path.parent} first"
            )

    def _exists(self) -> bool:
        # A dangling link exists as well, though what it names does not.
        return self.target.path.exists() or self.target.path.is_symlink()

    def _may_replace(self) -> bool:
        return self._is_one(self.target.path)

    def _prepare(self) -> None:
        if self._is_folder:
            self._root.path.mkdir()

    def _replace(self) -> None:
        settle(self.place.path)
        self._rename()
        settle_entry(self.target.path)

    def _rename(self) -> None:
        draft, target, old = self.place.path, self.target.path, self._old.path
        # A file takes the place of a file in one step; a folder that is there must go first.
        if not self._exists() or (draft.is_file() and not target.is_dir()):
            draft.replace(target)
            return
        try:
            target.rename(old)
            draft.rename(target)
        except BaseException:
            if old.exists() and not self._exists():
                old.rename(target)
            raise
        self._old.remove()  # the output is in place even if not all of the old one can be removed

    def abort(self) -> None:
        """Remove the draft."""
        self._root.remove()


_FILE = LocalKind("a file", Path.is_file, is_folder=False)


def file_draft(target: Location, *, overwrite: bool) -> Draft:
    """Prepare to write a single local file; raises as :class:`Draft`."""
    return LocalDraft(target, _FILE, overwrite=overwrite)


class DraftedOutput(AllOrNothing):
    """An output that is written to a draft, with something left to do at its end.

    Attributes
    ----------
    name : str
        Name of the output, for messages.
    """

    def __init__(self, draft: Draft) -> None:
        self.name = draft.target.name
        self._draft = draft

    @abstractmethod
    def _finish(self) -> None:
        """Write what is left, and make sure that the output is whole."""

    def commit(self) -> None:
        """Finish the output and show it; see :meth:`AllOrNothing.commit`."""
        try:
            self._finish()
        except BaseException:
            self.abort()
            raise
        self._draft.commit()

    def abort(self) -> None:
        """Remove what was written; what was there before stays."""
        self._draft.abort()
