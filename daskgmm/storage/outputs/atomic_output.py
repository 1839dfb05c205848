"""Atomic output: a Zarr node appears under its name complete, or not at all.

It is a :class:`~daskgmm.storage.outputs.drafts.Draft`: a folder that is renamed on a local disk,
and objects that are copied behind a URL. A killed process can then also leave chunks under NAME
itself, which are no node without metadata, beside a note that lets the next run replace them.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from daskgmm.errors import DaskGMMWarning, NotFoundError, ParameterError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.outputs.drafts import Draft, LocalDraft, LocalKind
from daskgmm.storage.places.locations import Location

__all__ = ["MARKERS", "atomic_output", "check_output"]

_OTHER_FORMATS = frozenset(
    {
        *(".csv", ".tsv", ".txt", ".json", ".xlsx", ".parquet", ".feather", ".arrow"),
        *(".npy", ".npz", ".h5", ".hdf5", ".nc", ".zip", ".pkl", ".pickle", ".joblib"),
    }
)
"""Endings that promise something else than a Zarr node."""

MARKERS = ("zarr.json", ".zarray", ".zgroup")
"""Names of files that make a folder a Zarr array or group."""
_METADATA = frozenset({*MARKERS, ".zattrs", ".zmetadata"})
_NOTE = ".daskgmm-partial"
_NOTE_TEXT = b"Of a run of daskgmm that goes on, or was killed: then remove what is here.\n"


def _is_node(path: Path) -> bool:
    return not path.is_symlink() and any((path / marker).is_file() for marker in MARKERS)


_LOCAL = LocalKind("a Zarr array or group", _is_node)


class _RemoteDraft(Draft):
    """A Zarr node behind a URL, where nothing is renamed: objects are copied, metadata last.

    Zarr's readers see no node until its ``zarr.json`` is there. So metadata are written last
    and removed first, those of the root last or first of all. While an overwrite is under
    way, there is for some seconds neither the old output nor the new one.
    """

    def _check_parent(self) -> None:
        self._fs, self._target = self.target.filesystem()
        _, self._draft = self.place.filesystem()
        _, self._aside = self._old.filesystem()

    def _exists(self) -> bool:
        self._fs.invalidate_cache()
        if not self._fs.exists(self._target):
            return False
        # A note without metadata was left by a run that was killed while it copied its draft.
        return not self._fs.exists(f"{self._target}/{_NOTE}") or self._may_replace()

    def _may_replace(self) -> bool:
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
        if self._may_replace():
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

    def abort(self) -> None:
        """Remove the objects of the draft."""
        self._discard(self._draft, self.place.name)


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


def atomic_output(target: Location, *, overwrite: bool) -> Draft:
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
    if target.is_local:
        return LocalDraft(target, _LOCAL, overwrite=overwrite)
    return _RemoteDraft(target, _LOCAL.said, overwrite=overwrite)


def check_output(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuse an output that could not be written later, before work starts.

    It raises what :func:`atomic_output` raises.
    """
    atomic_output(Location.parse(path), overwrite=overwrite).abort()
