"""Faults at random moments, and what must hold after each of them.

A job is run again and again, each time disturbed by one fault (or, of its workers, by
several), until it ends undisturbed or in spite of them. After every attempt each output
that is there under its name must be whole, with the bits of the undisturbed job; an
attempt that fails must say so in one line. Moments, places and kinds come from a seed.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from .attempts import started
from .faults import FAULTS, Chance, died_of_signal
from .jobs import Job, make_data
from .sites import SITES, Site

__all__ = ["Campaign"]

_NAMES = {0: "done", 1: "one line of error", 75: "to be resumed", -9: "killed"}


@dataclass
class Campaign:
    """So many faults, over as many jobs as that takes; used as a context.

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
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    n_jobs: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._numbers = itertools.count()
        self._sites: dict[str, Site] = {}
        self._expected: dict[str, dict[str, bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        make_data(self.work / "data.zarr", self.seed)
        self._site("threads")
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, n_faults: int, kinds: list[str]) -> None:
        """Disturb jobs until so many faults have hit, or five jobs have failed."""
        while sum(self.counts.values()) < n_faults and len(self.failures) < 5:
            kind = kinds[self.n_jobs % len(kinds)]
            self.n_jobs += 1
            try:
                self._disturb(kind, n_faults)
            except AssertionError as error:  # what the others come to is worth knowing, too
                self.failures.append(f"job {self.n_jobs} ({kind}): {error}")
                self.say(self.failures[-1])
            self.say(f"job {self.n_jobs} ({kind}): {sum(self.counts.values())} faults so far")

    def _site(self, name: str) -> Site:
        """A site, on which a job was run undisturbed: its bits are the same everywhere."""
        if name not in self._sites:
            site = self._sites[name] = SITES[name](self.work)
            self._stack.callback(site.close)
            for _ in range(2):  # the first pays for what is done once
                job = self._new_job(site)
                self.seconds[name] = self._undisturbed(job, site)
                self._expected = self._expected or job.outputs()
                self._check(job, is_done=True)
            self.say(f"undisturbed ({name}): {self.seconds[name]:.1f} s")
        return self._sites[name]

    def _new_job(self, site: Site) -> Job:
        folder = self.work / f"job-{next(self._numbers)}"
        return Job.make(folder, site.place(folder))

    def _disturb(self, kind: str, n_faults: int) -> None:
        """One job, disturbed until it is done."""
        fault = FAULTS[kind]
        site = self._site(fault.site)
        job = self._new_job(site)
        for _ in range(fault.attempts):
            is_done = self._attempt(job, site, kind) == 0
            self._check(job, is_done)
            if is_done or sum(self.counts.values()) >= n_faults:
                break
        if not is_done:
            self._undisturbed(job, site)
            self._check(job, is_done=True)
        left = [name for name in job.place.names if name.startswith(".")]
        assert fault.may_leave or not left, left
        job.remove()

    @staticmethod
    def _undisturbed(job: Job, site: Site) -> float:
        """Seconds of a run of the job that nothing happens to."""
        with site.open() as launch, started(job, launch) as attempt:
            status = attempt.end()
        assert status == 0, f"undisturbed, it ended with {status}: {job.stderr[-2000:]}"
        return attempt.seconds

    def _attempt(self, job: Job, site: Site, kind: str) -> int:
        """Exit status of a run of the job that something may happen to."""
        fault = FAULTS[kind]
        chance = Chance(self._random, self.seconds[site.name])
        with (
            site.open() as launch,
            fault.around(job, chance) as more,
            started(job, launch | more) as attempt,
        ):
            hits = fault.strike(attempt, site, chance)
            status = attempt.end()
        end = _NAMES.get(status, str(status))
        if died_of_signal(attempt, status):
            end = "ended while Python started"
        elif status in (1, 75):
            assert len(job.errors) == 1, job.stderr[-2000:]
            self.say(f"{kind}: {job.errors[0]}")
        self.counts[kind] += hits
        self.ends[f"{kind}: {end}"] += 1
        is_allowed = status in fault.statuses or died_of_signal(attempt, status)
        assert is_allowed, f"it ended with {status}: {job.stderr[-2000:]}"
        return status

    def _check(self, job: Job, is_done: bool) -> None:
        """Whatever has its name is whole, and right; where the job is done, all is there."""
        for name, bits in job.outputs().items():
            assert bits == self._expected[name], f"{job.folder / name} has other bits"
        assert job.is_done or not is_done, job.place.names
