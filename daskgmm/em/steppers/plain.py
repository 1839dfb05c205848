"""Plain EM: each M-step is the next point. With reg_covar 0 it cannot lower the likelihood."""

from __future__ import annotations

from dataclasses import dataclass, field

from daskgmm.em.steppers.base import Step
from daskgmm.kernel import Mixture, Prior, Statistics

__all__ = ["PlainEM", "PlainState"]


@dataclass
class PlainState:
    """Nothing is kept between passes."""


@dataclass
class PlainEM:
    """The EM algorithm of Dempster, Laird and Rubin (1977)."""

    prior: Prior
    state: PlainState = field(default_factory=PlainState)

    def next(self, mixture: Mixture, statistics: Statistics, tol: float) -> Step:
        """The M-step."""
        updated = self.prior.m_step(statistics)
        return Step(updated, updated)
