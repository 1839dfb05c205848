"""What a store holds: the size of every object below a path."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore

from daskgmm.storage.patience import patiently, storage_timeout

__all__ = ["stored_sizes"]

Sizes = dict[str, int]

_METADATA = frozenset({"zarr.json", ".zarray"})


def _walk(top: Path) -> Sizes:
    sizes: Sizes = {}
    pending = [("", str(top))]
    while pending:
        prefix, folder = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    pending.append((f"{prefix}{entry.name}/", entry.path))
                else:
                    sizes[prefix + entry.name] = entry.stat().st_size
    return sizes


def _of_local(store: LocalStore, path: str) -> Sizes:
    return _walk(store.root / path)


def _of_fsspec(store: FsspecStore, path: str) -> Sizes:
    root = f"{store.path}/{path}".strip("/")
    # Another instance, or process, may have written since this one last listed.
    store.fs.invalidate_cache()
    found: dict[str, dict[str, Any]] = sync(
        store.fs._find(f"{store.path.rstrip('/')}/{path}".rstrip("/"), detail=True)
    )
    return {
        key.strip("/").removeprefix(root).lstrip("/"): int(info["size"] or 0)
        for key, info in found.items()
        if info.get("type") != "directory"
    }


def _of_any(store: Store, path: str) -> Sizes:
    prefix = f"{path}/" if path else ""

    async def sizes() -> Sizes:
        return {
            key.removeprefix(prefix): await store.getsize(key)
            async for key in store.list_prefix(prefix)
        }

    return sync(sizes())


_LISTERS: tuple[tuple[type[Store], Callable[[Any, str], Sizes]], ...] = (
    (LocalStore, _of_local),
    (FsspecStore, _of_fsspec),
    (Store, _of_any),
)
"""The first whose class matches lists; one call for all sizes where the store can."""


async def _size(store: Store, key: str) -> int | None:
    try:
        return await store.getsize(key)
    except FileNotFoundError:
        return None


def _one_by_one(store: Store, path: str, keys: Iterable[str]) -> Sizes:
    """Sizes of the keys that are there, for stores that do not list (plain HTTP)."""
    prefix = f"{path}/" if path else ""

    async def sizes() -> Sizes:
        found: Sizes = {}
        for some in _batches(keys, zarr.config.get("async.concurrency")):
            got = await asyncio.gather(*(_size(store, prefix + key) for key in some))
            found |= {key: size for key, size in zip(some, got, strict=True) if size is not None}
        return found

    return sync(sizes())


def _batches(keys: Iterable[str], n: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while batch := list(itertools.islice(rest, n)):
        yield batch


def stored_sizes(store: Store, path: str, keys: Callable[[], Iterable[str]]) -> Sizes:
    """Bytes of the objects of an array, by key relative to it.

    Parameters
    ----------
    store : zarr.abc.store.Store
    path : str
        Of the array in the store.
    keys : callable
        Gives the keys of all its chunks, for a store that cannot list.
    """
    lister = next(lister for kind, lister in _LISTERS if isinstance(store, kind))
    shown = f"the listing of {store}"
    sizes = patiently(lambda: lister(store, path), str(store), storage_timeout(), shown)
    # The array was opened, so its metadata are there: a listing without them is none.
    if _METADATA.isdisjoint(sizes):
        return _one_by_one(store, path, keys())
    return sizes
