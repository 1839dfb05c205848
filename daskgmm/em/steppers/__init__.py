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
from daskgmm.kernel import Block, Prior

__all__ = ["STEPPERS", "PlainEM", "Squarem", "Step", "Stepper", "Surrogate"]

STEPPERS: dict[str, Callable[[Prior, Block, int], Stepper]] = {
    "surrogate": Surrogate,
    "squarem": lambda prior, sample, n_threads: Squarem(prior),
    "plain": lambda prior, sample, n_threads: PlainEM(prior),
}
"""Makers of steppers, of ``(prior, sample, n_threads)``."""
