"""Course: one candidate of a race, and how far it has come; what a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from daskgmm.em.steppers import AnyStepper, StepperState
from daskgmm.em.stopping import MAX_ITER, STOP_RULES
from daskgmm.history import Collapse, Iteration, RareComponent
from daskgmm.kernel import Affine, Mixture, Statistics

__all__ = ["Course"]


@dataclass(frozen=True, eq=False)
class Course:
    """State of one candidate between two passes: all that its fit needs to go on exactly.

    Attributes
    ----------
    mixture : Mixture
        Parameters of the next pass.
    kept : Mixture
        The result, if no more passes are made, one step beyond ``log_likelihood``: the M-step of the
        last accepted pass, as in scikit-learn, or the stepper's own step where no pass has to confirm
        that.
    state : dataclass
        State of the stepper; see :class:`~daskgmm.em.steppers.Stepper`.
    tol : float
        What the stop rule compares with.
    history : tuple of Iteration
        One for each pass, in order.
    stop_reason : str
        The name of the stop rule that held, or ``"max_iter"`` as long as none does; ``"reads"`` of
        a result after the last read that was asked for.
    is_active : bool
        Whether the candidate needs more passes: False where it has stopped or was dropped.
    neighbours_at : Mixture or None
        Mixture from which neighbourhoods were chosen last; None unless the E-step is truncated.
    n_branched : int
        Leading iterations of ``history`` that belong to the candidate from which this one
        branched off. This one is kept only if its first pass finds a higher objective.
    goes_on : bool
        Whether this one branched off where the step of that candidate had led.
    rare : tuple of RareComponent
        Components that this candidate was given when it branched off.
    statistics : Statistics or None
        Of the last accepted pass, or where the stepper has led since; ``kept`` is their M-step. None
        before the first, and after components collapsed.
    collapses : tuple of Collapse
        What became of components that collapsed. The log-likelihood may be lower afterwards, and
        climbs from there.
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
    goes_on: bool = False
    rare: tuple[RareComponent, ...] = ()
    statistics: Statistics | None = None
    collapses: tuple[Collapse, ...] = ()

    @classmethod
    def begun(cls, start: Mixture, stepper: AnyStepper, tol: float) -> Self:
        """Course of a candidate before its first pass."""
        return cls(start, start, stepper.init(start), tol)

    def branch(
        self, start: Mixture, stepper: AnyStepper, rare: tuple[RareComponent, ...] = ()
    ) -> Self:
        """Course of another candidate that shares this history and begins anew from ``start``."""
        begun = type(self).begun(start, stepper, self.tol)
        n, goes_on = len(self.history), start is self.mixture
        return replace(begun, history=self.history, n_branched=n, goes_on=goes_on, rare=rare)

    def mended(self, mixture: Mixture, event: Collapse, stepper: AnyStepper) -> Self:
        """The course that goes on from a mixture in place of one that had collapsed."""
        return replace(
            self,
            mixture=mixture,
            kept=mixture,
            state=stepper.init(mixture),
            stop_reason=MAX_ITER,
            is_active=True,
            neighbours_at=None if self.neighbours_at is None else mixture,
            n_branched=len(self.history),
            statistics=None,
            collapses=(*self.collapses, event),
        )

    @property
    def begins_at(self) -> int:
        """Length of the history when components last collapsed: objectives climb from there."""
        return self.collapses[-1].n_iter if self.collapses else 0

    @property
    def n_pruned(self) -> int:
        """Components that were asked for, and are not there any more."""
        return sum(one.n_pruned for one in self.collapses)

    def in_units_of_data(self, affine: Affine | None) -> Self:
        """What a fit to mapped rows came to, as of the rows themselves: a result, and no more.

        The fit cannot go on from it. Of projected rows it is the same.
        """
        if affine is None or affine.projects:
            return self
        statistics = self.statistics
        return replace(
            self,
            mixture=affine.mixture_back(self.mixture),
            kept=affine.mixture_back(self.kept),
            history=tuple(i.raised(affine.log_jacobian) for i in self.history),
            statistics=None if statistics is None else affine.statistics_back(statistics),
        )

    @property
    def log_likelihood(self) -> float:
        """Log-likelihood per row, in nats, at the last accepted pass; -inf before the first."""
        return next((i.log_likelihood for i in reversed(self.history) if i.accepted), -np.inf)

    @property
    def penalty(self) -> float:
        """What a prior takes off that log-likelihood per row; 0 before the first pass."""
        return next((i.penalty for i in reversed(self.history) if i.accepted), 0.0)

    @property
    def objective(self) -> float:
        """What courses are compared by: log-likelihood less penalty, at that pass."""
        return next((i.objective for i in reversed(self.history) if i.accepted), -np.inf)

    @property
    def first_objective(self) -> float:
        """Objective per row at the start; -inf before the first pass."""
        return self.history[0].objective if self.history else -np.inf

    @property
    def best(self) -> float:
        """The highest objective per row so far, since components last collapsed."""
        since = self.history[self.begins_at :]
        return max((i.objective for i in since if i.accepted), default=self.objective)

    @property
    def reach(self) -> float:
        """Objective per row, in nats, that the fit expects to reach in the end."""
        return self.objective + self.history[-1].remaining_gain

    @property
    def converged(self) -> bool:
        """Whether the stop rule held."""
        return self.stop_reason in STOP_RULES
