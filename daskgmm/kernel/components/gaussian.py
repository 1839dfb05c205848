"""Gaussians: components with a mean and a covariance, which each kind constrains.

*Second moments* (the sum ``second``) have the shape of the kind's ``covariances``: of
``sum r (x - centre)(x - centre)^T`` the whole (full), the sum over components (tied), the
diagonal (diag), the trace (spherical).

The file is longer than others because it has the part of every capability that all kinds share.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import (
    HasConjugatePrior,
    HasCovariances,
    HasNaturalForm,
    HasTangent,
    PriorTerms,
    RidgeLike,
    Run,
    Sums,
    given_or,
)
from daskgmm.kernel.components.completed import CompletesRows, Expected, Filler, Lift
from daskgmm.kernel.components.deconvolved import Deconvolves
from daskgmm.kernel.components.elliptical import Elliptical
from daskgmm.kernel.components.gap_loops import GapLoop
from daskgmm.kernel.components.gaussian_prior import GaussianPrior
from daskgmm.kernel.components.gaussian_tangent import GaussianTangent

__all__ = ["Gaussians"]


@dataclass(frozen=True, eq=False)
class Gaussians(
    Elliptical,
    HasCovariances,
    HasNaturalForm,
    HasTangent,
    HasConjugatePrior,
    CompletesRows,
    Deconvolves,
):
    """K Gaussian components.

    To add a kind of covariance, subclass this, or one of the two classes between this one and
    the kinds, in a file of its own.

    Parameters
    ----------
    means : array of shape (K, D)
        In the data's own units.
    covariances : array of the kind's shape
        In squared units of the data.
    """

    means: Float64Array
    covariances: Float64Array

    dimensions: ClassVar[Mapping[str, tuple[str, ...]]] = {"means": ("component", "feature")}
    couples_covariances: ClassVar[bool] = False
    """Whether components' covariances depend on each other: they are fixed for all or for none."""

    def __post_init__(self) -> None:
        if np.ndim(self.means) != 2:
            raise ParameterError(
                f"means must be (n_components, n_features); got {np.shape(self.means)}"
            )
        super().__post_init__()

    @property
    def locations(self) -> Float64Array:
        """The means."""
        return self.means

    @property
    def gaussians(self) -> Gaussians:
        """Themselves."""
        return self

    def with_gaussians(self, gaussians: Gaussians) -> Gaussians:
        """The given ones: there is nothing else to keep."""
        return gaussians

    @classmethod
    def family(cls) -> type[Gaussians]:
        """The class itself."""
        return cls

    @classmethod
    def begun(cls, gaussians: Gaussians) -> Gaussians:
        """The given ones."""
        return gaussians

    @classmethod
    def array_shapes(cls, k: int, d: int) -> dict[str, tuple[int, ...]]:
        """Shapes of means and covariances."""
        return {"means": (k, d), "covariances": cls.covariance_shape(k, d)}

    @classmethod
    def count_parameters(cls, k: int, d: int) -> int:
        """K D means and the free parameters of the covariances."""
        return k * d + cls.count_covariance_parameters(k, d)

    @classmethod
    @abstractmethod
    def covariance_shape(cls, k: int, d: int) -> tuple[int, ...]:
        """Shape of the covariances."""

    @classmethod
    @abstractmethod
    def count_covariance_parameters(cls, k: int, d: int) -> int:
        """Free parameters of the covariances."""

    # -- densities ---------------------------------------------------------------

    @cached_property
    def factors(self) -> Float64Array:
        """Factors of the precisions, of the covariances' shape, as scikit-learn has them.

        Upper triangular P with ``inv(Sigma) = P @ P.T`` where covariances are matrices,
        ``1 / sqrt(variance)`` where they are variances.

        Raises
        ------
        SingularComponentError
            ``error.component`` is the first that is not positive definite.
        """
        return self.factored(self.covariances)

    @classmethod
    @abstractmethod
    def factored(cls, covariances: Float64Array) -> Float64Array:
        """Factors of covariances; see :attr:`factors`."""

    @classmethod
    @abstractmethod
    def precisions_of(cls, factors: Float64Array) -> Float64Array:
        """Inverse covariances, from their factors."""

    @property
    def precisions(self) -> Float64Array:
        """Inverse covariances, of their shape; raises as :attr:`factors`."""
        return self.precisions_of(self.factors)

    @classmethod
    def inverted(cls, precisions: Float64Array) -> Float64Array:
        """Covariances with these precisions; raises as :attr:`factors`."""
        return cls.precisions_of(cls.factored(precisions))

    def check(self) -> None:
        """Raise SingularComponentError if a covariance is not positive definite."""
        _ = self.factors

    @cached_property
    def log_peaks(self) -> Float64Array:
        """``log N(mu_k | mu_k, Sigma_k)``, (K,)."""
        peaks: Float64Array = self._log_det() - 0.5 * self.n_features * np.log(2.0 * np.pi)
        return peaks

    def log_densities(self, x_t: Float64Array) -> Float64Array:
        """``log |P_k| - |P_k^T (x - mu_k)|^2 / 2 - D log(2 pi) / 2``, (K, n)."""
        found = np.empty((self.n_components, x_t.shape[1]))
        deviations, white = np.empty_like(x_t), np.empty_like(x_t)
        for k in range(self.n_components):
            np.subtract(x_t, self.means[k][:, None], out=deviations)
            self._whiten(k, deviations, white)
            np.square(white, out=white)
            np.sum(white, axis=0, out=found[k])
        found *= -0.5
        found += self.log_peaks[:, None]
        return found

    @abstractmethod
    def _log_det(self) -> Float64Array:
        """``log |Sigma_k|^(-1/2)`` of every component, (K,)."""

    @abstractmethod
    def _whiten(self, k: int, deviations: Float64Array, out: Float64Array) -> None:
        """Write ``P_k^T d`` of deviations (D, n) to ``out``; it has unit covariance."""

    # -- statistics --------------------------------------------------------------

    @classmethod
    def sum_shapes(cls, k: int, d: int) -> dict[str, tuple[int, ...]]:
        """``n_k``, and the ``first`` and ``second`` moments about centres."""
        return {"n_k": (k,), "first": (k, d), "second": cls.covariance_shape(k, d)}

    def add_expected(self, sums: Sums, x_t: Float64Array, resp: Float64Array) -> None:
        """Add moments about the means, in place."""
        self.add_complete(sums, self.means, x_t, resp)

    @classmethod
    def add_complete(
        cls, sums: Sums, centres: Float64Array, x_t: Float64Array, resp: Float64Array
    ) -> None:
        """Add to the sums, in place, moments of rows (D, n) about centres (K, D)."""
        n_k, first, second = sums["n_k"], sums["first"], sums["second"]
        n_k += resp.sum(axis=1)
        deviations = np.empty_like(x_t)
        for k, r in enumerate(resp):
            np.subtract(x_t, centres[k][:, None], out=deviations)
            first[k] += deviations @ r
            cls._add_scatter(second, k, deviations, r)

    @abstractmethod
    def fillers(self, gaps: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.intp], Filler]]:
        """See :class:`~daskgmm.kernel.components.completed.CompletesRows`."""

    @abstractmethod
    def gap_loop(self, log_weights: Float64Array) -> GapLoop | None:
        """See :class:`~daskgmm.kernel.components.completed.CompletesRows`."""

    @abstractmethod
    def lift(self, observed: NDArray[np.intp], missing: NDArray[np.intp]) -> Lift:
        """See :class:`~daskgmm.kernel.components.completed.CompletesRows`."""

    @classmethod
    @abstractmethod
    def add_covariance(cls, second: Float64Array, k: int, matrix: Float64Array) -> None:
        """Add a sum of covariances (D, D) to the second moments of component k, in place."""

    def add_rows(self, sums: Sums, expected: Expected, resp: Float64Array) -> None:
        """Add rows as they are expected, of responsibilities (K, n), to sums about the means."""
        n_k, first, second = sums["n_k"], sums["first"], sums["second"]
        n_k += resp.sum(axis=1)
        for k, r in enumerate(resp):
            deviations = expected.deviations(k)
            first[k] += deviations @ r
            self._add_scatter(second, k, deviations, r)
            expected.add_left(second, k, r)

    @classmethod
    @abstractmethod
    def _add_scatter(
        cls, second: Float64Array, k: int, deviations: Float64Array, r: Float64Array
    ) -> None:
        """Add ``sum_i r_i d_i d_i^T`` of component k to ``second``, in place."""

    @classmethod
    def add_at(cls, sums: Sums, chosen: Any, part: Sums) -> None:
        """Add the sums of the ``chosen`` components, in place."""
        for name in ("n_k", "first", "second"):
            sums[name][chosen] += part[name]

    @classmethod
    def recentred(cls, sums: Sums, shift: Float64Array) -> dict[str, Float64Array]:
        """``sum r (d - s)(d - s)^T = second - first s^T - s first^T + n_k s s^T``."""
        n_k, first = sums["n_k"], sums["first"]
        return {
            "n_k": n_k,
            "first": first - n_k[:, None] * shift,
            "second": cls._recentred_second(sums["second"], n_k, first, shift),
        }

    @classmethod
    @abstractmethod
    def _recentred_second(
        cls, second: Float64Array, n_k: Float64Array, first: Float64Array, shift: Float64Array
    ) -> Float64Array:
        """Second moments about centres moved by ``shift``; ``first`` is about the old ones."""

    # -- estimates ---------------------------------------------------------------

    @classmethod
    def estimated(
        cls,
        sums: Sums,
        centres: Float64Array,
        n_k: Float64Array,
        ridge: RidgeLike,
        means: Float64Array | None = None,
    ) -> Self:
        """``mu = centre + first / n_k``, and the covariances of moments about it."""
        means = given_or(means, centres + sums["first"] / n_k[:, None])
        second = cls.recentred(sums, means - centres)["second"]
        return cls(means, cls._covariances(second, n_k, ridge, means.shape[1]))

    @classmethod
    @abstractmethod
    def _covariances(
        cls, second: Float64Array, n_k: Float64Array, ridge: RidgeLike, d: int
    ) -> Float64Array:
        """Maximum-likelihood covariances from moments about the means, ``ridge`` added."""

    @classmethod
    def with_ridge(cls, sums: Sums, ridge: RidgeLike) -> dict[str, Float64Array]:
        """The sums with second moments that add ``ridge`` to maximum-likelihood variances."""
        moments = cls._ridge_moments(sums["n_k"], ridge, sums["first"].shape[1])
        return {**sums, "second": sums["second"] + moments}

    @classmethod
    @abstractmethod
    def _ridge_moments(cls, n_k: Float64Array, ridge: RidgeLike, d: int) -> Float64Array:
        """Second moments that add ``ridge`` to maximum-likelihood variances."""

    @classmethod
    def variances_of_ridge(cls, ridge: RidgeLike, d: int) -> Float64Array:
        """Variances (D,) that a ridge alone makes: those of a component without scatter."""
        one = np.ones(1)
        covariances = cls._covariances(cls._ridge_moments(one, ridge, d), one, 0.0, d)
        variances: Float64Array = cls(np.zeros((1, d)), covariances).variances()[0]
        return variances

    def penalised(self, ridge: RidgeLike) -> Float64Array:
        """``sum_j ridge_j inv(Sigma_k)_jj``, (K,)."""
        costs: Float64Array = (self._diagonals(self.precisions) * ridge).sum(axis=1)
        return costs

    @classmethod
    def prior(cls, k: int, terms: PriorTerms) -> GaussianPrior:
        """The conjugate prior of K of them; see :class:`GaussianPrior`."""
        return GaussianPrior(cls, k, terms)

    @classmethod
    @abstractmethod
    def prior_scatter(cls, scale: Float64Array, k: int) -> Float64Array:
        """A scatter (D, D) that each covariance is given, as second moments."""

    @classmethod
    @abstractmethod
    def prior_rows(cls, dof: float, k: int, d: int) -> float:
        """What the prior of covariances adds to the rows of each component that divide scatter."""

    @abstractmethod
    def moments_of(self, n_k: Float64Array) -> Float64Array:
        """Second moments about the means of ``n_k`` (K,) rows with these covariances."""

    def variances(self) -> Float64Array:
        """Variance of each feature in each component, (K, D)."""
        return self._diagonals(self.covariances)

    @abstractmethod
    def _diagonals(self, matrices: Float64Array) -> Float64Array:
        """Diagonals (K, D) of covariances, or of precisions."""

    @abstractmethod
    def dense(self) -> Float64Array:
        """The covariances as K full matrices, (K, D, D)."""

    def shrunk(self, weights: Float64Array, share: Float64Array) -> Self:
        """Gaussians whose covariances are moved by ``share`` (K,) towards their weighted mean."""
        mean = np.tensordot(weights, self.covariances, 1)
        share = share.reshape(-1, *(1,) * (self.covariances.ndim - 1))
        return type(self)(self.means, self.covariances + share * (mean - self.covariances))

    @classmethod
    def scaled_family(cls) -> type[Gaussians]:
        """Kind of what :meth:`scaled` gives; a kind that is scale-equivariant has none but itself."""
        return cls

    @classmethod
    def is_scale_equivariant(cls) -> bool:
        """Whether rescaling single features maps the kind onto itself."""
        return cls.scaled_family() is cls

    @classmethod
    def of_scaled(cls, scaled: Gaussians) -> Gaussians:
        """Gaussians of :meth:`scaled_family` as those of this kind, if they are; else as they are."""
        return scaled

    def scaled(self, scale: Float64Array) -> Gaussians:
        """The Gaussians of rows whose features are multiplied by ``scale`` (D,), above 0."""
        return type(self)(self.means * scale, self._rescaled(self.covariances, scale))

    @classmethod
    def scaled_sums(cls, sums: Sums, scale: Float64Array) -> dict[str, Float64Array]:
        """Sums of such rows, about centres that are scaled as well; of scale-equivariant kinds."""
        second = cls._rescaled(sums["second"], scale)
        return {"n_k": sums["n_k"], "first": sums["first"] * scale, "second": second}

    def take(self, chosen: Any) -> Self:
        """Some of the components."""
        return type(self)(self.means[chosen], self.covariances[chosen])

    def marginal(self, features: NDArray[np.intp]) -> Self:
        """The same Gaussians over some of the features, in the order that is given."""
        return type(self)(self.means[:, features], self._covariances_of(features))

    @abstractmethod
    def _covariances_of(self, features: NDArray[np.intp]) -> Float64Array:
        """Covariances of some of the features."""

    @abstractmethod
    def regressed(
        self, observed: NDArray[np.intp], missing: NDArray[np.intp]
    ) -> tuple[Float64Array, Self]:
        """Regression of missing features on observed ones: see :mod:`daskgmm.kernel.conditioning`.

        Returns
        -------
        coefficients : ndarray of shape (K, n_missing, n_observed)
        rest : Gaussians
            Of the missing features where the observed ones are at their means: its covariances
            are those given any observed values.
        """

    def sample(self, rng: np.random.Generator, k: int, n: int) -> Float64Array:
        """Draw n rows from component k, (n, D)."""
        drawn: Float64Array = self.means[k] + self._coloured(
            k, rng.standard_normal((n, self.n_features))
        )
        return drawn

    @abstractmethod
    def _coloured(self, k: int, white: Float64Array) -> Float64Array:
        """Deviations (n, D) of covariance k, made from ``white`` (n, D) of unit covariance."""

    # -- the natural form ----------------------------------------------------------

    def natural_terms(
        self, centre: Float64Array, scale: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Means m_k in z, ``A_k m_k``, and the coefficients of ``-z^T A_k z / 2``."""
        precisions = self._rescaled(self.precisions, scale)
        means = (self.means - centre) / scale
        return means, self._multiplied(precisions, means), self._quadratic(precisions)

    @classmethod
    def sums_of_products(
        cls, n_k: Float64Array, first: Float64Array, products: Float64Array, scale: Float64Array
    ) -> dict[str, Float64Array]:
        """Sums of x from sums of z and of its products."""
        second = cls._rescaled(cls._from_products(products, first.shape[1]), scale)
        return {"n_k": n_k, "first": first * scale, "second": second}

    @classmethod
    @abstractmethod
    def product_runs(cls, d: int) -> tuple[Run, ...]:
        """The products of features that the second moments need."""

    @classmethod
    @abstractmethod
    def _rescaled(cls, matrices: Float64Array, scale: Float64Array) -> Float64Array:
        """``S A S`` with S = diag(scale), for matrices of the covariances' shape.

        It gives precisions of x / scale from precisions of x, and second moments of x from
        those of x / scale. ``scale`` has shape (D,), or (1,) for kinds that are not
        scale-equivariant.
        """

    @abstractmethod
    def _multiplied(self, matrices: Float64Array, vectors: Float64Array) -> Float64Array:
        """``A_k v_k`` for symmetric matrices and vectors (K, D)."""

    @abstractmethod
    def _quadratic(self, precisions: Float64Array) -> Float64Array:
        """Coefficients (K, P) such that ``-z^T A_k z / 2 = quadratic_k . products(z)``."""

    @classmethod
    @abstractmethod
    def _from_products(cls, sums: Float64Array, d: int) -> Float64Array:
        """Second moments from sums of the products, (K, P)."""

    # -- tangent coordinates -------------------------------------------------------

    def tangent(self, shares: Float64Array) -> GaussianTangent:
        """Coordinates about these Gaussians; see :class:`GaussianTangent`."""
        return GaussianTangent(self, shares)

    @abstractmethod
    def roots(self) -> Float64Array:
        """Lower Cholesky factors or standard deviations, of the covariances' shape."""

    @abstractmethod
    def times(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k v_k`` of vectors (K, D)."""

    @abstractmethod
    def solved(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k^-1 v_k`` of vectors (K, D)."""

    @abstractmethod
    def times_transposed(self, roots: Float64Array, vectors: Float64Array) -> Float64Array:
        """``L_k^T v_k`` of vectors (K, D)."""

    @classmethod
    @abstractmethod
    def moved(cls, roots: Float64Array, t: Float64Array) -> Float64Array:
        """Covariances ``R T (R T)^T`` at coordinates t, of the covariances' shape.

        R are roots of the origin's covariances. T is lower triangular and t holds the logarithm
        of its diagonal, so that every t gives positive definite covariances, and 0 the origin.
        """

    @classmethod
    @abstractmethod
    def between(cls, roots: Float64Array, covariances: Float64Array) -> Float64Array:
        """Inverse of :meth:`moved`."""

    @abstractmethod
    def covariance_slopes(
        self, roots: Float64Array, t: Float64Array, second: Float64Array, n_k: Float64Array
    ) -> Float64Array:
        """Gradient by t of ``sum_k -(n_k log|S_k| + tr(S_k^-1 second_k)) / 2``, of t's shape."""

    @classmethod
    @abstractmethod
    def covariance_widths(cls, shares: Float64Array) -> Float64Array:
        """Square root of the share of rows that inform each covariance, to broadcast to t."""
