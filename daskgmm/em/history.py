"""History: what each iteration of EM left, for stop rules, progress and records."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "FitBegan",
    "FitEnded",
    "Iteration",
    "RareComponent",
    "Resumed",
    "ScanDone",
    "StartsFitted",
    "StartsUnderway",
]


@dataclass(frozen=True)
class FitBegan:
    """Event: all that can be refused was not, and the first pass is next.

    Attributes
    ----------
    data : str
        What the rows are called.
    is_stored : bool
        Whether passes read them from a store.
    n_rows, n_features, n_components, covariance_type, stopping, tol, max_iter
        Of the fit.
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


@dataclass(frozen=True)
class ScanDone:
    """Event: the first pass has ended."""

    n_rows: int
    n_sampled: int
    seconds: float


@dataclass(frozen=True)
class StartsFitted:
    """Event: starts were fitted to so many rows of the sample, and the best of them go on."""

    n_rows: int
    n_starts: int
    n_left: int
    seconds: float


@dataclass(frozen=True)
class StartsUnderway:
    """Event: so many starts of a round are fitted so far, to so many rows of the sample."""

    n_rows: int
    n_starts: int
    seconds: float


@dataclass(frozen=True)
class Resumed:
    """Event: an interrupted fit goes on, after so many passes; ``history`` is of its best start."""

    n_passes: int
    history: tuple[Iteration, ...] = ()


@dataclass(frozen=True)
class RareComponent:
    """Event: rows that the sample missed were given a component, to be tried on all rows."""

    n_rows: float

    def __str__(self) -> str:
        return f"a component of about {self.n_rows:.0f} rows was found among the worst-fitting rows"


@dataclass(frozen=True)
class Iteration:
    """Event and record: one E-step over all rows and the M-step after it.

    Attributes
    ----------
    n_iter : int
        From 1.
    log_likelihood : float
        Per row, in nats, of the parameters that the pass was made at.
    gain : float
        Of the log-likelihood per row over the last accepted one; infinite in the first.
    remaining_gain : float
        Estimate of what further iterations would gain per row; infinite while unknown.
    means_moved : float
        Squared distance that the means move in the M-step, summed over components.
    n_rows : int
    seconds : float
        Wall time of the pass.
    accepted : bool
        Whether the parameters were kept: False where a stepper tried some whose
        log-likelihood had fallen.
    """

    n_iter: int
    log_likelihood: float
    gain: float
    remaining_gain: float
    means_moved: float
    n_rows: int
    seconds: float
    accepted: bool = True


@dataclass(frozen=True)
class FitEnded:
    """Event: how the fit ended; ``n_passes`` includes the scan, ``log_likelihood`` is per row."""

    n_passes: int
    n_iter: int
    log_likelihood: float
    stop_reason: str
    converged: bool
    seconds: float
