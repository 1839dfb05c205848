"""Updating: new rows are fitted beside old ones, of which only statistics are left.

EM goes on with the new rows while the statistics of the old ones stay as they are (incremental
EM). But held fixed, they say that nobody doubts which component an old row is of: where
components overlap, old rows would weigh more than in a fit of all, and a model that is updated
every night would hardly move from its first fit. So rows drawn from the model stand for how
responsibilities of old rows change. With S the statistics of the old rows under the model theta_0
that they led to, and S_d(theta) those of the drawn rows, weighted to the same sum of weights::

    S_old(theta) = S + S_d(theta) - S_d(theta_0)

which is exact at theta_0, and beyond it as good as the model. These are the statistics of::

    l_old(theta) = Q(theta; S - S_d(theta_0)) + l_d(theta) + constant

with Q the log-likelihood of complete data of such statistics, so that passes climb one objective,
l_old plus the log-likelihood of the new rows, and steppers and stop rules work as in a fit.

References
----------
Neal and Hinton (1998), A view of the EM algorithm that justifies incremental, sparse, and other
variants.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from daskgmm.em.course import Course
from daskgmm.em.far_values import FarValues, far_values
from daskgmm.em.missing import Gaps
from daskgmm.em.problem import Problem
from daskgmm.em.race import Race, Reading, Rules
from daskgmm.em.rows import Rows, rows_of_sample, statistics_of
from daskgmm.em.scan import EarlyStart, Scan, scan_in_pass
from daskgmm.em.starting import Tell
from daskgmm.em.steppers import AUTO, PLAIN, AnyStepper, Needs, stepper_class
from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.history import ScanDone
from daskgmm.kernel import (
    Block,
    Components,
    Float64Array,
    Gaussians,
    HasCovariances,
    Mixture,
    Moments,
    Prior,
    RelativeConjugate,
    RelativeRidge,
    Statistics,
)
from daskgmm.kernel.blas import single_thread

__all__ = ["OldRows", "Update", "Updated", "update"]

_SEED = 0
"""Of the drawn rows, and of the sample of the new ones: an update has nothing random to choose."""
_ROWS_PER_PARAMETER, _FEWEST = 100, 10_000
"""Drawn rows: so many that their information is that of the model to a tenth."""
_LEAST_OF_EACH = 10
"""Rows drawn from a component, per feature, below which their scatter says nothing."""


@dataclass(frozen=True)
class Update:
    """What an update found, and did: of how the rows drift.

    Attributes
    ----------
    n_rows : int
        New rows.
    weight : float
        Sum of their weights.
    share_kept : float
        What each old row counts since, of what it counted before.
    log_likelihood_before, log_likelihood_after : float
        Log-likelihood per new row under the model as it was, and as it became, in nats.
    weights_moved : tuple of float
        Change of each weight.
    means_moved : tuple of float
        The farthest that each mean moved along a feature, in standard deviations of its component
        before.
    n_passes : int
        Reads of the new rows.
    """

    n_rows: int
    weight: float
    share_kept: float
    log_likelihood_before: float
    log_likelihood_after: float
    weights_moved: tuple[float, ...]
    means_moved: tuple[float, ...]
    n_passes: int


@dataclass(frozen=True, eq=False)
class Updated:
    """How an update ended.

    Attributes
    ----------
    course : Course
        Its statistics are those of all rows; log-likelihoods are per row of all.
    report : Update
    prior : Prior
        In the units of old and new rows.
    gaps : Gaps
        New rows in which values are missing.
    far : tuple of FarValues
        Among the new rows.
    """

    course: Course
    report: Update
    prior: Prior
    gaps: Gaps
    far: tuple[FarValues, ...]


@dataclass(frozen=True, eq=False)
class OldRows:
    """Rows of which there are statistics, and the mixture that these led to.

    Attributes
    ----------
    statistics : Statistics
    mixture : Mixture
        Their M-step.
    drawn : Block or None
        Rows drawn from it, whose weights have the sum of the statistics'. Without them the
        statistics are the same under every mixture.
    n_threads : int
    """

    statistics: Statistics
    mixture: Mixture
    drawn: Block | None
    n_threads: int = 1

    @classmethod
    def of(cls, statistics: Statistics, mixture: Mixture, n_drawn: int, n_threads: int) -> OldRows:
        """Old rows, with about ``n_drawn`` rows that stand for them; none where these are few."""
        k, d = mixture.means.shape
        each = n_drawn // k
        if each < _LEAST_OF_EACH * d or statistics.weight == 0:
            return cls(statistics, mixture, None, n_threads)
        rng = np.random.default_rng(_SEED)
        # As many of each, of less weight if it is rare: so rare ones are no worse known.
        drawn = [mixture.components.sample(rng, i, each) for i in range(k)]
        weights = mixture.weights
        if mixture.noise is not None:
            drawn.append(mixture.noise.uniform.sample(rng, each))
            weights = np.append(weights, mixture.noise.weight)
        x, weight = np.vstack(drawn), np.repeat(statistics.weight * weights / each, each)
        return cls(statistics, mixture, Block(x, weight=weight).present(), n_threads)

    def under(self, mixture: Mixture) -> Statistics:
        """Statistics of the old rows under a mixture, about its means; ``n_rows`` is 0."""
        rest = self._rest.recentre(mixture.means)
        log_likelihood = self._constant + complete_log_likelihood(rest, mixture)
        if self.drawn is not None:
            of_drawn = self._of_drawn(mixture)
            log_likelihood += of_drawn.log_likelihood
            rest = rest + of_drawn
        weight = self.statistics.weight
        return replace(rest, n_rows=0, weight=weight, log_likelihood=log_likelihood)

    @cached_property
    def _rest(self) -> Statistics:
        """What the statistics have beyond those of the drawn rows, under the old mixture."""
        rest = self.statistics.recentre(self.mixture.means)
        return rest if self.drawn is None else rest + self._of_drawn(self.mixture).scaled(-1.0)

    @cached_property
    def _constant(self) -> float:
        """Makes the log-likelihood at the old mixture that of the statistics."""
        found = self.statistics.log_likelihood - complete_log_likelihood(self._rest, self.mixture)
        return found - (0.0 if self.drawn is None else self._of_drawn(self.mixture).log_likelihood)

    def _of_drawn(self, mixture: Mixture) -> Statistics:
        assert self.drawn is not None
        return statistics_of(rows_of_sample(self.drawn, self.n_threads), mixture)


def complete_log_likelihood(statistics: Statistics, mixture: Mixture) -> float:
    """``sum_k n_k (log w_k + log peak_k) - tr(inv(Sigma_k) second_k) / 2``, in nats.

    Noise adds ``n_0 (log w_0 - log V)``.

    Parameters
    ----------
    statistics : Statistics
        About the means of the mixture.
    mixture : Mixture
        Of Gaussians.
    """
    components, n_k = mixture.components, statistics.n_k
    assert isinstance(components, Gaussians)
    held = n_k != 0
    heights = float(n_k[held] @ mixture.log_heights[held])
    n_noise = statistics.weight - float(n_k.sum())
    if mixture.noise_weight > 0:
        heights += n_noise * mixture.log_noise
    # Precisions and second moments have one shape in each kind: their product is the trace.
    return heights - 0.5 * float((components.precisions * statistics["second"]).sum())


def update(
    rows: Rows,
    problem: Problem,
    last: tuple[Mixture, Statistics],
    share: float,
    n_sampled: int,
    tell: Tell,
) -> Updated:
    """Fit new rows beside old ones, from the mixture that the old ones led to.

    Parameters
    ----------
    rows : Rows
        The new ones.
    problem : Problem
        Its prior, tolerance (a number), stop rule, stepper, precision and threads.
    last : tuple of Mixture and Statistics
        The statistics of the old rows, and the mixture that they led to.
    share : float
        What each old row is to count, of what it counts in the statistics.
    n_sampled : int
        Most rows to draw, and about as many to sample of the new ones.
    tell : callable
        Called with each event.

    Raises
    ------
    DataError, DamagedDataError, SingularComponentError
        As :func:`~daskgmm.em.fit.fit`; constant features are no error here.
    """
    mixture, statistics = last
    wanted = max(_FEWEST, _ROWS_PER_PARAMETER * mixture.n_parameters)
    old = OldRows.of(statistics.scaled(share), mixture, min(n_sampled, wanted), problem.n_threads)
    began = time.perf_counter()
    early = EarlyStart(mixture, statistics.weight, is_found_often=True)
    scan, found = scan_in_pass(rows, n_sampled, _SEED, early, problem.precision, is_fit=False)
    reading = Reading({0: found}, time.perf_counter() - began)
    tell(ScanDone(scan.n_rows, len(scan.sample), reading.seconds, is_pass=True))
    prior = _prior_on(problem, old, scan)
    race = _race_of(rows, problem, old, scan, prior)
    n_lost = 0
    try:
        after = _raced(race, old, reading, tell)
    except (SingularComponentError, ParameterError):
        # The drawn rows know too little of a component that moved far away.
        if old.drawn is None:
            raise
        n_lost, old = race.n_passes - 1, replace(old, drawn=None)
        race = _race_of(rows, problem, old, scan, prior)
        after = _raced(race, old, reading, tell)
    course = race.courses[0]
    assert course.statistics is not None
    everything = replace(course.statistics, n_rows=statistics.n_rows + rows.n_rows)
    report = Update(
        n_rows=rows.n_rows,
        weight=float(scan.weight),
        share_kept=share,
        log_likelihood_before=found.log_likelihood_per_row,
        log_likelihood_after=after,
        **_moved(mixture, course.kept),
        n_passes=race.n_passes + n_lost,
    )
    course = replace(course, statistics=everything)
    return Updated(course, report, prior, scan.gaps, far_values(scan))


def _race_of(rows: Rows, problem: Problem, old: OldRows, scan: Scan, prior: Prior) -> Race:
    """A race of one, from the old mixture."""
    stepper, stop = _stepper_on(problem, old, scan, prior), problem.stop_rule
    rules = Rules(stepper, stop, problem.max_iter, precision=problem.precision, prior=prior)
    return Race(rows, {0: Course.begun(old.mixture, stepper, float(problem.tol))}, rules)


def _raced(race: Race, old: OldRows, reading: Reading, tell: Tell) -> float:
    """Advance a race to its end; the log-likelihood per new row at its last accepted pass.

    Raises :class:`SingularComponentError` where the statistics of drawn rows, which are subtracted,
    leave no covariance.
    """
    reading, after = race.take(reading), -np.inf
    with single_thread():
        while True:
            of_new = reading.statistics[0]
            both = old.under(race.courses[0].mixture) + of_new
            race.step(replace(reading, statistics={0: both}))
            if race.newest is not None:
                tell(race.newest)
                after = of_new.log_likelihood_per_row if race.newest.accepted else after
            if not race.is_running:
                race.courses[0].kept.check()  # a stepper checks what it steps to, which is another
                return after
            reading = race.read()


def _sample_of_all(old: OldRows, scan: Scan) -> Block:
    """Rows that stand for the old ones, if there are any, beside some of the new."""
    sample = scan.sample
    if len(sample) > 0:
        weights = sample.weights * (scan.weight / sample.total_weight)
        sample = replace(sample, weight=weights)
    return sample if old.drawn is None else Block.joined([old.drawn, sample])


def _stepper_on(problem: Problem, old: OldRows, scan: Scan, prior: Prior) -> AnyStepper:
    """The stepper, with a sample of old and new rows."""
    name = problem.stepper
    # Some of the new rows alone have another likelihood than all.
    if name == AUTO and old.drawn is None and old.statistics.weight > 0:
        name = PLAIN
    needs = Needs(prior, _sample_of_all(old, scan), problem.n_threads)
    made: AnyStepper = stepper_class(name, old.mixture.kind).of(needs)
    return made


def _prior_on(problem: Problem, old: OldRows, scan: Scan) -> Prior:
    """The prior, in the units of old and new rows, with the parts that are fixed."""
    prior = problem.prior
    if isinstance(prior, RelativeRidge):
        # Where most of all rows are is not known.
        unbounded = np.full(old.mixture.n_features, np.inf)
        prior = prior.of(_moments_of(problem, old, scan), unbounded)
    elif isinstance(prior, RelativeConjugate):
        prior = prior.of(_moments_of(problem, old, scan))
    return prior.fixing(problem.fixed.in_mixture(old.mixture)) if problem.fixed else prior


def _moments_of(problem: Problem, old: OldRows, scan: Scan) -> Moments:
    """Moments of old and new rows; of variances alone where the prior needs no more."""
    w, means, components = old.mixture.shares, old.mixture.means, old.mixture.components
    assert isinstance(components, HasCovariances)
    mean, weight = w @ means, old.statistics.weight
    if isinstance(problem.prior, RelativeRidge):
        variances = w @ components.variances() + w @ np.square(means - mean)
        return Moments(weight, mean, np.diag(weight * variances)) + scan.moments
    covariance = (w[:, None] * (means - mean)).T @ (means - mean)
    for k, of_one in enumerate(w):  # one by one: K matrices can be large
        covariance += of_one * _dense(components.take([k]))
    return Moments(weight, mean, weight * covariance) + scan.moments


def _dense(component: Components) -> Float64Array:
    assert isinstance(component, HasCovariances)
    matrix: Float64Array = component.dense()[0]
    return matrix


def _moved(before: Mixture, after: Mixture) -> dict[str, tuple[float, ...]]:
    assert isinstance(before.components, HasCovariances)
    deviations = (after.means - before.means) / np.sqrt(before.components.variances())
    return {
        "weights_moved": tuple((after.weights - before.weights).tolist()),
        "means_moved": tuple(np.abs(deviations).max(axis=1).tolist()),
    }
