"""SQUAREM: two steps of EM, then an extrapolation along the parabola through them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from daskgmm.em.steppers.base import Needs, Step, has_fallen, has_tangent
from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.kernel import Coordinates, Float64Array, Mixture, Prior, Statistics

__all__ = ["Squarem", "SquaremState"]

_SLOW = 0.6
"""Ratio of successive EM steps below which EM converges fast enough without extrapolation."""
_GROWTH = 4.0
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Base:
    """Origin of an extrapolation, its objective, and the first step of EM from it."""

    origin: Mixture
    objective: float
    step: Float64Array


@dataclass(frozen=True, eq=False)
class SquaremState:
    """State between passes.

    Attributes
    ----------
    base : Base or None
        Set after the first of two steps of EM.
    kept : Mixture or None
        M-step of the best pass.
    before : float
        Objective at the best pass, per row in nats.
    longest : float
        Largest allowed length of an extrapolation, in steps of EM.
    extrapolated : bool
        Whether the next pass is made at an extrapolated point.
    """

    base: Base | None = None
    kept: Mixture | None = None
    before: float = -np.inf
    longest: float = 1.0
    extrapolated: bool = False


@dataclass(frozen=True)
class Squarem:
    """SQUAREM, scheme S3, of Varadhan and Roland (2008), with a guard.

    The pass at an extrapolated point gives its objective at no extra cost: if that is lower
    than before, the next pass is made at the kept M-step instead.

    Parameters
    ----------
    prior : Prior
    """

    prior: Prior

    state_type: ClassVar[type] = SquaremState
    compares_passes: ClassVar[bool] = True
    leads_ahead: ClassVar[bool] = False

    @classmethod
    def of(cls, needs: Needs) -> Self:
        """SQUAREM needs the prior alone."""
        return cls(needs.prior)

    @classmethod
    def serves(cls, kind: str) -> bool:
        """Whether the kind has tangent coordinates to extrapolate in."""
        return has_tangent(kind)

    def init(self, mixture: Mixture) -> SquaremState:
        """State before the first of two steps of EM."""
        return SquaremState()

    def step(
        self, state: SquaremState, mixture: Mixture, statistics: Statistics, tol: float
    ) -> Step[SquaremState]:
        """The M-step; after every second, an extrapolation; after a fall, the kept M-step."""
        now = self.prior.objective(mixture, statistics)
        if state.extrapolated:
            state = replace(state, extrapolated=False)
            if has_fallen(now, state.before):
                kept = state.kept
                assert kept is not None
                state = replace(state, longest=max(1.0, state.longest / _GROWTH))
                return Step(state, kept, kept, accepted=False, remaining_gain=np.inf)
        updated = self.prior.m_step(statistics)
        base = state.base
        state = replace(state, base=None, before=now, kept=updated)
        try:
            if base is not None:
                coordinates = Coordinates(base.origin, self.prior.fixed)
                return _second(state, coordinates, base, now, updated)
            moved = Coordinates(mixture, self.prior.fixed).vector(updated)
            state = replace(state, base=Base(mixture, now, moved))
        except (np.linalg.LinAlgError, SingularComponentError, ParameterError):
            pass  # nowhere to extrapolate from; the race names a component that is singular
        return Step(state, updated, updated, remaining_gain=np.inf)


def _second(
    state: SquaremState, coordinates: Coordinates, base: Base, now: float, updated: Mixture
) -> Step[SquaremState]:
    """Extrapolate after the second step of EM from the base, which led to ``updated``."""
    first = base.step
    second = coordinates.vector(updated) - first
    rate = _length(second) / max(_length(first), _TINY)
    gain = now - base.objective
    if gain <= 0:  # a step of EM gained nothing: converged to rounding
        return Step(state, updated, updated, remaining_gain=0.0)
    bend = second - first
    length = _length(first) / max(_length(bend), _TINY)
    slowest = max(rate, 1 - 1 / max(length, 1.0))
    remaining = gain * slowest**2 / (1 - slowest**2) if slowest < 1 else np.inf
    if rate <= _SLOW:
        return Step(state, updated, updated, remaining_gain=remaining)
    length = min(max(length, 1.0), state.longest)
    longest = state.longest * (_GROWTH if length == state.longest else 1.0)
    beyond = coordinates.mixture(2 * length * first + length**2 * bend)
    beyond.check()  # raises here, where the caller falls back to the M-step
    state = replace(state, longest=longest, extrapolated=True)
    return Step(state, beyond, updated, remaining_gain=remaining)


def _length(vector: Float64Array) -> float:
    return float(np.linalg.norm(vector))
