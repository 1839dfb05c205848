"""Conditioning: what some features say of the others, under Gaussians and mixtures of them.

Where a row of component k has observed features o and missing ones m,

    E[x_m | x_o] = mu_m + B (x_o - mu_o),  B = S_mo S_oo^-1
    Cov[x_m | x_o] = S_mm - B S_om

which does not depend on x_o. A mixture of such components, each weighted by the responsibility
that it has for x_o, is the distribution of x_m given x_o (Ghahramani and Jordan 1994).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components import Gaussians
from daskgmm.kernel.formulations import formulation_of
from daskgmm.kernel.formulations.sub_blocked import normalise
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = [
    "Regression",
    "conditional_mixture",
    "conditional_moments",
    "marginal_mixture",
    "regression_of",
]

_FLOAT64 = np.dtype(np.float64)


@dataclass(frozen=True, eq=False)
class Regression:
    """Regression of the missing features on the observed ones, in each component of a mixture.

    Attributes
    ----------
    observed, missing : ndarray of int, shapes (O,) and (M,)
        Indices of the features.
    centres : ndarray of shape (K, O)
        Means of the observed features.
    coefficients : ndarray of shape (K, M, O)
        B of each component.
    rest : Gaussians
        Of the missing features where the observed ones are at their means. ``rest.dense()``
        (K, M, M) and ``rest.variances()`` (K, M) are those given any observed values.
    """

    observed: NDArray[np.intp]
    missing: NDArray[np.intp]
    centres: Float64Array
    coefficients: Float64Array
    rest: Gaussians

    def means(self, k: int, x_t: Float64Array) -> Float64Array:
        """``E[x_m | x_o]`` in component k, (M, n), of observed features (O, n)."""
        deviations = x_t - self.centres[k][:, None]
        found: Float64Array = self.coefficients[k] @ deviations + self.rest.means[k][:, None]
        return found


def regression_of(
    components: Gaussians, observed: NDArray[np.intp], missing: NDArray[np.intp]
) -> Regression:
    """The regression of missing features on observed ones.

    Parameters
    ----------
    components : Gaussians
    observed, missing : ndarray of int
        Indices of features, one or more in each, and none twice. Features in neither are left out.

    Raises
    ------
    SingularComponentError
        ``error.component`` names the covariance that could not be factored.
    """
    coefficients, rest = components.regressed(observed, missing)
    return Regression(observed, missing, components.means[:, observed], coefficients, rest)


def marginal_mixture(mixture: Mixture, features: NDArray[np.intp]) -> Mixture:
    """The mixture over some features, of the same kind, in the order of their indices."""
    return Mixture(mixture.weights, _gaussians(mixture).marginal(features))


def conditional_mixture(
    mixture: Mixture, observed: NDArray[np.intp], values: Float64Array
) -> Mixture:
    """The mixture over the other features, of the same kind, where the observed ones have values.

    Parameters
    ----------
    mixture : Mixture
        Of Gaussians.
    observed : ndarray of int
        Indices of features, each once; not of all.
    values : ndarray of shape (O,)
        In the order of ``observed``.

    Raises
    ------
    ParameterError
        If the values are not finite, or so large that no component has a density there.
    """
    others = np.setdiff1d(np.arange(mixture.n_features), observed)
    regression = regression_of(_gaussians(mixture), observed, others)
    x_t = values[:, None]
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log_densities = marginal_mixture(mixture, observed).components.log_densities(x_t)
        joint = np.log(mixture.weights)[:, None] + log_densities
    if not np.isfinite(joint.max()):
        raise ParameterError(
            f"no component has a density at {values.tolist()}; give values that are finite and "
            "nearer to the data"
        )
    weights, _ = normalise(joint, bounded=False)
    means = [regression.means(k, x_t)[:, 0] for k in range(mixture.n_components)]
    rest = regression.rest
    return Mixture(weights[:, 0], type(rest)(np.stack(means), rest.covariances))


def conditional_moments(
    x: NDArray[Any], given: Mixture, regression: Regression
) -> tuple[Float64Array, Float64Array]:
    """Mean and variance of each missing feature given the observed ones of each row.

    Parameters
    ----------
    x : ndarray of shape (n_rows, O), any real dtype
    given : Mixture
        The marginal over the observed features.
    regression : Regression
        Of the missing ones, in the components of the same mixture.

    Returns
    -------
    means, variances : ndarray of shape (n_rows, M), float64
        The variance is the sum over components of ``r_k (Cov_k + (mean_k - mean)^2)``: what is
        left within components, and how far their means are apart.
    """
    evaluation = formulation_of(given, _FLOAT64).evaluation()
    k, left = given.n_components, regression.rest.variances()
    shape = len(x), len(regression.missing)
    means, variances = np.empty(shape), np.empty(shape)
    for span, x_t in sub_blocks(x, k):
        resp, _ = normalise(evaluation.joint(x_t), evaluation.bounded)
        mean, variance = np.zeros((2, shape[1], len(x[span])))
        for j in range(k):
            mean += resp[j] * regression.means(j, x_t)
        for j in range(k):  # again, as those of all components at once would be K results
            apart = regression.means(j, x_t) - mean
            variance += resp[j] * (left[j][:, None] + np.square(apart))
        means[span], variances[span] = mean.T, variance.T
    return means, variances


def _gaussians(mixture: Mixture) -> Gaussians:
    if not isinstance(mixture.components, Gaussians):
        raise TypeError(f"{mixture.kind} components have no array of covariances")
    return mixture.components
