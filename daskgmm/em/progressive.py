"""Progressive: fit nested samples in memory first, so that few full passes remain.

The optimum of a uniform sample of n rows lies about ``(p / 2)(1/n - 1/N)`` nats per
row below that of all N, p being the free parameters. Whatever EM does before it is
that near can be done on the sample, which costs no pass; and what tells good starts
from bad ones is far larger than that on a fraction of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from daskgmm.em.exchanges import with_exchanges
from daskgmm.em.history import StartsFitted
from daskgmm.em.loop import FitResult, run
from daskgmm.em.rows import InMemoryRows, rows_of_sample
from daskgmm.em.scan import Scan
from daskgmm.em.steppers import PlainEM, Surrogate
from daskgmm.em.stopping import statistical_tol, stop_rule_named
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Mixture, log_density
from daskgmm.kernel.families.base import Float64Array

__all__ = ["N_STARTS", "best_of_starts", "finished", "hopeless"]

N_STARTS = 10
"""Least starts that compete, on the smallest sample."""
_THINNINGS = (16, 4, 1)
_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE = 50, 12
"""Of each component: a covariance of so few is good enough to tell starts apart."""
_FIRST_EM_STEPS, _EM_STEPS, _EM_STEPS_AT_THE_END, _MAX_ITER = 15, 40, 20, 30
_COARSER = 10.0
"""What a climb that only tells starts apart may leave, in tenths of the sample's precision."""
_AT_REST = 1e-3
"""Of that: what is left of a climb that needs none of its first steps any more."""
_ERRORS = 2.0
"""Standard errors that a start must be behind to be dropped."""
_SAME = 0.01
"""Densities of one optimum, reached on two ways, differ by less than this share of their spread."""


def best_of_starts(
    scan: Scan,
    start_from: Callable[[Scan], Mixture],
    *,
    n_components: int,
    n_starts: int,
    n_kept: int,
    reg_covar: float,
    n_threads: int,
    exchanges: bool = True,
    tell: Callable[[StartsFitted], None] = lambda event: None,
) -> list[Mixture]:
    """Make and fit many starts on a thinned sample, and fit the best of them to ever more.

    Parameters
    ----------
    scan : Scan
    start_from : callable
        Makes another start each time, from a scan whose sample is thinned.
    n_components : int
    n_starts : int
        How many compete on the smallest sample; half of them on the next, and so on.
    n_kept : int
        Most that are left in the end.
    reg_covar : float
    n_threads : int
    exchanges : bool
        Whether components may change places, where no two starts found the same.
    tell : callable
        Told of each round.

    Returns
    -------
    list of Mixture
        The best first, and those that the sample does not tell from it: different
        optima of the same height, to two standard errors of the difference row by row.
        The first start as it was, where no fit to the sample succeeds.

    References
    ----------
    Biernacki, Celeux and Govaert (2003), Choosing starting values for the EM
    algorithm for getting the highest likelihood in multivariate Gaussian mixture models.
    """
    scans = [replace(scan, sample=np.ascontiguousarray(scan.sample[::t])) for t in _THINNINGS]
    enough = n_components * max(_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE * scan.sample.shape[1])
    scans = [s for s in scans[:-1] if _is_enough(s.sample, enough, n_components)] + scans[-1:]
    candidates = [start_from(scans[0]) for _ in range(n_starts)]
    first = candidates[0]
    most = n_starts
    is_settled = not exchanges or n_components < 3  # an exchange takes three
    for level, at in enumerate(scans):
        began = time.perf_counter()
        rows = rows_of_sample(at.sample, n_threads)
        last = level == len(scans) - 1
        n_fitted = len(candidates)
        if len(scans) == 1:
            candidates = _ahead_early(rows, candidates, n_kept, reg_covar)
        climbed = (climb(rows, m, reg_covar, to_the_end=last) for m in candidates)
        fits = [fit for fit in climbed if fit is not None]
        if not fits:
            return candidates[:1] or [first]
        most = n_kept if last else max(n_kept, most // 2)
        candidates, is_found_again = _leaders(rows, at.sample, fits)
        del candidates[most:]
        is_settled |= is_found_again
        if not (last or is_settled):
            better = with_exchanges(rows, candidates[0], reg_covar)
            # What is better on few rows need not be on all: both go on.
            candidates = [better, *(m for m in candidates if m is not better)]
        seconds = time.perf_counter() - began
        tell(StartsFitted(rows.n_rows, n_fitted, len(candidates), seconds))
    return candidates


def _ahead_early(
    rows: InMemoryRows, mixtures: list[Mixture], most: int, reg_covar: float
) -> list[Mixture]:
    """Those that are ahead after a few steps of EM, and the better half of them after a few more.

    Where the sample is too small to be thinned, all of it would be spent on a climb of each.
    """
    gap = stop_rule_named("gap")
    while len(mixtures) > most:
        fits = []
        for mixture in mixtures:
            with suppress(SingularComponentError):
                em = PlainEM(reg_covar)
                steps = _FIRST_EM_STEPS
                fits.append(run(rows, mixture, stepper=em, stop=gap, tol=0.0, max_iter=steps))
        fits.sort(key=lambda fit: -fit.log_likelihood)
        mixtures = [fit.mixture for fit in fits[: max(most, len(mixtures) // 2)]]
    return mixtures


def _is_enough(sample: Float64Array, n_rows: int, n_components: int) -> bool:
    return len(sample) >= n_rows and len(np.unique(sample, axis=0)) > 2 * n_components


def climb(
    rows: InMemoryRows, start: Mixture, reg_covar: float, *, to_the_end: bool
) -> FitResult | None:
    """To a tenth of the sample's own precision in the end; None where a component collapses.

    By EM as long as that is quick; what it leaves is the surrogate's work, which
    here, with all the rows at hand, is no surrogate. In a flat valley EM takes itself to be
    at the end long before: the surrogate has the last word where that matters.
    """
    tol = statistical_tol(start.n_parameters, rows.n_rows)
    gap = stop_rule_named("gap")
    em, exact = PlainEM(reg_covar), Surrogate.of_rows(reg_covar, rows)
    try:
        if to_the_end:
            fit = run(rows, start, stepper=em, stop=gap, tol=tol, max_iter=_EM_STEPS_AT_THE_END)
        else:
            tol *= _COARSER
            # The first steps are no measure of those to come, unless they have led to rest.
            rest = _AT_REST * tol
            fit = run(rows, start, stepper=em, stop=gap, tol=rest, max_iter=_FIRST_EM_STEPS)
            if not fit.converged:
                fit = run(rows, fit.mixture, stepper=em, stop=gap, tol=tol, max_iter=_EM_STEPS)
        if to_the_end or not fit.converged:
            fit = run(rows, fit.mixture, stepper=exact, stop=gap, tol=tol, max_iter=_MAX_ITER)
        fit.mixture.factors  # noqa: B018 (raises here, where there is a way back)
    except SingularComponentError:
        return None
    return fit


def finished(rows: InMemoryRows, mixture: Mixture, reg_covar: float) -> Mixture:
    """A mixture fitted to some of the rows, fitted to all; as it was where that fails."""
    fit = climb(rows, mixture, reg_covar, to_the_end=True)
    return mixture if fit is None else fit.mixture


def _leaders(
    rows: InMemoryRows, sample: Float64Array, fits: Sequence[FitResult]
) -> tuple[list[Mixture], bool]:
    """The best, and others that are neither worse than it, to what the sample tells, nor it.

    And whether the best was found more than once.
    """
    ranked = sorted(fits, key=lambda fit: -fit.log_likelihood)
    leaders = [ranked[0].mixture]
    densities = [_densities(rows, ranked[0].mixture)]
    is_found_again = False
    for fit in ranked[1:]:
        mine = _densities(rows, fit.mixture)
        behind = densities[0] - mine
        error = float(behind.std()) / np.sqrt(len(sample))
        if float(behind.mean()) > _ERRORS * error:
            continue
        is_same = [float((d - mine).std()) <= _SAME * float(d.std()) for d in densities]
        is_found_again |= is_same[0]
        if not any(is_same):
            leaders.append(fit.mixture)
            densities.append(mine)
    return leaders, is_found_again


def _densities(rows: InMemoryRows, mixture: Mixture) -> Float64Array:
    return rows.map(_log_density, mixture, dtype=np.float64, columns=None)


def _log_density(x: Float64Array, start: int, mixture: Mixture) -> Float64Array:
    return log_density(x, mixture)


def hopeless(results: Sequence[FitResult]) -> list[bool]:
    """Which fits will, by their own estimates, not even reach what the best has now."""
    best = max(result.log_likelihood for result in results)
    return [result.log_likelihood + result.history[-1].remaining_gain < best for result in results]
