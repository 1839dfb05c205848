"""Optima: the best log-likelihood that anybody found, by problem.

Nobody knows the maximum of a likelihood with many hills. What a fit is held against is
the best of all that were ever seen, kept beside the suite: from plain EM run to the end,
from near the truth and from elsewhere, and from whoever did better since.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Block, Mixture, Ridge, responsibilities, weighted_statistics

from .contestants import fit_of
from .suite import Posed, Problem, posed
from .table import Column, Table

__all__ = ["OPTIMA", "Optima", "searched", "searched_table"]

OPTIMA = Path(__file__).with_name("optima.json")

_TO_THE_END: dict[str, Any] = {
    "stepper": "plain",
    "stopping": "gap",
    "tol": 1e-9,
    "max_iter": 5_000,
}
_STARTS_NEAR_TRUTH = 2
_ROWS_OF_A_START = 50_000
_INIT_PARAMS = ("kmeans", "random_from_data", "k-means++")
_BETTER = 1e-9  # nats per row: sums of rows are rounded, and EM stops a little below its limit


class Optima:
    """The best log-likelihoods known, per row, and who found them, in a JSON file.

    Parameters
    ----------
    path : Path
        Need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = (
            json.loads(path.read_text()) if path.exists() else {}
        )
        self._kept = set(self._known)

    def best(self, task: Posed) -> float:
        """The best known; -inf if nobody looked."""
        return float(self._known.get(task.key, {"log_likelihood": -math.inf})["log_likelihood"])

    def found_by(self, task: Posed) -> str | None:
        """Who found the best known."""
        return self._known.get(task.key, {"found_by": None})["found_by"]

    def offer(self, task: Posed, log_likelihood: float, found_by: str) -> bool:
        """Keep a log-likelihood if it is better; whether it is."""
        if log_likelihood <= self.best(task) + _BETTER:
            return False
        self._known[task.key] = {"log_likelihood": log_likelihood, "found_by": found_by}
        return True

    def write(self, *, new: bool) -> None:
        """Write what is better than in the file; with problems that it has not, if ``new``."""
        self._kept |= set(self._known) if new else set()
        kept = {key: self._known[key] for key in sorted(self._kept)}
        text = json.dumps(kept, indent=1) + "\n"
        if kept and not (self._path.exists() and self._path.read_text() == text):
            self._path.write_text(text)


def searched(
    problems: Sequence[Problem],
    n_rows: int,
    seed: int,
    n_starts: int,
    patience: float,
    optima: Optima,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Look for better optima of each problem; what came of it, as each is done.

    Parameters
    ----------
    problems : sequence of Problem
    n_rows, seed : int
        Of made rows.
    n_starts : int
        At random, for each problem; those near the truth are made first.
    patience : float
        Seconds after which no other start is made.
    optima : Optima
        Told of what is found.
    say : callable
        Told of each start as it ends.
    """
    for problem in problems:
        with posed(problem, n_rows, seed) as task:
            before, began = optima.best(task), time.perf_counter()
            ends: dict[str, float] = {}
            for name, options in _starts(task, n_starts):
                ends[name] = _end(task, options)
                say(f"{task.key}: from {name}: {ends[name]:.9f}")
                if time.perf_counter() - began > patience:
                    break
            for name, end in ends.items():
                optima.offer(task, end, f"plain EM from {name}")
            best = optima.best(task)
            yield {
                "problem": problem.name,
                "starts": len(ends),
                "at_best": sum(end >= best - task.precision for end in ends.values()),
                "best": best if math.isfinite(best) else None,
                "gained": best - before if math.isfinite(before) else None,
                "found_by": optima.found_by(task),
                "seconds": time.perf_counter() - began,
            }


def _end(task: Posed, options: dict[str, Any]) -> float:
    """Where plain EM ends; -inf where it is no optimum, a component having collapsed."""
    try:
        fitted = fit_of(task, **_TO_THE_END, **options)
    except SingularComponentError:
        return -math.inf
    return fitted.lower_bound_ if task.is_proper(fitted.weights_.min()) else -math.inf


def _starts(task: Posed, n_starts: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of starts and the parameters that make them."""
    truth = task.problem.truth
    if truth is not None:
        for number in range(_STARTS_NEAR_TRUTH):
            start = _near_truth(task, truth, np.random.default_rng(number))
            parts = {
                "weights_init": start.weights,
                "means_init": start.means,
                "precisions_init": start.components.precisions,
            }
            yield f"truth {number}", parts
    for number, init_params in zip(range(n_starts), itertools.cycle(_INIT_PARAMS)):
        # Every other from the best of many on a sample: nearer, and one of few hills.
        progressive = number % 2 == 0
        yield (
            f"{'best ' * progressive}{init_params} {number}",
            {"init_params": init_params, "progressive": progressive, "random_state": number},
        )


def _near_truth(task: Posed, truth: Mixture, rng: np.random.Generator) -> Mixture:
    """A step of EM from the truth; components split at random where more are fitted."""
    x = task.x[rng.choice(len(task.x), min(len(task.x), _ROWS_OF_A_START), replace=False)]
    resp, means = responsibilities(x, truth), truth.means
    while len(means) < task.problem.n_components:
        k = rng.integers(truth.n_components)
        beyond = (x - means[k]) @ rng.standard_normal(x.shape[1]) > 0
        resp = np.column_stack([resp, resp[:, k] * beyond])
        resp[:, k] *= ~beyond
        means = np.vstack([means, means[k]])
    return Ridge(1e-6).m_step(
        weighted_statistics(Block(x), resp, means, task.problem.covariance_type)
    )


def searched_table(rows: list[dict[str, Any]]) -> Table:
    """What a search found, by problem."""
    columns = [
        Column("problem", "problem"),
        Column("starts", "starts"),
        Column("best", "best known, nats/row", "{:.9f}"),
        Column("found_by", "found by"),
        Column("gained", "gained", "{:.1e}"),
        Column("at_best", "starts that reach it"),
        Column("seconds", "seconds", "{:.1f}"),
    ]
    notes = ["a start reaches the best if it ends within p/(2N) of it"]
    return Table("The best log-likelihoods known", columns, rows, notes)
