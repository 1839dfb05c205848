"""Climbs: fits to a sample in memory, from which all searches for a start are built."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from daskgmm.em import weighted
from daskgmm.em.course import Course
from daskgmm.em.race import Rules, run
from daskgmm.em.rows import InMemoryRows, statistics_of
from daskgmm.em.steppers import AnyStepper, PlainEM, Surrogate
from daskgmm.em.stopping import STOP_RULES, statistical_tol
from daskgmm.errors import SingularComponentError
from daskgmm.kernel import Block, Float64Array, Mixture, Prior, log_density

__all__ = ["FIRST_EM_STEPS", "Climber", "Effort"]

FIRST_EM_STEPS = 15
"""First steps of EM from a new start, whose gains do not predict those of later steps."""
_EM_STEPS, _EM_STEPS_AT_THE_END, _SURROGATE_STEPS = 40, 20, 30
_COARSER = 10.0
"""Factor on :meth:`Climber.tol` for climbs that only have to tell starts apart."""
_AT_REST = 1e-3
"""Factor on :meth:`Climber.tol` below which a fit counts as converged from any start."""


_SECONDS_OF_STEP, _SECONDS_OF_COMPONENT, _SECONDS_OF_TERM = 8e-4, 3e-5, 2.5e-10
"""Core-seconds of an EM step: fixed, per component, and per row x component x (D^2 + 3 D + 30).
Measured once; they are constants, so that results do not depend on the machine."""
_SECONDS_OF_FACTOR, _SECONDS_OF_PAIR, _SECONDS_OF_DETERMINANT = 1e-4, 2e-6, 2e-10
"""Core-seconds of ranking mergers: per component, per pair, and per pair and cubed feature."""
_STEPS_OF_SURROGATE = 50
"""EM steps that one step of the surrogate costs."""

ALIKE = 0.1
"""Largest number of displaced components of two climbs that lead to the same optimum."""


def displaced(
    one: Float64Array, other: Float64Array, weight: Float64Array | None, n_components: int
) -> float:
    """Estimate of how many components differ in place between two fits.

    A displaced component changes the log density of 1 / K of the rows by about a nat, so that K
    times the variance of the differences counts them.

    Parameters
    ----------
    one, other : arrays of shape (n_rows,)
        Log densities of the rows under each fit, in nats.
    weight : array of shape (n_rows,) or None
        How often each row counts.
    n_components : int
        K.
    """
    return n_components * weighted.variance(one - other, weight)


def densities_of(rows: InMemoryRows, mixture: Mixture) -> Float64Array:
    """Log density of each row, in nats, shape (n_rows,)."""
    found: Float64Array = rows.map(_log_density, mixture, dtype=np.float64, columns=None)
    return found


def _log_density(block: Block, mixture: Mixture) -> Float64Array:
    return log_density(block.x, mixture, block.measurement_noise)


@dataclass(eq=False)
class Effort:
    """Work that was done, in what seconds of a core it takes by a count: no clock is read."""

    seconds: float = 0.0

    @staticmethod
    def seconds_of_step(rows: InMemoryRows, mixture: Mixture) -> float:
        """Core-seconds of one EM step of this mixture on these rows."""
        d = mixture.n_features
        terms = rows.n_rows * mixture.n_components * (d * d + 3 * d + 30)
        of_components = _SECONDS_OF_COMPONENT * mixture.n_components
        return _SECONDS_OF_STEP + of_components + _SECONDS_OF_TERM * terms

    def add(self, rows: InMemoryRows, mixture: Mixture, n_steps: int) -> None:
        """Count steps of EM."""
        self.seconds += n_steps * self.seconds_of_step(rows, mixture)

    def add_mergers(self, mixture: Mixture) -> None:
        """Count a ranking of all pairs of components."""
        k, d = mixture.n_components, mixture.n_features
        of_pair = _SECONDS_OF_PAIR + _SECONDS_OF_DETERMINANT * d**3
        self.seconds += k * _SECONDS_OF_FACTOR + k * k * of_pair


@dataclass(frozen=True, eq=False)
class Climber:
    """Fits mixtures to rows in memory.

    Attributes
    ----------
    rows : InMemoryRows
        The sample that is fitted.
    prior : Prior
    effort : Effort
        Counts the steps.
    """

    rows: InMemoryRows
    prior: Prior
    effort: Effort = field(default_factory=Effort)

    def tol(self, mixture: Mixture) -> float:
        """Remaining gain per row, in nats, that the sample cannot tell from noise.

        See :func:`~daskgmm.em.stopping.statistical_tol`.
        """
        return statistical_tol(mixture.n_parameters, self.rows.total_weight)

    def height(self, mixture: Mixture) -> float:
        """Objective per row of a mixture on the rows, in nats."""
        found = statistics_of(self.rows, mixture)
        return found.log_likelihood_per_row - self.prior.penalty(mixture, found.weight)

    def em(self, start: Mixture, n_steps: int, tol: float = 0.0) -> Course:
        """At most ``n_steps`` of EM; ends early once the remaining gain is below ``tol``."""
        return self._run(start, PlainEM(self.prior), n_steps, tol)

    def rested(self, start: Mixture, n_steps: int) -> Course:
        """At most ``n_steps`` of EM; ends early only where EM has converged beyond doubt."""
        return self.em(start, n_steps, _AT_REST * self.tol(start))

    def climb(
        self, start: Mixture, *, to_the_end: bool, best: float = -np.inf, until: float = np.inf
    ) -> Course | None:
        """Fit a mixture from a start by some steps of EM, then by the surrogate stepper.

        EM is quick at first and slow in a flat valley, where it also stops too early. The
        surrogate stepper, which is exact here because its sample is all rows, takes over there,
        unless the rows are fewer than the parameters.

        Parameters
        ----------
        start : Mixture
        to_the_end : bool
            Whether to fit to :meth:`tol`, with the surrogate unless EM has converged beyond
            doubt. Otherwise the fit is to ten times that, and the surrogate is used only if EM
            did not converge and expects to reach ``best``.
        best : float
            Objective per row, in nats, of the best climb so far.
        until : float
            Value of ``effort.seconds`` at which the surrogate stepper should end; it makes at
            least one step.

        Returns
        -------
        Course or None
            None if a covariance became singular.
        """
        tol = self.tol(start)
        try:
            if to_the_end:
                fit = self.em(start, _EM_STEPS_AT_THE_END, tol)
                wants_more = fit.history[-1].remaining_gain > _AT_REST * tol
            else:
                tol *= _COARSER
                # Gains of the first steps do not predict the rest, unless EM converged in them.
                fit = self.em(start, FIRST_EM_STEPS, _AT_REST * tol)
                if not fit.converged:
                    fit = self.em(fit.kept, _EM_STEPS, tol)
                wants_more = not fit.converged and fit.reach >= best
            if wants_more and start.n_parameters <= self.rows.total_weight:
                exact = Surrogate.of_rows(self.prior, self.rows)
                fit = self._run(fit.kept, exact, self._surrogate_steps(start, until), tol)
            fit.kept.check()  # raises here, where there is a way back
        except SingularComponentError:
            return None
        return fit

    def finished(self, mixture: Mixture) -> Mixture:
        """The mixture after a climb to the end; unchanged if a covariance becomes singular."""
        fit = self.climb(mixture, to_the_end=True)
        return mixture if fit is None else fit.kept

    def _surrogate_steps(self, mixture: Mixture, until: float) -> int:
        if until == np.inf:
            return _SURROGATE_STEPS
        left = (until - self.effort.seconds) / self.effort.seconds_of_step(self.rows, mixture)
        return int(np.clip(left / _STEPS_OF_SURROGATE, 1, _SURROGATE_STEPS))

    def _run(self, start: Mixture, stepper: AnyStepper, n_steps: int, tol: float) -> Course:
        steps = _STEPS_OF_SURROGATE if isinstance(stepper, Surrogate) else 1
        self.effort.add(self.rows, start, steps)  # also of one that collapses
        rules = Rules(stepper, STOP_RULES["gap"], n_steps, prior=self.prior)
        course = run(self.rows, start, rules, tol)
        self.effort.add(self.rows, start, steps * (len(course.history) - 1))
        return course
