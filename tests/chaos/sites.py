"""Where jobs run: threads, worker processes, a cluster that was there before, an object store."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import fsspec

from daskgmm.settings import TIMEOUT_VARIABLE
from tests.faulty_proxy import Handler, faulty_proxy
from tests.forks import dask_process
from tests.object_store import KEY, SECRET, ObjectStore, environment, free_port

from .attempts import Launch
from .jobs import Place

__all__ = ["LOCAL_CLUSTER", "SITES", "STORAGE_TIMEOUT", "Site"]

LOCAL_CLUSTER = """cluster: local
workers: 2
options:
  threads_per_worker: 1
"""
STORAGE_TIMEOUT = 3.0


class Site:
    """Threads of the driver, forked from a process that has imported everything.

    Parameters
    ----------
    work : Path
        Of the campaign: it has the data.
    """

    name: ClassVar[str] = "threads"

    def __init__(self, work: Path) -> None:
        self.work = work

    def place(self, folder: Path) -> Place:
        """Of a job in ``folder``. Its data are its own: chunks are hard links, to be replaced."""
        for source in (self.work / "data.zarr").rglob("*"):
            target = folder / source.relative_to(self.work)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_file():
                os.link(source, target)
        return Place(str(folder / "data.zarr"), str(folder), {})

    @contextmanager
    def open(self) -> Iterator[Launch]:
        """What there must be around an attempt, and how it is started."""
        yield Launch()

    def close(self) -> None:
        """End what was started for all attempts."""


class Script(Site):
    """Threads of the driver, started as users start it."""

    name: ClassVar[str] = "script"

    @contextmanager
    def open(self) -> Iterator[Launch]:
        yield Launch(is_script=True)


class Workers(Site):
    """Two worker processes that the driver starts."""

    name: ClassVar[str] = "workers"

    @contextmanager
    def open(self) -> Iterator[Launch]:
        config = self.work / "cluster.yaml"
        config.write_text(LOCAL_CLUSTER)
        yield Launch(options=("--cluster", str(config)))


class OwnScheduler(Site):
    """A scheduler and two workers, processes that were there before the driver."""

    name: ClassVar[str] = "scheduler"

    @contextmanager
    def open(self) -> Iterator[Launch]:
        port = free_port()
        address = f"tcp://127.0.0.1:{port}"
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=self.work))
            self.scheduler = stack.enter_context(
                dask_process("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
            )
            worker = ("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
            for _ in range(2):
                stack.enter_context(dask_process(*worker, "--local-directory", folder))
            yield Launch(options=("--cluster", address))


class Objects(Site):
    """Data, checkpoints and outputs on S3, which can be away."""

    name: ClassVar[str] = "objects"

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self._is_away: str | None = None
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=work))
            self._store = ObjectStore.start(Path(folder))
            stack.callback(self._store.stop)
            self._port = stack.enter_context(faulty_proxy(self._store.port, self._fault))
            self._bucket = self._store.bucket()
            self._options = {
                "key": KEY,
                "secret": SECRET,
                "client_kwargs": {
                    "endpoint_url": f"http://127.0.0.1:{self._store.port}",
                    "region_name": "us-east-1",
                },
            }
            files = fsspec.filesystem("s3", **self._options)
            files.put(str(work / "data.zarr"), f"{self._bucket}/data.zarr", recursive=True)
            self._stack = stack.pop_all()

    def place(self, folder: Path) -> Place:
        root = f"{self._bucket}/{folder.name}"
        return Place(f"{self._bucket}/data.zarr", root, self._options)

    @contextmanager
    def open(self) -> Iterator[Launch]:
        yield Launch(
            environment={**environment(self._port), TIMEOUT_VARIABLE: str(STORAGE_TIMEOUT)}
        )

    @contextmanager
    def away(self, chance: random.Random) -> Iterator[None]:
        """The service hangs, answers that it is unavailable, or cuts connections."""
        way = chance.choice(["hangs", "refuses", "cuts"])
        if way == "hangs":
            with self._store.paused():
                yield
            return
        self._is_away = way
        try:
            yield
        finally:
            self._is_away = None

    def _fault(self, handler: Handler) -> bool:
        if self._is_away is None:
            return False
        if self._is_away == "refuses":
            handler.answer(503)
        handler.close_connection = True
        return True

    def close(self) -> None:
        self._stack.close()


SITES: dict[str, type[Site]] = {
    site.name: site for site in (Site, Script, Workers, OwnScheduler, Objects)
}
"""Every site."""
