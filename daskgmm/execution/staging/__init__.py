"""Staging: rows that one pass has decoded, kept near for the passes after it.

A process keeps what it has read in spare memory, in a file on a local disk, or in the
one and then the other, piece by piece as folds ask for them. The file has no name: it
is gone when the process ends, however it ends, and no other process can meet it. What
is kept is only ever a copy: a piece that is not there, or not as it was, is read from
the source again.
"""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
from numpy.typing import NDArray

from daskgmm.em.rows import Source, grain_rows
from daskgmm.errors import DaskGMMWarning, DataError, NotFoundError, StorageError
from daskgmm.execution.memory import read_rows
from daskgmm.execution.scheduler import in_force
from daskgmm.execution.staging.pieces import Piece, PiecesInMemory, PiecesOnDisk

__all__ = ["StagedSource", "Staging", "StagingReport"]

_IDLE_SECONDS = 600.0


@dataclass
class StagingReport:
    """What processes kept. Additive.

    Attributes
    ----------
    memory_bytes, disk_bytes : int
    n_lost : int
        Pieces that could not be read back, and were read from the source.
    problem : str or None
        Why a process stopped writing, other than for a limit.
    """

    memory_bytes: int = 0
    disk_bytes: int = 0
    n_lost: int = 0
    problem: str | None = None

    def __iadd__(self, other: Self) -> Self:
        self.memory_bytes += other.memory_bytes
        self.disk_bytes += other.disk_bytes
        self.n_lost += other.n_lost
        self.problem = self.problem or other.problem
        return self

    def warn(self) -> None:
        """One warning of what went wrong, if anything did; the result is as it should be."""
        said = []
        if self.n_lost:
            said.append(f"{self.n_lost} staged pieces were damaged, and read from the data again")
        if self.problem:
            said.append(f"writing stopped ({self.problem}), and later passes read from the data")
        if said:
            warnings.warn(
                f"staging: {'; '.join(said)}; the result is not affected, check the disk",
                DaskGMMWarning,
                stacklevel=5,
            )


@dataclass(frozen=True)
class Staging:
    """Where and how much each process may keep of one source, while one fit runs.

    Attributes
    ----------
    memory_bytes : int
        Most in memory.
    on_disk : bool
        Whether what memory does not take goes to a disk.
    folder : str or None
        On that disk; the process's temporary folder if None, unless that is memory, too.
    disk_bytes : int or None
        Most on disk; by default until half of what was free is.
    key : str
        Of this fit's pieces: the source's fingerprint, and what no other fit has.
    """

    memory_bytes: int = 0
    on_disk: bool = False
    folder: str | None = None
    disk_bytes: int | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def is_on(self) -> bool:
        """Whether anything can be kept."""
        return self.on_disk or self.memory_bytes > 0

    @contextmanager
    def __call__(self) -> Iterator[StagingReport]:
        """Keep pieces until the end of the block, then drop all of them, everywhere.

        Yields
        ------
        StagingReport
            Empty until the block has ended.

        Raises
        ------
        NotFoundError, StorageError
            If this process is to keep pieces and cannot write in the folder.
        """
        report = StagingReport()
        if not self.is_on:
            yield report
            return
        scheduler = in_force()
        if not scheduler.has_workers:
            _begin(self)
        try:
            yield report
        finally:
            for part in scheduler.in_every_process(_end, self.key):
                report += part
        report.warn()


class StagedSource:
    """A source whose pieces are kept when they are first read.

    Parameters
    ----------
    source : Source
    staging : Staging
    dtype : dtype, optional
        Every piece is rounded to it, also the first time, so that all passes see the
        same values.
    """

    def __init__(self, source: Source, staging: Staging, dtype: Any = None) -> None:
        self._source = source
        self._staging = staging
        self.name = source.name
        self.shape = source.shape
        self.dtype = source.dtype if dtype is None else np.dtype(dtype)
        self.unit_rows = source.unit_rows
        self.unit_overhead = source.unit_overhead
        if self.dtype != source.dtype:
            # The piece before it is rounded, and what the allocator keeps of the last one.
            d = self.shape[1]
            rows = read_rows(grain_rows(d, self.unit_rows), d * self.dtype.itemsize)
            self.unit_overhead += 2 * rows * d * source.dtype.itemsize

    def __repr__(self) -> str:
        return f"<StagedSource of {self._source!r}>"

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows ``start:stop``: kept ones, or the source's, which are kept then.

        They are not to be written to. (Marked read-only they would be another type to
        compiled loops, which would be compiled again, in seconds and megabytes.)

        Raises
        ------
        DataError
            If a value is beyond the dtype that rows are rounded to.
        """
        kept = _kept_of(self._staging)
        if kept is None:
            return self._rounded(start, stop)
        piece = (start, stop)
        block = kept.get(piece, (stop - start, self.shape[1]), self.dtype)
        if block is None:
            block = self._rounded(start, stop)
            kept.put(piece, block)
        return block

    def _rounded(self, start: int, stop: int) -> NDArray[Any]:
        block = self._source.read(start, stop)
        if block.dtype == self.dtype:
            return block
        try:
            with np.errstate(over="raise"):
                return block.astype(self.dtype)
        except FloatingPointError:
            raise DataError(
                f"{self.name}: rows {start}:{stop} hold values beyond {self.dtype} "
                f"({np.finfo(self.dtype).max:.2g}); rescale the data, or leave out stage_dtype"
            ) from None


class _Kept:
    """What this process keeps for one fit."""

    def __init__(self, staging: Staging, *, is_held: bool) -> None:
        self._memory = PiecesInMemory(staging.memory_bytes)
        self.is_held = is_held
        self.last_used = time.monotonic()
        self._problem: str | None = None
        self._disk: PiecesOnDisk | None = None
        if staging.on_disk and not (staging.folder is None and _in_memory(tempfile.gettempdir())):
            try:
                self._disk = PiecesOnDisk(staging.folder, staging.disk_bytes)
            except OSError as error:
                if is_held and staging.folder is not None:  # a user's mistake, told at once
                    raise
                where = staging.folder or "the temporary folder"
                self._problem = f"{where}: {error.strerror or type(error).__name__}"

    def get(
        self, piece: Piece, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any] | None:
        self.last_used = time.monotonic()
        block, disk = self._memory.get(piece), self._disk
        if block is None and disk is not None:
            block = disk.get(piece, shape, dtype)
        return block

    def put(self, piece: Piece, block: NDArray[Any]) -> None:
        disk = self._disk
        if not self._memory.put(piece, block) and disk is not None:
            disk.put(piece, block)

    def end(self) -> StagingReport:
        """Drop all of it."""
        report = StagingReport(self._memory.empty(), problem=self._problem)
        disk, self._disk = self._disk, None
        if disk is not None:
            report += StagingReport(0, disk.n_bytes, disk.n_lost, disk.problem)
            disk.empty()
        return report


_kept: dict[str, _Kept] = {}
_ended: set[str] = set()
"""Keys of fits that are over: a task that a cluster left behind begins nothing."""
_lock = threading.Lock()


def _begin(staging: Staging) -> None:
    """Make ready in this process, which will end it itself."""
    try:
        kept = _Kept(staging, is_held=True)
    except FileNotFoundError:
        raise NotFoundError(
            f"stage: the folder {staging.folder} does not exist; create it, or name another"
        ) from None
    except OSError as error:
        raise StorageError(
            f"stage: nothing can be written in {staging.folder} ({error.strerror}); name a folder "
            "on a local disk"
        ) from error
    with _lock:
        _kept[staging.key] = kept


def _kept_of(staging: Staging) -> _Kept | None:
    """What this process keeps; a worker begins with the first piece. None once ended."""
    kept = _kept.get(staging.key)
    if kept is None and staging.is_on:
        with _lock:
            kept = _kept.get(staging.key)
            if kept is None and staging.key not in _ended:
                kept = _kept[staging.key] = _Kept(staging, is_held=False)
                _drop_idle_later()
    return kept


def _end(key: str) -> StagingReport:
    with _lock:
        _ended.add(key)
        kept = _kept.pop(key, None)
    return StagingReport() if kept is None else kept.end()


def _drop_idle() -> None:
    """Drop what a driver that was lost can no longer end; one that is only slow loses copies."""
    with _lock:
        for key, kept in list(_kept.items()):
            if not kept.is_held and time.monotonic() - kept.last_used > _IDLE_SECONDS:
                _kept.pop(key).end()
        if any(not kept.is_held for kept in _kept.values()):
            _drop_idle_later()


def _drop_idle_later() -> None:
    timer = threading.Timer(_IDLE_SECONDS / 2, _drop_idle)
    timer.daemon = True
    timer.start()


def _in_memory(folder: str) -> bool:
    """Whether a folder's files are in memory (tmpfs), as those of /tmp are on some systems."""
    place = Path(folder).resolve()
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    nearest = next((p for p in (place, *place.parents) if p in mounts), None)
    return nearest is not None and mounts[nearest] in ("tmpfs", "ramfs")
