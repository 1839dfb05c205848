"""Atomic output: a Zarr node appears under its name complete, or not at all.

It is written as a draft under a name beside its own, which is renamed when it is done, or
copied in an object store. A killed process can leave only names that start with a dot:
``.NAME.partial-*`` is a draft, of no use to anyone; ``.NAME.replaced-*`` is the old output,
if the process died while an overwrite put the new one in place. An object store can then
also keep chunks under NAME itself, which are no node without metadata, beside a note that
lets the next run replace them. Nothing removes the other two, because the process that they
are of may still be at work.
"""

from __future__ import annotations

import os
import secrets
import shutil
import warnings
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from daskgmm.errors import (
    DaskGMMError,
    DaskGMMWarning,
    NotFoundError,
    OutputExistsError,
    ParameterError,
    StorageError,
)
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.places.durable import settle, settle_entry
from daskgmm.storage.places.locations import Location

_OTHER_FORMATS = frozenset(
    {
        *(".csv", ".tsv", ".txt", ".json", ".xlsx", ".parquet", ".feather", ".arrow"),
        *(".npy", ".npz", ".h5", ".hdf5", ".nc", ".zip", ".pkl", ".pickle", ".joblib"),
    }
)
"""Endings that promise something else than a Zarr node."""

__all__ = ["MARKERS", "AtomicOutput", "atomic_output", "check_output"]

MARKERS = ("zarr.json", ".zarray", ".zgroup")
"""Names of files that make a folder a Zarr array or group."""
_METADATA = frozenset({*MARKERS, ".zattrs", ".zmetadata"})
_NOTE = ".daskgmm-partial"
_NOTE_TEXT = b"Of a run of daskgmm that goes on, or was killed: then remove what is here.\n"


class AtomicOutput(ABC):
    """A place to write a Zarr node to, which is shown under its name when it is whole.

    As a context manager it commits on success and aborts on anything else,
    KeyboardInterrupt included.

    Attributes
    ----------
    target : Location
        Where the node will be.
    draft : Location
        Where the node is to be written.
    """

    def __init__(self, target: Location, *, overwrite: bool) -> None:
        self.target = target
        token = secrets.token_hex(4)
        self.draft = target.sibling(".", f".partial-{token}")
        self._old = target.sibling(".", f".replaced-{token}")
        self._overwrite = overwrite
        try:
            self._check_parent()
            self._check_target()
            self._prepare()
        except DaskGMMError:
            raise
        except Exception as error:
            raise self._failure("written", error) from cause_to_show(error)

    def _failure(self, what: str, error: Exception) -> StorageError:
        return StorageError(
            f"{self.target.name} cannot be {what}: {one_line(error)}; check permissions and space"
        )

    def _check_target(self) -> None:
        if not self._exists():
            return
        if not self._is_zarr():
            raise OutputExistsError(
                f"{self.target.name} exists and is not a Zarr array or group, so it is never "
                "replaced; choose another name"
            )
        if not self._overwrite:
            raise OutputExistsError(
                f"{self.target.name} exists; choose another name, or replace it with "
                "overwrite=True (--overwrite)"
            )

    def commit(self) -> None:
        """Show the output under its name, in place of one that was there before.

        Raises
        ------
        OutputExistsError
            If another process has put something there meanwhile.
        StorageError
            If it cannot be renamed. The old output, if any, is still there.
        """
        try:
            self._check_target()
            self._replace()
        except BaseException as error:
            self.abort()
            if isinstance(error, DaskGMMError) or not isinstance(error, Exception):
                raise
            raise self._failure("put in place", error) from cause_to_show(error)

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

    @abstractmethod
    def abort(self) -> None:
        """Remove the draft; an output that was there before stays."""

    @abstractmethod
    def _check_parent(self) -> None: ...

    @abstractmethod
    def _exists(self) -> bool: ...

    @abstractmethod
    def _is_zarr(self) -> bool: ...

    @abstractmethod
    def _prepare(self) -> None: ...

    @abstractmethod
    def _replace(self) -> None: ...


class _LocalOutput(AtomicOutput):
    """On a local disk: two renames."""

    def _check_parent(self) -> None:
        if not self.target.path.parent.is_dir():
            raise NotFoundError(
                f"the folder of {self.target.name} does not exist; create "
                f"{self.target.path.parent} first"
            )

    def _exists(self) -> bool:
        # A dangling link exists as well, though what it names does not.
        return self.target.path.exists() or self.target.path.is_symlink()

    def _is_zarr(self) -> bool:
        path = self.target.path
        return not path.is_symlink() and any((path / marker).is_file() for marker in MARKERS)

    def _prepare(self) -> None:
        self.draft.path.mkdir()

    def _replace(self) -> None:
        settle(self.draft.path)
        self._rename()
        settle_entry(self.target.path)

    def _rename(self) -> None:
        if not self._exists():
            self.draft.path.rename(self.target.path)
            return
        try:
            self.target.path.rename(self._old.path)
            self.draft.path.rename(self.target.path)
        except BaseException:
            if self._old.path.exists() and not self._exists():
                self._old.path.rename(self.target.path)
            raise
        # The output is in place even if not all of the old one can be removed.
        shutil.rmtree(self._old.path, ignore_errors=True)

    def abort(self) -> None:
        """Remove the draft."""
        shutil.rmtree(self.draft.path, ignore_errors=True)


class _RemoteOutput(AtomicOutput):
    """Behind a URL, where nothing is renamed: objects are copied, metadata last.

    Zarr's readers see no node until its ``zarr.json`` is there. So metadata are written last
    and removed first, those of the root last or first of all. While an overwrite is under
    way, there is for some seconds neither the old output nor the new one.
    """

    def _check_parent(self) -> None:
        self._fs, self._target = self.target.filesystem()
        _, self._draft = self.draft.filesystem()
        _, self._aside = self._old.filesystem()

    def _exists(self) -> bool:
        self._fs.invalidate_cache()
        if not self._fs.exists(self._target):
            return False
        # A note without metadata was left by a run that was killed while it copied its draft.
        return not self._fs.exists(f"{self._target}/{_NOTE}") or self._is_zarr()

    def _is_zarr(self) -> bool:
        self._fs.invalidate_cache()
        return any(self._fs.exists(f"{self._target}/{marker}") for marker in MARKERS)

    def _prepare(self) -> None:
        """Write a note, which is the only way to learn whether anything can be written."""
        try:
            self._fs.pipe_file(f"{self._draft}/{_NOTE}", _NOTE_TEXT)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"the bucket or folder of {self.target.name} does not exist; create it first"
            ) from cause_to_show(error)

    def _keys(self, path: str) -> tuple[list[str], list[str]]:
        """Keys below a path: those of metadata, the root's first, and all others but the note."""
        self._fs.invalidate_cache()
        keys = [key[len(path) :] for key in self._fs.find(path)]
        metadata = [key for key in keys if key.rpartition("/")[2] in _METADATA]
        others = set(keys) - {*metadata, f"/{_NOTE}"}
        return sorted(metadata, key=lambda key: (key.count("/"), key)), sorted(others)

    def _copy(self, source: str, target: str) -> None:
        metadata, others = self._keys(source)
        self._fs.copy_all((source + key, target + key) for key in others)
        for key in reversed(metadata):
            self._fs.cp_file(source + key, target + key)

    def _empty(self, path: str) -> None:
        for keys in self._keys(path):
            if keys:
                self._fs.rm([path + key for key in keys])

    def _remove(self, path: str) -> None:
        self._empty(path)
        if self._fs.exists(f"{path}/{_NOTE}"):
            self._fs.rm(f"{path}/{_NOTE}")

    def _discard(self, path: str, name: str) -> None:
        """Remove objects that are of no use any more, or warn that they are left."""
        try:
            self._remove(path)
        except OSError as error:
            warnings.warn(
                f"{name} is left over and could not be removed ({one_line(error)}); remove it",
                DaskGMMWarning,
                stacklevel=2,
            )

    def _remove_old(self) -> None:
        self._empty(self._target)
        # S3 answers a removal of many objects with a list of failures, which s3fs drops.
        if self._is_zarr():
            raise StorageError(f"{self.target.name} cannot be removed; check permissions")

    def _replace(self) -> None:
        had_old = self._exists()
        if had_old:
            self._copy(self._target, self._aside)
        try:
            self._fs.pipe_file(f"{self._target}/{_NOTE}", _NOTE_TEXT)
            self._remove_old()
            self._copy(self._draft, self._target)
            self._fs.rm(f"{self._target}/{_NOTE}")
        except BaseException:
            self._remove(self._target)
            if had_old:
                self._copy(self._aside, self._target)
                self._remove(self._aside)
            raise
        self._discard(self._aside, self._old.name)
        self._discard(self._draft, self.draft.name)

    def abort(self) -> None:
        """Remove the objects of the draft."""
        self._discard(self._draft, self.draft.name)


def _check_name(target: Location) -> None:
    """Refuse a name that promises another format: outputs are Zarr.

    Raises
    ------
    ParameterError
    """
    stem, suffix = os.path.splitext(target.name)
    if suffix.lower() in _OTHER_FORMATS:
        raise ParameterError(
            f"{target.name}: what is written is Zarr, not {suffix}; name it {stem}.zarr, which xarray and "
            "zarr read"
        )


def atomic_output(target: Location, *, overwrite: bool) -> AtomicOutput:
    """Prepare to write a Zarr node.

    Parameters
    ----------
    target : Location
    overwrite : bool
        Whether a Zarr array or group that is there may be replaced. Anything else is never
        replaced.

    Raises
    ------
    OutputExistsError
        If something is there that must not be replaced; nothing was written.
    NotFoundError
        If the parent folder does not exist.
    StorageError
        If nothing can be written there.
    ParameterError
        If the name promises another format.
    """
    _check_name(target)
    kind = _LocalOutput if target.is_local else _RemoteOutput
    return kind(target, overwrite=overwrite)


def check_output(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuse an output that could not be written later, before work starts.

    It raises what :func:`atomic_output` raises.
    """
    atomic_output(Location.parse(path), overwrite=overwrite).abort()
