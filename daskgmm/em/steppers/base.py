"""What every stepper is: a state in, a state and the next mixture out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np

from daskgmm.kernel import Block, HasTangent, Mixture, Prior, Statistics, components_named

__all__ = ["AnyStepper", "Needs", "Offered", "Step", "Stepper", "has_fallen", "has_tangent"]

State = TypeVar("State")


@dataclass(frozen=True, eq=False)
class Needs:
    """What a stepper may be made of.

    Attributes
    ----------
    prior : Prior
    sample : Block
        A uniform sample of the rows.
    n_threads : int
        For work on the sample.
    """

    prior: Prior
    sample: Block
    n_threads: int = 1


@dataclass(frozen=True, eq=False)
class Step(Generic[State]):
    """What follows from a pass.

    Attributes
    ----------
    state : dataclass
        With which the stepper goes on.
    mixture : Mixture
        Where the next pass is made.
    kept : Mixture
        The M-step of the best pass so far: the result, if this was the last one.
    accepted : bool
        Whether the pass is an advance. If not, ``mixture`` goes back to what is kept.
    remaining_gain : float or None
        The stepper's own estimate of what is left to gain per row, in nats: infinite
        where it knows that it cannot tell; None leaves it to the history.
    """

    state: State
    mixture: Mixture
    kept: Mixture
    accepted: bool = True
    remaining_gain: float | None = None


class Stepper(Protocol[State]):
    """Proposes the parameters at which the next pass is made.

    A stepper is a frozen value. What it learns from passes is in its state, a frozen
    dataclass of numbers, text, arrays, mixtures, and dataclasses and tuples of these: all
    that a checkpoint has to hold.
    """

    def init(self, mixture: Mixture) -> State:
        """The state before the first pass, which is made at ``mixture``."""
        ...

    def step(
        self, state: State, mixture: Mixture, statistics: Statistics, tol: float
    ) -> Step[State]:
        """What follows ``mixture``, given its statistics over all rows.

        ``tol`` is what the stop rule compares with: work for less is in vain.
        """
        ...


class Offered(Stepper[State], Protocol[State]):
    """A stepper that can be chosen by name: it says what it needs and what it can do."""

    state_type: ClassVar[type]
    """Class of its states: what a checkpoint of the fit is read as."""
    compares_passes: ClassVar[bool]
    """Whether it holds the log-likelihood of one pass against that of another: not to be
    done with bounds that are about different neighbourhoods."""

    @classmethod
    def of(cls, needs: Needs) -> Self:
        """Made of what there is."""
        ...

    @classmethod
    def serves(cls, kind: str) -> bool:
        """Whether components of a kind can do what it asks of them."""
        ...


AnyStepper = Stepper[Any]
"""Of a state that its caller only passes on."""


def has_tangent(kind: str) -> bool:
    """Whether components of a kind have coordinates that steps can be taken in."""
    return issubclass(components_named(kind), HasTangent)


def has_fallen(now: float, before: float) -> bool:
    """Whether an objective per row is below another by more than sums are rounded."""
    return now < before - 16 * float(np.finfo(np.float64).eps) * max(1.0, abs(before))
