"""Checkpoints of a fit: what it keeps after each pass, and how it goes on from there.

The sample, the state of the random numbers, and how far each candidate has come with the
state of its stepper are all that a fit has between passes. With them it goes on with the
same bits as if it had not been interrupted.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from daskgmm._version import __version__
from daskgmm.em import Course, Iteration, Scan
from daskgmm.errors import (
    CheckpointError,
    ClusterError,
    DaskGMMError,
    InterruptedFitError,
    ParameterError,
    PointerMovedError,
    StorageError,
    WorkersDiedError,
)
from daskgmm.events import passes
from daskgmm.settings import OPTIONS
from daskgmm.storage import CheckpointFolder, Location, held

__all__ = ["Checkpoints", "Job", "may_pass", "open_checkpoints"]


@dataclass(frozen=True)
class _RandomState:
    """State of NumPy's Mersenne Twister."""

    keys: list[int]
    position: int
    has_gauss: int
    gauss: float

    @classmethod
    def of(cls, rng: np.random.RandomState) -> Self:
        _, keys, position, has_gauss, gauss = rng.get_state(legacy=True)
        return cls([int(key) for key in keys], int(position), int(has_gauss), float(gauss))

    def put_into(self, rng: np.random.RandomState) -> None:
        keys = np.array(self.keys, dtype=np.uint32)
        rng.set_state(("MT19937", keys, self.position, self.has_gauss, self.gauss))


@dataclass(frozen=True, eq=False)
class _Scanned:
    """After the scan."""

    scan: Scan
    random_state: _RandomState
    seconds: float


@dataclass(frozen=True, eq=False)
class _Passed:
    """After a pass."""

    courses: tuple[Course, ...]
    seconds: float


class Checkpoints:
    """What a fit keeps, if it is asked to.

    Parameters
    ----------
    folder : CheckpointFolder or None
        None keeps nothing.
    resume : bool
        Whether a fit that was interrupted goes on.
    of_shape : tuple
        ``(kind of the components, n_components, n_features)`` of the fit.
    every : int
        Number of passes between checkpoints; one is written after the last pass as well.

    Attributes
    ----------
    seconds_before : float
        Seconds that the fit took before it was interrupted.

    Raises
    ------
    CheckpointError
        If there is an interrupted fit that is not to go on, or it cannot.
    """

    def __init__(
        self,
        folder: CheckpointFolder | None,
        of_shape: tuple[str, int, int],
        *,
        resume: bool,
        every: int = 1,
    ) -> None:
        self._folder, self._every = folder, every
        self._began = time.perf_counter()
        self.seconds_before = 0.0
        self._scanned: _Scanned | None = None
        self._passed: _Passed | None = None
        self._kept: _Passed | None = None  # the last that was written
        if folder is None or folder.is_empty:
            return
        if not resume:
            if not folder.is_finished:
                raise CheckpointError(
                    f"{folder.name} holds an interrupted run of this job: continue it with "
                    "resume=True (--resume), or remove the folder to begin anew"
                )
            folder.clear()
            return
        self._scanned = folder.scan(_Scanned)
        self._passed = self._kept = folder.newest_pass(_Passed)
        if self._scanned is None:
            raise CheckpointError(f"{folder.name} lacks the scan; remove it to begin anew")
        if not self._fits(*of_shape):
            raise CheckpointError(
                f"{folder.name} holds sizes that are not those of the job; remove it to begin anew"
            )
        self.seconds_before = (self._passed or self._scanned).seconds

    def _fits(self, covariance_type: str, k: int, d: int) -> bool:
        """Whether the arrays of the checkpoint have the sizes that the fit needs.

        Their types were checked when they were read.
        """
        assert self._scanned is not None
        scan = self._scanned.scan
        if scan.affine is not None:
            if scan.affine.n_in != d:
                return False
            d = scan.affine.n_out
        per_feature = (scan.minimum, scan.maximum, scan.moments.mean)
        return (
            all(array.shape == (d,) for array in per_feature)
            and scan.moments.scatter.shape == (d, d)
            and scan.sample.x.shape[1:] == (d,)
            and len(scan.sample) > 0
            and scan.non_finite is None
            and all(_has_sizes(course, covariance_type, k, d) for course in self.courses)
        )

    @property
    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self._began

    @property
    def courses(self) -> tuple[Course, ...]:
        """Kept courses of the candidates; empty before the first pass."""
        return self._passed.courses if self._passed else ()

    @property
    def n_iter(self) -> int:
        """Iterations that need not be made again."""
        return max((len(course.history) for course in self.courses), default=0)

    @property
    def _n_passes(self) -> int:
        """Passes that need not be made again, the scan included."""
        is_pass = self._scanned is not None and self._scanned.scan.is_pass
        return self.n_iter + (not is_pass)

    @property
    def history(self) -> tuple[Iteration, ...]:
        """Iterations of the best candidate."""
        return max(self.courses, key=lambda course: course.best).history if self.courses else ()

    def scan(self, rng: np.random.RandomState) -> Scan | None:
        """The scan, if it was made; the random numbers then go on from there."""
        if self._scanned is None:
            return None
        try:
            self._scanned.random_state.put_into(rng)
        except (ValueError, OverflowError, IndexError) as error:
            raise CheckpointError(
                f"the random state of the checkpoint cannot be used: {error}"
            ) from error
        return self._scanned.scan

    def keep_scan(self, scan: Scan, rng: np.random.RandomState) -> None:
        """Keep the scan, and the random numbers that follow."""
        if self._folder is not None:
            self._scanned = _Scanned(scan, _RandomState.of(rng), self._seconds)
            self._folder.keep_scan(self._scanned)

    def keep_pass(self, courses: Sequence[Course]) -> None:
        """Keep how far candidates have come."""
        if self._folder is None:
            return
        self._passed = _Passed(tuple(courses), self._seconds)
        # A scan that was a pass as well is of no use without what that pass found.
        is_first = self._kept is None and self._scanned is not None and self._scanned.scan.is_pass
        if (
            is_first
            or self.n_iter % self._every == 0
            or not any(course.is_active for course in courses)
        ):
            self._write(self._folder, self._passed)

    def _write(self, folder: CheckpointFolder, passed: _Passed) -> None:
        affine = None if self._scanned is None else self._scanned.scan.affine
        best = max(passed.courses, key=lambda course: course.best).in_units_of_data(affine)
        projection = affine if affine is not None and affine.projects else None
        record = {
            "daskgmm_version": __version__,
            "n_iter": len(best.history),
            "history": [asdict(iteration) for iteration in best.history],
        }
        folder.keep_pass(self._n_passes, passed, best.kept, record, projection)
        self._kept = passed

    def finish(self) -> None:
        """Say that the fit came to its end."""
        if self._folder is None or self._folder.is_finished:
            return
        self._keep_rest(self._folder)
        self._folder.finish()

    def _keep_rest(self, folder: CheckpointFolder) -> None:
        """Keep the passes since the last checkpoint, where not each of them was one."""
        if self._passed is not None and self._passed is not self._kept:
            self._write(folder, self._passed)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Say how the fit can go on, where it ends before its end."""
        try:
            yield
        except KeyboardInterrupt:
            if self._folder is None or self._folder.is_empty:
                raise
            with suppress(StorageError):  # the way on is from the checkpoint before, then
                self._keep_rest(self._folder)
            raise InterruptedFitError(
                f"interrupted after {passes(self._n_passes)}; {self._way_on(self._folder)}"
            ) from None
        except PointerMovedError:  # another fit has the folder now
            raise
        except (ClusterError, StorageError) as error:  # of the place, not of the data
            if self._folder is None or self._folder.is_empty:
                raise
            with suppress(StorageError):  # which is perhaps what failed
                self._keep_rest(self._folder)
            again = type(error)(f"{error}; {self._way_on(self._folder)}")
            again.is_resumable = may_pass(error)
            raise again from error

    @staticmethod
    def _way_on(folder: CheckpointFolder) -> str:
        return (
            f"{folder.name} holds what was kept: continue with resume=True (--resume); a job "
            "file goes on when it is run again"
        )


def _has_sizes(course: Course, covariance_type: str, k: int, d: int) -> bool:
    """Whether a course is of a fit of k components; some of them may have been pruned."""
    left = course.mixture.n_components
    mixtures = [course.mixture, course.kept, course.neighbours_at]
    return (
        left <= k
        and all(
            (m.kind, *m.means.shape) == (covariance_type, left, d)
            for m in mixtures
            if m is not None
        )
        and (course.statistics is None or course.statistics.are_of(covariance_type, left, d))
    )


def may_pass(error: DaskGMMError) -> bool:
    """Whether an error of a store or a cluster may be gone when the same is tried again."""
    is_of_the_place = isinstance(error, ClusterError | StorageError)
    # Another process has the folder; workers want more memory than they have.
    return is_of_the_place and not isinstance(error, PointerMovedError | WorkersDiedError)


@dataclass(frozen=True)
class Job:
    """A fit that may keep checkpoints.

    Attributes
    ----------
    folder : path or None
        Where it keeps them; None keeps nothing.
    resume : bool
    every : int
        As the parameter of :class:`Checkpoints`.
    is_warm : bool
        Whether it starts from the last fit of the same estimator.
    settings : mapping
        Parameters of the estimator, where there is a folder.
    fingerprints : tuple of callable or None
        Each returns a hash of the rows, weights, labels or noise. None stands for what has no hash,
        such as rows in memory.
    n_rows : int
    shape : tuple
        ``(kind of the components, n_components, n_features)`` of the fit.
    """

    folder: str | os.PathLike[str] | None
    resume: bool
    every: int
    is_warm: bool
    settings: Mapping[str, object]
    fingerprints: tuple[Callable[[], str] | None, ...]
    n_rows: int
    shape: tuple[str, int, int]


@contextmanager
def open_checkpoints(job: Job) -> Iterator[Checkpoints]:
    """The checkpoints that a fit is asked to keep.

    No other fit can use a local folder meanwhile. Behind a URL there is no lock, because the lock of
    a killed process would block the next fit: there, the fit that replaces the pointer first goes
    on, and the other one fails.

    Raises
    ------
    ParameterError
        If the data are not stored: nobody could tell whether they are the same later.
    JobRunningError
        If another fit keeps its checkpoints there.
    CheckpointError, StorageError
        As :class:`Checkpoints` and :class:`~daskgmm.storage.CheckpointFolder`.
    """
    if job.folder is None:
        if job.resume:
            raise ParameterError("resume needs checkpoint, the folder to continue from", "resume")
        yield Checkpoints(None, job.shape, resume=False)
        return
    if job.is_warm:
        raise ParameterError(
            "checkpoint does not hold the start of warm_start, so no fit could go on from it; "
            "leave one out, or give the start as means_init, weights_init and precisions_init"
        )
    known = [fingerprint for fingerprint in job.fingerprints if fingerprint is not None]
    if len(known) < len(job.fingerprints):
        raise ParameterError(
            "checkpoint is for stored rows (a path, a URL, a Zarr array), which are known again "
            "when the fit goes on, and for weights that are stored or in memory; for data in "
            "memory, and whatever is on Dask, leave it out"
        )
    place = Location.parse(job.folder)
    with held(place, "fit") if place.is_local else nullcontext():
        folder = CheckpointFolder(
            job.folder, _identity(job, "; weights ".join(tell() for tell in known))
        )
        yield Checkpoints(folder, job.shape, resume=job.resume, every=job.every)


def _identity(job: Job, fingerprint: str) -> dict[str, Any]:
    """What must be the same for a fit to go on: all that its bits depend on."""
    settings = {o.name: _plain(job.settings[o.name]) for o in OPTIONS if o.decides}
    return {
        "daskgmm_version": __version__,
        "data": {
            "fingerprint": fingerprint,
            "n_rows": job.n_rows,
            "n_features": job.shape[2],
        },
        "settings": settings,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):  # 5 and np.int64(5) are one job
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.random.RandomState):
        return "RandomState"
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return hashlib.sha256(np.ascontiguousarray(value, dtype=np.float64).tobytes()).hexdigest()
