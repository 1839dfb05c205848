"""Steppers' interface: a state and statistics in, the next state and mixture out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np

from daskgmm.kernel import Block, HasTangent, Mixture, Prior, Statistics, components_named

__all__ = [
    "Ahead",
    "AnyStepper",
    "Needs",
    "Offered",
    "Step",
    "Stepper",
    "has_fallen",
    "has_tangent",
]

State = TypeVar("State")


@dataclass(frozen=True, eq=False)
class Needs:
    """What :meth:`Offered.of` makes a stepper from.

    Attributes
    ----------
    prior : Prior
    sample : Block
        A uniform sample of the rows.
    n_threads : int
        Threads for work on the sample.
    """

    prior: Prior
    sample: Block
    n_threads: int = 1


class Ahead(NamedTuple):
    """Where a step leads before a pass has seen it.

    Attributes
    ----------
    mixture : Mixture
    statistics : Statistics
        Of all rows, as far as a sample tells; the mixture is their M-step.
    """

    mixture: Mixture
    statistics: Statistics


@dataclass(frozen=True, eq=False)
class Step(Generic[State]):
    """Decision of a stepper after a pass.

    Attributes
    ----------
    state : dataclass
        State of the stepper for its next step.
    mixture : Mixture
        Parameters of the next pass.
    kept : Mixture
        M-step of the best pass so far: the result, if no more passes are made.
    accepted : bool
        Whether the pass is an advance. If not, ``mixture`` is ``kept``.
    remaining_gain : float or None
        The stepper's estimate of the remaining gain per row, in nats: infinite where the
        stepper cannot tell; None leaves the estimate to the history.
    ahead : callable or None
        Gives what is kept where no pass is to confirm that gain; None where ``kept`` is as good.
    """

    state: State
    mixture: Mixture
    kept: Mixture
    accepted: bool = True
    remaining_gain: float | None = None
    ahead: Callable[[], Ahead] | None = None


class Stepper(Protocol[State]):
    """Proposes the parameters at which the next pass is made.

    A stepper is a frozen value. Everything that it learns from passes is in its state, a frozen
    dataclass of numbers, text, arrays, mixtures, and dataclasses and tuples of these, so
    that a checkpoint can hold it.
    """

    def init(self, mixture: Mixture) -> State:
        """The state before the first pass, which is made at ``mixture``."""
        ...

    def step(
        self, state: State, mixture: Mixture, statistics: Statistics, tol: float
    ) -> Step[State]:
        """Choose the next parameters after a pass.

        Parameters
        ----------
        state : dataclass
        mixture : Mixture
            Parameters of the pass.
        statistics : Statistics
            Statistics of all rows under ``mixture``.
        tol : float
            Tolerance of the stop rule: smaller gains are worth no work.

        Raises
        ------
        SingularComponentError
            If a covariance became singular.
        """
        ...


class Offered(Stepper[State], Protocol[State]):
    """A stepper of the table, with what it needs and what it serves."""

    state_type: ClassVar[type]
    """Class of its states: what a checkpoint of the fit is read as."""
    compares_passes: ClassVar[bool]
    """Whether it compares log-likelihoods of different passes, which must not be done with the
    bounds of a truncated E-step, whose neighbourhoods change."""
    leads_ahead: ClassVar[bool]
    """Whether the mixture that it leads to is better than the M-step, as far as can be told before
    a pass: such a stepper ends in one or two passes from a good start, and a fit that is cut off ends with
    its step rather than the M-step."""

    @classmethod
    def of(cls, needs: Needs) -> Self:
        """A stepper made from what is on hand."""
        ...

    @classmethod
    def serves(cls, kind: str) -> bool:
        """Whether the stepper can work on components of a kind."""
        ...


AnyStepper = Stepper[Any]
"""A stepper whose state the caller only passes on."""


def has_tangent(kind: str) -> bool:
    """Whether components of a kind have coordinates that steps can be taken in."""
    return issubclass(components_named(kind), HasTangent)


def has_fallen(now: float, before: float) -> bool:
    """Whether an objective per row is below another by more than sums are rounded."""
    return now < before - 16 * float(np.finfo(np.float64).eps) * max(1.0, abs(before))
