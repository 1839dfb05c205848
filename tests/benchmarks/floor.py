"""Floor: the least time that a pass could take on this machine.

Every family's log densities are linear in P numbers of a row, and so are its
statistics: P K multiplications and additions for the first and as many for the
second, 4 P K flops a row, at the speed of GEMM; and an exponential for each row and
component, at the speed of exp. What P counts:

full        (D+1)(D+2)/2    1, x and the products x_i x_j, i <= j
tied        D+1             1 and x: the quadratic term is the same for all components, so
                            that it cancels in the responsibilities; and the sum of its
                            values follows from sum x x^T, which is no work of a pass
diag        2D+1            1, x and the squares x_i^2
spherical   D+2             1, x and |x|^2

Both rates are measured in the same run as the passes, on all cores: they drift with the
machine.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from dask.system import CPU_COUNT

__all__ = ["Rates", "flops", "measured_rates"]

_NUMBERS_OF_A_ROW = {
    "full": lambda d: (d + 1) * (d + 2) // 2,
    "tied": lambda d: d + 1,
    "diag": lambda d: 2 * d + 1,
    "spherical": lambda d: d + 2,
}

_GEMM_SIZE = 1536
_EXP_BLOCK, _EXP_BLOCKS = 8192, 1024


def flops(covariance: str, n_features: int, n_components: int) -> int:
    """Flops of a row that GEMM cannot be spared: 4 P K."""
    return 4 * _NUMBERS_OF_A_ROW[covariance](n_features) * n_components


@dataclass(frozen=True)
class Rates:
    """What all cores reach together: flops and exponentials per second."""

    gemm: float
    exp: float

    def seconds(self, covariance: str, n_rows: int, n_features: int, n_components: int) -> float:
        """The floor of a pass."""
        arithmetic = flops(covariance, n_features, n_components) / self.gemm
        return n_rows * (arithmetic + n_components / self.exp)


def measured_rates(dtype: str) -> Rates:
    """Rates of GEMM and exp now, about a tenth of a second each."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((_GEMM_SIZE, _GEMM_SIZE)).astype(dtype)
    out = np.empty_like(a)
    np.matmul(a[:64], a, out=out[:64])  # wakes the threads
    began = time.perf_counter()
    np.matmul(a, a, out=out)
    gemm = 2 * _GEMM_SIZE**3 / (time.perf_counter() - began)

    exponents = rng.uniform(-20, 0, _EXP_BLOCK).astype(dtype)

    def exponentials(_: int) -> None:
        powers = np.empty_like(exponents)
        for _ in range(_EXP_BLOCKS):
            np.exp(exponents, out=powers)

    with ThreadPoolExecutor(CPU_COUNT) as pool:
        began = time.perf_counter()
        list(pool.map(exponentials, range(CPU_COUNT)))
        seconds = time.perf_counter() - began
    return Rates(gemm, CPU_COUNT * _EXP_BLOCK * _EXP_BLOCKS / seconds)
