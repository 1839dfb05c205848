"""The statistics again, plainly: longdouble, matrices inverted by hand, nothing shared.

longdouble has eps 1e-19 on x86, so beside float64 the oracle counts as exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daskgmm.kernel import Mixture

REDUCED = {
    "full": lambda dense: dense,
    "tied": lambda dense: dense.sum(axis=0),
    "diag": lambda dense: np.diagonal(dense, axis1=1, axis2=2),
    "spherical": lambda dense: np.trace(dense, axis1=1, axis2=2),
}
"""What each family keeps of the K second-moment matrices (K, D, D)."""


@dataclass
class Naive:
    """E-step in longdouble."""

    log_density: np.ndarray
    resp: np.ndarray
    n_k: np.ndarray
    first: np.ndarray
    second: np.ndarray


def _lower(a: np.ndarray) -> np.ndarray:
    lower = np.zeros_like(a)
    for i in range(len(a)):
        for j in range(i + 1):
            rest = a[i, j] - (lower[i, :j] * lower[j, :j]).sum()
            lower[i, j] = np.sqrt(rest) if i == j else rest / lower[j, j]
    return lower


def naive_e_step(x: np.ndarray, mixture: Mixture, centres: np.ndarray | None = None) -> Naive:
    k, d = mixture.means.shape
    x = x.astype(np.longdouble)
    means = mixture.means.astype(np.longdouble)
    dense = mixture.components.dense().astype(np.longdouble)
    joint = np.empty((len(x), k), np.longdouble)
    for j in range(k):
        lower, deviations = _lower(dense[j]), (x - means[j]).T
        white = np.empty_like(deviations)
        for i in range(d):
            white[i] = (deviations[i] - lower[i, :i] @ white[:i]) / lower[i, i]
        joint[:, j] = (
            np.log(np.longdouble(mixture.weights[j]))
            - np.log(np.diagonal(lower)).sum()
            - d * np.log(2 * np.longdouble(np.pi)) / 2
            - (white**2).sum(axis=0) / 2
        )
    largest = joint.max(axis=1, keepdims=True)
    log_density = largest[:, 0] + np.log(np.exp(joint - largest).sum(axis=1))
    resp = np.exp(joint - log_density[:, None])
    centres = means if centres is None else centres.astype(np.longdouble)
    deviations = x[None] - centres[:, None]  # (K, n, D)
    return Naive(
        log_density,
        resp,
        resp.sum(axis=0),
        np.einsum("nk,kni->ki", resp, deviations),
        np.einsum("nk,kni,knj->kij", resp, deviations, deviations),
    )
