"""Ordering: in which order the components of a fit are given back.

EM has no order of components. Where none is asked for, it is the one that the starts happened
to have. To add an order, write a function of the mixture and the one before, and add a row to
:data:`ORDERS`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from daskgmm.kernel import (
    DiagGaussians,
    Elliptical,
    Float64Array,
    Gaussians,
    Mixture,
    UncorrelatedGaussians,
)

__all__ = ["ORDERS", "Previous", "order_of"]

Order = NDArray[np.intp]
Previous = Mixture | Float64Array | None
"""The mixture before; or the means (K, D) alone, where that is all that was given."""


def _by_weight(mixture: Mixture, previous: Previous) -> Order:
    """The heaviest first."""
    return np.argsort(-mixture.weights, kind="stable")


def _by_first_feature(mixture: Mixture, previous: Previous) -> Order:
    """By the means of the first feature, and where they are equal of the second, and so on."""
    return np.lexsort(mixture.means.T[::-1])


def _as_before(mixture: Mixture, previous: Previous) -> Order:
    """Each at the place of the component before that it is like.

    Of all ways to match the two, the one of the least sum of Bhattacharyya distances; of means
    alone, of Mahalanobis distances by the mean variances within components, squared.
    """
    assert previous is not None, "checked before the first pass"
    assert isinstance(mixture.components, Elliptical)
    now = mixture.components.gaussians
    if isinstance(previous, Mixture):
        assert isinstance(previous.components, Elliptical)
        before = previous.components.gaussians
    else:
        within = mixture.shares @ now.variances()
        before, now = (
            DiagGaussians(means, np.broadcast_to(within, means.shape))
            for means in (previous, now.means)
        )
    _, order = linear_sum_assignment(_distances(before, now))
    return np.asarray(order, np.intp)


ORDERS: dict[str, Callable[[Mixture, Previous], Order]] = {
    "weight": _by_weight,
    "first-feature": _by_first_feature,
    "previous": _as_before,
}
"""Orders by name."""


def order_of(name: str | None, mixture: Mixture, previous: Previous) -> Order | None:
    """Places of components now, (K,), in the order of a name; None leaves them where they are."""
    return None if name is None else ORDERS[name](mixture, previous)


def _distances(some: Gaussians, others: Gaussians) -> Float64Array:
    """Bhattacharyya distance of each of K components to each of K others, (K, K).

    ``(m - m')^T S^-1 (m - m') / 8 + log(|S| / sqrt(|C| |C'|)) / 2`` with ``S = (C + C') / 2``.
    """
    if all(isinstance(one, UncorrelatedGaussians) for one in (some, others)):
        return np.stack([_by_variances(some, k, others) for k in range(some.n_components)])
    dense, many = some.dense(), others.dense()
    logs = [np.linalg.slogdet(of)[1] for of in (dense, many)]
    found = []
    for k, one in enumerate(dense):
        middle, apart = 0.5 * (one + many), others.means - some.means[k]
        squared = (apart * np.linalg.solve(middle, apart[..., None])[..., 0]).sum(axis=1)
        log = np.linalg.slogdet(middle)[1] - 0.5 * (logs[0][k] + logs[1])
        found.append(squared / 8 + log / 2)
    return np.stack(found)


def _by_variances(some: Gaussians, k: int, others: Gaussians) -> Float64Array:
    one, many = some.variances()[k], others.variances()
    middle, apart = 0.5 * (one + many), others.means - some.means[k]
    logs: Float64Array = np.log(middle) - 0.5 * (np.log(one) + np.log(many))
    found: Float64Array = (np.square(apart) / middle).sum(axis=1) / 8 + logs.sum(axis=1) / 2
    return found
