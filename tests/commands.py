"""The command as a real process: its exit status, what it printed, signals on the way."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import numpy as np
import zarr
from forks import FORKS
from zarr.codecs import Crc32cCodec, ZstdCodec

DASKGMM = str(Path(sys.executable).with_name("daskgmm"))
"""The console script beside the interpreter."""

PROGRESS = ("scan: ", "starts: ", "replicates: ", "pass ", "collapse ", "note: ", "Usage: ", "Try ")
"""How lines on standard error begin that are not an error."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON document and nothing else."""
        assert self.status == 0, self.stderr
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        """The error, which must be one line on standard error, beside progress."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if not line.startswith(PROGRESS)]
        assert len(errors) == 1, self.stderr
        assert errors[0].startswith("Error: "), self.stderr
        assert self.stdout == ""
        return errors[0].removeprefix("Error: ")

    @property
    def notes(self) -> list[str]:
        """Lines that are notes."""
        return [line for line in self.stderr.splitlines() if line.startswith("note: ")]


def daskgmm(*arguments: object, cwd: Path | None = None) -> Finished:
    """Run the console script, which takes seconds to import what it needs."""
    done = subprocess.run(
        [DASKGMM, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False
    )
    return Finished(done.returncode, done.stdout, done.stderr)


Environment = Mapping[str, str | None]


def forked(*arguments: object, **how: Any) -> Finished:
    """Run the command in a process of its own; see :func:`started`."""
    with started(*arguments, **how) as running:
        return running.finished()


@contextmanager
def started(
    *arguments: object,
    cwd: Path,
    env: Environment | None = None,
    file_bytes: int | None = None,
    script: bool = False,
) -> Iterator[Running]:
    """The command while it runs; it is over at the end of the block, whatever happened there.

    It is a process of its own, forked from one that has imported the command: importing
    takes seconds, which would be most of the time of a table of bad inputs. In its
    environment ``env`` is added to that of the first such process; None removes. No file
    may grow beyond ``file_bytes``: what a full disk does, to one process.

    With ``script`` it is started as by a user, imports and all; with nothing else.
    """
    words = [*map(str, arguments)]
    if script:
        running = _of_script(words, cwd)
    else:
        running = _of_fork(words, _Around(cwd, env or {}, file_bytes))
    try:
        yield running
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
        running.stdout.close()
        running.stderr.close()


@dataclass(frozen=True)
class Running:
    """A command that runs, and its streams; ``poll`` and ``wait`` give its status."""

    pid: int
    stdout: IO[str]
    stderr: IO[str]
    poll: Callable[[], int | None]
    wait: Callable[[], int]

    def wait_for(self, beginning: str) -> str:
        """Read standard error up to the first line that begins so."""
        seen = []
        for line in self.stderr:
            if line.startswith(beginning):
                return line
            seen.append(line)
        raise AssertionError(f"no line began with {beginning!r}: {''.join(seen)}")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def finished(self) -> Finished:
        """What it comes to, with what was not read of its streams yet."""
        with ThreadPoolExecutor(1) as other:  # a pipe that nobody reads would stop the command
            stderr = other.submit(self.stderr.read)
            stdout = self.stdout.read()
            return Finished(self.wait(), stdout, stderr.result())


@dataclass(frozen=True)
class _Around:
    """What is set in a forked process before the command begins."""

    cwd: Path
    env: Environment
    file_bytes: int | None


def _of_script(words: list[str], cwd: Path) -> Running:
    process = subprocess.Popen(
        [DASKGMM, *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    return Running(process.pid, process.stdout, process.stderr, process.poll, process.wait)


def _of_fork(words: list[str], around: _Around) -> Running:
    (stdout, out), (stderr, err) = FORKS.Pipe(duplex=False), FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_run, args=(words, around, out, err))
    process.start()
    out.close()
    err.close()

    def wait() -> int:
        process.join()
        assert process.exitcode is not None
        return process.exitcode

    assert process.pid is not None
    streams = [os.fdopen(os.dup(pipe.fileno())) for pipe in (stdout, stderr)]
    return Running(process.pid, *streams, lambda: process.exitcode, wait)


def _run(words: list[str], around: _Around, out: Connection, err: Connection) -> None:
    from daskgmm.cli import main

    os.chdir(around.cwd)
    for name, value in around.env.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for pipe, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(pipe.fileno(), stream.fileno())
        pipe.close()
    if around.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (around.file_bytes, around.file_bytes))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    main(words, prog_name="daskgmm")


def write_store(
    path: Path | str, x: np.ndarray, *, rows: int = 1000, checksum: bool = True, **options: Any
) -> Path:
    """Write rows as a Zarr array in chunks of ``rows`` rows, zstd and crc32c."""
    layout: dict[str, Any] = {
        "chunks": (rows, *x.shape[1:]) if x.size else x.shape or (1,),
        "compressors": [ZstdCodec(level=1), Crc32cCodec()] if checksum else None,
        "config": {"write_empty_chunks": True},
    }
    if 0 in layout["chunks"]:
        layout["chunks"] = tuple(max(n, 1) for n in layout["chunks"])
    array = zarr.create_array(path, shape=x.shape, dtype=x.dtype, **(layout | options))
    array[...] = x
    return Path(path)


def result_in(path: Path | str) -> zarr.Array:
    """The one result for each row that an output of ``predict`` holds."""
    group = zarr.open_group(path, mode="r")
    (name,) = {"labels", "probabilities", "log_density"} & set(group)
    return group[name]


def chunk(store: Path, index: int = 1) -> Path:
    """The file of a chunk of rows."""
    return store / "c" / str(index) / "0"


def mixture_rows(
    n_rows: int, n_features: int, n_components: int, *, seed: int = 0, spread: float = 4.0
) -> np.ndarray:
    """Rows of unit Gaussians around centres ``spread`` apart on average, float32."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_components, n_features)) * spread
    return (
        centres[rng.integers(n_components, size=n_rows)] + rng.normal(size=(n_rows, n_features))
    ).astype(np.float32)


def tree(folder: Path) -> Mapping[str, str]:
    """Everything in a folder, hidden files too, and a hash of what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }
