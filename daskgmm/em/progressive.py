"""Progressive: fit nested samples in memory first, so that few full passes remain.

The optimum of a uniform sample of n rows lies about ``(p / 2)(1/n - 1/N)`` nats per
row below that of all N, p being the free parameters. Whatever EM does before it is
that near can be done on the sample, which costs no pass; and what tells good starts
from bad ones is far larger than that on a fraction of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from daskgmm.em.loop import FitResult, run
from daskgmm.em.rows import InMemoryRows
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
    sample: Float64Array,
    starts: Callable[[], Mixture],
    *,
    n_starts: int,
    reg_covar: float,
    n_threads: int,
) -> Mixture:
    """Fit many starts to a thinned sample, and the best of them to ever more of it.

    Parameters
    ----------
    sample : array of shape (n, D)
        Uniform rows; every 16th and every 4th of them are uniform too.
    starts : callable
        Makes another start each time.
    n_starts : int
        How many compete; the highest log-likelihood goes on.
    reg_covar : float
    n_threads : int

    Returns
    -------
    Mixture
        The best start as it was, where no fit to the sample succeeds.

    References
    ----------
    Biernacki, Celeux and Govaert (2003), Choosing starting values for the EM
    algorithm for getting the highest likelihood in multivariate Gaussian mixture models.
    """
    candidates = [starts() for _ in range(n_starts)]
    enough = _ROWS_PER_PARAMETER * candidates[0].n_parameters
    thinned = [sample[::step] for step in _THINNINGS if step == 1 or len(sample) // step >= enough]
    rows = [InMemoryRows(np.ascontiguousarray(x), n_threads=n_threads) for x in thinned]
    fits = [fit for start in candidates if (fit := _fit(rows[0], start, reg_covar)) is not None]
    if not fits:
        return candidates[0]
    best = max(fits, key=lambda fit: fit.log_likelihood).mixture
    for more in rows[1:]:
        fit = _fit(more, best, reg_covar)
        best = best if fit is None else fit.mixture
    return best


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
