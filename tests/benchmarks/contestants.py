"""Contestants: who fits a problem to the end of its own rules, and what that took.

Of each what its users would get, plain EM apart: that goes on until it is where the
others stop, or it is tired.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from sklearn.exceptions import ConvergenceWarning

from daskgmm import GaussianMixture
from daskgmm.em import Iteration, ScanDone
from daskgmm.errors import SingularComponentError
from daskgmm.events import Event, listening

from .restarts import remembered_restarts
from .suite import Posed

__all__ = ["CONTESTANTS", "DEFAULT", "SKLEARN", "Contestant", "Fitted", "Terms", "fit_of"]

_TIRED = 60
"""Passes after which a fit that is asked for the last digit may stop."""


@dataclass(frozen=True)
class Fitted:
    """What a fit found, and what it took.

    Attributes
    ----------
    passes : list of float
        Log-likelihood per row at each pass, in order; NaN at one that finds none.
    log_likelihood : float
        Per row, at the end; -inf if there was no end.
    smallest_weight : float
        Of a component.
    n_passes : int
        Reads of all rows.
    seconds : float
    pass_ends : list of float
        Seconds until each pass had ended; empty where nobody looked.
    was_stopped : bool
        Whether its stop rule would have gone on.
    remark : str or None
        Why there is no end, or not the one that there should be.
    """

    passes: Sequence[float] = ()
    log_likelihood: float = -math.inf
    smallest_weight: float = 0.0
    n_passes: int = 0
    seconds: float = 0.0
    pass_ends: Sequence[float] = ()
    was_stopped: bool = False
    remark: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether there is anything to judge."""
        return math.isfinite(self.log_likelihood)

    def passes_until(self, log_likelihood: float) -> int | None:
        """Passes up to the first that finds so much; None if none does."""
        reached = (n for n, found in enumerate(self.passes, 1) if found >= log_likelihood)
        return next(reached, None)

    def seconds_until(self, log_likelihood: float) -> float | None:
        """Seconds up to the end of that pass."""
        n = self.passes_until(log_likelihood)
        return None if n is None else self.pass_ends[n - 1]


@dataclass(frozen=True)
class Terms:
    """On which all contestants run.

    Attributes
    ----------
    patience : float
        Seconds that scikit-learn is given.
    cache : Path
        Where its restarts are kept.
    fresh : bool
        Whether they are made anew.
    """

    patience: float
    cache: Path
    fresh: bool = False


class Contestant(Protocol):
    """Somebody who fits mixtures."""

    @property
    def name(self) -> str:
        """As in tables."""
        ...

    def fit(self, task: Posed, terms: Terms) -> Fitted:
        """Fit the problem's mixture to its rows."""
        ...


def fit_of(task: Posed, *, is_stored: bool = False, **options: Any) -> GaussianMixture:
    """This project's fit, converged or not, to rows in memory or in their file."""
    problem = task.problem
    model = GaussianMixture(
        problem.n_components, covariance_type=problem.covariance_type, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(task.file if is_stored else task.x)


@dataclass(frozen=True)
class ThisProject:
    """This project.

    Attributes
    ----------
    name : str
    options : dict
        Of the estimator, other than its defaults.
    is_stored : bool
        Whether it reads the rows' file: a read that can be saved is worth more there.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    is_stored: bool = False

    def fit(self, task: Posed, terms: Terms) -> Fitted:
        """From cold."""
        ends: list[float] = []

        def hear(event: Event) -> None:
            # A scan that is a pass as well is told of by that pass.
            if isinstance(event, Iteration) or (isinstance(event, ScanDone) and not event.is_pass):
                ends.append(time.perf_counter() - began)

        began = time.perf_counter()
        try:
            with listening(hear):
                model = fit_of(task, is_stored=self.is_stored, random_state=0, **self.options)
        except SingularComponentError as error:
            return Fitted(remark=f"failed: {error}")
        seconds = time.perf_counter() - began
        n_scans = model.n_passes_ - len(model.history_)
        return Fitted(
            passes=[math.nan] * n_scans + [i.log_likelihood for i in model.history_],
            log_likelihood=model.lower_bound_,
            smallest_weight=float(model.weights_.min()),
            n_passes=model.n_passes_,
            seconds=seconds,
            pass_ends=ends,
            was_stopped=not model.converged_,
        )


@dataclass(frozen=True)
class ScikitLearn:
    """scikit-learn with its defaults, the best of so many restarts.

    Attributes
    ----------
    name : str
    n_restarts : int
    """

    name: str
    n_restarts: int

    def fit(self, task: Posed, terms: Terms) -> Fitted:
        """Iterations of all restarts, one after the other; k-means is not counted as passes."""
        found = remembered_restarts(
            task, self.n_restarts, terms.patience, terms.cache, fresh=terms.fresh
        )
        ends = [(restart.log_likelihoods[-1], restart.smallest_weight) for restart in found.done]
        log_likelihood, smallest_weight = max(ends, default=(-math.inf, 0.0))
        return Fitted(
            passes=list(chain.from_iterable(restart.log_likelihoods for restart in found.done)),
            log_likelihood=log_likelihood,
            smallest_weight=smallest_weight,
            n_passes=sum(len(restart.log_likelihoods) for restart in found.done),
            seconds=found.seconds,
            was_stopped=found.gave_up,
            remark=f"{len(found.done)} of {self.n_restarts} restarts" if found.gave_up else None,
        )


DEFAULT = ThisProject("default")
SKLEARN = ScikitLearn("sklearn", n_restarts=10)

_ON_AND_ON = {"tol": 1e-12, "stopping": "gap", "max_iter": _TIRED}

CONTESTANTS: dict[str, Contestant] = {
    contestant.name: contestant
    for contestant in (
        DEFAULT,
        ThisProject("stored", is_stored=True),
        ThisProject("plain", {"stepper": "plain", **_ON_AND_ON}),
        ThisProject("squarem", {"stepper": "squarem", **_ON_AND_ON}),
        ThisProject("surrogate", {"stepper": "surrogate", **_ON_AND_ON}),
        SKLEARN,
    )
}
"""By name. To add one, add a row."""
