"""Compiled: the natural form, fused by Numba. Optional: the extra ``numba``.

The sums are those of :mod:`daskgmm.kernel.formulations.natural`, on runs of rows
short enough that products, densities and responsibilities never leave the first
caches, in loops that hold a tile of both factors in registers. The interpreter lock
is released for the whole block, so that threads scale where a block is many short
NumPy calls. NumPy stays the reference, and what is used where Numba is not there.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.formulations.natural import Natural, n_products
from daskgmm.kernel.mixture import Mixture

absorb_rows: Callable[..., Any] | None
try:
    from daskgmm.kernel.formulations.fused import absorb_rows, can_be_kept, is_kept
except ImportError:  # Numba is an optional extra
    absorb_rows = None

__all__ = ["Compiled", "warm_up"]


class Compiled(Natural):
    """One compiled loop over the rows of a block; rows of results are Natural's."""

    name: ClassVar[str] = "compiled"

    def __init__(self, mixture: Mixture) -> None:
        super().__init__(mixture)
        d = mixture.n_features
        pairs = [
            np.broadcast_arrays(np.arange(d)[first], np.arange(d)[second])
            for first, second in mixture.family.runs(d)
        ]
        self._first_of = np.concatenate([first for first, _ in pairs])
        self._second_of = np.concatenate([second for _, second in pairs])

    @classmethod
    def cost(cls, mixture: Mixture) -> float:
        """Fitted to measurements; infinite without Numba, and where Natural is."""
        if absorb_rows is None or not np.isfinite(super().cost(mixture)):
            return np.inf
        k, d = mixture.n_components, mixture.n_features
        p = n_products(mixture.family.runs(d)) + d
        return p * (0.5 + 0.09 * k)

    def absorb(self, x: NDArray[Any]) -> float:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        assert absorb_rows is not None
        d = self.mixture.n_features
        if x.dtype not in (np.float32, np.float64):
            x = x.astype(np.float64)
        coefficients = np.concatenate([self._quadratic, self._linear], axis=1)
        sums = np.zeros_like(coefficients)
        log_likelihood = absorb_rows(
            np.ascontiguousarray(x),
            self._centre,
            np.broadcast_to(1.0 / self._scale, (d,)).copy(),
            self._first_of,
            self._second_of,
            coefficients,
            self._constant[:, 0].copy(),
            sums,
            self._n_k,
        )
        n_second = self._quadratic.shape[1]
        self._second += sums[:, :n_second].T
        self._first += sums[:, n_second:].T
        return float(log_likelihood) + len(x) * self.offset


@cache
def warm_up() -> None:
    """Have the loop compiled, so that its time and memory are spent once, here.

    Compiling takes seconds, and a hundred megabytes that a process does not give back:
    where no compiled code is kept from an earlier run, another process makes it.
    """
    if absorb_rows is None:
        return
    if can_be_kept() and not is_kept():
        subprocess.run([sys.executable, "-c", _COMPILE], check=False, capture_output=True)
    _compile()


_COMPILE = "from daskgmm.kernel.formulations.compiled import _compile; _compile()"


def _compile() -> None:
    one = Mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)), "full")
    for dtype in (np.float32, np.float64):
        Compiled(one).absorb(np.zeros((1, 1), dtype))
