"""State files: a small dataclass in a JSON file, replaced in one step.

They hold what a job has to know of itself when it goes on later. A file says which job it is
of; to another job it is refused, with what differs.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from daskgmm.errors import CheckpointError
from daskgmm.plain_json import plain_json
from daskgmm.redaction import on_one_line
from daskgmm.storage.places.locations import Location
from daskgmm.storage.places.pointer import read_pointer, swap_pointer
from daskgmm.storage.snapshots.trees import Tree, TreeError, from_tree, to_tree

__all__ = ["StateFile", "said_of_changes"]

_LARGEST = 2**20

T = TypeVar("T")


@dataclass(frozen=True)
class _Envelope:
    """The content of a file: the state, and what it is checked by."""

    format: str
    format_version: int
    token: str
    identity: str
    """JSON."""
    state: str
    """JSON."""


class StateFile(Generic[T]):
    """The state of a job.

    Parameters
    ----------
    folder : Location
        Where the file is; created when it is first written.
    name : str
    form : str
        Name of the format, which the file holds.
    kind : type
        Dataclass of the state.
    identity : mapping
        Plain JSON by which the job differs from others.
    may_take_over : callable, optional
        Given the state of another job and what differs, such as ``data.shape was ..., is ...``,
        whether this job may replace it; by default it may not.

    Attributes
    ----------
    value : dataclass or None
        The state; None where there is no file.

    Raises
    ------
    CheckpointError
        If the file is not such a file, or of another job: the message says what differs.
    StorageError
        If it cannot be read.
    """

    _VERSION = 1

    def __init__(
        self,
        folder: Location,
        name: str,
        form: str,
        kind: type[T],
        identity: Mapping[str, Any],
        *,
        may_take_over: Callable[[T, list[str]], bool] = lambda state, changes: False,
    ) -> None:
        if folder.is_local and folder.path.exists() and not folder.path.is_dir():
            raise CheckpointError(
                f"checkpoint {folder.name} is a file; name a folder, which is made where there is "
                "none"
            )
        self._folder, self._place = folder, folder.child(name)
        self._form, self._kind = form, kind
        self._may_take_over = may_take_over
        self._identity = json.dumps(plain_json(identity), sort_keys=True)
        self._text = read_pointer(self._place)
        self.value: T | None = None if self._text is None else self._parsed(self._text)

    def _parsed(self, text: str) -> T:
        try:
            if len(text) > _LARGEST:
                raise TreeError(f"it has {len(text)} characters")
            found: _Envelope = from_tree(_Envelope, _plain_tree(text))
            if (found.format, found.format_version) != (self._form, self._VERSION):
                raise TreeError(
                    f"its format is {found.format!r:.40}, version {found.format_version}"
                )
            changes = _changes(json.loads(found.identity), json.loads(self._identity), "")
            value: T = from_tree(self._kind, _plain_tree(found.state))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{self._place.name} is not as daskgmm writes it: {on_one_line(error)}; remove "
                f"{self._folder.name} to begin anew"
            ) from error
        if changes and not self._may_take_over(value, changes):
            raise CheckpointError(said_of_changes(self._folder.name, changes))
        return value

    def put(self, value: T) -> None:
        """Replace the state.

        Raises
        ------
        PointerMovedError
            If another process has replaced it.
        StorageError
            If it cannot be written.
        """
        self._folder.make_folder()
        envelope = _Envelope(
            self._form,
            self._VERSION,
            secrets.token_hex(8),
            self._identity,
            json.dumps(to_tree(value).plain),
        )
        text = json.dumps(to_tree(envelope).plain, indent=2)
        swap_pointer(self._place, text, self._text)
        self._text, self.value = text, value


def said_of_changes(folder: str, changes: list[str]) -> str:
    """The message that a folder is of another job, and the ways out."""
    return (
        f"{folder} is of another job: {'; '.join(changes[:5])}; name another folder, or begin anew: "
        "remove this one, or give daskgmm run --fresh"
    )


def _plain_tree(text: str) -> Tree:
    return Tree(json.loads(text), np.empty(0))


def _changes(was: Any, now: Any, key: str) -> list[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        return [
            change
            for name in dict.fromkeys([*was, *now])
            for change in _changes(was.get(name), now.get(name), f"{key}.{name}".lstrip("."))
        ]
    return [] if was == now else [f"{key} was {was!r:.60}, is {now!r:.60}"]
