"""Steppers: how the next parameters follow from a pass.

A stepper is made anew for each fit and may keep state between passes.
"""

from __future__ import annotations

from typing import Protocol

from daskgmm.em.steppers.plain import PlainEM
from daskgmm.kernel import Mixture, Statistics

__all__ = ["PlainEM", "Stepper"]


class Stepper(Protocol):
    """Proposes the parameters at which the next pass is made."""

    def next(self, mixture: Mixture, statistics: Statistics) -> Mixture:
        """Parameters that follow ``mixture``, given its statistics over all rows."""
        ...
