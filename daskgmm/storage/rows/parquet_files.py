"""Parquet files: which they are, what their footers say, and bytes of them, local or behind a URL."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeVar

from fsspec.utils import glob_translate

from daskgmm.errors import (
    DaskGMMError,
    DataError,
    MissingDependencyError,
    NotFoundError,
    StorageError,
)
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.places.locations import PARTIAL_NOTE, Location
from daskgmm.storage.places.patience import patiently, storage_timeout
from daskgmm.storage.rows.listing import version_of

__all__ = [
    "ENDINGS",
    "RESTORE",
    "Bytes",
    "StoredFile",
    "files_below",
    "files_matching",
    "found_files",
    "is_pattern",
    "pyarrow_parquet",
]

ENDINGS = (".parquet", ".parq", ".pq")
_HIDDEN = ("_", ".")
RESTORE = "restore it from a copy, or write it again"

T = TypeVar("T")


def pyarrow_parquet(name: str) -> Any:
    """The module ``pyarrow.parquet``, which only users of Parquet have.

    Raises
    ------
    MissingDependencyError
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} is Parquet, and pyarrow, which reads it, is not installed; "
            "pip install 'daskgmm[parquet]'"
        ) from error
    return parquet


class StoredFile(NamedTuple):
    """A Parquet file as it was when the rows were opened.

    Attributes
    ----------
    address, name : str
        Path or URL; and what messages call it.
    is_local : bool
    n_bytes : int
    version : str or None
        Time of writing, or what the service has for it; None where it tells nothing.
    digest : str
        Hash of the footer, in which sizes, places and bounds of all columns are.
    groups : tuple of int
        Rows of each row group.
    """

    address: str
    name: str
    is_local: bool
    n_bytes: int
    version: str | None
    digest: str
    groups: tuple[int, ...]

    @property
    def n_rows(self) -> int:
        """Rows of all row groups."""
        return sum(self.groups)


class Bytes:
    """Bytes of one file, read by range: patient, and with errors that name the file.

    Parameters
    ----------
    address, name : str
    is_local : bool
    """

    def __init__(self, address: str, name: str, is_local: bool) -> None:
        self.address, self.name, self.is_local = address, name, is_local
        self._timeout = storage_timeout()
        if not is_local:
            self._fs, self._path = Location(address, name, is_local=False).filesystem()

    @classmethod
    def of(cls, file: StoredFile) -> Bytes:
        """Bytes of a file that was opened before."""
        return cls(file.address, file.name, file.is_local)

    def patiently(self, read: Callable[[], T], what: str) -> T:
        """The result of ``read``, which is called again while the file system is away.

        Raises
        ------
        NotFoundError, StorageError
        """
        try:
            return patiently(read, self.name, self._timeout, f"{self.name}: {what}")
        except DaskGMMError:
            raise
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.name} does not exist; check the path") from error
        except OSError as error:
            raise StorageError(
                f"{self.name} cannot be read: {one_line(error)}; check permissions and the disk"
            ) from cause_to_show(error)

    def stat(self) -> tuple[int, str | None]:
        """Size, and what changes when the file is written anew."""
        if self.is_local:
            found = self.patiently(lambda: os.stat(self.address), "the file")
            return found.st_size, str(found.st_mtime_ns)

        def info() -> Any:
            self._fs.invalidate_cache()
            return self._fs.info(self._path)

        about = self.patiently(info, "the file")
        if about.get("size") is None:
            raise StorageError(
                f"{self.name} is behind a server that does not tell its size: download it, and name the "
                "copy"
            )
        return int(about["size"]), version_of(about)

    def read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes ``start:stop`` of each range."""
        if self.is_local:
            return self.patiently(lambda: self._read_local(ranges), "its bytes")
        starts, stops = ([r[i] for r in ranges] for i in (0, 1))

        def read() -> list[bytes]:
            found = self._fs.cat_ranges([self._path] * len(ranges), starts, stops, on_error="raise")
            return [bytes(part) for part in found]

        return self.patiently(read, "its bytes")

    def _read_local(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        parts = []
        with open(self.address, "rb") as file:
            for start, stop in ranges:
                file.seek(start)
                parts.append(file.read(stop - start))
        return parts


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _in_order(paths: Iterable[str]) -> list[str]:
    """Relative paths of files that hold rows, folder by folder in sorted order."""
    kept = [
        path
        for path in paths
        if not any(part.startswith(_HIDDEN) for part in PurePosixPath(path).parts)
        and _is_parquet(path)
    ]
    return sorted(kept, key=lambda path: PurePosixPath(path).parts)


def files_below(place: Location) -> list[str]:
    """Relative paths of all files below a folder."""
    if not place.is_local:
        fs, path = place.filesystem()
        fs.invalidate_cache()
        root = path.rstrip("/")
        return [key[len(root) :].lstrip("/") for key in fs.find(root)]
    found = []
    for folder, _, names in os.walk(place.address, followlinks=True):
        inner = os.path.relpath(folder, place.address)
        found += [PurePosixPath(inner, name).as_posix() for name in names]
    return found


def is_pattern(place: Location) -> bool:
    """Whether a place is a glob, and no file of that name."""
    is_one = re.search(r"[*?\[]", place.address) and place.address.lower().endswith((*ENDINGS, "*"))
    return bool(is_one) and not (place.is_local and os.path.exists(place.address))


def files_matching(place: Location) -> tuple[Location, list[str]]:
    """The folder before the first special character of a glob, and files below it that match."""
    fixed, _, _ = re.split(r"([*?\[])", place.address, maxsplit=1)
    root_address = fixed.rpartition("/")[0]
    root = Location(root_address or "/", root_address or "/", place.is_local)
    pattern = re.compile(glob_translate(place.address[len(root_address) + 1 :]))
    return root, [path for path in files_below(root) if pattern.match(path)]


def found_files(place: Location) -> tuple[str, list[Location]]:
    """The Parquet files of a path or URL: of one file, of a folder, or that match a glob.

    Returns
    -------
    str
        Address of the folder that they are in; empty for one file.
    list of Location

    Raises
    ------
    NotFoundError
        If nothing is there.
    DataError
        If the folder holds none.
    """
    if is_pattern(place):
        root, below = files_matching(place)
        base, files = root.address, [root.child(path) for path in _in_order(below)]
        if not files:
            raise NotFoundError(
                f"no file matches {place.name}; a file's name ends in {' or '.join(ENDINGS)}, and "
                "does not begin with _ or ."
            )
        return base, files
    if not place.exists():
        raise NotFoundError(f"{place.name} does not exist; check the path")
    if _is_file(place):
        return "", [place]
    below = files_below(place)
    if PARTIAL_NOTE in below:
        raise DataError(
            f"not all files of the folder {place.name} were written: it has {PARTIAL_NOTE}, of a run "
            "that goes on, or was killed; then write it again"
        )
    files = [place.child(path) for path in _in_order(below)]
    if not files:
        raise DataError(
            f"the folder {place.name} holds no Parquet files; their names end in "
            f"{' or '.join(ENDINGS)}, and do not begin with _ or ."
        )
    return place.address, files


def _is_file(place: Location) -> bool:
    if place.is_local:
        return place.path.is_file()
    fs, path = place.filesystem()
    return bool(fs.info(path).get("type") == "file")
