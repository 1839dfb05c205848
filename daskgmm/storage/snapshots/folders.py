"""Checkpoints: the states that an interrupted fit goes on from.

A folder holds immutable groups, each written once under a name of its own, and a pointer
that names those that count, swapped when a group is whole. A process that is killed
leaves the pointer as it was, and at most a group that nothing names. The group of a pass
is a model too: ``daskgmm info FOLDER/pass-000003-1a2b3c4d`` shows how far a fit has come.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from daskgmm.errors import CheckpointError, DaskGMMError, NotFoundError, warn
from daskgmm.kernel import Affine, Mixture
from daskgmm.redaction import on_one_line
from daskgmm.storage.outputs.float_groups import FloatGroup, write_group
from daskgmm.storage.outputs.models import attributes_of, variables_of
from daskgmm.storage.outputs.variables import Variable
from daskgmm.storage.places.locations import Location
from daskgmm.storage.snapshots.state_files import StateFile
from daskgmm.storage.snapshots.trees import Tree, TreeError, from_tree, to_tree

__all__ = ["CHECKPOINT_FILE", "CheckpointFolder"]

_FORMAT = "daskgmm-checkpoint"

CHECKPOINT_FILE = "current.json"
"""The file of a folder that names the newest checkpoints."""
_PASSES_KEPT = 2
"""Passes that are kept: the newest, and the one before it in case the newest is damaged."""
_NUMBERS, _TREE = "numbers", "tree"

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry:
    """A group that the pointer names."""

    name: str
    digest: str


@dataclass(frozen=True)
class _Groups:
    """The content of the pointer: the groups that it names."""

    is_finished: bool = False
    scan: _Entry | None = None
    passes: list[_Entry] = field(default_factory=list)
    """The newest first."""

    def __post_init__(self) -> None:
        for entry in (self.scan, *self.passes):
            if entry is not None and not _is_name(entry.name):
                raise ValueError(f"a group's name is {entry.name!r:.80}")


class CheckpointFolder:
    """The checkpoints of one job.

    Parameters
    ----------
    folder : str or path
        Path or URL; created when the first checkpoint is written.
    identity : mapping
        Plain JSON by which the job differs from others: facts of the data and settings.

    Raises
    ------
    CheckpointError
        If the folder holds no checkpoint, or one of another job: the message says what
        differs.
    StorageError
        If it cannot be read.
    """

    def __init__(self, folder: Any, identity: Mapping[str, Any]) -> None:
        self._folder = Location.parse(folder)
        self.name = self._folder.name
        self._file = StateFile(self._folder, CHECKPOINT_FILE, _FORMAT, _Groups, identity)
        self._groups = self._file.value or _Groups()

    @property
    def is_finished(self) -> bool:
        """Whether the fit came to its end."""
        return self._groups.is_finished

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds nothing of this job."""
        return self._groups.scan is None and not self._groups.passes

    def clear(self) -> None:
        """Forget all checkpoints; they are removed when the next one is written."""
        self._groups = _Groups()

    def scan(self, kind: type[T]) -> T | None:
        """The value that :meth:`keep_scan` was given, if any; raises as :meth:`newest_pass`."""
        entry = self._groups.scan
        return None if entry is None else self._read(entry, kind)

    def newest_pass(self, kind: type[T]) -> T | None:
        """What :meth:`keep_pass` was last given, if anything.

        Warns
        -----
        DaskGMMWarning
            If the last one is damaged and the one before it is used.

        Raises
        ------
        CheckpointError
            If none can be read; the message says what is wrong with the oldest.
        """
        for i, entry in enumerate(self._groups.passes):
            try:
                return self._read(entry, kind)
            except CheckpointError as error:
                if i + 1 == len(self._groups.passes):
                    raise
                warn(f"{error}; using the one before it")
        return None

    def keep_scan(self, value: Any) -> None:
        """Keep the dataclass of a scan, made of what ``trees.to_tree`` takes."""
        name = f"scan-{secrets.token_hex(4)}"
        tree = to_tree(value)
        self._write(name, {"format": _FORMAT}, {}, tree)
        self._swap(replace(self._groups, scan=_Entry(name, _digest(tree))))

    def keep_pass(
        self,
        n_passes: int,
        value: Any,
        mixture: Mixture,
        record: Mapping[str, Any],
        projection: Affine | None = None,
    ) -> None:
        """Keep a dataclass after a pass, beside the mixture that the pass gave, as a model.

        Raises
        ------
        StorageError
            If it cannot be written. Earlier checkpoints are still there then.
        """
        name = f"pass-{n_passes:06d}-{secrets.token_hex(4)}"
        tree = to_tree(value)
        attributes = attributes_of(mixture, record, projection)
        self._write(name, attributes, variables_of(mixture, projection), tree)
        passes = [_Entry(name, _digest(tree)), *self._groups.passes][:_PASSES_KEPT]
        self._swap(replace(self._groups, passes=passes))

    def finish(self) -> None:
        """Say that the fit came to its end."""
        self._swap(replace(self._groups, is_finished=True))

    def _write(
        self,
        name: str,
        attributes: Mapping[str, Any],
        variables: Mapping[str, Variable],
        tree: Tree,
    ) -> None:
        self._folder.make_folder()
        place = self._folder.child(name)
        try:
            write_group(
                place,
                {**attributes, _TREE: json.dumps(tree.plain)},
                {**variables, _NUMBERS: Variable(("number",), tree.numbers)},
                shown=place.name,
            )
        except BaseException:
            place.remove()
            raise

    def _read(self, entry: _Entry, kind: type[T]) -> T:
        place = self._folder.child(entry.name)
        try:
            group = FloatGroup(place, "checkpoint")
            text = group.attributes.get(_TREE)
            if not isinstance(text, str):
                raise TreeError("it has no tree")
            tree = Tree(json.loads(text), group.values(_NUMBERS))
            if _digest(tree) != entry.digest:
                raise TreeError("its digest is not the one that was noted")
            value: T = from_tree(kind, tree)
        except (NotFoundError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"checkpoint {place.name} cannot be used: {on_one_line(error)}; remove "
                f"{self.name} to begin anew"
            ) from error
        return value

    def _swap(self, groups: _Groups) -> None:
        is_first = self._file.value is None
        self._file.put(groups)
        self._groups = groups
        if not is_first:
            self._remove_unnamed()

    def _remove_unnamed(self) -> None:
        """Remove groups of ours that the pointer no longer names, as far as that can be done."""
        named = {e.name for e in (self._groups.scan, *self._groups.passes) if e is not None}
        try:
            for name in self._folder.children():
                if _is_name(name) and name not in named:
                    self._folder.child(name).remove()
        except (OSError, DaskGMMError):
            pass  # the next checkpoint tries again, and this one is whole all the same


def _is_name(name: str) -> bool:
    """Whether a name is one that is given here, and so is not a path to elsewhere."""
    kind, _, rest = name.partition("-")
    return kind in ("scan", "pass") and rest.replace("-", "").isalnum() and len(rest) < 40


def _digest(tree: Tree) -> str:
    found = hashlib.sha256(json.dumps(tree.plain).encode())
    found.update(np.ascontiguousarray(tree.numbers, dtype="<f8").tobytes())
    return found.hexdigest()
