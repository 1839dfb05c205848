"""Listings of stores: size and version of every object below a path."""

from __future__ import annotations

import asyncio
import itertools
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import zarr
from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ZipStore

from daskgmm.errors import DaskGMMError, StorageError
from daskgmm.redaction import cause_to_show, one_line
from daskgmm.storage.places.patience import patiently, storage_timeout

__all__ = ["StoredObject", "stored_objects", "stored_tails", "version_of"]


class StoredObject(NamedTuple):
    """What a listing tells of an object.

    Attributes
    ----------
    n_bytes : int or None
        None where the store does not tell: a directory index may have no sizes, and what is
        written into a file of references has one that is not the chunk's.
    version : str or None
        Text that changes when the object is written with other contents: its checksum where
        the listing has one, which a copy keeps, else the time when it was written. None
        where the listing has neither.
    """

    n_bytes: int | None
    version: str | None = None


Objects = dict[str, StoredObject]

_TAILS_AT_ONCE = 16
_METADATA = frozenset({"zarr.json", ".zarray"})


def _walk(top: Path) -> Objects:
    objects: Objects = {}
    pending = [("", str(top))]
    while pending:
        prefix, folder = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append((f"{prefix}{entry.name}/", entry.path))
                else:
                    found = entry.stat()
                    objects[prefix + entry.name] = StoredObject(
                        found.st_size, str(found.st_mtime_ns)
                    )
    return objects


def _of_local(store: LocalStore, path: str) -> Objects:
    return _walk(store.root / path)


def _of_fsspec(store: FsspecStore, path: str) -> Objects:
    root = f"{store.path}/{path}".strip("/")
    # Another instance, or process, may have written since this one last listed.
    store.fs.invalidate_cache()
    found: dict[str, dict[str, Any]] = sync(
        store.fs._find(f"{store.path.rstrip('/')}/{path}".rstrip("/"), detail=True)
    )
    own_size = _own_size(store)
    return {
        key.strip("/").removeprefix(root).lstrip("/"): StoredObject(
            own_size(key, info), version_of(info)
        )
        for key, info in found.items()
        if info.get("type") != "directory"
    }


def _own_size(store: FsspecStore) -> Callable[[str, Mapping[str, Any]], int | None]:
    """The size of an object of a listing.

    A reference is a text that holds the chunk, perhaps in base64, a whole file whose size is
    not in the listing, or a part of a file with its length: that alone is the chunk's size.
    """
    references = getattr(store.fs, "references", None)
    if references is None:
        return lambda key, info: None if info.get("size") is None else int(info["size"])

    def size(key: str, info: Mapping[str, Any]) -> int | None:
        reference = references.get(key.strip("/"))
        is_part = isinstance(reference, list | tuple) and len(reference) == 3
        return int(reference[2]) or None if is_part else None  # 0 is a whole file, too

    return size


def version_of(info: Mapping[str, Any]) -> str | None:
    """What a listing or `info` of fsspec has that changes when an object is written; None if nothing."""
    return next((str(info[name]) for name in _VERSIONS if info.get(name)), None)


def _of_zip(store: ZipStore, path: str) -> Objects:
    prefix = f"{path}/" if path else ""
    with zipfile.ZipFile(store.path) as file:
        return {
            info.filename.removeprefix(prefix): StoredObject(info.file_size, str(info.CRC))
            for info in file.infolist()
            if info.filename.startswith(prefix) and not info.is_dir()
        }


def _of_any(store: Store, path: str) -> Objects:
    prefix, version = f"{path}/" if path else "", _snapshot(store)

    async def objects() -> Objects:
        found = {}
        async for key in store.list_prefix(prefix):
            there = await _object(store, key)
            if there is not None:
                found[key.removeprefix(prefix)] = there._replace(version=version)
        return found

    try:
        return sync(objects())
    except NotImplementedError:  # as of VirtualiZarr's manifests
        return {}


def _snapshot(store: Store) -> str | None:
    """The snapshot of a versioned store, such as one of Icechunk that is read-only."""
    session: Any = getattr(store, "session", None)
    is_fixed = getattr(session, "read_only", False)
    return str(session.snapshot_id) if is_fixed and hasattr(session, "snapshot_id") else None


_LISTERS: tuple[tuple[type[Store], Callable[[Any, str], Objects]], ...] = (
    (LocalStore, _of_local),
    (FsspecStore, _of_fsspec),
    (ZipStore, _of_zip),
    (Store, _of_any),
)
"""How stores are listed: by the first row whose class matches, in one call where that exists."""
_VERSIONS = (
    "crc32c",
    "md5Hash",
    "ETag",
    "etag",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
)
"""Names under which fsspec's file systems have an object's version; the first one counts."""


@contextmanager
def _as_storage_error(shown: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, DaskGMMError):
        raise
    except OSError as error:
        raise StorageError(
            f"{shown} cannot be read: {one_line(error)}; check permissions and the disk"
        ) from cause_to_show(error)


async def _object(store: Store, key: str) -> StoredObject | None:
    try:
        if type(store).getsize is Store.getsize:  # which would read the whole object
            return StoredObject(None) if await store.exists(key) else None
        return StoredObject(await store.getsize(key))
    except FileNotFoundError:
        return None
    except NotImplementedError:  # no size is told; whether it is there, a read will tell
        return StoredObject(None)


def _one_by_one(store: Store, path: str, keys: Iterable[str]) -> Objects:
    """Objects that are there under the keys, for stores that cannot list, such as plain HTTP."""
    prefix = f"{path}/" if path else ""

    async def objects() -> Objects:
        found: Objects = {}
        for some in _batches(keys, zarr.config.get("async.concurrency")):
            got = await asyncio.gather(*(_object(store, prefix + key) for key in some))
            found |= {key: there for key, there in zip(some, got, strict=True) if there is not None}
        return found

    return sync(objects())


def _batches(keys: Iterable[str], n: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while batch := list(itertools.islice(rest, n)):
        yield batch


def stored_objects(store: Store, path: str, keys: Callable[[], Iterable[str]]) -> Objects:
    """The objects of an array, by key relative to it.

    Parameters
    ----------
    store : zarr.abc.store.Store
    path : str
        Path of the array in the store.
    keys : callable
        Gives the keys of all its chunks, for a store that cannot list.

    Raises
    ------
    StorageError
        If the store cannot be read.
    """
    lister = next(lister for kind, lister in _LISTERS if isinstance(store, kind))
    shown = f"the listing of {store}"
    with _as_storage_error(shown):
        objects = patiently(lambda: lister(store, path), str(store), storage_timeout(), shown)
    # The array was opened, so its metadata are there: a store that does not list them cannot list.
    # One that lists no sizes, as a web server's index, may list not all, either.
    cannot_list = _METADATA.isdisjoint(objects)
    is_index = all(found.n_bytes is None for found in objects.values())
    if cannot_list or (is_index and not hasattr(getattr(store, "fs", None), "references")):
        return _one_by_one(store, path, keys())
    return objects


def stored_tails(store: LocalStore, path: str, keys: Iterable[str], n_bytes: int) -> list[str]:
    """The last bytes of each object in hexadecimal; empty text where an object is not there."""

    def tail(key: str) -> str:
        place = store.root / path / key

        def read() -> bytes:
            with place.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - n_bytes))
                return file.read()

        shown = f"the end of {place}"
        try:
            with _as_storage_error(shown):
                return patiently(read, str(store), timeout, shown).hex()
        except FileNotFoundError:
            return ""

    timeout = storage_timeout()
    with ThreadPoolExecutor(_TAILS_AT_ONCE) as pool:
        return list(pool.map(tail, keys))
