"""Files: what a path, a folder or a glob means, in an order that does not change."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from daskgmm.conversion.formats import FORMATS
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.reader import Format
from daskgmm.errors import DataError, NotFoundError
from daskgmm.storage import Location, files_below, files_matching

__all__ = ["COMPRESSED", "files_of", "format_of", "is_glob", "needs_conversion"]

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_GLOB = frozenset("*?[")


def format_of(name: str) -> Format | None:
    """The format that a file's name promises; None if it promises none."""
    name = name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return next((f for f in FORMATS if name.endswith(f.endings)), None)


def files_of(source: str | os.PathLike[str]) -> tuple[Format, list[Input]]:
    """The files of a path, a folder or a glob, sorted by name, and their format.

    Names that begin with a dot or an underscore are none, as everywhere where tables are kept.

    Raises
    ------
    NotFoundError
        If there is none.
    DataError
        If they are of no known format, or of several.
    StorageError
        If a service fails.
    """
    location = Location.parse(source)
    files = [Input(place) for place in _found(location)]
    formats = {f.name: f for file in files if (f := format_of(file.name)) is not None}
    if not formats:
        raise DataError(
            f"{location.name} is of no known format; what can be converted ends in {_endings()}"
            + _of_zarr(location)
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


def needs_conversion(data: Any) -> bool:
    """Whether data are of a format that no pass reads."""
    if not isinstance(data, str | os.PathLike):
        return False
    found = _format_at(Location.parse(data))
    return found is not None and found.before_fits


def _format_at(location: Location) -> Format | None:
    """The format of a file, a glob of files, or a local folder of files that is no store."""
    if not location.is_local:
        return format_of(location.name)
    path = location.path
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        is_store = any(name in ("zarr.json", ".zgroup", ".zarray") for name in names)
        kinds = [format_of(name) for name in names if not name.startswith((".", "_"))]
        return None if is_store or not kinds else kinds[0]
    if not path.exists() and not glob.has_magic(location.name):
        return None
    return format_of(location.name)


def _found(location: Location) -> list[Location]:
    return (_found_here if location.is_local else _found_behind)(location)


def _found_behind(location: Location) -> list[Location]:
    """Files behind a URL; a server of HTTP has no folders."""
    if is_glob(location):
        root, names = files_matching(location)
    elif not location.exists():
        raise NotFoundError(f"{location.name} is not there, or may not be read; check the URL")
    elif format_of(location.name) is not None and _is_file(location):
        return [location]
    else:
        root, names = location, files_below(location)
    found = [root.child(name) for name in sorted(names) if _is_shown(PurePath(name).parts)]
    if not found:
        raise NotFoundError(f"{location.name} holds no files; check the URL")
    return found


def is_glob(location: Location) -> bool:
    """Whether it is a pattern of names, and no name."""
    has_signs = bool(_GLOB & set(location.name))
    return has_signs and not (location.is_local and location.path.exists())


def _is_file(location: Location) -> bool:
    fs, path = location.filesystem()
    return bool(fs.info(path).get("type") == "file")


def _found_here(location: Location) -> list[Location]:
    path = location.path
    if path.is_dir():
        found = [p for p in path.rglob("*") if p.is_file() and _is_shown(p.relative_to(path).parts)]
    elif path.exists():
        found = [path]
    elif is_glob(location):
        found = [p for p in map(Path, glob.glob(location.address, recursive=True)) if p.is_file()]
    else:
        raise NotFoundError(f"{location.name} does not exist; check the path")
    if not found:
        raise NotFoundError(f"{location.name} holds no files; check the path")
    return [_as_written(p, location) for p in sorted(found)]


def _as_written(path: Path, location: Location) -> Location:
    """The path, and as messages should show it: relative, where the user's is."""
    shown = path if os.path.isabs(location.name) else os.path.relpath(path)
    return Location(os.path.abspath(path), str(shown), is_local=True)


def _is_shown(parts: Sequence[str]) -> bool:
    return not any(part.startswith((".", "_")) for part in parts)


def _folder(location: Location) -> str:
    is_folder = location.path.is_dir() if location.is_local else not is_glob(location)
    return location.name if is_folder else os.path.dirname(location.name)


def _endings() -> str:
    endings = [ending for f in FORMATS for ending in f.endings]
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


def _of_zarr(location: Location) -> str:
    if {"zarr.json", ".zgroup", ".zarray"} & set(location.children()):
        return "; it is Zarr, which needs no conversion: fit it as it is"
    return ""
