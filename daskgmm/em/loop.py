"""The loop: one pass, one step, until the stop rule holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.history import Iteration
from daskgmm.em.rows import Rows
from daskgmm.em.steppers import Stepper
from daskgmm.em.stopping import StopRule, estimated_remaining_gain
from daskgmm.errors import DamagedDataError, DataError, SingularComponentError
from daskgmm.kernel import (
    Mixture,
    Moments,
    Statistics,
    can_share_scatter,
    e_step,
    linear_statistics,
    with_scatter,
)
from daskgmm.kernel.blas import single_thread

__all__ = ["MAX_ITER", "FitResult", "Precision", "run"]

MAX_ITER = "max_iter"
"""Reason of a fit that ended before its stop rule held: an outcome, not an error."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """How a fit ended.

    Attributes
    ----------
    mixture : Mixture
        After the last M-step, as in scikit-learn: one step beyond ``log_likelihood``.
    history : tuple of Iteration
        One for each pass, in order.
    stop_reason : str
        The name of the stop rule that held, or ``"max_iter"``.
    """

    mixture: Mixture
    history: tuple[Iteration, ...]
    stop_reason: str

    @property
    def log_likelihood(self) -> float:
        """Per row, in nats, at the last pass."""
        return self.history[-1].log_likelihood

    @property
    def converged(self) -> bool:
        """Whether the stop rule held."""
        return self.stop_reason != MAX_ITER


Precision = Literal["auto", "float32", "float64"]
"""Of the arithmetic on single rows; ``"auto"`` is that of the rows."""

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_LEAST_TOL_OF_FLOAT32 = 1e-4
"""Rounding in float32 may move the log-likelihood per row by 1e-5."""


def _dtype_for(x: NDArray[Any], precision: Precision) -> np.dtype[Any]:
    narrow = x.dtype in (np.float16, np.float32) if precision == "auto" else precision == "float32"
    return _FLOAT32 if narrow else _FLOAT64


def _e_step_of_grain(
    x: NDArray[Any], start: int, mixture: Mixture, precision: Precision
) -> Statistics:
    return e_step(x, mixture, _dtype_for(x, precision))


def _linear_of_grain(
    x: NDArray[Any], start: int, mixture: Mixture, precision: Precision
) -> Statistics:
    return linear_statistics(x, mixture, _dtype_for(x, precision))


def _pass(rows: Rows, mixture: Mixture, precision: Precision, total: Moments | None) -> Statistics:
    """Statistics of all rows under a mixture."""
    if total is None or not can_share_scatter(mixture):
        return rows.fold(_e_step_of_grain, mixture, precision)
    return with_scatter(rows.fold(_linear_of_grain, mixture, precision), mixture, total)


def run(
    rows: Rows,
    start: Mixture,
    *,
    stepper: Stepper,
    stop: StopRule,
    tol: float,
    max_iter: int,
    total: Moments | None = None,
    precision: Precision = "float64",
    on_iteration: Callable[[Iteration], None] = lambda iteration: None,
) -> FitResult:
    """Fit a mixture by EM from given parameters.

    Parameters
    ----------
    rows : Rows
    start : Mixture
    stepper : Stepper
    stop : StopRule
    tol : float
        What the stop rule compares with.
    max_iter : int
        Most passes, at least 1.
    total : Moments, optional
        Of all rows, from a scan: saves most of a pass where components share a covariance.
    precision : {"auto", "float32", "float64"}
        Of the arithmetic on single rows; sums are float64. ``"auto"`` works on float32
        rows in float32, in half the time, to 1e-5, relative: where ``tol`` is at least
        1e-4. Mixtures that would lose more are worked on in float64 in any case.
    on_iteration : callable
        Told of each iteration as it ends; progress lives there, not here.

    Raises
    ------
    SingularComponentError
        If a covariance stops being positive definite: which, and at which pass.
    DamagedDataError
        If a pass read other than ``rows.n_rows`` rows.
    DataError
        If the log-likelihood of a pass is not finite.
    """
    if precision == "auto" and tol < _LEAST_TOL_OF_FLOAT32:
        precision = "float64"
    with single_thread():  # also between passes: small factorisations are slower on many
        mixture = start
        _check_factors(mixture, 0, None)
        history: list[Iteration] = []
        while len(history) < max_iter:
            began = time.perf_counter()
            statistics = _pass(rows, mixture, precision, total)
            seconds = time.perf_counter() - began
            n_iter = len(history) + 1
            _check_pass(statistics, rows.n_rows, n_iter)
            proposed = stepper.next(mixture, statistics)
            _check_factors(proposed, n_iter, statistics)
            log_likelihood = statistics.log_likelihood / rows.n_rows
            seen = [i.log_likelihood for i in history[-2:]]
            history.append(
                Iteration(
                    n_iter=n_iter,
                    log_likelihood=log_likelihood,
                    gain=log_likelihood - seen[-1] if seen else np.inf,
                    remaining_gain=estimated_remaining_gain([*seen, log_likelihood]),
                    means_moved=float(np.square(proposed.means - mixture.means).sum()),
                    n_rows=rows.n_rows,
                    seconds=seconds,
                )
            )
            mixture = proposed
            on_iteration(history[-1])
            if stop.holds(history, tol):
                return FitResult(mixture, tuple(history), stop.name)
        return FitResult(mixture, tuple(history), MAX_ITER)


def _check_pass(statistics: Statistics, n_rows: int, n_pass: int) -> None:
    if statistics.n_rows != n_rows:
        raise DamagedDataError(
            f"pass {n_pass} read {statistics.n_rows} rows where {n_rows} were expected; "
            "is the data being written?"
        )
    if not np.isfinite(statistics.log_likelihood):
        raise DataError(
            f"the log-likelihood of pass {n_pass} is {statistics.log_likelihood}: a row has no "
            "density under any component, or the data changed since the scan; "
            "check the given start, or raise reg_covar"
        )


def _check_factors(mixture: Mixture, n_pass: int, statistics: Statistics | None) -> None:
    """Fail on the driver, before a pass is spent on parameters that have no density."""
    try:
        mixture.factors  # noqa: B018 (factored once, here, and kept)
    except SingularComponentError as error:
        when = "at the start" if statistics is None else f"after pass {n_pass}"
        held = ""
        if statistics is not None and error.component >= 0:
            n_k = statistics.n_k[error.component]
            held = f" (it holds {n_k:.3g} of {statistics.n_rows} rows)"
        raise SingularComponentError(f"{when}, {error}{held}", error.component) from None
