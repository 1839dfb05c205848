"""Attempts: processes that run a job, each started as its place and its fault want it."""

from __future__ import annotations

import faulthandler
import math
import os
import resource
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.forks import FORKS

from . import failing_reads
from .jobs import Job

__all__ = ["Attempt", "Launch", "started"]

_PATIENCE = 150.0
_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@dataclass(frozen=True)
class Launch:
    """How an attempt is started.

    Attributes
    ----------
    options : tuple of str
        Of the command.
    environment : mapping
        Variables to add.
    file_limit : int or None
        Most bytes of a file.
    is_script : bool
        Whether as users start it, imports and all.
    """

    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    file_limit: int | None = None
    is_script: bool = False

    def __or__(self, other: Launch) -> Launch:
        return Launch(
            self.options + other.options,
            {**self.environment, **other.environment},
            other.file_limit or self.file_limit,
            self.is_script or other.is_script,
        )


@dataclass
class Attempt:
    """A run of a job: a process.

    Attributes
    ----------
    job : Job
    process : multiprocessing.Process
    began : float
    struck_at_start : bool
        Whether the driver got a signal before it had said anything: while it was importing.
    seconds : float
        That it took, once it has ended.
    """

    job: Job
    process: Any
    began: float
    struck_at_start: bool = False
    seconds: float = math.inf

    @property
    def is_alive(self) -> bool:
        return bool(self.process.is_alive())

    def lasts(self, seconds: float) -> bool:
        """Whether it is still there after so many seconds from its beginning."""
        self.process.join(max(0.0, self.began + seconds - time.perf_counter()))
        return self.is_alive

    def signal(self, number: signal.Signals) -> None:
        """Send the driver a signal."""
        self.struck_at_start = not self.job.beside("err").stat().st_size
        os.kill(self.process.pid, number)

    def end(self) -> int:
        """Exit status, when it has ended by itself; minus the signal's number, as Python has it."""
        self.process.join(_PATIENCE)
        if self.is_alive:
            os.kill(self.process.pid, signal.SIGUSR1)  # to tell where
            self.process.join(1.0)
            raise AssertionError(f"hung: {self.job.stderr}")
        self.seconds = time.perf_counter() - self.began
        return int(self.process.exitcode)


@contextmanager
def started(job: Job, launch: Launch) -> Iterator[Attempt]:
    """Run a job in a process of its own; it is over at the end."""
    process = FORKS.Process(target=_run, args=(job, launch))
    process.start()
    try:
        yield Attempt(job, process, time.perf_counter())
    finally:
        if process.is_alive():
            process.kill()
        process.join()


def _script() -> str:
    """The console script as this tree has it, whatever is installed."""
    project = tomllib.loads(_PROJECT.read_text())["project"]
    module, _, function = project["scripts"]["daskgmm"].partition(":")
    return f"from {module} import {function}; {function}()"


def _run(job: Job, launch: Launch) -> None:
    """In the process: the command, its streams in files."""
    os.chdir(job.folder)
    os.environ.update(launch.environment)
    for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
        with job.beside(name).open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    if launch.file_limit is not None:
        # What a full disk does, to one process: writes beyond fail.
        resource.setrlimit(resource.RLIMIT_FSIZE, (launch.file_limit, launch.file_limit))
    arguments = ["run", "job.yaml", *launch.options]
    if launch.is_script:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's job in the background ignores it
        os.execv(sys.executable, [sys.executable, "-c", _script(), *arguments])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.register(signal.SIGUSR1)
    failing_reads.install()
    from daskgmm.cli import main

    main(arguments, prog_name="daskgmm")
