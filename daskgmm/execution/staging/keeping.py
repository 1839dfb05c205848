"""Keeping: what each process keeps of the rows of a fit, and when it drops them.

The process that runs a fit with threads begins and ends what it keeps. A worker begins
with the first piece that a task reads, and ends when the driver asks all processes to, or
when no task has asked for a piece for some minutes, because the driver may be lost.
"""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from daskgmm.errors import NotFoundError, StorageError
from daskgmm.execution.scheduler import in_force
from daskgmm.execution.staging.pieces import Piece, PiecesInMemory, PiecesOnDisk
from daskgmm.execution.staging.report import StagingReport

__all__ = ["KEEPER", "KeptPieces", "PieceKeeper", "Staging"]

_IDLE_SECONDS = 600.0


@dataclass(frozen=True)
class Staging:
    """Where and how much each process may keep of one source, while one fit runs.

    Attributes
    ----------
    memory_bytes : int
        Bytes that may be kept in memory.
    on_disk : bool
        Whether pieces that do not fit into memory are kept on a disk.
    folder : str or None
        Folder on that disk. If None, it is the process's temporary folder, unless that is
        in memory, where nothing is kept then.
    disk_bytes : int or None
        Bytes that may be kept on disk. If None, half of what is free at the beginning.
    key : str
        Name by which a process knows the pieces of this fit. It holds the source's
        fingerprint, and is different for each fit.
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
        """Keep pieces until the end of the block, then drop all of them in all processes.

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
            KEEPER.begin(self)
        try:
            yield report
        finally:
            for part in scheduler.in_every_process(_end, self.key):
                report += part
        report.warn()


class KeptPieces:
    """The pieces that this process keeps for one fit.

    Parameters
    ----------
    staging : Staging
    is_own : bool
        Whether this process runs the fit, and so ends it; else it is a worker.

    Attributes
    ----------
    disk : PiecesOnDisk or None
        None where nothing is kept on disk.
    last_used : float
        When a piece was last asked for, on the monotonic clock.

    Raises
    ------
    OSError
        If the process runs the fit and its user's folder cannot be written. On a worker
        this is a problem to be reported, and the fit goes on.
    """

    def __init__(self, staging: Staging, *, is_own: bool) -> None:
        self._memory = PiecesInMemory(staging.memory_bytes)
        self.is_own = is_own
        self.last_used = time.monotonic()
        self._problem: str | None = None
        self.disk: PiecesOnDisk | None = None
        if staging.on_disk and not (staging.folder is None and _in_memory(tempfile.gettempdir())):
            try:
                self.disk = PiecesOnDisk(staging.folder, staging.disk_bytes)
            except OSError as error:
                if is_own and staging.folder is not None:
                    raise
                where = staging.folder or "the temporary folder"
                self._problem = f"{where}: {error.strerror or type(error).__name__}"

    def get(
        self, piece: Piece, shape: tuple[int, int], dtype: np.dtype[Any]
    ) -> NDArray[Any] | None:
        """Rows of a piece; None if they are not kept."""
        self.last_used = time.monotonic()
        block, disk = self._memory.get(piece), self.disk
        if block is None and disk is not None:
            block = disk.get(piece, shape, dtype)
        return block

    def put(self, piece: Piece, block: NDArray[Any]) -> None:
        """Keep the rows of a piece where there is room, in memory first."""
        disk = self.disk
        if not self._memory.put(piece, block) and disk is not None:
            disk.put(piece, block)

    def end(self) -> StagingReport:
        """Drop all pieces; what they came to."""
        report = StagingReport(self._memory.empty(), problem=self._problem)
        disk, self.disk = self.disk, None
        if disk is not None:
            report += StagingReport(0, disk.n_bytes, disk.n_lost, disk.problem)
            disk.empty()
        return report


class PieceKeeper:
    """The pieces that this process keeps, for all fits.

    Attributes
    ----------
    idle_seconds : float
        Time after which a worker drops pieces that nobody has asked for.
    """

    def __init__(self, idle_seconds: float = _IDLE_SECONDS) -> None:
        self.idle_seconds = idle_seconds
        self._kept: dict[str, KeptPieces] = {}
        self._ended: set[str] = set()
        self._lock = threading.Lock()

    @property
    def n_fits(self) -> int:
        """How many fits something is kept for."""
        return len(self._kept)

    def begin(self, staging: Staging) -> None:
        """Make ready to keep pieces in the process that runs the fit, which will end it.

        Raises
        ------
        NotFoundError, StorageError
            If the folder is not there or cannot be written.
        """
        try:
            kept = KeptPieces(staging, is_own=True)
        except FileNotFoundError:
            raise NotFoundError(
                f"stage: the folder {staging.folder} does not exist; create it, or name another"
            ) from None
        except OSError as error:
            raise StorageError(
                f"stage: nothing can be written in {staging.folder} ({error.strerror}); name a "
                "folder on a local disk"
            ) from error
        with self._lock:
            self._kept[staging.key] = kept

    def kept_for(self, staging: Staging) -> KeptPieces | None:
        """The pieces of a fit, which begin here on a worker; None once the fit has ended.

        A task that an ended fit left behind on a cluster begins nothing anew.
        """
        kept = self._kept.get(staging.key)
        if kept is None and staging.is_on:
            with self._lock:
                kept = self._kept.get(staging.key)
                if kept is None and staging.key not in self._ended:
                    kept = self._kept[staging.key] = KeptPieces(staging, is_own=False)
                    self._drop_idle_later()
        return kept

    def end(self, key: str) -> StagingReport:
        """Drop the pieces of a fit."""
        with self._lock:
            self._ended.add(key)
            kept = self._kept.pop(key, None)
        return StagingReport() if kept is None else kept.end()

    def drop_idle(self) -> None:
        """Drop pieces that nobody has asked for in a while, and look again later.

        Their driver may be lost and never end them. One that is only slow loses copies.
        """
        with self._lock:
            for key, kept in list(self._kept.items()):
                if not kept.is_own and time.monotonic() - kept.last_used > self.idle_seconds:
                    self._kept.pop(key).end()
            if any(not kept.is_own for kept in self._kept.values()):
                self._drop_idle_later()

    def _drop_idle_later(self) -> None:
        timer = threading.Timer(self.idle_seconds / 2, self.drop_idle)
        timer.daemon = True
        timer.start()


KEEPER = PieceKeeper()
"""The keeper of this process: tasks of one fit find what earlier ones kept."""


def _end(key: str) -> StagingReport:
    """Drop the pieces of a fit in whichever process this runs."""
    return KEEPER.end(key)


def _in_memory(folder: str) -> bool:
    """Whether a folder's files are in memory (tmpfs), as those of /tmp are on some systems."""
    place = Path(folder).resolve()
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    nearest = next((p for p in (place, *place.parents) if p in mounts), None)
    return nearest is not None and mounts[nearest] in ("tmpfs", "ramfs")
