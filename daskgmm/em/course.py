"""Course: one candidate of a race, and how far it has come; what a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from daskgmm.em.history import Iteration, RareComponent
from daskgmm.em.steppers import AnyStepper, StepperState
from daskgmm.em.stopping import MAX_ITER
from daskgmm.kernel import Mixture

__all__ = ["Course"]


@dataclass(frozen=True, eq=False)
class Course:
    """One candidate, and how far it has come: all that its fit needs to go on exactly.

    Attributes
    ----------
    mixture : Mixture
        Where the next pass is made.
    kept : Mixture
        The result, if no more passes are made: the M-step of the last accepted pass, as in
        scikit-learn, one step beyond ``log_likelihood``.
    state : dataclass
        Of the stepper; see :class:`~daskgmm.em.steppers.Stepper`.
    tol : float
        What the stop rule compares with.
    history : tuple of Iteration
        One for each pass, in order.
    stop_reason : str
        The name of the stop rule that held, or ``"max_iter"`` as long as none does.
    is_active : bool
        Whether it needs more passes: False where it has stopped or was dropped.
    neighbours_at : Mixture or None
        From which neighbourhoods were chosen last, if rows are compared with few components.
    n_branched : int
        Iterations of ``history`` that are of another candidate, from which this one branched
        off: it is kept only if its own first pass finds a higher log-likelihood.
    rare : tuple of RareComponent
        What it was given then.
    """

    mixture: Mixture
    kept: Mixture
    state: StepperState
    tol: float
    history: tuple[Iteration, ...] = ()
    stop_reason: str = MAX_ITER
    is_active: bool = True
    neighbours_at: Mixture | None = None
    n_branched: int = 0
    rare: tuple[RareComponent, ...] = ()

    @classmethod
    def begun(cls, start: Mixture, stepper: AnyStepper, tol: float) -> Self:
        """Before its first pass."""
        return cls(start, start, stepper.init(start), tol)

    def branch(
        self, start: Mixture, stepper: AnyStepper, rare: tuple[RareComponent, ...] = ()
    ) -> Self:
        """Another candidate, which has this one's past and goes on from elsewhere."""
        begun = type(self).begun(start, stepper, self.tol)
        return replace(begun, history=self.history, n_branched=len(self.history), rare=rare)

    @property
    def log_likelihood(self) -> float:
        """Per row, in nats, at the last pass that was accepted; -inf before the first."""
        return next((i.log_likelihood for i in reversed(self.history) if i.accepted), -np.inf)

    @property
    def begun_at(self) -> float:
        """Log-likelihood per row at its start; -inf before the first pass."""
        return self.history[0].log_likelihood if self.history else -np.inf

    @property
    def best(self) -> float:
        """The highest log-likelihood per row so far."""
        return max((i.log_likelihood for i in self.history if i.accepted), default=-np.inf)

    @property
    def reach(self) -> float:
        """Log-likelihood per row where it will end, by its own estimate."""
        return self.log_likelihood + self.history[-1].remaining_gain

    @property
    def converged(self) -> bool:
        """Whether the stop rule held."""
        return self.stop_reason != MAX_ITER
