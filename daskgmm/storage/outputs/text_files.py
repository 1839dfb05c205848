"""Single files that appear under their name whole, locally or behind a URL."""

from __future__ import annotations

import os

from daskgmm.storage.outputs.drafts import already_there, failures_named, file_draft
from daskgmm.storage.places.locations import Location

__all__ = ["check_text_output", "write_bytes", "write_text"]


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
    if place.is_local:
        file_draft(place, overwrite=overwrite).abort()
    elif place.exists() and not overwrite:
        raise already_there(place.name)


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write a file in UTF-8, as :func:`write_bytes`."""
    write_bytes(path, text.encode(), overwrite=overwrite)


def write_bytes(path: str | os.PathLike[str], content: bytes, *, overwrite: bool = False) -> None:
    """Write a file; it appears under its name complete or not at all.

    Raises
    ------
    OutputExistsError, NotFoundError
        As :func:`check_text_output`.
    StorageError
        If it cannot be written.
    """
    place = Location.parse(path)
    if place.is_local:
        with file_draft(place, overwrite=overwrite) as draft, failures_named(place.name, "written"):
            draft.place.path.write_bytes(content)
        return
    check_text_output(path, overwrite=overwrite)
    with failures_named(place.name, "written"):
        fs, target = place.filesystem()
        fs.pipe_file(target, content)
