"""Problem: what is to be fitted, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from daskgmm.em.ended import Fit
from daskgmm.em.rows import Rows
from daskgmm.em.scaling import Scaling
from daskgmm.em.scan import Scan
from daskgmm.em.starts.exchanges import can_exchange
from daskgmm.em.starts.given import NOTHING_GIVEN, GivenStart
from daskgmm.em.steppers import (
    AUTO,
    PLAIN,
    STEPPERS,
    AnyStepper,
    Needs,
    Offered,
    stepper_class,
)
from daskgmm.em.stopping import StopRule, statistical_tol, stop_rule_named
from daskgmm.errors import ParameterError, warn
from daskgmm.kernel import (
    Affine,
    Fixed,
    FixedParts,
    Mixture,
    Precision,
    Prior,
    RelativeConjugate,
    RelativeRidge,
    Ridge,
    Uniform,
    count_parameters,
    name_of_kind,
)

__all__ = ["GAPS", "Problem"]

_FEWEST_TO_TRUNCATE = 200
"""Fewest components for a truncated E-step: with fewer, the search costs what it saves."""

_SEARCHED_WORK = 1e6
"""Rows x parameters up to which a pass takes a millisecond or so."""

_BLURS = 0.01
"""Of a column's variance: a ridge beyond is warned of."""

GAPS = 3.0
"""All rows gain at most this many times what is expected, from an optimum of some of them."""


@dataclass(frozen=True, eq=False)
class Problem:
    """The mixture to fit and the options of its fit, checked as far as no rows are needed.

    Attributes
    ----------
    n_components : int
    kind : str
        Kind of the components, a key of :data:`daskgmm.kernel.COMPONENTS`.
    prior : Prior, RelativeRidge or RelativeConjugate
        The latter two are priors once the rows are known: :meth:`prior_on`.
    tol : float or "auto"
        What the stop rule compares with; ``"auto"`` is :func:`statistical_tol`.
    stopping, stepper, init_params : str
        Keys of their tables; ``stepper`` may be ``"auto"``.
    max_iter, n_init : int
    progressive : bool
        Whether starts compete on the sample.
    precision : {"auto", "float32", "float64"}
    n_near : int or None
        Number of near components that a row is compared with; None for all.
    n_threads : int
        Threads for work on the sample.
    given : GivenStart
    last : Mixture or None
        Result of the fit before, to start from.
    past : tuple of float
        Log-likelihoods per row of the last accepted passes of that fit.
    reads : int or None
        Most reads of all rows, the scan included; None for as many as it takes.
    ended : Fit or None
        How that fit ended, whose stepper goes on with what it learned if the rows are the same.
    scaling : Scaling or None
        The map that rows are put through after the scan.
    on_collapse : {"reseed", "prune", "error"}
        What is done about components that collapse; see :mod:`daskgmm.em.collapse`.
    noise : bool or float
        Whether there is noise, over the box of all rows; or the volume of its region, in the
        data's own units, or of projected features.
    fixed : FixedParts
        Parts that stay as they are in the start, which is given or that of a warm start.
    has_labels : bool
        Whether components of some rows are known.
    is_noisy : bool
        Whether rows have measurement noise.

    Raises
    ------
    ParameterError
        If a truncated E-step would save nothing or does not suit the stepper, or if the stepper
        cannot work on components of this kind; or if there can be no early start for one read.
    """

    n_components: int
    kind: str
    prior: Prior | RelativeRidge | RelativeConjugate
    tol: float | str = AUTO
    stopping: str = "gap"
    max_iter: int = 100
    n_init: int = 1
    init_params: str = "kmeans"
    stepper: str = AUTO
    progressive: bool = True
    precision: Precision = "auto"
    n_near: int | None = None
    n_threads: int = 1
    given: GivenStart = NOTHING_GIVEN
    last: Mixture | None = None
    past: tuple[float, ...] = ()
    reads: int | None = None
    ended: Fit | None = None
    scaling: Scaling | None = None
    on_collapse: str = "error"
    noise: bool | float = False
    fixed: FixedParts = FixedParts()  # noqa: RUF009 (frozen)
    has_labels: bool = False
    is_noisy: bool = False

    def __post_init__(self) -> None:
        k, near = self.n_components, self.n_near
        if near is not None and k < _FEWEST_TO_TRUNCATE:
            raise ParameterError(
                f"truncate={near} with n_components={k}: below {_FEWEST_TO_TRUNCATE} "
                "components it would save nothing; leave truncate out (None)",
                "truncate",
            )
        if near is not None and near >= k:
            raise ParameterError(
                f"truncate={near} leaves none of n_components={k} out; "
                "lower it, or leave it out (None)",
                "truncate",
            )
        self._stepper_class  # noqa: B018 (raises where it cannot be)
        if self.reads == 1 and not self.may_start_early:
            ahead = (AUTO, *(name for name, one in STEPPERS.items() if one.leads_ahead))
            steppers = " or ".join(map(repr, ahead))
            raise ParameterError(
                "reads=1 needs a start before the first read: n_components above 1, "
                f"max_iter above 1, progressive=True, stepper={steppers}, no truncate, "
                "no noise, measurement noise, labels, scale or axes that the first read has to find, "
                "and no start that is given or that warm_start goes on from; change these, or set "
                "reads=2",
                "reads",
            )

    @property
    def _stepper_class(self) -> type[Offered[Any]]:
        # A start that is given whole, and progressive=False, get plain EM as in scikit-learn.
        return stepper_class(
            self.stepper,
            self.kind,
            few_passes=self.progressive and not self.given.complete,
            bounds=self.n_near is not None,
        )

    def on(self, scan: Scan) -> Problem:
        """The problem adapted to the number of rows.

        With more free parameters than rows, the likelihood does not tell good starts from bad
        ones, and the surrogate lacks information: plain EM replaces ``stepper="auto"``, and
        starts compete only if a pass takes about a millisecond.

        Warns
        -----
        DaskGMMWarning
            If there are over two features, and free parameters outnumber half of the
            ``n_rows x n_features`` values.
        """
        n, k, d = scan.n_rows, self.n_components, scan.sample.n_features
        p = self.count_parameters(d)
        if 2 * p > n * d and d > 2:  # nobody takes one or two features for rows
            warn(
                f"{n:,} rows of {d:,} features are few for {self.name} components, which have "
                f"{p:,} parameters; if rows and columns are the wrong way round, transpose the "
                "data, or else choose fewer components"
                + (", or covariance_type='diag'" if p > count_parameters("diag", k, d) else "")
            )
        if p <= scan.weight:
            return self
        # Factors of covariances cost as much as some more rows.
        is_cheap = p * (n + d / 8) <= _SEARCHED_WORK
        stepper = PLAIN if self.stepper == AUTO else self.stepper
        return replace(self, stepper=stepper, progressive=self.progressive and is_cheap)

    def through(self, affine: Affine | None) -> Problem:
        """The problem of rows that are put through a map: what it has of the data is, too."""
        if affine is None:
            return self
        given = self.given.through(affine, self.kind)
        if affine.projects:  # along axes that no fit before can have had
            return replace(self, given=given)
        return replace(
            self,
            given=given,
            last=None if self.last is None else affine.mixture_of(self.last, self.kind),
            past=tuple(before - affine.log_jacobian for before in self.past),
        )

    @property
    def are_numbered(self) -> bool:
        """Whether components keep their numbers, because fixed parts or labels name them."""
        return bool(self.fixed) or self.has_labels

    @property
    def may_move_components(self) -> bool:
        """Whether merge-and-split moves are allowed: not if the user placed the components."""
        is_free = self.given.means is None and self.last is None and not self.are_numbered
        return self.progressive and is_free and can_exchange(self.kind)

    @property
    def may_start_early(self) -> bool:
        """Whether starts may compete before the scan: if the user has given no part of the start.

        Only a stepper that leads ahead then converges in one or two steps.
        """
        is_open = self.given.is_empty and self.last is None and self.n_components > 1
        is_open = is_open and (self.scaling is None or not self.scaling.needs_scan)
        is_open = is_open and self.noise is False and not (self.has_labels or self.is_noisy)
        may_compete = self.progressive and self.max_iter > 1 and self.n_near is None
        return is_open and may_compete and self.leads_ahead

    @property
    def leads_ahead(self) -> bool:
        """Whether the stepper's last step is better than the M-step of the last pass."""
        return self._stepper_class.leads_ahead

    @property
    def stop_rule(self) -> StopRule:
        """The rule by which passes end."""
        return stop_rule_named(self.stopping)

    def most_passes_after(self, scan: Scan) -> int:
        """Most passes of the race; a first pass that was the scan as well is one of them."""
        if self.reads is None:
            return self.max_iter
        return min(self.max_iter, self.reads - (not scan.is_pass))

    def check_features(self, d: int) -> None:
        """Raise ParameterError if rows of d features cannot have the map or the prior."""
        if self.scaling is not None:
            self.scaling.check(d)
        if isinstance(self.prior, RelativeConjugate):
            self.prior.check(self.kind, d)

    def tol_on(self, rows: Rows) -> float:
        """The tolerance of the stop rule on these rows, in the rule's units."""
        if self.tol != AUTO:
            return float(self.tol)
        d = rows.n_features
        if self.scaling is not None:
            d = self.scaling.most_seen(d)
        p = self.count_parameters(d)
        return statistical_tol(max(1, p), rows.total_weight)

    @property
    def name(self) -> str:
        """What messages call it, such as ``"3 full"``."""
        return f"{self.n_components} {name_of_kind(self.kind)}"

    def count_parameters(self, n_features: int) -> int:
        """Free parameters of the mixture of so many features."""
        has_noise, k = self.noise is not False, self.n_components
        fixed = self.fixed.count(self.kind, (k, n_features), has_noise)
        return count_parameters(self.kind, k, n_features, has_noise) - fixed

    @property
    def fixed_values(self) -> Fixed:
        """The fixed parts, as the start has them."""
        if self.last is not None:
            return self.fixed.in_mixture(self.last)
        given = self.given
        return self.fixed.of(given.weights, given.means, given.covariances, self.kind)

    def uniform_on(self, scan: Scan) -> Uniform | None:
        """Density of noise among the rows of a scan; None where there is to be none.

        Raises
        ------
        ParameterError
            If the rows fill no volume.
        """
        if self.noise is False:
            return None
        same = np.flatnonzero(scan.minimum == scan.maximum)
        if len(same) > 0:
            raise ParameterError(
                f"noise needs rows that differ, and all rows of weight above 0 have one value of "
                f"column {same[0]}; fit more rows, or leave noise out",
                "noise",
            )
        log_volume = None
        if self.noise is not True:
            log_volume = float(np.log(self.noise))
            if scan.affine is not None:
                log_volume += scan.affine.log_jacobian
        return Uniform.over(scan.minimum, scan.maximum, log_volume)

    def prior_on(self, scan: Scan) -> Prior:
        """The prior, in the units of the rows, with the parts that are fixed."""
        prior: Prior | RelativeRidge | RelativeConjugate = self.prior
        if isinstance(prior, RelativeRidge):
            prior = prior.of(scan.moments, scan.shortest_half.largest_variances)
        elif isinstance(prior, RelativeConjugate):
            prior = prior.of(scan.moments)
        return prior.fixing(self.fixed_values) if self.fixed else prior

    def stepper_on(self, scan: Scan) -> AnyStepper:
        """The stepper, made with the scan's sample."""
        needs = Needs(self.prior_on(scan), scan.sample, self.n_threads)
        made: AnyStepper = self._stepper_class.of(needs)
        return made

    def expected_gain_on(self, scan: Scan, n_fitted: float | None = None) -> float:
        """What all N rows gain per row from an optimum of n of them, on average, in nats.

        It is ``(p / 2)(1 / n - 1 / N)``. The n rows are those of the sample, or ``n_fitted``
        others.
        """
        p = self.count_parameters(scan.sample.n_features)
        return 0.5 * p * (1.0 / (n_fitted or scan.sample.total_weight) - 1.0 / scan.weight)

    def most_gained_on(self, scan: Scan) -> float:
        """What a start can gain per row on all rows, at most: infinite for one as it was made.

        A start that competed is at an optimum of the rows that it was fitted to: see
        :meth:`expected_gain_on`.
        """
        if not self.progressive or self.given.complete or self.last is not None:
            return np.inf
        p = self.count_parameters(scan.sample.n_features)
        n_fitted = None if scan.early is None else scan.early.weight
        return GAPS * self.expected_gain_on(scan, n_fitted) + 0.5 * p / scan.weight

    def warn_of_ridge(self, scan: Scan) -> None:
        """Warn of columns that a given ridge blurs: clusters in them can be lost.

        Warns
        -----
        DaskGMMWarning
            Names them.
        """
        prior, variances = self.prior, scan.moments.variances
        if not isinstance(prior, Ridge | RelativeRidge):
            return
        is_relative = isinstance(prior, RelativeRidge)
        given = prior.share if isinstance(prior, RelativeRidge) else prior.reg_covar
        added = given * (variances if is_relative else np.ones_like(variances))
        blurred = np.flatnonzero(_BLURS * variances < added)
        if len(blurred) > 0:
            kept = None if scan.affine is None else scan.affine.selected
            columns = blurred if kept is None else kept[blurred]
            which = ", ".join(str(column) for column in columns[:5]) + ", ..." * (len(columns) > 5)
            warn(
                f"reg_covar={given:g} is more than {_BLURS:.0%} of the variance of "
                f"column{'s' * (len(blurred) > 1)} {which} (of column {columns[0]}: "
                f"{variances[blurred[0]]:.3g}): clusters in them are blurred; set "
                'reg_covar="auto", which is relative to each column\'s variance, or rescale the '
                "data"
            )
