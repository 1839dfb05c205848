"""Likelihood ratios: whether more components gain more than chance lets them.

Where rows are of K components, twice the gain in log-likelihood by one more has no chi-square
distribution, because the parameters of a component that is not there are not identified. McLachlan
(1987) takes its distribution from rows that are drawn from the fitted mixture of K components and
are fitted again with both numbers. Candidates are held against the next larger one, from the
fewest components on, and the first that is not rejected is chosen (mclust does the same).

A gain of N rows grows with N, so that it says nothing beside gains of fewer rows. The rows of the
test are therefore :data:`MOST_ROWS` of the scan's sample at most, of least hash, and each replicate
has as many: the gain and what it is compared with are of the same number of rows, and a test takes
the same time and memory for any number of rows in all. What so many rows cannot tell apart, such as
a component of a few of them, the test does not find.

The search for the mixture of more components is the same on the rows and on each replicate: from the
smaller fit with the component divided that gains most by it, and from a new start. It is shorter
than that of a fit, whose many starts find spurious optima on small samples. A search that misses
the highest likelihood misses it on both sides: it costs power, and not the level of the test.

References
----------
McLachlan (1987), On bootstrapping the likelihood ratio test statistic for the number of components
in a normal mixture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from daskgmm.em.problem import Problem
from daskgmm.em.rows import InMemoryRows, rows_of_sample, statistics_of
from daskgmm.em.scan import Scan, scan_rows
from daskgmm.em.starts import Climber, StartMaker, can_exchange, with_one_more
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Block, Mixture, hash_rows
from daskgmm.kernel.blas import single_thread
from daskgmm.telling import Event, Message

__all__ = ["MOST_ROWS", "BootstrapPlan", "RatioTest", "ratio_tests"]

MOST_ROWS = 10_000
"""Rows of a test, and of each of its replicates, at most."""

Candidate = tuple[Problem, Mixture]
"""What is fitted, and its fit to the sample."""


@dataclass(frozen=True)
class BootstrapPlan:
    """What tests are asked for.

    Attributes
    ----------
    level : float
        Largest p-value at which fewer components are rejected.
    n_replicates : int
        How many, B. A p-value is ``(1 + c) / (1 + B)``, c of them being at least as far.
    seed : int
        It decides rows and replicates, whatever the number of threads or workers.
    """

    level: float
    n_replicates: int
    seed: int


@dataclass(frozen=True)
class RatioTest:
    """A candidate against the next larger one.

    Attributes
    ----------
    likelihood_ratio : float
        Twice the gain in log-likelihood of the rows of the test, in nats.
    p_value : float
        Probability of one as large where the rows are of the smaller candidate.
    is_rejected : bool
        Whether the smaller candidate is.
    """

    likelihood_ratio: float
    p_value: float
    is_rejected: bool


def ratio_tests(
    candidates: Sequence[Candidate],
    scan: Scan,
    plan: BootstrapPlan,
    tell: Callable[[Event], None],
) -> list[RatioTest]:
    """Tests from the fewest components on, until one does not reject.

    Parameters
    ----------
    candidates : sequence of pairs
        Of one kind, with ever more components.
    scan : Scan
    plan : BootstrapPlan
    tell : callable
        Called with a message after each test.

    Returns
    -------
    list of RatioTest
        One for each candidate that was held against the next; all but the last one reject.
    """
    rows, found = _rows_of_test(scan.sample, plan.seed), list[RatioTest]()
    with single_thread():
        for number in range(len(candidates) - 1):
            (problem, mixture), (larger, _) = candidates[number : number + 2]
            began = time.perf_counter()
            one = _tested(rows, problem, mixture, larger, replace(plan, seed=plan.seed + number))
            found.append(one)
            tell(
                Message(
                    f"{problem.name} components against {larger.n_components}: likelihood ratio "
                    f"{one.likelihood_ratio:.4g}, p = {one.p_value:.3g}, by {plan.n_replicates} "
                    f"replicates of {len(rows):,} rows in {time.perf_counter() - began:.1f} s"
                )
            )
            if not one.is_rejected:
                break
    return found


def _rows_of_test(sample: Block, seed: int) -> Block:
    """The rows of a sample that tests are of: all, or those of least hash."""
    if len(sample) <= MOST_ROWS:
        return sample
    order = np.argsort(hash_rows(0, len(sample), seed), kind="stable")
    return sample.take(np.sort(order[:MOST_ROWS]))


def _tested(
    rows: Block, smaller: Problem, start: Mixture, larger: Problem, plan: BootstrapPlan
) -> RatioTest:
    null, observed = _compared(rows, smaller, start, larger, plan.seed)
    n_beyond = 0
    for seed in hash_rows(0, plan.n_replicates, plan.seed).tolist():
        drawn = _drawn_like(rows, null, np.random.default_rng(seed))
        n_beyond += _compared(drawn, smaller, null, larger, seed)[1] >= observed
    p_value = (1 + n_beyond) / (1 + plan.n_replicates)
    return RatioTest(observed, p_value, p_value <= plan.level)


def _drawn_like(rows: Block, mixture: Mixture, rng: np.random.Generator) -> Block:
    """As many rows drawn from a mixture, with gaps where the rows have them."""
    counts = rng.multinomial(len(rows), mixture.probabilities_of_classes)
    x = rng.permutation(mixture.sample(rng, counts))
    if rows.has_gaps:
        x = np.where(np.isnan(rows.x), np.nan, x)
    return replace(rows, x=x)


def _compared(
    rows: Block, smaller: Problem, start: Mixture, larger: Problem, seed: int
) -> tuple[Mixture, float]:
    """The fit of the smaller candidate to some rows, and twice the gain by the larger one."""
    scan = scan_rows(InMemoryRows.of(rows), len(rows), 0)
    own = Climber(rows_of_sample(scan.sample, smaller.n_threads), smaller.prior_on(scan))
    null = own.finished(start)
    more = Climber(own.rows, larger.prior_on(scan))
    heights = [_log_likelihood(own, null)]
    for fit in _larger_fits(scan, more, null, larger, seed):
        with suppress(SingularComponentError):
            heights.append(_log_likelihood(own, more.finished(fit)))
    return null, 2.0 * (max(heights) - heights[0])


def _larger_fits(
    scan: Scan, sample: Climber, null: Mixture, problem: Problem, seed: int
) -> list[Mixture]:
    """Mixtures of more components to go on from: the smaller one divided, and a new start."""
    grown = _divided(sample, null, problem)
    rng = np.random.RandomState(seed % 2**32)
    uniform = problem.uniform_on(scan)
    maker = StartMaker(
        problem.n_components, problem.kind, sample.prior, rng, problem.given, uniform
    )
    return [*grown, maker.start(scan.completed, problem.init_params)]


def _divided(sample: Climber, null: Mixture, problem: Problem) -> list[Mixture]:
    """The smaller fit with components divided until there are enough; empty where none can be."""
    if not can_exchange(problem.kind) or sample.rows.block.has_gaps:
        return []
    grown: Mixture | None = null
    while grown is not None and grown.n_components < problem.n_components:
        try:
            grown = with_one_more(sample, grown)
        except SingularComponentError:
            return []
    return [] if grown is None else [grown]


def _log_likelihood(sample: Climber, mixture: Mixture) -> float:
    found = statistics_of(sample.rows, mixture)
    return found.weight * found.log_likelihood_per_row
