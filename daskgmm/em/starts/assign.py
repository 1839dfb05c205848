"""Assign: starts from an assignment of the sample's rows to components.

An initialiser makes the assignment, as responsibilities; the start is its M-step. To add an
initialiser, write a function and add a row to :data:`INITIALISERS`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin

from daskgmm.em.scan import Scan
from daskgmm.em.starts.given import NOTHING_GIVEN, GivenStart
from daskgmm.errors import DataError, ParameterError, warn
from daskgmm.kernel import (
    Block,
    Conjugate,
    Float64Array,
    HasCovariances,
    Mixture,
    Prior,
    Ridge,
    Uniform,
    components_named,
    weighted_statistics,
)
from daskgmm.kernel.blas import single_thread

__all__ = ["INITIALISERS", "NOISE_OF_STARTS", "StartMaker", "nearest"]

NOISE_OF_STARTS = 0.05
"""Weight of noise in starts. The M-steps of a few passes find how much there is."""

Initialiser = Callable[[Block, int, np.random.RandomState], Float64Array]
"""``(rows, n_components, rng) -> responsibilities`` of shape (n_rows, n_components)."""


def nearest(z: Float64Array, centres: Float64Array) -> Float64Array:
    """Responsibilities (n, K) of rows z (n, D): 1 for the nearest centre (K, D), else 0."""
    with single_thread("blas", "openmp"):  # waking other threads takes longer than the work
        return _one_hot(pairwise_distances_argmin(z, centres), len(centres))


def _one_hot(labels: NDArray[np.integer[Any]], k: int) -> Float64Array:
    resp: Float64Array = (labels[:, None] == np.arange(k)).astype(np.float64)
    return resp


def _kmeans(rows: Block, k: int, rng: np.random.RandomState) -> Float64Array:
    # On several threads Lloyd's sums depend on which thread ends first.
    with single_thread("blas", "openmp"), warnings.catch_warnings():
        # Fewer distinct rows than clusters leave clusters empty: our own warnings tell what matters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(n_clusters=k, n_init=1, random_state=rng).fit(
            rows.x, sample_weight=rows.weight
        )
    return _one_hot(fitted.labels_, k)


def _kmeans_plusplus(rows: Block, k: int, rng: np.random.RandomState) -> Float64Array:
    centres, _ = kmeans_plusplus(rows.x, k, sample_weight=rows.weight, random_state=rng)
    return nearest(rows.x, centres)


def _random(rows: Block, k: int, rng: np.random.RandomState) -> Float64Array:
    resp = rng.uniform(size=(len(rows), k))
    normalised: Float64Array = resp / resp.sum(axis=1, keepdims=True)
    return normalised


def _random_from_data(rows: Block, k: int, rng: np.random.RandomState) -> Float64Array:
    distinct = np.unique(rows.x, axis=0)
    # Beside a value of 1e20, rows that differ can be one when they are standardised.
    chosen = rng.choice(len(distinct), size=k, replace=len(distinct) < k)
    return nearest(rows.x, distinct[chosen])


INITIALISERS: dict[str, Initialiser] = {
    "kmeans": _kmeans,
    "k-means++": _kmeans_plusplus,
    "random": _random,
    "random_from_data": _random_from_data,
}


@dataclass(frozen=True, eq=False)
class StartMaker:
    """Makes starts for one problem, a different one with each call.

    Attributes
    ----------
    n_components : int
    kind : str
        Kind of the components, a key of :data:`daskgmm.kernel.COMPONENTS`.
    prior : Prior
    rng : RandomState
        Source of all random numbers of the initialisers.
    given : GivenStart
        Parts of the start that the user gave. Given means also decide the assignment, so
        that weights and covariances belong to them; where some are given, a group near each of
        these is theirs.
    uniform : Uniform or None
        Density of noise, which takes a share of the weights of every start.
    """

    n_components: int
    kind: str
    prior: Prior
    rng: np.random.RandomState
    given: GivenStart = NOTHING_GIVEN
    uniform: Uniform | None = None

    def start(self, scan: Scan, init_params: str, *, is_winsorized: bool = False) -> Mixture:
        """Parameters to start EM from.

        Parameters
        ----------
        scan : Scan
            The initialiser assigns the rows of its sample.
        init_params : str
            A key of :data:`INITIALISERS`.
        is_winsorized : bool
            Whether the initialiser sees values winsorized, and units of variances that are bounded: see
            :mod:`daskgmm.em.shortest_half`.

        Raises
        ------
        DataError
            If the sample has fewer distinct rows than components, and the prior keeps no variance
            above 0.
        ParameterError
            If ``init_params`` is unknown.
        """
        start = self._start(scan, init_params, is_winsorized).with_noise(
            self.uniform, NOISE_OF_STARTS
        )
        return self.prior.fixed.put_into(start)

    def _start(self, scan: Scan, init_params: str, is_winsorized: bool) -> Mixture:
        given = self.given
        if (whole := given.mixture(self.kind)) is not None:
            return whole
        try:
            assign = INITIALISERS[init_params]
        except (KeyError, TypeError):
            known = ", ".join(INITIALISERS)
            raise ParameterError(
                f"init_params must be one of {known}; got {init_params!r}"
            ) from None
        if not _are_distinct(scan, self.n_components, self.prior):
            assign = _random  # no component is without rows
        # Distances should not depend on units, where the kind does not.
        equivariant = components_named(self.kind).is_scale_equivariant()
        x, variances = scan.sample.x, scan.moments.variances
        if is_winsorized:
            variances = np.minimum(variances, scan.shortest_half.largest_variances)
        scale = np.sqrt(variances) if equivariant else np.ones(1)
        scale = np.where(scale > 0, scale, 1.0)
        shift = scan.moments.mean
        z = replace(scan.sample, x=(x - shift) / scale)
        shown = (
            replace(z, x=(scan.shortest_half.winsorized(x) - shift) / scale) if is_winsorized else z
        )
        means = np.full((self.n_components, z.n_features), np.nan)
        if given.means is not None:
            means = (given.means - shift) / scale
        resp = self._assigned(z, shown, _with_known(means, z), assign)
        return given.put_into(_m_step_of_sample(scan, resp, self.kind, self.prior))

    def _assigned(
        self, z: Block, shown: Block, means: Float64Array, assign: Initialiser
    ) -> Float64Array:
        """Responsibilities (n, K) of rows near means (K, D), of which those to be found are NaN.

        Initialisers see ``shown``, the same rows, whose values may be winsorized.
        """
        is_placed = ~np.isnan(means).any(axis=1)
        if is_placed.all():
            resp = nearest(z.x, means)
        else:
            resp = assign(shown, self.n_components, self.rng)
            if is_placed.any():
                resp = _matched(resp, z, means)
        if z.known is not None:
            labelled = np.flatnonzero(z.known >= 0)
            resp[labelled] = _one_hot(z.known[labelled], self.n_components)
        return resp


def _with_known(means: Float64Array, z: Block) -> Float64Array:
    """The means, with those of rows that are known to be of a component in place of NaN."""
    if z.known is None:
        return means
    means = means.copy()
    for number in np.flatnonzero(np.isnan(means).any(axis=1)):
        rows = z.take(z.known == number)
        if rows.total_weight > 0:
            means[number] = rows.weights @ rows.x / rows.total_weight
    return means


def _matched(resp: Float64Array, z: Block, means: Float64Array) -> Float64Array:
    """Responsibilities (n, K) in the order of means (K, D), of which some are given, others NaN.

    Each given mean gets the group whose centre is near, so that the squared distances have the
    least sum.
    """
    counted = resp * z.weights[:, None]
    n_k = np.maximum(counted.sum(axis=0), np.finfo(np.float64).tiny)
    given = np.flatnonzero(~np.isnan(means).any(axis=1))
    apart = means[given, None, :] - (counted.T @ z.x / n_k[:, None])
    _, groups = linear_sum_assignment(np.square(apart).sum(axis=2))
    order = np.empty(len(means), np.intp)
    order[given] = groups
    everyone = np.arange(len(means))
    order[np.setdiff1d(everyone, given)] = np.setdiff1d(everyone, groups)
    matched: Float64Array = resp[:, order]
    return matched


def _m_step_of_sample(scan: Scan, resp: Float64Array, kind: str, prior: Prior) -> Mixture:
    """M-step whose covariances are shrunk a little towards their mean over components.

    The mean covariance counts as D + 2 rows of each component, which are the degrees of freedom
    of the prior of Fraley and Raftery (2007). That keeps a component of few rows from starting
    singular, and changes one of many rows very little.
    """
    sample, mean = scan.sample, scan.moments.mean
    counted = resp if sample.weight is None else resp * sample.weight[:, None]
    n_k = counted.sum(axis=0)
    centres = mean + counted.T @ (sample.x - mean) / np.maximum(n_k, 1.0)[:, None]
    mixture = prior.m_step(weighted_statistics(sample, resp, centres, kind))
    components = mixture.components
    if not isinstance(components, HasCovariances):
        return mixture
    prior_rows = mixture.n_features + 2.0
    share = prior_rows / (n_k + prior_rows)
    return Mixture(mixture.weights, components.shrunk(mixture.weights, share))


def _are_distinct(scan: Scan, n_components: int, prior: Prior) -> bool:
    """Whether there are as many distinct rows as components.

    Raises
    ------
    DataError
        If there are not, and the prior keeps no variance above 0.

    Warns
    -----
    DaskGMMWarning
        If there are not.
    """
    sample = scan.sample.x
    few = sample[: 8 * n_components]
    if len(np.unique(few, axis=0)) >= n_components:
        return True
    n_distinct = len(np.unique(sample, axis=0))
    if n_distinct >= n_components:
        return True
    of = (
        f"{scan.n_rows} rows"
        if scan.is_whole
        else f"a sample of {len(sample)} of {scan.n_rows} rows"
    )
    said = (
        f"n_components={n_components} but {of} {'has' if 'sample' in of else 'have'} only "
        f"{n_distinct} distinct; lower n_components to at most {n_distinct}"
    )
    # One number: a part of what varies little would keep nothing apart from a point.
    floor = prior.reg_covar if isinstance(prior, Ridge) else 0.0
    keeps_variance = isinstance(prior, Conjugate) and prior.keeps_variance
    if not keeps_variance and (np.ndim(floor) > 0 or not np.all(np.asarray(floor) > 0)):
        raise DataError(f"{said}, or give reg_covar a number above 0, or set prior='auto'")
    warn(f"{said}: components share them")
    return False
