"""Compilation: compile Numba's loops before they are needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from daskgmm.kernel.block import Block
from daskgmm.kernel.formulations.compiled import CompiledNatural, CompiledWhitened
from daskgmm.kernel.formulations.rounding import FLOAT32, FLOAT64
from daskgmm.kernel.mixture import gaussian_mixture
from daskgmm.kernel.moments import moments_and_extremes
from daskgmm.kernel.truncated import Neighbourhoods

try:
    from daskgmm.kernel import fused
except ImportError:  # Numba is an optional extra
    fused = None  # type: ignore[assignment]

__all__ = ["must_compile", "warm_up"]

_AS_USED = ((FLOAT64, FLOAT64), (FLOAT64, FLOAT32), (FLOAT32, FLOAT32))
"""Pairs of dtypes that occur: of the arithmetic and of the rows."""

_ONE = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)), "full")


def _use(formulation: type[CompiledNatural | CompiledWhitened]) -> None:
    for dtype, stored in _AS_USED:
        formulation(_ONE, dtype).statistics(Block(np.zeros((1, 1), stored)))


def _use_nearest() -> None:
    near = Neighbourhoods.of(_ONE, 1)
    for stored in (FLOAT64, FLOAT32):
        near.cells_of(np.zeros((1, 1), stored))


def _use_moments() -> None:
    for stored in (FLOAT64, FLOAT32):
        moments_and_extremes(Block(np.zeros((1, 1), stored)))


def _use_log_densities() -> None:
    formulation = CompiledNatural(_ONE, FLOAT64)
    for stored in (FLOAT64, FLOAT32):
        formulation.log_densities(np.zeros((1, 1), stored))


_USES: dict[str, Callable[[], None]] = {
    "add_natural": lambda: _use(CompiledNatural),
    "add_whitened": lambda: _use(CompiledWhitened),
    "find_log_densities": _use_log_densities,
    "find_nearest": _use_nearest,
    "scan_moments": _use_moments,
}
"""Loops by name, each with a function that calls it with every type that occurs."""

_COMPILE = "from daskgmm.kernel import compilation; compilation._USES[{!r}]()"


def must_compile() -> list[str]:
    """Names of loops with no cached machine code."""
    return [] if fused is None else [name for name in _USES if _is_missing(getattr(fused, name))]


def _is_missing(loop: Any) -> bool:
    folder = loop._cache.cache_path
    return folder is not None and not any(Path(folder).glob(f"*.{loop.__name__}-*.nbc"))


@cache
def warm_up() -> None:
    """Compile all loops that have no cached machine code, then load them.

    Compiling takes seconds, and a hundred megabytes that a process does not give back, so other
    processes do it.
    """
    if fused is None:
        return
    started = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", _COMPILE.format(name)],
            # The package of this process, and not one that lies in the current folder.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in must_compile()
    ]
    for process in started:
        process.wait()
    for use in _USES.values():
        use()
