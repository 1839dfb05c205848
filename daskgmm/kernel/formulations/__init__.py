"""Formulations: ways to compute the same E-step, chosen by what they cost.

All give the same numbers up to rounding. A formulation is made for one mixture and
one thread; it absorbs rows, or gives their log densities by sub-blocks. To
add one, write a class with :class:`Formulation`'s methods and a row in
``CANDIDATES``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.families.base import Float64Array
from daskgmm.kernel.formulations.compiled import Compiled
from daskgmm.kernel.formulations.natural import Natural
from daskgmm.kernel.formulations.shared import Shared
from daskgmm.kernel.formulations.whitened import Whitened
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = ["CANDIDATES", "Formulation", "formulation_of"]


class Formulation(Protocol):
    """Log densities and statistics of sub-blocks under one mixture."""

    name: ClassVar[str]
    offset: float
    """The highest weighted density at a mean, log; no row is above it."""

    def __init__(self, mixture: Mixture) -> None: ...

    @classmethod
    def cost(cls, mixture: Mixture) -> float:
        """Estimated nanoseconds for a row, of one thread; infinite where it does not apply.

        Only ratios matter. A formulation that would lose digits on this mixture does
        not apply.
        """
        ...

    def joint(self, x_t: Float64Array) -> Float64Array:
        """``log w_k + log N(x_i | mu_k, Sigma_k) - offset``, shape (K, n), of rows (D, n).

        The result is scratch: it holds until the next call.
        """
        ...

    def absorb(self, x: NDArray[Any]) -> float:
        """Add rows (n, D) to the statistics; return their log-likelihood."""
        ...

    def statistics(self, n_rows: int, log_likelihood: float) -> Statistics:
        """Statistics of all rows added, about the mixture's means."""
        ...


CANDIDATES: tuple[type[Formulation], ...] = (Compiled, Natural, Shared, Whitened)


def formulation_of(mixture: Mixture) -> Formulation:
    """The cheapest formulation that keeps its digits on this mixture.

    Raises
    ------
    SingularComponentError
        If a covariance cannot be factored.
    """
    return _cheapest(mixture)(mixture)


@lru_cache(maxsize=16)  # a mixture is asked about once for every grain
def _cheapest(mixture: Mixture) -> type[Formulation]:
    costs = [candidate.cost(mixture) for candidate in CANDIDATES]
    return CANDIDATES[int(np.argmin(costs))]
