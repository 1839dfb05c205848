"""The conjugate prior of Gaussians: pseudo-rows, and what they add to sums and to estimates."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import PriorTerms, Sums, given_or

if TYPE_CHECKING:
    from daskgmm.kernel.components.gaussian import Gaussians

__all__ = ["GaussianPrior"]


class GaussianPrior:
    """A normal prior of each mean and an inverse Wishart or inverse gamma prior of covariances.

    ``mu_k | Sigma_k ~ N(mean, Sigma_k / shrinkage)``, and the density of a covariance is
    proportional to ``|Sigma|^(-(dof + D + 1) / 2) exp(-tr(scale inv(Sigma)) / 2)``; of a variance
    to ``v^(-(dof + 2) / 2) exp(-scale / (2 v))``. So the prior acts like ``shrinkage`` rows at the
    mean, and further rows whose scatter is the scale. Only the count by which the scatter is
    divided is the prior's own.

    Parameters
    ----------
    law : type of Gaussians
    k : int
        Number of components.
    terms : PriorTerms

    References
    ----------
    Fraley and Raftery (2007), Bayesian regularization for normal mixture estimation and
    model-based clustering.
    """

    def __init__(self, law: type[Gaussians], k: int, terms: PriorTerms) -> None:
        d = len(terms.mean)
        self._law, self._mean = law, terms.mean
        # Without a scale, covariances have no prior, whatever its degrees of freedom.
        own = law.prior_rows(terms.dof, k, d) if terms.scale.any() else 0.0
        of_mean = 1.0 if terms.shrinkage > 0 else 0.0
        self._rows = np.full(k, terms.row * (own + of_mean))
        self._sums: Sums = {
            "n_k": np.full(k, terms.row * terms.shrinkage),
            "first": np.zeros((k, d)),
            "second": law.prior_scatter(terms.row * terms.scale, k),  # a view: matrices are large
        }

    def _about(self, centres: Float64Array) -> dict[str, Float64Array]:
        """Sums of the pseudo-rows about centres (K, D)."""
        return self._law.recentred(self._sums, centres - self._mean)

    def estimated(
        self,
        sums: Sums,
        centres: Float64Array,
        n_k: Float64Array,
        means: Float64Array | None = None,
    ) -> Gaussians:
        """The Gaussians that maximise expected log-likelihood plus log density of the prior."""
        own = self._about(centres)
        total = {name: sums[name] + own[name] for name in ("first", "second")}
        total["n_k"] = n_k + own["n_k"]
        means = given_or(means, centres + total["first"] / total["n_k"][:, None])
        second = self._law.recentred(total, means - centres)["second"]
        covariances = self._law._covariances(second, n_k + self._rows, 0.0, means.shape[1])
        return self._law(means, covariances)

    def log_density(self, components: Gaussians) -> float:
        """Log density at some components, less that at the mode: 0 or below, in nats."""
        return self._height(components) - self._peak if self._rows.any() else 0.0

    @cached_property
    def _peak(self) -> float:
        """Height of the mode, where all means are the prior's."""
        centres = np.tile(self._mean, (len(self._rows), 1))
        covariances = self._law._covariances(self._sums["second"], self._rows, 0.0, len(self._mean))
        return self._height(self._law(centres, covariances))

    def _height(self, components: Gaussians) -> float:
        second = self._about(components.means)["second"]
        # Precisions and second moments have one shape in each kind: their product is the trace.
        trace = float(np.einsum("i,i->", components.precisions.ravel(), second.ravel()))
        return float(self._rows @ components._log_det()) - 0.5 * trace

    def pulls(self, components: Gaussians, n_k: Float64Array) -> dict[str, Float64Array]:
        """Sums about the means that have the gradient of the log density there, and this ``n_k``.

        Rows whose covariance is that of their component have no gradient. So the difference
        between ``n_k`` and the rows of the prior is made up by the second moments of such rows.
        """
        own = self._about(components.means)
        return {
            "n_k": n_k,
            "first": own["first"],
            "second": own["second"] + components.moments_of(n_k - self._rows),
        }
