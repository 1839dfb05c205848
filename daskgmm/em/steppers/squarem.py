"""SQUAREM: two steps of EM, then one along the parabola through them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from daskgmm.em.steppers.base import Needs, Step, has_fallen, has_tangent
from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.kernel import Coordinates, Float64Array, Mixture, Prior, Statistics

__all__ = ["Squarem", "SquaremState"]

_SLOW = 0.6
"""EM that shrinks its steps faster than this needs no help."""
_GROWTH = 4.0
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Base:
    """Where an extrapolation starts, and how far the first step of EM from it went."""

    origin: Mixture
    objective: float
    step: Float64Array


@dataclass(frozen=True, eq=False)
class SquaremState:
    """What is kept between passes.

    Attributes
    ----------
    base : Base or None
        After the first step of EM of two.
    kept : Mixture or None
        The M-step of the best pass.
    before : float
        The objective there.
    longest : float
        Of extrapolations.
    extrapolated : bool
        Whether the next pass is made beyond a step of EM.
    """

    base: Base | None = None
    kept: Mixture | None = None
    before: float = -np.inf
    longest: float = 1.0
    extrapolated: bool = False


@dataclass(frozen=True)
class Squarem:
    """SQUAREM, scheme S3, of Varadhan and Roland (2008), with a guard.

    A pass at an extrapolated point gives its log-likelihood for nothing: where it fell,
    the next pass is at the step of EM that was kept.

    Parameters
    ----------
    prior : Prior
    """

    prior: Prior

    state_type: ClassVar[type] = SquaremState
    compares_passes: ClassVar[bool] = True

    @classmethod
    def of(cls, needs: Needs) -> Self:
        """Needs no sample."""
        return cls(needs.prior)

    @classmethod
    def serves(cls, kind: str) -> bool:
        """Whether there are coordinates to extrapolate in."""
        return has_tangent(kind)

    def init(self, mixture: Mixture) -> SquaremState:
        """At the first of two steps of EM."""
        return SquaremState()

    def step(
        self, state: SquaremState, mixture: Mixture, statistics: Statistics, tol: float
    ) -> Step[SquaremState]:
        """The M-step, or every second time a point beyond it; back where that was lower."""
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
                return _second(state, base, now, updated)
            moved = Coordinates(mixture).vector(updated)
            state = replace(state, base=Base(mixture, now, moved))
        except (np.linalg.LinAlgError, SingularComponentError, ParameterError):
            pass  # nowhere to extrapolate from; the race names a component that is singular
        return Step(state, updated, updated, remaining_gain=np.inf)


def _second(state: SquaremState, base: Base, now: float, updated: Mixture) -> Step[SquaremState]:
    """From the base's second step of EM, ``updated``."""
    coordinates, first = Coordinates(base.origin), base.step
    second = coordinates.vector(updated) - first
    rate = _length(second) / max(_length(first), _TINY)
    gain = now - base.objective
    if gain <= 0:  # a step of EM that gains nothing: there is nothing, to rounding
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
    beyond.check()  # raises here, where there is a way back
    state = replace(state, longest=longest, extrapolated=True)
    return Step(state, beyond, updated, remaining_gain=remaining)


def _length(vector: Float64Array) -> float:
    return float(np.linalg.norm(vector))
