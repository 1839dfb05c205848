"""Faults at random moments, and what must hold after each of them.

A job is run again and again, each time disturbed by one fault (or, of its workers, by
several), until it ends undisturbed or in spite of them. After every attempt each output
that is there under its name must be whole, with the bits of the undisturbed job; an
attempt that fails must say so in one line. Moments, places and kinds come from a seed.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

__all__ = ["FAULTS", "Campaign"]

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["daskgmm.cli"])

_OUTPUTS = ("model.zarr", "labels.zarr", "scores.zarr")
_N_CHUNKS = 30
_JOB = {
    "data": "data.zarr",
    "model": {"components": 4, "tol": 1e-10, "max_iter": 15},
    "outputs": {
        "model": "model.zarr",
        "labels": "labels.zarr",
        "scores": "scores.zarr",
        "report": "report.json",
    },
}
_CLUSTER = """cluster: local
workers: 2
options:
  threads_per_worker: 1
"""
_PATIENCE = 300.0


@dataclass
class Attempt:
    """A run of the job: a process."""

    folder: Path
    process: Any
    began: float

    @property
    def is_alive(self) -> bool:
        return bool(self.process.is_alive())


Fault = Callable[["Campaign", Attempt], int]
"""Disturbs an attempt; returns how many faults hit it while it was alive."""


def _run(folder: Path, options: list[str], file_limit: int | None) -> None:
    """In the process: the command, its streams in files."""
    from daskgmm.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    for name, stream in (("out.txt", sys.stdout), ("err.txt", sys.stderr)):
        with (folder.parent / f"{folder.name}.{name}").open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    if file_limit is not None:
        # What a full disk does, to one process: writes beyond fail.
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    main(["run", "job.yaml", *options], prog_name="daskgmm")


@dataclass
class Campaign:
    """So many faults, over as many jobs as that takes.

    Parameters
    ----------
    work : Path
        An empty folder.
    seed : int
    say : callable
        Told what happens.
    """

    work: Path
    seed: int
    say: Callable[[str], None] = print
    counts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    n_jobs: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        rng = np.random.default_rng(self.seed)
        centres = 1.2 * rng.normal(size=(4, 3))
        n_rows = 5000 * _N_CHUNKS
        x = centres[rng.integers(4, size=n_rows)] + rng.normal(size=(n_rows, 3))
        array = zarr.create_array(
            self.work / "data.zarr",
            shape=x.shape,
            dtype="float64",
            chunks=(5000, 3),
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
        )
        array[...] = x
        self.undisturbed = self._new_folder()
        for _ in range(2):  # the first pays for what is done once
            shutil.rmtree(self.undisturbed)
            self.undisturbed = self._new_folder()
            attempt = self._start(self.undisturbed, [], None)
            status = self._end(attempt)
            assert status == 0, self._error(self.undisturbed)
            self.seconds = time.perf_counter() - attempt.began
        self.expected = {name: _bits(self.undisturbed / name) for name in _OUTPUTS}

    def run(self, n_faults: int, kinds: list[str]) -> None:
        """Disturb jobs until so many faults have hit."""
        while sum(self.counts.values()) < n_faults:
            kind = kinds[self.n_jobs % len(kinds)]
            self._job(kind, n_faults)
            self.n_jobs += 1
            self.say(f"job {self.n_jobs} ({kind}): {sum(self.counts.values())} faults so far")

    def _job(self, kind: str, n_faults: int) -> None:
        """One job, disturbed until it is done."""
        row = FAULTS[kind]
        folder = self._new_folder()
        for attempt_number in range(100):
            calm = attempt_number >= row.attempts or sum(self.counts.values()) >= n_faults
            status = self._attempt(folder, kind, None if calm else row)
            self._check(folder)
            if status == 0:
                break
            assert not calm, f"undisturbed, it ended with {status}: {self._error(folder)}"
        else:
            raise AssertionError("the job never ended")
        for name in _OUTPUTS:
            assert (folder / name).exists(), name
        assert json.loads((folder / "report.json").read_text())["n_rows"] == 5000 * _N_CHUNKS
        left = [name for name in os.listdir(folder) if name.startswith(".")]
        assert row.may_leave or not left, left
        shutil.rmtree(folder)

    def _attempt(self, folder: Path, kind: str, row: _Row | None) -> int:
        options = [*(row.options if row else [])]
        around = row.around(self, folder) if row else nullcontext(None)
        with around as file_limit:
            attempt = self._start(folder, options, file_limit)
            hits = row.strike(self, attempt) if row else 0
            status = self._end(attempt)
        if row is not None:
            self.counts[kind] += hits
            self.ends[f"{kind}: {_NAMES.get(status, status)}"] += 1
            assert status in row.statuses, f"{kind} ended with {status}: {self._error(folder)}"
        if status in (1, 75):
            error = self._error(folder)
            assert len(error) == 1, error
            self.say(f"{kind}: {error[0]}")
        return status

    def _start(self, folder: Path, options: list[str], file_limit: int | None) -> Attempt:
        process = _forks.Process(target=_run, args=(folder, options, file_limit))
        process.start()
        return Attempt(folder, process, time.perf_counter())

    def _end(self, attempt: Attempt) -> int:
        attempt.process.join(_PATIENCE)
        if attempt.is_alive:
            attempt.process.kill()
            raise AssertionError(f"hung: {self._error(attempt.folder)}")
        return int(attempt.process.exitcode)

    def _check(self, folder: Path) -> None:
        """Whatever has its name is whole, and right."""
        for name, bits in self.expected.items():
            if (folder / name).exists():
                assert _bits(folder / name) == bits, f"{folder / name} has other bits"
        if (folder / "report.json").exists():
            json.loads((folder / "report.json").read_text())

    def _error(self, folder: Path) -> list[str]:
        text = (folder.parent / f"{folder.name}.err.txt").read_text()
        return [line for line in text.splitlines() if line.startswith("Error: ")] or [text[-2000:]]

    def _new_folder(self) -> Path:
        folder = self.work / f"job-{len(os.listdir(self.work))}-{self.random.random():.9f}"
        folder.mkdir()
        # Hard links: what a fault does to a chunk of one job is undone in it by a rename.
        shutil.copytree(self.work / "data.zarr", folder / "data.zarr", copy_function=os.link)
        (folder / "job.yaml").write_text(json.dumps(_JOB))
        (folder / "cluster.yaml").write_text(_CLUSTER)
        return folder

    def moment(self) -> float:
        """A moment of the job, in seconds from its beginning."""
        return self.random.uniform(0.0, self.seconds)


_NAMES = {0: "done", 1: "one line of error", 75: "to be resumed", -9: "killed"}


def _bits(node: Path) -> dict[str, bytes]:
    """All arrays of a node, as bytes; raises if one cannot be read."""
    found = zarr.open(node, mode="r")
    if isinstance(found, zarr.Array):
        return {"": np.asarray(found[...]).tobytes()}
    return {name: np.asarray(found[name][...]).tobytes() for name in sorted(found)}


def _signal(*signals: signal.Signals) -> Fault:
    """The driver gets a signal at some moment."""

    def strike(campaign: Campaign, attempt: Attempt) -> int:
        attempt.process.join(campaign.moment())
        if not attempt.is_alive:
            return 0
        os.kill(attempt.process.pid, campaign.random.choice(signals))
        return 1

    return strike


def _kill_workers(campaign: Campaign, attempt: Attempt) -> int:
    """Some worker is killed again and again, once there are any."""
    hits = 0
    while attempt.is_alive and hits < 8:
        attempt.process.join(campaign.random.uniform(0.1, 0.6))
        workers = _workers(attempt.process.pid)
        if not workers:
            continue
        try:
            campaign.random.choice(workers).kill()
            hits += 1
        except psutil.NoSuchProcess:
            pass
    return hits


def _workers(pid: int) -> list[psutil.Process]:
    """Processes of workers below a driver; none before they compute."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [
            child
            for child in children
            if "resource_tracker" not in (line := " ".join(child.cmdline()))
            and "spawn_main" in line
            and child.cpu_times().user > 0.5
        ]
    except psutil.Error:
        return []


@contextmanager
def _damaged_chunk(campaign: Campaign, folder: Path) -> Iterator[None]:
    """At some moment a chunk goes bad; it is restored after the attempt."""
    victim = folder / "data.zarr" / "c" / str(campaign.random.randrange(_N_CHUNKS)) / "0"
    good = victim.read_bytes()
    kinds: list[Callable[[], Any]] = [
        lambda: victim.unlink(),
        lambda: _replace(victim, b""),
        lambda: _replace(victim, good[: len(good) // 2]),
        lambda: _replace(victim, good[:100] + bytes([good[100] ^ 1]) + good[101:]),
    ]
    timer = threading.Timer(
        campaign.random.uniform(0, 0.8) * campaign.seconds, campaign.random.choice(kinds)
    )
    timer.start()
    try:
        yield None
    finally:
        timer.cancel()
        timer.join()
        _replace(victim, good)


def _replace(path: Path, content: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)


@contextmanager
def _small_disk(campaign: Campaign, folder: Path) -> Iterator[int]:
    """Files cannot grow beyond some size."""
    yield campaign.random.choice([50, 500, 2000, 5000, 20_000, 100_000])


def _none(campaign: Campaign, attempt: Attempt) -> int:
    """What is around the attempt is the fault; it hits one that does not end well."""
    return int(campaign._end(attempt) != 0)


@dataclass(frozen=True)
class _Row:
    """A kind of fault.

    Attributes
    ----------
    strike : callable
    statuses : set of int
        How an attempt may end.
    attempts : int
        Of a job that are disturbed.
    options : tuple of str
        Of the command.
    around : callable
        What an attempt runs in; gives the most bytes of a file, if any.
    may_leave : bool
        Whether names that begin with a dot may be left in the folder.
    """

    strike: Fault
    statuses: frozenset[int]
    attempts: int = 12
    options: tuple[str, ...] = ()
    around: Callable[[Campaign, Path], AbstractContextManager[Any]] = lambda c, f: nullcontext()
    may_leave: bool = False


FAULTS: dict[str, _Row] = {
    "driver killed": _Row(_signal(signal.SIGKILL), frozenset({-9, 0}), may_leave=True),
    "driver asked to end": _Row(
        _signal(signal.SIGTERM, signal.SIGINT), frozenset({75, 1, 0, -15, -2})
    ),
    "worker killed": _Row(
        _kill_workers, frozenset({0, 1}), attempts=1, options=("--cluster", "cluster.yaml")
    ),
    "chunk gone bad": _Row(_none, frozenset({0, 1}), around=_damaged_chunk),
    "disk full": _Row(_none, frozenset({0, 1}), around=_small_disk),
}
"""Every kind of fault."""
