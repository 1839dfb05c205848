"""Progressive: fit nested samples in memory first, so that few full passes remain.

The optimum of a uniform sample of n rows lies about ``(p / 2)(1/n - 1/N)`` nats per
row below that of all N, p being the free parameters. Whatever EM does before it is
that near can be done on the sample, which costs no pass; and what tells good starts
from bad ones is far larger than that on a fraction of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from daskgmm.em.loop import FitResult, run
from daskgmm.em.rows import InMemoryRows
from daskgmm.em.scan import Scan
from daskgmm.em.steppers import PlainEM
from daskgmm.em.stopping import stop_rule_named
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Mixture
from daskgmm.kernel.families.base import Float64Array

__all__ = ["N_STARTS", "best_of_starts"]

N_STARTS = 10
"""Least starts that compete, on the smallest sample."""
_THINNINGS = (16, 4, 1)
_ROWS_PER_PARAMETER = 20
_MAX_ITER = 200


def best_of_starts(
    scan: Scan,
    start_from: Callable[[Scan], Mixture],
    *,
    n_components: int,
    n_starts: int,
    reg_covar: float,
    n_threads: int,
) -> Mixture:
    """Make and fit many starts on a thinned sample, and fit the best of them to ever more.

    Parameters
    ----------
    scan : Scan
    start_from : callable
        Makes another start each time, from a scan whose sample is thinned.
    n_components : int
    n_starts : int
        How many compete; the highest log-likelihood goes on.
    reg_covar : float
    n_threads : int

    Returns
    -------
    Mixture
        The first start as it was, where no fit to the sample succeeds.

    References
    ----------
    Biernacki, Celeux and Govaert (2003), Choosing starting values for the EM
    algorithm for getting the highest likelihood in multivariate Gaussian mixture models.
    """
    scans = [replace(scan, sample=np.ascontiguousarray(scan.sample[::t])) for t in _THINNINGS]
    first = start_from(scan)
    enough = _ROWS_PER_PARAMETER * first.n_parameters
    scans = [s for s in scans[:-1] if _is_enough(s.sample, enough, n_components)] + scans[-1:]
    candidates = [first, *(start_from(scans[0]) for _ in range(n_starts - 1))]
    rows = [InMemoryRows(s.sample, n_threads=n_threads) for s in scans]
    fits = [fit for start in candidates if (fit := _fit(rows[0], start, reg_covar)) is not None]
    if not fits:
        return first
    best = max(fits, key=lambda fit: fit.log_likelihood).mixture
    for more in rows[1:]:
        fit = _fit(more, best, reg_covar)
        best = best if fit is None else fit.mixture
    return best


def _is_enough(sample: Float64Array, n_rows: int, n_components: int) -> bool:
    return len(sample) >= n_rows and len(np.unique(sample, axis=0)) > 2 * n_components


def _fit(rows: InMemoryRows, start: Mixture, reg_covar: float) -> FitResult | None:
    """EM to a tenth of the sample's own precision; None where a component collapses."""
    try:
        return run(
            rows,
            start,
            stepper=PlainEM(reg_covar),
            stop=stop_rule_named("gap"),
            tol=0.1 * start.n_parameters / (2 * rows.n_rows),
            max_iter=_MAX_ITER,
        )
    except SingularComponentError:
        return None
