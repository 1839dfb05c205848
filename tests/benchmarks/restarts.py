"""Restarts: scikit-learn's, in a process of its own that can be given up, and remembered.

On a million rows they take longer than all that they are compared with; so they are kept
where the rows and scikit-learn are the same.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import sklearn

from .suite import Posed

__all__ = ["Restart", "Restarts", "remembered_restarts", "restarts"]

_SCRIPT = Path(__file__).with_name("peers") / "sklearn_restarts.py"


@dataclass(frozen=True)
class Restart:
    """One fit of scikit-learn.

    Attributes
    ----------
    seconds : float
    log_likelihoods : list of float
        Per row, at each iteration.
    smallest_weight : float
        Of a component.
    converged : bool
    """

    seconds: float
    log_likelihoods: list[float]
    smallest_weight: float
    converged: bool


@dataclass(frozen=True)
class Restarts:
    """Those that ended before patience did.

    Attributes
    ----------
    done : list of Restart
    gave_up : bool
        Whether there would have been more.
    patience : float
        Seconds that there were for all of them.
    """

    done: list[Restart]
    gave_up: bool
    patience: float

    @property
    def seconds(self) -> float:
        """Of all; where patience ended first, that."""
        return self.patience if self.gave_up else sum(one.seconds for one in self.done)


def restarts(task: Posed, n_restarts: int, patience: float) -> Restarts:
    """Fit with scikit-learn so many times, or as often as there is patience for.

    Parameters
    ----------
    task : Posed
    n_restarts : int
    patience : float
        Seconds, for all of them; loading the rows is not counted.

    Raises
    ------
    subprocess.CalledProcessError
        If scikit-learn failed; its message is on standard error.
    """
    problem = task.problem
    numbers = (str(problem.n_components), problem.covariance_type, str(n_restarts))
    command = [sys.executable, str(_SCRIPT), str(task.file), *numbers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # it is a pipe
        timer = threading.Timer(patience, process.kill)
        try:
            process.stdout.readline()
            timer.start()
            # What it was killed in the middle of is no line.
            lines = [line for line in process.stdout if line.endswith("\n")]
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
    if status not in (0, -signal.SIGKILL):
        raise subprocess.CalledProcessError(status, command)
    return Restarts([Restart(**json.loads(line)) for line in lines], status != 0, patience)


def remembered_restarts(
    task: Posed, n_restarts: int, patience: float, cache: Path, *, fresh: bool
) -> Restarts:
    """As :func:`restarts`; from the cache, if they ended or patience was as great there.

    Parameters
    ----------
    task : Posed
    n_restarts : int
    patience : float
    cache : Path
        A folder, made where it is not there yet.
    fresh : bool
        Whether to fit anew whatever is there, and keep that.
    """
    problem = task.problem
    asked = " ".join(
        f"{part}"
        for part in (sklearn.__version__, problem.n_components, problem.covariance_type, n_restarts)
    )
    digest = hashlib.blake2b(task.x.data, key=asked.encode(), digest_size=16).hexdigest()
    kept = cache / f"{problem.name}-{digest}.json"
    if kept.exists() and not fresh:
        record = json.loads(kept.read_text())
        record["done"] = [Restart(**one) for one in record["done"]]
        known = Restarts(**record)
        if not known.gave_up or known.patience >= patience:
            return known
    found = restarts(task, n_restarts, patience)
    cache.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(found)) + "\n")
    return found
