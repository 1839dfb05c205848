"""Few passes: how many reads of all rows a fit needs, and how long it takes from cold.

Passes are counted to two marks below the best log-likelihood known: ``p/(2N)``, under
which differences are of these rows and not of where they come from; and 1e-5 nats per
row. A fit that never comes so near has gone to another optimum, or stopped too early.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Self

import numpy as np

from daskgmm import GaussianMixture

from .contestants import CONTESTANTS, DEFAULT, Fitted, Terms
from .optima import Optima
from .restarts import restarts
from .suite import Posed, Problem, posed

__all__ = ["SAME", "Found", "Row", "measured"]

Row = dict[str, Any]
Say = Callable[[str], None]

_FINE = 1e-5  # nats per row

SAME = 1e-4
"""Nats per row by which log-likelihoods may differ that count as the same."""


@dataclass(frozen=True)
class Found:
    """What was found at some problems. Additive.

    Attributes
    ----------
    fits : list of dict
        One for each problem and contestant.
    speeds : list of dict
        One for each problem.
    """

    fits: list[Row] = field(default_factory=list)
    speeds: list[Row] = field(default_factory=list)

    def __add__(self, other: Self) -> Self:
        return type(self)(self.fits + other.fits, self.speeds + other.speeds)


def measured(
    problems: Sequence[Problem],
    n_rows: int,
    seed: int,
    names: Sequence[str],
    rounds: int,
    terms: Terms,
    optima: Optima,
    say: Say,
) -> Iterator[Found]:
    """What is found at each problem, as it is done.

    Parameters
    ----------
    problems : sequence of Problem
    n_rows, seed : int
        Of made rows.
    names : sequence of str
        Of contestants.
    rounds : int
        How often the default and one fit of scikit-learn are timed, in turns.
    terms : Terms
    optima : Optima
        Told of what was found, where it is better.
    say : callable
        Told of each fit as it ends.
    """
    GaussianMixture(1).fit(np.random.default_rng(0).standard_normal((1_000, 2)))  # imports
    for problem in problems:
        with posed(problem, n_rows, seed) as task:
            fits = _fits(task, names, terms, optima, say)
            yield Found(fits, [_speed(task, rounds, terms, say)] if rounds else [])


# -- passes --------------------------------------------------------------------


def _fits(task: Posed, names: Sequence[str], terms: Terms, optima: Optima, say: Say) -> list[Row]:
    fits = {}
    for name in names:
        fits[name] = fitted = CONTESTANTS[name].fit(task, terms)
        say(f"{task.key}: {name}: {_told(fitted)}")
        proper = task.is_proper(fitted.smallest_weight)
        if proper and optima.offer(task, fitted.log_likelihood, name):
            say(f"{task.key}: {name}: the best known")
    # Only now: the last may have found the best.
    return [_row(task, name, fitted, optima.best(task)) for name, fitted in fits.items()]


def _told(fitted: Fitted) -> str:
    found = f"{fitted.n_passes} passes, {fitted.seconds:.2f} s"
    if fitted.has_ended:
        found += f", log-likelihood per row {fitted.log_likelihood:.8f}"
    return f"{found}; {fitted.remark}" if fitted.remark else found


def _row(task: Posed, name: str, fitted: Fitted, best: float) -> Row:
    """The marks that a contestant reached; None where it did not."""
    row = {
        **_of_task(task),
        "contestant": name,
        "n_passes": fitted.n_passes,
        "rows_read": fitted.n_passes * len(task.x),
        "seconds": fitted.seconds,
        "was_stopped": fitted.was_stopped,
        "remark": fitted.remark,
    }
    if not (math.isfinite(best) and fitted.has_ended):
        return row
    return row | {
        "log_likelihood": fitted.log_likelihood,
        "best_known": best,
        "below_best": (best - fitted.log_likelihood) / task.precision,
        "to_precision": fitted.passes_until(best - task.precision),
        "to_fine": fitted.passes_until(best - _FINE),
    }


def _of_task(task: Posed) -> Row:
    problem = task.problem
    return {
        "problem": problem.name,
        "is_real": problem.is_real,
        "covariance": problem.covariance_type,
        "n_features": task.x.shape[1],
        "n_components": problem.n_components,
        "n_rows": len(task.x),
        "n_parameters": task.n_parameters,
        "precision": task.precision,
    }


# -- seconds -------------------------------------------------------------------


def _speed(task: Posed, rounds: int, terms: Terms, say: Say) -> Row:
    """The default against one fit of scikit-learn, from cold, in turns.

    Where patience ended before scikit-learn did, the ratio is at least what is said.
    """
    pairs = [(DEFAULT.fit(task, terms), restarts(task, 1, terms.patience)) for _ in range(rounds)]
    row = {
        **_of_task(task),
        "daskgmm_seconds": median(ours.seconds for ours, _ in pairs),
        "sklearn_seconds": median(theirs.seconds for _, theirs in pairs),
        "gave_up": any(theirs.gave_up for _, theirs in pairs),
        "rounds": [(ours.seconds, theirs.seconds) for ours, theirs in pairs],
    }
    ours, theirs = pairs[-1]
    if ours.has_ended:
        row["ratio"] = median(other.seconds / one.seconds for one, other in pairs)
    if ours.has_ended and theirs.done:
        end = theirs.done[0].log_likelihoods[-1]
        row["higher_by"] = ours.log_likelihood - end
        row["same"] = row["higher_by"] >= -SAME
        until = [(one.seconds_until(end - SAME), other.seconds) for one, other in pairs]
        arrived = [(one, other) for one, other in until if one is not None]
        if len(arrived) == len(until):
            row["same_seconds"] = median(one for one, _ in arrived)
            row["same_ratio"] = median(other / one for one, other in arrived)
    say(f"{task.key}: {row['daskgmm_seconds']:.2f} s, sklearn {row['sklearn_seconds']:.2f} s")
    return row
