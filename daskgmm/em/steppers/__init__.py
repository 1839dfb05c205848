"""Steppers: algorithms that choose the parameters of the next pass.

To add one, write a class with a frozen state in a file of its own, and add a row to
:data:`STEPPERS`; its name goes into the words of ``stepper`` in :mod:`daskgmm.settings.of_fits`, in
the same order, and into the estimator's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from daskgmm.em.steppers.base import AnyStepper, Needs, Offered, Step, Stepper
from daskgmm.em.steppers.plain import PlainEM
from daskgmm.em.steppers.squarem import Squarem
from daskgmm.em.steppers.surrogate import Surrogate, SurrogateState
from daskgmm.errors import ParameterError
from daskgmm.kernel import Mixture, Statistics

__all__ = [
    "AUTO",
    "PLAIN",
    "STEPPERS",
    "AnyStepper",
    "ByKind",
    "Needs",
    "Offered",
    "PlainEM",
    "Squarem",
    "Step",
    "Stepper",
    "StepperState",
    "Surrogate",
    "SurrogateState",
    "stepper_class",
]

STEPPERS: dict[str, type[Offered[Any]]] = {
    "surrogate": Surrogate,
    "squarem": Squarem,
    "plain": PlainEM,
}
"""Steppers by name, those that take the fewest passes first."""

if TYPE_CHECKING:
    StepperState = Any
else:
    StepperState = Union[tuple(stepper.state_type for stepper in STEPPERS.values())]  # noqa: UP007
"""States of the steppers of the table: the only ones that a checkpoint may hold."""

AUTO, PLAIN = "auto", "plain"


def stepper_class(
    name: str, kind: str, *, few_passes: bool = True, bounds: bool = False
) -> type[Offered[Any]]:
    """Class of the stepper of a name; ``"auto"`` is the first of the table that serves.

    Parameters
    ----------
    name : str
        A key of :data:`STEPPERS`, or ``"auto"``.
    kind : str
        Kind of the components.
    few_passes : bool
        Whether ``"auto"`` is to save passes; otherwise it is plain EM.
    bounds : bool
        Whether the E-step is truncated, so that passes give bounds of the log-likelihood.

    Raises
    ------
    ParameterError
        If the stepper cannot work on these components, or with bounds.
    """
    if name == AUTO:
        able = (
            one
            for one in STEPPERS.values()
            if one.serves(kind) and not (bounds and one.compares_passes)
        )
        return next(able) if few_passes else PlainEM
    found = STEPPERS[name]
    if bounds and found.compares_passes:
        raise ParameterError(
            f"with truncate, what a pass finds is a bound, which stepper={name!r} cannot compare "
            "between passes; set stepper='plain', or leave truncate out (None)",
            "truncate",
        )
    if not found.serves(kind):
        able_names = ", ".join(repr(n) for n, one in STEPPERS.items() if one.serves(kind))
        raise ParameterError(
            f"stepper={name!r} needs more than {kind!r} components can do; set stepper to one of "
            f"{able_names}",
            "stepper",
        )
    return found


@dataclass(frozen=True, eq=False)
class ByKind:
    """A stepper for each kind of component, for candidates of several kinds."""

    steppers: Mapping[str, AnyStepper]

    def init(self, mixture: Mixture) -> StepperState:
        """State of the stepper for the mixture's kind."""
        state: StepperState = self.steppers[mixture.kind].init(mixture)
        return state

    def step(
        self, state: Any, mixture: Mixture, statistics: Statistics, tol: float
    ) -> Step[StepperState]:
        """Step of the stepper for the mixture's kind."""
        return self.steppers[mixture.kind].step(state, mixture, statistics, tol)
