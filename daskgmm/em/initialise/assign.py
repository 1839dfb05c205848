"""Ways to assign rows to components before there are any parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import pairwise_distances_argmin

from daskgmm.kernel import Float64Array
from daskgmm.kernel.blas import single_thread

__all__ = ["INITIALISERS", "nearest"]

Initialiser = Callable[[Float64Array, int, np.random.RandomState], Float64Array]
"""``(z, n_components, rng) -> responsibilities`` of shape (n_rows, n_components)."""


def nearest(z: Float64Array, centres: Float64Array) -> Float64Array:
    """Responsibility 1 for the nearest centre, 0 for the others."""
    with single_thread(user_api=None):  # waking the others takes longer than a sample does
        return _one_hot(pairwise_distances_argmin(z, centres), len(centres))


def _one_hot(labels: NDArray[np.integer[Any]], k: int) -> Float64Array:
    resp: Float64Array = (labels[:, None] == np.arange(k)).astype(np.float64)
    return resp


def _kmeans(z: Float64Array, k: int, rng: np.random.RandomState) -> Float64Array:
    # On several threads Lloyd's sums depend on which thread ends first.
    with single_thread(user_api=None):
        fitted = KMeans(n_clusters=k, n_init=1, random_state=rng).fit(z)
    return _one_hot(fitted.labels_, k)


def _kmeans_plusplus(z: Float64Array, k: int, rng: np.random.RandomState) -> Float64Array:
    centres, _ = kmeans_plusplus(z, k, random_state=rng)
    return nearest(z, centres)


def _random(z: Float64Array, k: int, rng: np.random.RandomState) -> Float64Array:
    resp = rng.uniform(size=(len(z), k))
    normalised: Float64Array = resp / resp.sum(axis=1, keepdims=True)
    return normalised


def _random_from_data(z: Float64Array, k: int, rng: np.random.RandomState) -> Float64Array:
    distinct = np.unique(z, axis=0)
    return nearest(z, distinct[rng.choice(len(distinct), size=k, replace=False)])


INITIALISERS: dict[str, Initialiser] = {
    "kmeans": _kmeans,
    "k-means++": _kmeans_plusplus,
    "random": _random,
    "random_from_data": _random_from_data,
}
