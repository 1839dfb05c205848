"""Every kind of fault: what happens to an attempt, and how it may end."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from . import failing_reads
from .attempts import Attempt, Launch
from .jobs import N_CHUNKS, Job
from .sites import STORAGE_TIMEOUT, Site

__all__ = ["FAULTS", "Chance", "Fault", "died_of_signal"]


@dataclass
class Chance:
    """Seeded chance over a job that takes so many seconds undisturbed."""

    random: random.Random
    seconds: float

    def moment(self) -> float:
        """A moment of the job, in seconds from its beginning."""
        return self.random.uniform(0.0, self.seconds)


def _signal(*signals: signal.Signals) -> Callable[[Attempt, Any, Chance], int]:
    """The driver gets a signal at some moment."""

    def strike(attempt: Attempt, site: Site, chance: Chance) -> int:
        if not attempt.lasts(chance.moment()):
            return 0
        attempt.signal(chance.random.choice(signals))
        return 1

    return strike


def _kill_workers(attempt: Attempt, site: Site, chance: Chance) -> int:
    """Some worker is killed again and again, once there are any."""
    hits = 0
    while attempt.is_alive and hits < 8:
        attempt.process.join(chance.random.uniform(0.1, 0.6))
        workers = worker_processes(attempt.process.pid)
        if not workers:
            continue
        try:
            chance.random.choice(workers).kill()
            hits += 1
        except psutil.NoSuchProcess:
            continue  # it ended by itself, which is no hit
    return hits


def worker_processes(pid: int) -> list[psutil.Process]:
    """Processes of workers below a driver, those that are starting, too."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [
            child
            for child in children
            if "spawn_main" in (line := " ".join(child.cmdline()))
            and "resource_tracker" not in line
        ]
    except psutil.Error:
        return []


def _kill_scheduler(attempt: Attempt, site: Any, chance: Chance) -> int:
    """The scheduler, which is not the driver, is killed at some moment."""
    if not attempt.lasts(chance.moment()):
        return 0
    site.scheduler.kill()
    return 1


def _store_away(briefly: bool) -> Callable[[Attempt, Any, Chance], int]:
    """The object store is away from some moment on."""

    def strike(attempt: Attempt, site: Any, chance: Chance) -> int:
        if not attempt.lasts(chance.moment()):
            return 0
        with site.away(chance.random):
            if briefly:
                attempt.process.join(chance.random.uniform(0.1, 0.5) * STORAGE_TIMEOUT)
            else:
                attempt.end()
        return 1

    return strike


@contextmanager
def _failing_reads(
    job: Job, chance: Chance, share: float, at_most: int, *, on_workers: bool = False
) -> Iterator[Launch]:
    """Some reads fail."""
    tally = job.beside("failed")
    tally.write_bytes(b"")
    variables = failing_reads.environment(tally, share, at_most, on_workers=on_workers)
    yield Launch(environment=variables)


def _count_failed(attempt: Attempt, site: Site, chance: Chance) -> int:
    attempt.end()
    return attempt.job.beside("failed").stat().st_size


@contextmanager
def _damaged_chunk(job: Job, chance: Chance) -> Iterator[Launch]:
    """At some moment a chunk goes bad; it is restored after the attempt."""
    victim = Path(job.place.data, "c", str(chance.random.randrange(N_CHUNKS)), "0")
    good = victim.read_bytes()
    kinds: list[Callable[[], Any]] = [
        lambda: victim.unlink(),
        lambda: _replace(victim, b""),
        lambda: _replace(victim, good[: len(good) // 2]),
        lambda: _replace(victim, good[:100] + bytes([good[100] ^ 1]) + good[101:]),
    ]
    timer = threading.Timer(0.8 * chance.moment(), chance.random.choice(kinds))
    timer.start()
    try:
        yield Launch()
    finally:
        timer.cancel()
        timer.join()
        _replace(victim, good)


def _replace(path: Path, content: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)


@contextmanager
def _small_disk(job: Job, chance: Chance) -> Iterator[Launch]:
    """Files cannot grow beyond some size."""
    sizes = [50, 2000, 20_000, 500_000, 1_000_000, 2_000_000, 4_000_000]
    yield Launch(file_limit=chance.random.choice(sizes))


def _none(attempt: Attempt, site: Site, chance: Chance) -> int:
    """What is around the attempt is the fault; it hits one that does not end well."""
    return int(attempt.end() != 0)


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes
    ----------
    strike : callable
        Disturbs an attempt; returns how many faults hit it while it was alive.
    statuses : set of int
        How an attempt may end.
    site : str
        Where its jobs run.
    attempts : int
        Of a job that are disturbed.
    around : callable
        What an attempt runs in.
    may_leave : bool
        Whether names that begin with a dot may be left in the folder.
    """

    strike: Callable[[Attempt, Any, Chance], int]
    statuses: frozenset[int]
    site: str = "threads"
    attempts: int = 12
    around: Callable[[Job, Chance], AbstractContextManager[Launch]] = lambda job, chance: (
        nullcontext(Launch())
    )
    may_leave: bool = False


def died_of_signal(attempt: Attempt, status: int) -> bool:
    """Whether a signal ended the interpreter, before there was anything to handle it."""
    return attempt.struck_at_start and status in (-signal.SIGTERM, -signal.SIGINT)


FAULTS: dict[str, Fault] = {
    "driver killed": Fault(_signal(signal.SIGKILL), frozenset({-9, 0}), may_leave=True),
    "driver asked to end": Fault(
        _signal(signal.SIGTERM, signal.SIGINT), frozenset({75, 0}), site="script", attempts=6
    ),
    "worker killed": Fault(_kill_workers, frozenset({0}), site="workers", attempts=1),
    "task failed": Fault(
        _count_failed,
        frozenset({0, 1, 75}),
        around=lambda job, chance: _failing_reads(job, chance, 0.003, at_most=1),
    ),
    "task failed on a worker": Fault(
        _count_failed,
        frozenset({0}),  # it is tried again, three times at most
        site="workers",
        attempts=1,
        around=lambda job, chance: _failing_reads(job, chance, 0.02, at_most=3, on_workers=True),
    ),
    "scheduler killed": Fault(
        _kill_scheduler, frozenset({0, 1, 75}), site="scheduler", attempts=2, may_leave=True
    ),
    "store away for a while": Fault(
        _store_away(briefly=True), frozenset({0}), site="objects", attempts=1
    ),
    "store gone": Fault(
        _store_away(briefly=False),
        frozenset({0, 1, 75}),
        site="objects",
        attempts=2,
        may_leave=True,
    ),
    "chunk gone bad": Fault(_none, frozenset({0, 1}), around=_damaged_chunk),
    "disk full": Fault(_none, frozenset({0, 1, 75}), attempts=4, around=_small_disk),
}
"""Every kind of fault."""
