"""Early start: a start that is known before the first read, which is then the first pass as well.

Starts compete on a few dozen runs of rows instead of a sample of all rows. From an optimum of n
rows that are like all N, one step with the gradient of all rows leads to within what N rows can
tell (the one-step estimator of Le Cam 1956). But rows of one run may be like each other, and rows
that no run has met may be unlike them. So the sample of all rows, which the first read brings, is
asked whether the start was a good one; if not, the fit goes on from starts on that sample.
"""

from __future__ import annotations

import math

import numpy as np

from daskgmm.em.missing import RowsWithGaps
from daskgmm.em.problem import GAPS, Problem
from daskgmm.em.rows import Rows, rows_of_sample
from daskgmm.em.scan import MOST_FOR_STARTS, EarlyStart, Scan, scan_of_pieces
from daskgmm.em.starting import Tell, competed, starts_of
from daskgmm.em.starts.assign import StartMaker
from daskgmm.em.starts.climbs import ALIKE, Climber, densities_of, displaced
from daskgmm.errors import DaskGMMError
from daskgmm.kernel import Coordinates, Mixture
from daskgmm.kernel.blas import single_thread

__all__ = ["early_start", "rivals_of"]

_SHARE = 0.05
"""Share of the rows on which starts compete."""
_ROWS_PER_PARAMETER = 30
"""Least number of rows for each free parameter. From the optimum of fewer rows, one step does not lead
near enough to the optimum of all rows."""
_MOST_OF_SAMPLE = 0.5
"""Most rows, as a share of the scan's sample, among which starts compete: with more, this search would cost
as much as the one on the sample. Of a larger sample all others are for the best start alone."""
_NEAR = 0.25
"""Largest distance between where the step has led and the sample's optimum near it, at which the step
is trusted. It is the largest change of a logarithm of a weight, or of a mean or deviation in standard
deviations. Where the likelihood is flat the distance is larger, and slow steps would have to close it.
"""
_MOST_AHEAD = 2.0
"""How much higher than where the step has led the sample's optimum may be, measured on the sample, in
units of the gain from such an optimum that is expected on all rows. On the sample, the optimum of all
rows is about 1 below the sample's. At 2, where the step has led is as far below the optimum of all
rows, measured on all rows, as the sample's optimum is."""


def early_start(
    rows: Rows, problem: Problem, rng: np.random.RandomState, n_sampled: int
) -> EarlyStart | None:
    """A start from a few dozen runs of rows.

    Parameters
    ----------
    rows : Rows
    problem : Problem
    rng : RandomState
        It is not advanced, so that nothing else depends on whether there is an early start.
    n_sampled : int
        Rows that the sample of the scan is to hold, about.

    Returns
    -------
    EarlyStart or None
        None if the problem does not leave the start open, if there are too few rows for one step
        to lead far enough, if reading them would cost much of a pass, or if they differ too little
        for starts to be made.
    """
    if not problem.may_start_early:
        return None
    p = problem.count_parameters(rows.n_features)
    most = max(int(_MOST_OF_SAMPLE * n_sampled), n_sampled - MOST_FOR_STARTS)
    n_wanted = min(math.ceil(_SHARE * rows.n_rows), most)
    n_wanted = max(n_wanted, _ROWS_PER_PARAMETER * p)
    if n_wanted > most or n_sampled >= rows.n_rows:
        return None
    own = np.random.RandomState()
    own.set_state(rng.get_state())
    read = rows.pieces(n_wanted, int(own.randint(2**31 - 1)))
    if read is None or len(block := read.present()) < _ROWS_PER_PARAMETER * p:
        return None
    if block.has_gaps:  # starts work on values
        return None
    # How many of all rows have gaps is not known yet; the share among the rows read stands for it.
    share = len(block) / len(read) if isinstance(rows, RowsWithGaps) else 1.0
    # The rows of a run may be alike, and parts of a sample should not be.
    block = block.take(own.permutation(len(block)))
    scan = scan_of_pieces(block, rows.n_rows, share * rows.total_weight)
    # Starts of fewer distinct rows than components would be warned of, and there are no more rows.
    few = block.x[: 16 * problem.n_components]
    if scan is None or len(np.unique(few, axis=0)) < problem.n_components:
        return None
    maker = StartMaker(problem.n_components, problem.kind, problem.prior_on(scan), own)
    try:
        with single_thread():
            found = competed(problem, scan, maker)
            found.best[0].check()
    except DaskGMMError:  # starts on the scan's sample may succeed, or else raise their own
        return None
    return EarlyStart(found.best[0], block.total_weight, found.is_found_often)


def rivals_of(
    stepped: Mixture, scan: Scan, problem: Problem, rng: np.random.RandomState, tell: Tell
) -> tuple[list[Mixture], bool]:
    """Starts from the scan's sample that may lead higher or sooner than its early start.

    Parameters
    ----------
    stepped : Mixture
        Where the first step from the early start has led.
    scan : Scan
        The scan, which holds the early start.
    problem : Problem
    rng : RandomState
    tell : callable

    Returns
    -------
    rivals : list of Mixture
        Without the best start on the sample if that is lower there, or at the same place as
        ``stepped`` and no better; others are there only where several starts are to go on.
    are_better : bool
        Whether the best rival is probably nearer to the optimum of all rows than ``stepped`` is, or
        reaches it in fewer passes.
    """
    early, sample = scan.early, rows_of_sample(scan.sample, problem.n_threads)
    assert early is not None
    p, n = stepped.n_parameters, scan.sample.total_weight
    climber = Climber(sample, problem.prior_on(scan))
    with single_thread():
        before, after = (climber.height(m) for m in (early.mixture, stepped))
        # An optimum of m other rows is expected to lie p / (2 m) below that of all rows; the rest
        # is the sample's own noise.
        is_like = after - before <= GAPS * 0.5 * p * (1.0 / early.weight + 1.0 / n)
        near = None
        if early.is_found_often and is_like and problem.n_init == 1:
            near = climber.finished(stepped)
        rivals = starts_of(problem, scan, rng, tell) if near is None else [near]
        ahead = climber.height(rivals[0]) - after
        if ahead > _MOST_AHEAD * problem.expected_gain_on(scan):
            return rivals, True
        if ahead > 0:
            near = climber.finished(stepped) if near is None else near
            if not _is_near(stepped, near):
                return rivals, True
        ours, theirs = (densities_of(sample, m) for m in (stepped, rivals[0]))
    is_same = displaced(ours, theirs, scan.sample.weight, problem.n_components) <= ALIKE
    return rivals[1:] if is_same or ahead < 0 else rivals, False


def _is_near(stepped: Mixture, optimum: Mixture) -> bool:
    coordinates = Coordinates(stepped)
    moved = coordinates.vector(optimum) / coordinates.widths
    return bool(np.abs(moved).max() <= _NEAR)
