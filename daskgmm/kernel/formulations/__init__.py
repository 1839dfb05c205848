"""Formulations: ways to compute the same E-step, chosen by what they cost.

All give the same numbers up to rounding. A formulation is made for one mixture and
the dtype of its arithmetic, and shared by threads; a block is given whole for its
statistics, or by sub-blocks to an evaluation for log densities. To add one, write a
class with :class:`Formulation`'s methods and a row in ``CANDIDATES``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import loops
from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Components, SharesWhitening
from daskgmm.kernel.formulations.compiled import CompiledNatural, CompiledWhitened
from daskgmm.kernel.formulations.compiled_tailed import (
    CompiledTailedNatural,
    CompiledTailedWhitened,
)
from daskgmm.kernel.formulations.direct import Direct
from daskgmm.kernel.formulations.natural import Natural
from daskgmm.kernel.formulations.shared import Shared
from daskgmm.kernel.formulations.sub_blocked import Evaluation
from daskgmm.kernel.formulations.tailed import Tailed
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.statistics import Statistics

__all__ = [
    "CANDIDATES",
    "Formulation",
    "formulation_by_cell_of",
    "formulation_of",
    "linear_formulation_of",
]


class Formulation(Protocol):
    """Log densities and statistics of rows under one mixture. Immutable."""

    name: ClassVar[str]
    dtypes: ClassVar[tuple[np.dtype[Any], ...]]
    """Dtypes in which it can do the arithmetic on single rows."""

    def __init__(self, mixture: Mixture, dtype: np.dtype[Any]) -> None: ...

    @classmethod
    def cost(cls, law: type[Components], k: int, d: int, dtype: np.dtype[Any]) -> float:
        """Estimated nanoseconds for a row of D features under K components of a kind.

        It is of one thread, and only ratios matter.

        Infinite where this kind of components, or a build without loops, rules it out.
        """
        ...

    @classmethod
    def applies(cls, mixture: Mixture, dtype: np.dtype[Any]) -> bool:
        """Whether it keeps its digits on this mixture, with arithmetic in this dtype.

        Asked only where the cost is finite.
        """
        ...

    def evaluation(self) -> Evaluation:
        """A new evaluation, which takes sub-blocks one after the other on one thread."""
        ...

    def statistics(self, block: Block, log_density: Float64Array | None = None) -> Statistics:
        """Statistics of a block of rows, of which those of weight 0 add nothing.

        The log density of each row, in nats and to the precision of the arithmetic, is written
        into ``log_density`` (n,) if that is given.
        """
        ...

    def log_densities(self, x: NDArray[Any]) -> Float64Array:
        """Log density of each row of a block (n, D), in nats, float64."""
        ...


CANDIDATES: tuple[type[Formulation], ...] = (
    CompiledNatural,
    CompiledWhitened,
    Natural,
    Shared,
    CompiledTailedNatural,
    CompiledTailedWhitened,
    Tailed,
    Direct,
)


T = TypeVar("T")
F = TypeVar("F", bound=Formulation)

_LARGE = 1 << 13
"""K D^2 above which few formulations are kept, so that they stay within the memory plan."""


def _kept(
    make: Callable[[Mixture, np.dtype[Any]], T],
) -> Callable[[Mixture, np.dtype[Any]], T]:
    """Cache ``make``, which is called once for every grain, by all threads."""
    many, few = lru_cache(maxsize=128)(make), lru_cache(maxsize=8)(make)

    @wraps(make)
    def kept(mixture: Mixture, dtype: np.dtype[Any]) -> T:
        is_large = mixture.n_components * mixture.n_features**2 > _LARGE
        return (few if is_large else many)(mixture, dtype)

    return kept


@_kept
def formulation_of(mixture: Mixture, dtype: np.dtype[Any]) -> Formulation:
    """The cheapest formulation that keeps its digits on this mixture.

    Parameters
    ----------
    mixture : Mixture
    dtype : dtype
        Narrowest dtype of the arithmetic, float32 or float64; a wider one is used where the
        mixture needs it.

    Raises
    ------
    SingularComponentError
        If a covariance cannot be factored.
    """
    found = _cheapest(CANDIDATES, mixture, dtype)
    assert found is not None, "one of them applies to every mixture"
    chosen, arithmetic = found
    return chosen(mixture, arithmetic)


@_kept
def linear_formulation_of(mixture: Mixture, dtype: np.dtype[Any]) -> Natural | None:
    """The cheapest formulation of linear sums; None if none keeps its digits.

    Only components of one common covariance have such sums, and only where responsibilities sum
    to 1, without noise; see :mod:`daskgmm.kernel.linear_sums`.
    """
    if not isinstance(mixture.components, SharesWhitening) or mixture.noise is not None:
        return None
    kinds: tuple[type[Natural], ...] = (CompiledNatural, Natural)
    found = _cheapest(kinds, mixture, dtype, scatter_known=True)
    if found is None:
        return None
    chosen, arithmetic = found
    return chosen(mixture, arithmetic, scatter_known=True)


@_kept
def formulation_by_cell_of(
    mixture: Mixture, dtype: np.dtype[Any]
) -> CompiledNatural | CompiledWhitened | None:
    """The cheapest formulation that takes rows in cells and keeps its digits; None if none does.

    See :mod:`daskgmm.kernel.truncated`.
    """
    kinds: tuple[type[CompiledNatural | CompiledWhitened], ...]
    kinds = (CompiledNatural, CompiledWhitened)
    found: tuple[type[CompiledNatural | CompiledWhitened], np.dtype[Any]] | None
    found = _cheapest(kinds, mixture, dtype)
    if found is None:
        return None
    chosen, arithmetic = found
    return chosen(mixture, arithmetic)


def _cheapest(
    candidates: Sequence[type[F]], mixture: Mixture, dtype: np.dtype[Any], **how: Any
) -> tuple[type[F], np.dtype[Any]] | None:
    """The cheapest candidate that applies, and its dtype; None if none does.

    Of wide mixtures, to find whether one applies takes longer than a pass over few rows. So the
    cheap ones are asked first, and the others not at all.
    """
    law, (k, d) = type(mixture.components), mixture.means.shape
    possible = _possible(tuple(candidates), law, k, d, dtype, loops.VARIANT, **how)
    return next(((c, wide) for c, wide in possible if c.applies(mixture, wide, **how)), None)


@lru_cache(maxsize=32)  # asked for with every mixture, and the same for all of a fit
def _possible(
    candidates: tuple[type[F], ...],
    law: type[Components],
    k: int,
    d: int,
    dtype: np.dtype[Any],
    variant: str | None,
    **how: Any,
) -> tuple[tuple[type[F], np.dtype[Any]], ...]:
    """Candidates of finite cost, the cheapest first, each with a dtype.

    Costs depend on the ``variant`` of the compiled loops as well, and are asked for anew when a
    test has changed it.
    """
    costs = {
        (c, wide): c.cost(law, k, d, wide, **how) for c in candidates for wide in _allowed(c, dtype)
    }
    finite = (pair for pair in costs if np.isfinite(costs[pair]))
    return tuple(sorted(finite, key=costs.__getitem__))


def _allowed(candidate: type[Formulation], dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
    """Dtypes of a candidate that are at least as wide as ``dtype``."""
    return [d for d in candidate.dtypes if d.itemsize >= dtype.itemsize]
