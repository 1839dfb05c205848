"""Location: where a store is, locally or behind a URL."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, ZipStore

from daskgmm.errors import MissingDependencyError, ParameterError, StorageError
from daskgmm.redaction import cause_to_show, one_line, redacted
from daskgmm.storage.places.patience import storage_timeout
from daskgmm.storage.places.remote import RemoteFileSystem
from daskgmm.storage.places.services import service_of

__all__ = ["PARTIAL_NOTE", "Location"]

PARTIAL_NOTE = ".daskgmm-partial"
"""Name of an object below a folder behind a URL of which not all was written yet."""

_LOCAL_SCHEMES = ("file://", "local://")


@dataclass(frozen=True)
class Location(os.PathLike[str]):
    """A local path or a URL.

    It is taken where paths are, and keeps its name there.

    Parameters
    ----------
    address : str
        The absolute path, so that a worker in another folder finds it, or the URL.
    name : str
        The path or URL as the user wrote it, for messages.
    is_local : bool
    """

    address: str
    name: str
    is_local: bool

    @classmethod
    def parse(cls, where: str | os.PathLike[str]) -> Location:
        """The location that a user's path or URL means.

        Raises
        ------
        ParameterError
            If it is neither, or a URL with a password or token in it.
        """
        if isinstance(where, Location):
            return where
        text = os.fspath(where)
        if not isinstance(text, str) or not text:
            raise ParameterError(f"expected a path or a URL; got {text!r}")
        for scheme in _LOCAL_SCHEMES:
            if text.startswith(scheme):
                text = unquote(text.removeprefix(scheme))
        if "://" in text or "::" in text:
            url = text.rstrip("/")
            if redacted(url) != url:
                # A secret in the URL would travel in task graphs and be written into records.
                raise ParameterError(
                    f"{redacted(url)}: user, password and query have no place in a URL; let the "
                    "environment hold credentials (AWS_ACCESS_KEY_ID, FSSPEC_HTTP_... and the "
                    "like), on workers theirs"
                )
            return cls(url, url, is_local=False)
        path = Path(text).expanduser()
        return cls(os.path.abspath(path), str(path), is_local=True)

    def __fspath__(self) -> str:
        return self.address

    @property
    def path(self) -> Path:
        """The local path."""
        return Path(self.address)

    def sibling(self, prefix: str, suffix: str) -> Location:
        """The location in the same folder whose name is ``prefix + name + suffix``."""

        def beside(address: str) -> str:
            parent, slash, last = address.rpartition("/")
            return f"{parent}{slash}{prefix}{last}{suffix}"

        return Location(beside(self.address), beside(self.name), self.is_local)

    @property
    def parent(self) -> Location | None:
        """The folder that it is in; None for a chain of URLs, of which the folder is another one."""
        above, _, _ = self.address.rpartition("/")
        if "::" in self.address or not above or above.endswith(":/"):
            return None
        return Location(above, self.name.rpartition("/")[0] or above, self.is_local)

    def child(self, name: str) -> Location:
        """The location of that name below this one."""
        return Location(f"{self.address}/{name}", f"{self.name}/{name}", self.is_local)

    def exists(self) -> bool:
        """Whether anything is there."""
        if self.is_local:
            return self.path.exists()
        fs, path = self.filesystem()
        fs.invalidate_cache()
        return bool(fs.exists(path))

    def children(self) -> list[str]:
        """Names of the files and folders directly below; none if the folder is not there."""
        if self.is_local:
            return sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else []
        fs, path = self.filesystem()
        fs.invalidate_cache()
        try:
            found = fs.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def make_folder(self) -> None:
        """Make this folder and those above it; object stores need none.

        Raises
        ------
        StorageError
            If it cannot be made.
        """
        if not self.is_local:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{self.name} cannot be a folder: {one_line(error)}; check the path and permissions"
            ) from cause_to_show(error)

    def remove(self) -> None:
        """Remove it and all below it, as far as that can be done."""
        if self.is_local:
            if self.path.is_file():
                self.path.unlink(missing_ok=True)
            shutil.rmtree(self.path, ignore_errors=True)
            return
        fs, path = self.filesystem()
        fs.invalidate_cache()
        if fs.exists(path):
            fs.rm(path, recursive=True)

    def filesystem(self) -> tuple[RemoteFileSystem, str]:
        """The file system of a URL and the path in it."""
        timeout = storage_timeout()
        protocol = self.address.partition("://")[0]
        is_plain = "::" not in self.address
        options = service_of(protocol).options(timeout) if is_plain else {}
        with _Translated(self.name, protocol):
            store = FsspecStore.from_url(self.address, storage_options=options)
        return RemoteFileSystem(store.fs, timeout, is_own=is_plain), store.path

    def store(self, *, read_only: bool = True) -> Store:
        """A Zarr store rooted here, or in a local file whose name ends in .zip."""
        if not self.is_local:
            fs, path = self.filesystem()
            return FsspecStore(fs, read_only=read_only, path=path)
        if read_only and self.path.suffix == ".zip":
            return ZipStore(self.path, mode="r", read_only=True)
        return LocalStore(self.path, read_only=read_only)


class _Translated:
    """A context that turns errors of fsspec about a URL into ours."""

    def __init__(self, name: str, protocol: str) -> None:
        self._name = name
        self._extra = service_of(protocol).extra

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, ImportError):
            way_out = f"; pip install 'daskgmm[{self._extra}]'" if self._extra else ""
            raise MissingDependencyError(
                f"{self._name} needs a library that is not installed: {one_line(error)}{way_out}"
            ) from cause_to_show(error)
        if isinstance(error, ValueError):
            raise ParameterError(
                f"{self._name} is not a URL that fsspec knows: {one_line(error)}"
            ) from cause_to_show(error)
        if isinstance(error, Exception):
            raise StorageError(
                f"{self._name} cannot be reached: {one_line(error)}"
            ) from cause_to_show(error)
