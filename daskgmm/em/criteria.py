"""Criteria: scores of candidates, and which candidates may still become the best.

Measured on all rows, a fit to n of them has a lower log-likelihood than a fit to all, by an amount
that depends on its number of free parameters (see :class:`GapLaw`). A candidate goes on only if
that gain could bring it ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from daskgmm.em import weighted
from daskgmm.em.evaluate import Score
from daskgmm.em.scan import Scan
from daskgmm.kernel import Block, Float64Array, Mixture, family_of, probabilities

__all__ = ["CRITERIA", "Entry", "GapLaw", "log_decided", "score_of"]

_REJECTED = 1e9
"""More than any number of components."""
_MARGIN = 1.5
"""Safety factor on the gain of the gap law, which holds only if the model is true."""


@dataclass(frozen=True)
class Entry:
    """Scores of one candidate; criteria are in nats times two and lower is better.

    Attributes
    ----------
    n_components, covariance_type, n_parameters
        Description of the candidate.
    log_likelihood_per_row : float
        Over all rows, in nats.
    bic, aic, icl : float
        Criteria over all rows; the assignment term of ``icl`` is estimated from the sample.
    held_out_log_likelihood_per_row, held_out_standard_error : float
        Log-likelihood per held-out row, and its standard error. Held out are the rows outside
        the sample, under the fit to the sample; where the sample is all rows, each fold under a
        fit to the other folds. The hash of its index decides where a row belongs.
    held_out_gain_per_row, held_out_gain_standard_error : float or None
        Gain over the candidate before it in the family, from differences row by row; None for
        the family's first candidate.
    refined : bool
        Whether the candidate was fitted to all rows. Otherwise ``log_likelihood_per_row`` is
        that of its fit to the sample, or to a part of it: the candidate could not win.
    likelihood_ratio, p_value, is_rejected : float, float and bool, or None
        Of the test against the candidate after it (see :mod:`daskgmm.em.likelihood_ratio`), where
        tests decide and this candidate had one.
    """

    n_components: int
    covariance_type: str
    n_parameters: int
    log_likelihood_per_row: float
    bic: float
    aic: float
    icl: float
    held_out_log_likelihood_per_row: float
    held_out_standard_error: float
    held_out_gain_per_row: float | None
    held_out_gain_standard_error: float | None
    refined: bool
    likelihood_ratio: float | None = None
    p_value: float | None = None
    is_rejected: bool | None = None

    @classmethod
    def of(cls, mixture: Mixture, score: Score, held_out: float) -> Self:
        """Entry of a mixture that is not fitted to all rows yet."""
        return cls(
            n_components=mixture.n_components,
            covariance_type=family_of(mixture.kind),
            n_parameters=mixture.n_parameters,
            log_likelihood_per_row=score.log_likelihood_per_row,
            bic=score.bic,
            aic=score.aic,
            icl=score.icl,
            held_out_log_likelihood_per_row=held_out,
            held_out_standard_error=0.0,
            held_out_gain_per_row=None,
            held_out_gain_standard_error=None,
            refined=False,
        )

    def fitted(self, score: Score) -> Self:
        """The entry with the score of the fit to all rows."""
        return replace(
            self,
            log_likelihood_per_row=score.log_likelihood_per_row,
            bic=score.bic,
            aic=score.aic,
            icl=score.icl,
            refined=True,
        )

    def raised(self, weight: float, by: float) -> Self:
        """The entry with ``by`` added to each log-likelihood per row, as for other units of the data."""
        return replace(
            self.gained(weight, by),
            log_likelihood_per_row=self.log_likelihood_per_row + by,
            held_out_log_likelihood_per_row=self.held_out_log_likelihood_per_row + by,
        )

    def gained(self, weight: float, gain: float) -> Self:
        """The entry with its criteria at a log-likelihood per row that is higher by ``gain``."""
        shift = 2.0 * weight * gain
        return replace(self, bic=self.bic - shift, aic=self.aic - shift, icl=self.icl - shift)


CRITERIA: dict[str, Callable[[Entry], float]] = {
    "bic": lambda entry: entry.bic,
    "aic": lambda entry: entry.aic,
    "icl": lambda entry: entry.icl,
    "held-out": lambda entry: -entry.held_out_log_likelihood_per_row,
    # The fewest components that are not rejected; if all are rejected, the most.
    "bootstrap": lambda entry: (
        _REJECTED - entry.n_components if entry.is_rejected else entry.n_components
    ),
}
"""Criteria by name, each as a function of an entry that is to be minimised."""


@dataclass(frozen=True)
class GapLaw:
    """Upper estimate of the gain of candidates fitted to n rows when they are fitted to all N.

    Each free parameter gains about half the ``shortfall``. Parameters that a candidate shares
    with the leader gain the same for both, so only the others count: those beyond the leader's
    number for the same kind of components, all of them for another kind.

    Attributes
    ----------
    weight : float
        N, the sum of the weights of all rows.
    shortfall : float
        Twice the gain per parameter, in nats per row: ``1 / n - 1 / N`` for a log-likelihood
        that was measured on all rows, ``1 / n + 1 / N`` for one on held-out rows.
    seen_held_out : float
        Share of the gain that the final held-out score shows.
    """

    weight: float
    shortfall: float
    seen_held_out: float

    def which_can_win(
        self, entries: Sequence[Entry], criterion: str, slack: Callable[[int, int], float]
    ) -> list[bool]:
        """Which candidates a fit to all rows may bring ahead of the one that leads now.

        Parameters
        ----------
        entries : sequence of Entry
            Entries of the fits to n rows.
        criterion : str
        slack : callable
            ``slack(i, leader)`` is what candidate i may gain per row for other reasons, in nats;
            both arguments are indices into ``entries``.
        """
        value = CRITERIA[criterion]
        now = np.array([value(entry) for entry in entries])
        leader = int(np.argmin(np.where(np.isnan(now), np.inf, now)))  # NaN cannot lead
        lead = float(now[leader])
        return [
            i == leader or value(self._at_best(entry, entries[leader], slack(i, leader))) <= lead
            for i, entry in enumerate(entries)
        ]

    def _at_best(self, entry: Entry, leader: Entry, slack: float) -> Entry:
        extra = entry.n_parameters
        if entry.covariance_type == leader.covariance_type:
            extra = max(0, extra - leader.n_parameters)
        gap = _MARGIN * 0.5 * extra * self.shortfall
        held_out = entry.held_out_log_likelihood_per_row + self.seen_held_out * gap + slack
        grown = replace(entry, held_out_log_likelihood_per_row=held_out)
        return grown.gained(self.weight, gap + slack)


def score_of(scan: Scan, mixture: Mixture, per_row: float) -> Score:
    """Score of a mixture from its log-likelihood per row; assignments are judged on the sample."""
    n = scan.weight
    decided = weighted.mean(log_decided(scan.sample, mixture), scan.sample.weight)
    return Score(scan.n_rows, n, n * per_row, n * decided, mixture.n_parameters)


def log_decided(block: Block, mixture: Mixture) -> Float64Array:
    """Log probability of the likeliest class of each row, (n_rows,)."""
    logs: Float64Array = np.log(
        probabilities(block.x, mixture, block.measurement_noise).max(axis=1)
    )
    return logs
