"""Files: what a path, a folder or a glob means, in an order that does not change."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from daskgmm.conversion.formats import FORMATS
from daskgmm.conversion.reader import Format
from daskgmm.errors import DataError, NotFoundError, ParameterError
from daskgmm.storage import Location

__all__ = ["COMPRESSED", "files_of", "format_of"]

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_GLOB = frozenset("*?[")


def format_of(name: str) -> Format | None:
    """The format that a file's name promises; None if it promises none."""
    name = name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return next((f for f in FORMATS if name.endswith(f.endings)), None)


def files_of(source: str | os.PathLike[str]) -> tuple[Format, list[Path]]:
    """The files of a path, a folder or a glob, sorted by name, and their format.

    Names that begin with a dot or an underscore are none, as everywhere where tables are kept.

    Raises
    ------
    NotFoundError
        If there is none.
    DataError
        If they are of no known format, or of several.
    ParameterError
        If it is a URL.
    """
    location = Location.parse(source)
    if not location.is_local:
        raise ParameterError(
            f"{location.name} is a URL, and what is converted is read from local files: copy it here first"
        )
    files = _found(location)
    formats = {f.name: f for file in files if (f := format_of(file.name)) is not None}
    if not formats:
        raise DataError(
            f"{location.name} is of no known format; what can be converted ends in {_endings()}"
            + _of_zarr(location.path)
        )
    if len(formats) > 1 or len(files) > 1:
        files = [file for file in files if format_of(file.name) is not None]
    if len(formats) > 1:
        raise DataError(
            f"{location.name} holds files of several formats, {' and '.join(sorted(formats))}: convert "
            f"those of one by a glob such as {os.path.join(_folder(location), '*' + files[0].suffix)!r}"
        )
    (found,) = formats.values()
    return found, files


def _found(location: Location) -> list[Path]:
    path = location.path
    if path.is_dir():
        found = [p for p in path.rglob("*") if p.is_file() and _is_shown(p.relative_to(path).parts)]
    elif path.exists():
        found = [path]
    elif _GLOB & set(location.name):
        found = [p for p in map(Path, glob.glob(location.address, recursive=True)) if p.is_file()]
    else:
        raise NotFoundError(f"{location.name} does not exist; check the path")
    if not found:
        raise NotFoundError(f"{location.name} holds no files; check the path")
    return [_as_written(p, location) for p in sorted(found)]


def _as_written(path: Path, location: Location) -> Path:
    """The path as messages should show it: relative, where the user's is."""
    return path if os.path.isabs(location.name) else Path(os.path.relpath(path))


def _is_shown(parts: Sequence[str]) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)


def _folder(location: Location) -> str:
    return location.name if location.path.is_dir() else os.path.dirname(location.name)


def _endings() -> str:
    endings = [ending for f in FORMATS for ending in f.endings]
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


def _of_zarr(path: Path) -> str:
    if any((path / marker).exists() for marker in ("zarr.json", ".zgroup", ".zarray")):
        return "; it is Zarr, which needs no conversion: fit it as it is"
    return ""
