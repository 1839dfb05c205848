"""Initialisers: where EM starts, from the scan's sample.

An initialiser assigns the sample's rows to components; the start is the M-step of
that assignment. To add one, write a function and add a row to :data:`INITIALISERS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daskgmm.em.initialise.assign import INITIALISERS, nearest
from daskgmm.em.scan import Scan
from daskgmm.errors import DataError, ParameterError
from daskgmm.kernel import (
    Float64Array,
    HasCovariances,
    Mixture,
    Prior,
    components_named,
    gaussian_mixture,
    weighted_statistics,
)

__all__ = ["INITIALISERS", "GivenStart", "start_mixture"]


@dataclass(frozen=True, eq=False)
class GivenStart:
    """What the user gives of the start; the rest comes from the initialiser."""

    weights: Float64Array | None = None
    means: Float64Array | None = None
    covariances: Float64Array | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to an initialiser."""
        return not any(part is None for part in (self.weights, self.means, self.covariances))


def start_mixture(
    scan: Scan,
    *,
    n_components: int,
    covariance_type: str,
    init_params: str,
    prior: Prior,
    rng: np.random.RandomState,
    given: GivenStart | None = None,
) -> Mixture:
    """Parameters to start EM from.

    Parameters
    ----------
    scan : Scan
        Its sample is what initialisers see.
    n_components : int
    covariance_type : str
    init_params : str
        A key of :data:`INITIALISERS`.
    prior : Prior
    rng : RandomState
        Source of all randomness here.
    given : GivenStart, optional
        Parts that are taken as they are. Given means also decide the assignment, so
        that weights and covariances belong to them.

    Raises
    ------
    DataError
        If the sample has fewer distinct rows than components.
    ParameterError
        If ``init_params`` is unknown.
    """
    given = given or GivenStart()
    if given.complete:
        assert given.weights is not None
        assert given.means is not None
        assert given.covariances is not None
        return gaussian_mixture(given.weights, given.means, given.covariances, covariance_type)
    try:
        assign = INITIALISERS[init_params]
    except (KeyError, TypeError):
        known = ", ".join(INITIALISERS)
        raise ParameterError(f"init_params must be one of {known}; got {init_params!r}") from None
    _check_distinct(scan, n_components)
    law = components_named(covariance_type)
    # Distances should not depend on units, where the family does not.
    scale = np.sqrt(scan.moments.variances) if law.is_scale_equivariant() else np.ones(1)
    scale = np.where(scale > 0, scale, 1.0)
    shift = scan.moments.mean
    z = (scan.sample.x - shift) / scale
    if given.means is not None:
        resp = nearest(z, (given.means - shift) / scale)
    else:
        resp = assign(z, n_components, rng)
    mixture = _m_step_of_sample(scan, resp, covariance_type, prior)
    return gaussian_mixture(
        mixture.weights if given.weights is None else given.weights,
        mixture.means if given.means is None else given.means,
        mixture.covariances if given.covariances is None else given.covariances,
        covariance_type,
    )


def _m_step_of_sample(
    scan: Scan, resp: Float64Array, covariance_type: str, prior: Prior
) -> Mixture:
    """M-step with covariances drawn a little towards their mean over components.

    D + 2 rows' worth of the mean covariance keep a component of few rows from
    starting singular and do not show in one of many (as many as the degrees of
    freedom of the prior of Fraley and Raftery 2007).
    """
    sample = scan.sample
    counted = resp if sample.weight is None else resp * sample.weight[:, None]
    n_k = counted.sum(axis=0)
    mean = scan.moments.mean
    centres = mean + counted.T @ (sample.x - mean) / np.maximum(n_k, 1.0)[:, None]
    mixture = prior.m_step(weighted_statistics(sample, resp, centres, covariance_type))
    assert isinstance(mixture.components, HasCovariances)
    prior_rows = mixture.n_features + 2.0
    return Mixture(
        mixture.weights,
        mixture.components.shrunk(mixture.weights, prior_rows / (n_k + prior_rows)),
    )


def _check_distinct(scan: Scan, n_components: int) -> None:
    sample = scan.sample.x
    few = sample[: 8 * n_components]
    if len(np.unique(few, axis=0)) >= n_components:
        return
    n_distinct = len(np.unique(sample, axis=0))
    if n_distinct < n_components:
        of = (
            f"{scan.n_rows} rows"
            if len(sample) == scan.n_rows
            else f"a sample of {len(sample)} of {scan.n_rows} rows"
        )
        raise DataError(
            f"n_components={n_components} but {of} {'has' if 'sample' in of else 'have'} only "
            f"{n_distinct} distinct; lower n_components to at most {n_distinct}"
        )
