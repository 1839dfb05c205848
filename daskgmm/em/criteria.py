"""Criteria: what is known of candidates, and which of them may still be the best.

A fit to some rows lies below one to all of them by what the gap law says of its free
parameters; what a candidate may gain by it decides whether to go on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from daskgmm.em import weighted
from daskgmm.em.evaluate import Score
from daskgmm.em.scan import Scan
from daskgmm.kernel import Block, Float64Array, Mixture, responsibilities

__all__ = ["CRITERIA", "Entry", "GapLaw", "log_decided", "score_of"]

_MARGIN = 1.5
"""Times the gap law that a fit to all rows may gain on a fit to some, where no model is true."""


@dataclass(frozen=True)
class Entry:
    """What is known of one candidate; criteria in nats times two, lower is better.

    Attributes
    ----------
    n_components, covariance_type, n_parameters
        Of the candidate.
    log_likelihood_per_row : float
        Over all rows, in nats.
    bic, aic, icl : float
        ``icl`` takes how decided assignments are from the sample.
    held_out_log_likelihood_per_row, held_out_standard_error : float
        Of rows that it was not fitted to, which are decided by their hash: those outside the
        sample, under the candidate as fitted to the sample; where the sample is all rows, of
        folds, each under a fit to the others.
    held_out_gain_per_row, held_out_gain_standard_error : float or None
        Over the next fewer components of the family, of the same rows one by one; None for
        the fewest.
    refined : bool
        Whether it was fitted to all rows. Of the others ``log_likelihood_per_row`` is that of
        where they began, a fit to the sample or to a part of it: they could not win.
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

    @classmethod
    def of(cls, mixture: Mixture, score: Score, held_out: float) -> Self:
        """Of a mixture that was not fitted to all rows yet."""
        return cls(
            n_components=mixture.n_components,
            covariance_type=mixture.kind,
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
        """With what the fit to all rows came to."""
        return replace(
            self,
            log_likelihood_per_row=score.log_likelihood_per_row,
            bic=score.bic,
            aic=score.aic,
            icl=score.icl,
            refined=True,
        )

    def gained(self, weight: float, gain: float) -> Self:
        """With the criteria as if the log-likelihood per row were higher by a gain."""
        shift = 2.0 * weight * gain
        return replace(self, bic=self.bic - shift, aic=self.aic - shift, icl=self.icl - shift)


CRITERIA: dict[str, Callable[[Entry], float]] = {
    "bic": lambda entry: entry.bic,
    "aic": lambda entry: entry.aic,
    "icl": lambda entry: entry.icl,
    "held-out": lambda entry: -entry.held_out_log_likelihood_per_row,
}
"""What is made as small as possible."""


@dataclass(frozen=True)
class GapLaw:
    """What fits to some rows may gain by one to all rows.

    Parameters that the leader has, too, gain the same for both, so that only the others count:
    of its kind those beyond its number, of another kind all.

    Attributes
    ----------
    weight : float
        N, the sum of the weights of all rows.
    shortfall : float
        What the gap law multiplies by p / 2: how far in nats per row a fit to n rows is below
        one to all N. ``1 / n - 1 / N`` where all rows measure it, ``1 / n + 1 / N`` where rows do
        that it was not fitted to.
    seen_held_out : float
        Share of it that the held-out score gains in the end.
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
            As fitted to some rows.
        criterion : str
        slack : callable
            What a candidate may be better by per row, beside the leader, for other reasons; given
            where the two are in ``entries``.
        """
        value = CRITERIA[criterion]
        now = np.array([value(entry) for entry in entries])
        leader = int(np.argmin(np.where(np.isnan(now), np.inf, now)))  # no number leads nothing
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
    """Of a log-likelihood per row of all rows, and what the sample tells of assignments."""
    n = scan.weight
    decided = weighted.mean(log_decided(scan.sample, mixture), scan.sample.weight)
    return Score(scan.n_rows, n, n * per_row, n * decided, mixture.n_parameters)


def log_decided(block: Block, mixture: Mixture) -> Float64Array:
    """Log responsibility of the likeliest component of each row, (n_rows,)."""
    logs: Float64Array = np.log(responsibilities(block.x, mixture).max(axis=1))
    return logs
