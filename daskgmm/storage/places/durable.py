"""Durability: files reach the disk before anything else says that they are there."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["settle", "settle_entry"]

_AT_ONCE = 8


def settle(path: Path) -> None:
    """Make a file, or a folder with all that is in it, survive a power failure.

    Raises
    ------
    OSError
        If the disk is full or fails. Writing to the cache may have succeeded, so that the failure
        is seen only here.
    """
    if not path.is_dir():
        _sync(path)
        return
    folders = [Path(folder) for folder, _, _ in os.walk(path)]
    files = (entry for folder in folders for entry in folder.iterdir() if not entry.is_dir())
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # each mostly waits for the disk
        for _ in pool.map(_sync, files):
            pass
    for folder in reversed(folders):
        _sync(folder)


def settle_entry(path: Path) -> None:
    """Make the new name of a renamed file or folder survive a power failure."""
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
