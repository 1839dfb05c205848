"""History: the events that the algorithm tells, and the record of each iteration.

Stop rules read the iterations, models and checkpoints keep them, and listeners write every
event to lines, logs and metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from daskgmm.telling import Event, duration, passes

__all__ = [
    "Collapse",
    "FitBegan",
    "FitEnded",
    "Iteration",
    "RareComponent",
    "ReplicatesUnderway",
    "Resumed",
    "ScanDone",
    "StartsFitted",
    "StartsUnderway",
]

_WORTH_A_LINE = 1.0
"""Seconds: nobody waited for starts that took less."""


@dataclass(frozen=True)
class FitBegan(Event, name="fit_began"):
    """The options and the data have passed every check, and the first pass is next.

    Attributes
    ----------
    data : str
        What messages call the rows.
    is_stored : bool
        Whether passes read the rows from a store.
    n_rows, n_features : int
        Shape of the data.
    n_components, covariance_type, stopping, tol, max_iter
        Options of the fit, as the estimator has them.
    """

    data: str
    is_stored: bool
    n_rows: int
    n_features: int
    n_components: int
    covariance_type: str
    stopping: str
    tol: float
    max_iter: int

    @property
    def next_pass(self) -> str:
        """The first pass is the scan."""
        return "scan"


@dataclass(frozen=True)
class ScanDone(Event, name="scan_done"):
    """The scan, which is the first read of all rows, has ended.

    Attributes
    ----------
    n_rows : int
        Rows of the data.
    n_sampled : int
        Rows of the sample that starts are fitted to.
    seconds : float
        Wall time of the read.
    is_pass : bool
        Whether the read was pass 1 as well, from an early start.
    """

    n_rows: int
    n_sampled: int
    seconds: float
    is_pass: bool = False

    @property
    def next_pass(self) -> str:
        """What the next read is for."""
        return "pass 2" if self.is_pass else "pass 1"

    def text(self) -> str:
        """Rows, sample and speed."""
        return (
            f"scan{' with pass 1' * self.is_pass}: {self.n_rows:,} rows, {self.n_sampled:,} sampled, "
            f"{self.n_rows / self.seconds:,.0f} rows/s, {duration(self.seconds)}"
        )


@dataclass(frozen=True)
class StartsFitted(Event, name="starts_fitted"):
    """A round has fitted starts to rows of the sample, and the best of them go on.

    Attributes
    ----------
    n_rows : int
        Rows of the sample that the starts were fitted to.
    n_starts, n_left : int
        Starts that were fitted, and those that go on.
    seconds : float
        Wall time of the round.
    """

    n_rows: int
    n_starts: int
    n_left: int
    seconds: float

    def text(self) -> str | None:
        """The round, unless nobody waited for it."""
        if self.seconds < _WORTH_A_LINE:
            return None
        return (
            f"starts: {self.n_starts} fitted to {self.n_rows:,} sampled rows, "
            f"best of them: {self.n_left}, {duration(self.seconds)}"
        )


@dataclass(frozen=True)
class StartsUnderway(Event, name="starts_underway"):
    """A round has fitted some of its starts so far.

    Attributes
    ----------
    n_rows : int
        Rows of the sample that the starts are fitted to.
    n_starts : int
        Starts that are fitted.
    seconds : float
        Wall time since the round began.
    """

    n_rows: int
    n_starts: int
    seconds: float

    def text(self) -> str:
        """How far the round is."""
        return (
            f"starts: {self.n_starts} fitted to {self.n_rows:,} sampled rows so far, "
            f"{duration(self.seconds)}"
        )


@dataclass(frozen=True)
class Resumed(Event, name="resumed"):
    """An interrupted fit goes on from its checkpoint.

    Attributes
    ----------
    n_passes : int
        Passes that need not be made again, the scan included.
    history : tuple of Iteration
        Iterations of the best start so far. The JSON log leaves them out.
    n_iter : int
        Iterations that need not be made again.
    """

    n_passes: int
    history: tuple[Iteration, ...] = ()
    n_iter: int = 0

    @property
    def next_pass(self) -> str:
        """The pass after those that were made."""
        return f"pass {1 + self.n_iter}"

    def text(self) -> str:
        """How much work the checkpoint saved."""
        return f"resumed: {passes(self.n_passes)} need not be made again"

    def fields(self) -> dict[str, Any]:
        """All but the history, whose iterations were logged as they happened."""
        return {"n_passes": self.n_passes, "n_iter": self.n_iter}


@dataclass(frozen=True)
class RareComponent(Event, name="rare_component_found"):
    """Rows that the sample missed were given a component, which is to be tried on all rows.

    Attributes
    ----------
    n_rows : float
        Estimate of how many rows the component has.
    """

    n_rows: float

    def text(self) -> str:
        """The size of the component."""
        return f"a component of about {self.n_rows:.0f} rows was found among the worst-fitting rows"


@dataclass(frozen=True)
class Collapse(Event, name="components_collapsed"):
    """Components were left without a density, or with next to no rows.

    Attributes
    ----------
    n_iter : int
        Iterations before it.
    n_collapsed : int
        How many they were.
    n_reseeded, n_pruned : int
        How many of them others took the place of, and by how many components the mixture is
        smaller.
    """

    n_iter: int
    n_collapsed: int
    n_reseeded: int
    n_pruned: int

    def text(self) -> str:
        """What became of them."""
        when = f"after pass {self.n_iter}" if self.n_iter else "at the start"
        many = f"{self.n_collapsed} component{'s' * (self.n_collapsed > 1)}"
        return f"collapse {when}: {many}, {self.n_reseeded} reseeded, {self.n_pruned} pruned"


@dataclass(frozen=True)
class Iteration(Event, name="pass_done"):
    """Event and record: one E-step over all rows and the M-step after it.

    Attributes
    ----------
    n_iter : int
        Number of the iteration, from 1.
    log_likelihood : float
        Log-likelihood per row, in nats, at the parameters that the pass was made with.
    gain : float
        Increase of the log-likelihood per row, less the penalty, over the last accepted iteration;
        infinite in the first.
    remaining_gain : float
        Estimate of what further iterations would gain per row; infinite while unknown. Where the step
        after this pass needed no pass to confirm it, what it leaves.
    means_moved : float
        Squared distance that the means move in the M-step, summed over components.
    n_rows : int
        Rows of the data.
    seconds : float
        Wall time of the pass.
    accepted : bool
        Whether the parameters were kept: False where a stepper tried some whose
        log-likelihood had fallen.
    penalty : float
        What a prior takes off the log-likelihood per row, in nats: 0 without one. Gains are of the
        difference.
    """

    n_iter: int
    log_likelihood: float
    gain: float
    remaining_gain: float
    means_moved: float
    n_rows: int
    seconds: float
    accepted: bool = True
    penalty: float = 0.0

    @property
    def objective(self) -> float:
        """What the fit climbs: log-likelihood per row less penalty."""
        return self.log_likelihood - self.penalty

    @property
    def next_pass(self) -> str:
        """The next iteration makes the next pass."""
        return f"pass {self.n_iter + 1}"

    def raised(self, by: float) -> Iteration:
        """The same iteration, with a log-likelihood per row in other units of the data."""
        return replace(self, log_likelihood=self.log_likelihood + by)

    def text(self) -> str:
        """Log-likelihood, gain and speed."""
        gain = "" if math.isinf(self.gain) else f"  gain {self.gain:.3g}"
        prior = f", less {self.penalty:.3g} of the prior" if self.penalty else ""
        return (
            f"pass {self.n_iter}: log-likelihood per row {self.log_likelihood:.9g}{prior}{gain}"
            f"  {self.n_rows / self.seconds:,.0f} rows/s"
        )


@dataclass(frozen=True)
class ReplicatesUnderway(Event, name="replicates_underway"):
    """Some replicates of a fit, on rows that were drawn anew, are done.

    Attributes
    ----------
    n_done, n_replicates : int
        How many are done, and how many there are.
    n_passes : int
        Reads of all rows so far, the scan included.
    seconds : float
        Wall time since the scan.
    """

    n_done: int
    n_replicates: int
    n_passes: int
    seconds: float

    @property
    def next_pass(self) -> str:
        """The read after those that were made, of which the first was the scan."""
        return f"pass {self.n_passes}"

    def text(self) -> str:
        """How far they are, and how long the others take if they are like those that are done."""
        left = ""
        if 0 < self.n_done < self.n_replicates:
            seconds = self.seconds * (self.n_replicates - self.n_done) / self.n_done
            left = f", about {duration(seconds)} left"
        return (
            f"replicates: {self.n_done} of {self.n_replicates} done after "
            f"{passes(self.n_passes)}, {duration(self.seconds)}{left}"
        )


@dataclass(frozen=True)
class FitEnded(Event, name="fit_ended"):
    """The fit has ended.

    Attributes
    ----------
    n_passes : int
        Passes over all rows, the scan included.
    n_iter : int
        Iterations of the best start.
    log_likelihood : float
        Log-likelihood per row, in nats.
    stop_reason : str
        Why the iterations ended.
    converged : bool
        Whether the stop rule held within ``max_iter``.
    seconds : float
        Wall time of the fit.
    """

    n_passes: int
    n_iter: int
    log_likelihood: float
    stop_reason: str
    converged: bool
    seconds: float
