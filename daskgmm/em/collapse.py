"""Collapse: components that a fit has lost, and what takes their place.

A component has collapsed if its covariance is not positive definite, or if one of its variances is
so small that the rounding of the values can make it up. At the end of a fit, a component has also
collapsed if it holds too few rows for a regular covariance, or if it holds next to no rows and has
a variance that is little more than what ``reg_covar`` adds. A component whose rows are far from
all others stays: without it, another component would be drawn to these rows.

The rows of a collapsed component go to the other components. In its place, a group of rows of the
sample that fit worst gets a component, or else the component whose division gains most is divided.
If the sample has no place for a new component, or components were replaced three times before, the
mixture has one component less.

All of this is done on the sample that the scan drew, and the new mixture is fitted to the sample
first. So it takes no pass, and its result does not depend on workers.

References
----------
Fraley and Raftery (2007), Bayesian regularization for normal mixture estimation and model-based
clustering (what a component of few rows needs).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.course import Course
from daskgmm.em.problem import Problem
from daskgmm.em.rows import rows_of_sample
from daskgmm.em.scan import Scan
from daskgmm.em.starts.climbs import Climber
from daskgmm.em.starts.exchanges import can_exchange, with_one_more
from daskgmm.em.starts.rare import densest_group
from daskgmm.em.stepping import check_factors
from daskgmm.em.tail import tail_rows
from daskgmm.em.thin import are_far, said_of_thin, thin_components
from daskgmm.errors import ParameterError, SingularComponentError
from daskgmm.history import Collapse
from daskgmm.kernel import (
    Conjugate,
    Elliptical,
    Float64Array,
    HasCovariances,
    Mixture,
    Prior,
    Ridge,
    gaussians_named,
    log_density,
    responsibilities,
    weighted_statistics,
)

__all__ = ["ON_COLLAPSE", "Mender", "ended", "said_of_collapses", "with_distinct_rows"]

_RESEED, _PRUNE, _ERROR = ON_COLLAPSE = ("reseed", "prune", "error")
"""What is done about components that collapse."""

_MOST_TIMES = 3
"""How often in a fit components are reseeded; those that collapse later are pruned."""
_MOST_AT_ONCE = 8
"""Most components that are reseeded at one time: each search for a place looks at all others."""

_FAILURES = (SingularComponentError, ParameterError, np.linalg.LinAlgError)
"""Why there is no place for a component. ParameterError says that a parameter is not finite."""


@dataclass(frozen=True, eq=False)
class Mender:
    """Replaces the collapsed components of a mixture.

    Attributes
    ----------
    scan : Scan
        Its sample is where places for components are looked for.
    prior : Prior
    n_threads : int
        Threads for work on the sample; the result does not depend on them.
    reseeds : bool
        Whether collapsed components are reseeded; otherwise they are pruned.
    """

    scan: Scan
    prior: Prior
    n_threads: int
    reseeds: bool

    @classmethod
    def of(cls, problem: Problem, scan: Scan) -> Self | None:
        """The mender of a problem; None where a collapse is an error.

        A collapse is also an error where components keep their numbers, by labels or by fixed parts.
        """
        if problem.on_collapse == _ERROR or problem.are_numbered:
            return None
        reseeds = problem.on_collapse == _RESEED
        some = scan.for_starts.completed
        return cls(some, problem.prior_on(scan), problem.n_threads, reseeds)

    def is_well(self, mixture: Mixture, k: int | None = None) -> bool:
        """Whether a mixture, or its component k, has a density and variances beyond rounding."""
        components = mixture.components if k is None else mixture.components.take([k])
        try:
            components.check()
        except SingularComponentError:
            return False
        if (
            isinstance(components, HasCovariances)
            and (components.variances() <= self._rounding).any()
        ):
            return False
        return k is None or bool(mixture.weights[k] > 0)

    @cached_property
    def _rounding(self) -> Float64Array:
        """Variance of each feature that the rounding of values can make up, (D,).

        It is 0 where ``reg_covar`` keeps variances above 0.
        """
        largest = np.maximum(np.abs(self.scan.minimum), np.abs(self.scan.maximum))
        rounding: Float64Array = np.square(np.finfo(np.float64).eps * largest)
        ridge = self.prior.reg_covar if isinstance(self.prior, Ridge) else 0.0
        return np.where(np.asarray(ridge) > 0, 0.0, rounding)

    def mended(self, course: Course, mixture: Mixture) -> tuple[Mixture, Collapse]:
        """A mixture in place of one that is not well, and what happened.

        Parameters
        ----------
        course : Course
            As it was before the step that led to the mixture. The course's own mixture is well,
            unless it is a start.
        mixture : Mixture

        Raises
        ------
        SingularComponentError
            If even one component of all rows has no density.
        """
        rest = self._rest(course, mixture)
        lost = mixture.n_components - rest.n_components
        found = self._filled(course, rest, lost) or rest
        return found, self._event(course, mixture, rest, found)

    def mended_at_end(self, course: Course) -> tuple[Mixture, Collapse] | None:
        """The same for the result of a course, of which few rows are enough; None if it is well.

        The result also stays as it is if every other fit has components of few rows, too: an
        outlier far away, for example, has a component of its own in every fit.

        Raises
        ------
        SingularComponentError
            As :meth:`mended`.
        """
        mixture = course.kept
        if not self.is_well(mixture):
            return self.mended(course, mixture)
        few = few_of(mixture, self.scan, self.prior)
        rest = mixture.take(_others(mixture, few))
        found = self._filled(course, rest, len(few)) if few else None
        return None if found is None else (found, self._event(course, mixture, rest, found))

    def pruned(self, course: Course) -> Course:
        """The course with a result that is well, where no pass is left to mend it."""
        if self.is_well(course.kept):
            return course
        kept = self._rest(course, course.kept)
        event = self._event(course, course.kept, kept, kept)
        return replace(course, kept=kept, statistics=None, collapses=(*course.collapses, event))

    # -- what is left -----------------------------------------------------------------

    def _rest(self, course: Course, mixture: Mixture) -> Mixture:
        """The components of a mixture that are well; one of all rows if there are none."""
        kept = [k for k in range(mixture.n_components) if self.is_well(mixture, k)]
        if kept:
            return mixture.take(kept)
        if gaussians_named(mixture.kind).couples_covariances:
            return self._of_fewer(course, mixture)
        return self._of_all(course, mixture)

    def _of_fewer(self, course: Course, mixture: Mixture) -> Mixture:
        """The mixture before the step without its lightest component, where covariances are coupled.

        It is not known which of them has collapsed: what they have in common has no density.
        """
        if mixture.n_components == 1:
            return self._of_all(course, mixture)
        before = course.mixture
        rest = before.take(_others(before, [int(np.argmin(before.weights))]))
        if self.is_well(rest):
            return rest
        whole, components = self._of_all(course, mixture), rest.components
        assert isinstance(components, Elliptical)
        assert isinstance(whole.components, Elliptical)
        alike = whole.components.gaussians.take(np.zeros(rest.n_components, np.intp))
        alike = type(alike)(rest.means, alike.covariances)
        return Mixture(rest.weights, components.with_gaussians(alike), rest.noise)

    def _of_all(self, course: Course, mixture: Mixture) -> Mixture:
        """One component of all rows, beside the mixture's noise.

        Noise can make such a component collapse again and again. So after the third time, noise
        has no weight, which EM never changes: the component of all rows then stays as it is.

        Raises
        ------
        SingularComponentError
            If it has no density.
        """
        sample, mean = self.scan.sample, self.scan.moments.mean
        ones = np.ones((len(sample), 1))
        one = self.prior.m_step(weighted_statistics(sample, ones, mean[None], mixture.kind))
        if not self.is_well(one):
            n, n_distinct = len(sample), len(np.unique(sample.x, axis=0))
            few = f" ({n_distinct:,} of {n:,} rows are distinct)" * (n_distinct < n)
            way_out = "columns are sums of others; raise reg_covar"
            if isinstance(self.prior, Conjugate):
                way_out = "the prior is extreme; set prior='auto'"
            raise SingularComponentError(
                f"not even one component of all rows has a density: rows are few or alike{few}, or "
                f"{way_out}, or choose covariance_type='diag'"
            )
        stays = _times(course) >= _MOST_TIMES
        return one.with_noise(mixture.uniform, 0.0 if stays else mixture.noise_weight)

    # -- what takes the place of the others -------------------------------------------

    def _filled(self, course: Course, rest: Mixture, lost: int) -> Mixture | None:
        """A fit to the sample from what is left, with as many components as there is place for.

        It is None if components collapse in that fit, too, whatever their number.
        """
        may_grow = self.reseeds and _times(course) < _MOST_TIMES
        found = self._reseeded(rest, lost) if may_grow else None
        return self._fitted(rest) if found is None else found

    @staticmethod
    def _event(course: Course, mixture: Mixture, rest: Mixture, found: Mixture) -> Collapse:
        """What happened to a mixture that had ``rest`` left."""
        n, left, now = (one.n_components for one in (mixture, rest, found))
        if left == n:  # it was the only one, and a component of all rows takes its place
            left = 0
        return Collapse(len(course.history), n - left, now - left, n - now)

    def _reseeded(self, rest: Mixture, lost: int) -> Mixture | None:
        """With up to ``lost`` components more; None if no place keeps them on the sample."""
        grown = rest
        for _ in range(min(lost, _MOST_AT_ONCE)):
            more = self._with_one_more(grown)
            if more is None:
                break
            grown = more
        return None if grown is rest else self._fitted(grown)

    def _fitted(self, mixture: Mixture) -> Mixture | None:
        """A fit to the sample from a mixture; None if components of it collapse there, too."""
        fit = self._sample.climb(mixture, to_the_end=True)
        if fit is None or not self.is_well(fit.kept) or few_of(fit.kept, self.scan, self.prior):
            return None
        return fit.kept

    @cached_property
    def _sample(self) -> Climber:
        return Climber(rows_of_sample(self.scan.sample, self.n_threads), self.prior)

    def _with_one_more(self, mixture: Mixture) -> Mixture | None:
        """The mixture with one component more, and all well; None if there is no place."""
        for grown in (self._with_worst_rows, self._with_division):
            with suppress(*_FAILURES):
                more = grown(mixture)
                if more is not None and self.is_well(more):
                    return more
        return None

    def _with_worst_rows(self, mixture: Mixture) -> Mixture | None:
        """With a component for a group of the rows of the sample that fit worst."""
        sample, moments = self.scan.sample, self.scan.moments
        if not (moments.variances > 0).all():
            return None
        # Each row of the sample counts as itself: a group needs rows, whatever they stand for.
        share = sample.total_weight / moments.weight
        moments = replace(moments, weight=sample.total_weight, scatter=share * moments.scatter)
        log_densities = log_density(sample.x, mixture)
        # Most rows are described by what is left: a group of them all would leave nothing.
        most = min(tail_rows(sample.n_features), len(sample) // 4)
        order = np.argsort(log_densities, kind="stable")[:most]
        with np.errstate(divide="ignore", invalid="ignore"):  # one row may have all the weight
            group = densest_group(sample.take(order), log_densities[order], moments)
        if group is None:
            return None
        own = np.zeros(len(sample))
        own[order] = group
        resp = responsibilities(sample.x, mixture) * (1.0 - own)[:, None]
        centre = (sample.weights * own) @ sample.x / (sample.weights @ own)
        statistics = weighted_statistics(
            sample,
            np.column_stack([resp, own]),
            np.vstack([mixture.means, centre]),
            mixture.kind,
        )
        return self.prior.m_step(statistics)

    def _with_division(self, mixture: Mixture) -> Mixture | None:
        """With the component divided whose division gains most on the sample."""
        return with_one_more(self._sample, mixture) if can_exchange(mixture.kind) else None


def ended(course: Course, problem: Problem, scan: Scan) -> Course:
    """The result of a fit, whose components all have a density, though no pass is left.

    Raises
    ------
    SingularComponentError
        If components have collapsed, and that is an error.
    """
    mender, kept = Mender.of(problem, scan), course.kept
    if mender is None:
        check_factors(kept, len(course.history), course.statistics)
        few = [] if problem.are_numbered else few_of(kept, scan, problem.prior_on(scan))
        if few:
            thin = thin_components(kept, _counted(scan), problem.prior_on(scan))
            said = said_of_thin([one for one in thin if one.component in few], kept.n_components)
            raise SingularComponentError(
                f"at the end, {said}; lower n_components, or set on_collapse='prune'", few[0]
            )
        return course
    return mender.pruned(course)


def few_of(mixture: Mixture, scan: Scan, prior: Prior) -> list[int]:
    """Components that hold too few rows for a covariance, or next to no rows and are at the floor.

    There are none under a prior that adds rows of its own to each covariance. Nor is one whose rows are
    far from all other components: see :func:`~daskgmm.em.thin.are_far`.
    """
    if _gives_rows(prior):
        return []
    regular = mixture.components.fewest_rows(mixture.n_features)
    thin = thin_components(mixture, _counted(scan), prior)
    few = [one.component for one in thin if one.at_floor or one.n_rows < regular]
    return [k for k, is_far in zip(few, are_far(mixture, few), strict=True) if not is_far]


def _counted(scan: Scan) -> float:
    """Number of rows that count; weights with a smaller sum are taken for shares of the rows."""
    return max(scan.weight, scan.n_rows)


def with_distinct_rows(problem: Problem, scan: Scan) -> tuple[Problem, tuple[Collapse, ...]]:
    """The problem with no more components than the sample has distinct rows.

    The problem stays as it is where components may share rows, as they do in scikit-learn: if
    ``reg_covar`` is one number above 0, or if a prior adds rows of its own to each covariance.
    """
    prior, k = problem.prior_on(scan), problem.n_components
    floor = prior.reg_covar if isinstance(prior, Ridge) else 0.0
    shares = np.ndim(floor) == 0 and float(np.asarray(floor)) > 0
    is_open = problem.given.is_empty and problem.last is None and not problem.has_labels
    shares |= _gives_rows(prior)
    if shares or problem.on_collapse == _ERROR or not is_open:
        return problem, ()
    x = scan.completed.sample.x
    if len(np.unique(x[: 8 * k], axis=0)) >= k or (n := len(np.unique(x, axis=0))) >= k:
        return problem, ()
    return replace(problem, n_components=n), (Collapse(0, k - n, 0, k - n),)


def said_of_collapses(collapses: Sequence[Collapse], n_components: int) -> str:
    """For people, what became of components that collapsed; empty if none did."""
    if not collapses:
        return ""
    lost, reseeded, pruned = (
        sum(getattr(one, name) for one in collapses)
        for name in ("n_collapsed", "n_reseeded", "n_pruned")
    )
    text = f"{lost} component{'s' * (lost > 1)} collapsed"
    if reseeded:
        text += f", {reseeded} of them reseeded"
    if pruned:
        text += f", {pruned} pruned: {n_components} of {n_components + pruned} are left"
    return text


def _times(course: Course) -> int:
    """How often components took the place of others in a course."""
    return sum(one.n_reseeded > 0 for one in course.collapses)


def _gives_rows(prior: Prior) -> bool:
    return isinstance(prior, Conjugate) and prior.keeps_variance


def _others(mixture: Mixture, some: Sequence[int]) -> NDArray[np.intp]:
    return np.setdiff1d(np.arange(mixture.n_components), some)
