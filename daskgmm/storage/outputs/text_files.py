"""Text files that appear under their name whole, locally or behind a URL."""

from __future__ import annotations

import os
import secrets

from daskgmm.errors import NotFoundError, OutputExistsError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.places.durable import settle, settle_entry
from daskgmm.storage.places.locations import Location

__all__ = ["check_text_output", "write_text"]


def check_text_output(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuse a file that could not be written later, before work starts.

    Raises
    ------
    OutputExistsError
        If something is there that must not be replaced.
    NotFoundError
        If its folder does not exist.
    """
    place = Location.parse(path)
    if place.is_local and not place.path.parent.is_dir():
        raise NotFoundError(
            f"the folder of {place.name} does not exist; create {place.path.parent} first"
        )
    if place.exists() and (not overwrite or (place.is_local and not place.path.is_file())):
        raise OutputExistsError(
            f"{place.name} exists; choose another name, or replace it with overwrite=True "
            "(--overwrite)"
        )


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write a file in UTF-8; it appears under its name complete or not at all.

    Raises
    ------
    OutputExistsError, NotFoundError
        As :func:`check_text_output`.
    StorageError
        If it cannot be written.
    """
    check_text_output(path, overwrite=overwrite)
    place = Location.parse(path)
    try:
        if not place.is_local:
            fs, target = place.filesystem()
            fs.pipe_file(target, text.encode())
            return
        draft = place.sibling(".", f".partial-{secrets.token_hex(4)}").path
        try:
            draft.write_text(text, encoding="utf-8")
            settle(draft)
            draft.replace(place.path)
            settle_entry(place.path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{place.name} cannot be written: {one_line(error)}; check permissions and space"
        ) from cause_to_show(error)
