"""Stop rules: pure functions of the history.

To add one, write a function of the history that returns what must fall to ``tol``
and add a row to :data:`STOP_RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from daskgmm.errors import ParameterError
from daskgmm.history import Iteration
from daskgmm.kernel import Mixture

__all__ = [
    "MAX_ITER",
    "READS",
    "STOP_REASONS",
    "STOP_RULES",
    "StopRule",
    "estimated_remaining_gain",
    "gain_worth_a_pass",
    "left_after_last_step",
    "statistical_tol",
    "stop_rule_named",
]

History = Sequence[Iteration]


def estimated_remaining_gain(log_likelihoods: Sequence[float]) -> float:
    """Aitken's estimate of the limit of log-likelihoods per row, less the last of them.

    EM converges linearly at the end: gains shrink by a rate a, so that what is left
    after a gain g is ``g a / (1 - a)``. A small gain is not a small remaining gain.
    Infinite while the rate is unknown (fewer than three values) or not below 1.

    References
    ----------
    Boehning et al. (1994), The distribution of the likelihood ratio for mixtures of
    densities from the one-parameter exponential family.
    """
    if len(log_likelihoods) < 3:
        return np.inf
    before, last, now = log_likelihoods[-3:]
    # reg_covar can make the likelihood fall a little near the end, hence sizes.
    gain, gain_before = abs(now - last), abs(last - before)
    if gain <= 4 * np.finfo(np.float64).eps * max(abs(now), 1.0):
        return 0.0
    if gain >= gain_before:
        return np.inf
    rate = gain / gain_before
    return gain * rate / (1.0 - rate)


_SHARE_OF_PRECISION, _LARGEST_TOL = 0.1, 1e-3


def statistical_tol(n_parameters: int, weight: float) -> float:
    """Remaining gain per row that is worth no pass: a tenth of ``p / (2 N)``, in nats.

    The maximum of the mean log-likelihood lies about p / (2 N) above its value at the true
    parameters (Wilks 1938), so that smaller gains fit the noise of these rows. The result is
    never above 1e-3.

    Parameters
    ----------
    n_parameters : int
        p, free parameters of the mixture.
    weight : float
        N, the sum of the weights of all rows.
    """
    return min(_LARGEST_TOL, _SHARE_OF_PRECISION * n_parameters / (2 * weight))


def gain_worth_a_pass(tol: float, mixture: Mixture, weight: float) -> float:
    """The smaller of a stop rule's tolerance and :func:`statistical_tol`, in nats per row.

    The tolerance may be in other units: that of the rule on means has squared ones.
    """
    return min(tol, statistical_tol(mixture.n_parameters, weight))


_MOST_GAINED, _MARGIN = 5.0, 10.0
_DEAR = 10_000_000
"""From so many rows on, a step that is sure to be the last is not confirmed by a pass."""


def left_after_last_step(
    gain: float, remaining_gain: float, worth: float, n_rows: int
) -> float | None:
    """What a step from here leaves to gain per row, if it is so sure that no pass has to confirm it.

    Steps that know the curvature leave about the same share of what there was to gain:
    ``remaining_gain / gain`` at the last one. The estimate is ten times that share of
    ``remaining_gain``, because the slowest directions are left.

    Parameters
    ----------
    gain : float
        What the step to this pass has gained.
    remaining_gain : float
        What the step from here is expected to gain.
    worth : float
        Gain that is worth a pass. What is left must be below this. What the step gains, which the
        log-likelihood that is told lacks, must be below five times this: with ``tol="auto"``, half of
        ``p / (2 N)``.
    n_rows : int
        Rows of a pass. Below ten million, all steps are confirmed.

    Returns
    -------
    float or None
        None if the step should be confirmed.
    """
    is_last = 0 < remaining_gain <= _MOST_GAINED * worth and 0 < gain < np.inf
    if not is_last or n_rows < _DEAR:
        return None
    left = _MARGIN * remaining_gain * (remaining_gain / gain)
    return left if left < worth else None


@dataclass(frozen=True)
class StopRule:
    """A test ``holds(history, tol)`` for the end of a fit, and its message."""

    name: str
    holds: Callable[[History, float], bool]
    message: str


def _gap(history: History, tol: float) -> bool:
    return history[-1].remaining_gain < tol


def _increment(history: History, tol: float) -> bool:
    return history[-1].accepted and abs(history[-1].gain) < tol


def _means(history: History, tol: float) -> bool:
    return history[-1].means_moved <= tol


STOP_RULES: dict[str, StopRule] = {
    rule.name: rule
    for rule in (
        StopRule("gap", _gap, "the estimated remaining gain per row fell below tol"),
        StopRule("increment", _increment, "the last gain per row fell below tol"),
        StopRule("means", _means, "the squared movement of the means fell to tol"),
    )
}

MAX_ITER = "max_iter"
"""Reason of a fit that ended before its stop rule held: an outcome, not an error."""
READS = "reads"
"""Reason of a fit that ended because ``reads`` allowed no further read."""

STOP_REASONS: dict[str, str] = {
    **{rule.name: rule.message for rule in STOP_RULES.values()},
    MAX_ITER: "max_iter was reached",
    READS: "no more reads were asked for",
}
"""Message for each reason why a fit ended."""


def stop_rule_named(name: str) -> StopRule:
    """Look a stop rule up; raises ParameterError with the known names."""
    try:
        return STOP_RULES[name]
    except (KeyError, TypeError):
        known = ", ".join(STOP_RULES)
        raise ParameterError(f"stopping must be one of {known}; got {name!r}") from None
