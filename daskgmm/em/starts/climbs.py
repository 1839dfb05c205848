"""Climbs: fits of EM to a sample in memory, which every way to a start is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.race import Rules, run
from daskgmm.em.rows import InMemoryRows
from daskgmm.em.steppers import AnyStepper, PlainEM, Surrogate
from daskgmm.em.stopping import STOP_RULES, statistical_tol
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Mixture, Prior

__all__ = ["FIRST_EM_STEPS", "Climber"]

FIRST_EM_STEPS = 15
"""Of a start: what they gain is no measure of those to come."""
_EM_STEPS, _EM_STEPS_AT_THE_END, _SURROGATE_STEPS = 40, 20, 30
_COARSER = 10.0
"""What a climb that only tells starts apart may leave, in tenths of the sample's precision."""
_AT_REST = 1e-3
"""Of the sample's precision: what is left where it is at an end beyond doubt, however it began."""


@dataclass(frozen=True, eq=False)
class Climber:
    """Fits mixtures to rows in memory.

    Attributes
    ----------
    rows : InMemoryRows
        A sample.
    prior : Prior
    """

    rows: InMemoryRows
    prior: Prior

    def tol(self, mixture: Mixture) -> float:
        """A tenth of the sample's own precision, in nats per row."""
        return statistical_tol(mixture.n_parameters, self.rows.total_weight)

    def em(self, start: Mixture, n_steps: int, tol: float = 0.0) -> Course:
        """Some steps of EM, fewer where less than ``tol`` is left to gain."""
        return self._run(start, PlainEM(self.prior), n_steps, tol)

    def rested(self, start: Mixture, n_steps: int) -> Course:
        """Some steps of EM, fewer where it is at rest."""
        return self.em(start, n_steps, _AT_REST * self.tol(start))

    def climb(self, start: Mixture, *, to_the_end: bool, best: float = -np.inf) -> Course | None:
        """To a tenth of the sample's own precision in the end; None where a component collapses.

        By EM as long as that is quick; what it leaves is the surrogate's work, which
        here, with all the rows at hand, is no surrogate. With ``to_the_end`` it has the last word
        unless EM is at rest: in a flat valley EM takes itself to be at the end long before.
        Without, it has a say only where EM did not arrive, and could, by its own estimate, reach
        ``best``.
        """
        tol = self.tol(start)
        try:
            if to_the_end:
                fit = self.em(start, _EM_STEPS_AT_THE_END, tol)
                wants_more = fit.history[-1].remaining_gain > _AT_REST * tol
            else:
                tol *= _COARSER
                # The first steps are no measure of those to come, unless they have led to rest.
                fit = self.em(start, FIRST_EM_STEPS, _AT_REST * tol)
                if not fit.converged:
                    fit = self.em(fit.kept, _EM_STEPS, tol)
                wants_more = not fit.converged and fit.reach >= best
            if wants_more:
                exact = Surrogate.of_rows(self.prior, self.rows)
                fit = self._run(fit.kept, exact, _SURROGATE_STEPS, tol)
            fit.kept.check()  # raises here, where there is a way back
        except SingularComponentError:
            return None
        return fit

    def finished(self, mixture: Mixture) -> Mixture:
        """A mixture fitted to some of the rows, fitted to all; as it was where that fails."""
        fit = self.climb(mixture, to_the_end=True)
        return mixture if fit is None else fit.kept

    def _run(self, start: Mixture, stepper: AnyStepper, n_steps: int, tol: float) -> Course:
        return run(self.rows, start, Rules(stepper, STOP_RULES["gap"], n_steps), tol)
