"""Plain EM: each M-step gives the next parameters, and the objective never falls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from daskgmm.em.steppers.base import Needs, Step
from daskgmm.kernel import Mixture, Prior, Statistics

__all__ = ["PlainEM", "PlainState"]


@dataclass(frozen=True)
class PlainState:
    """Nothing is kept between passes."""


@dataclass(frozen=True)
class PlainEM:
    """The EM algorithm of Dempster, Laird and Rubin (1977)."""

    prior: Prior

    state_type: ClassVar[type] = PlainState
    compares_passes: ClassVar[bool] = False
    leads_ahead: ClassVar[bool] = False

    @classmethod
    def of(cls, needs: Needs) -> Self:
        """Plain EM needs the prior alone."""
        return cls(needs.prior)

    @classmethod
    def serves(cls, kind: str) -> bool:
        """True: every kind has an M-step."""
        return True

    def init(self, mixture: Mixture) -> PlainState:
        """The empty state."""
        return PlainState()

    def step(
        self, state: PlainState, mixture: Mixture, statistics: Statistics, tol: float
    ) -> Step[PlainState]:
        """The M-step, always accepted."""
        updated = self.prior.m_step(statistics)
        return Step(state, updated, updated)
