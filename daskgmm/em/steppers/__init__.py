"""Steppers: how the next parameters follow from a pass.

A stepper is made anew for each fit and keeps state between passes. To add one, write a
class and add a row to :data:`STEPPERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from daskgmm.em.steppers.base import Step, Stepper
from daskgmm.em.steppers.plain import PlainEM
from daskgmm.em.steppers.squarem import Squarem
from daskgmm.em.steppers.surrogate import Surrogate
from daskgmm.kernel.families.base import Float64Array

__all__ = ["STEPPERS", "PlainEM", "Squarem", "Step", "Stepper", "Surrogate"]

STEPPERS: dict[str, Callable[[float, Float64Array, int], Stepper]] = {
    "surrogate": Surrogate,
    "squarem": lambda reg_covar, sample, n_threads: Squarem(reg_covar),
    "plain": lambda reg_covar, sample, n_threads: PlainEM(reg_covar),
}
"""Makers of steppers, of ``(reg_covar, sample, n_threads)``."""
