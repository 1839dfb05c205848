"""Students: multivariate t components, whose heavy tails make outliers count less.

A row of component k is Gaussian about ``mu_k`` with covariance ``Sigma_k / tau``, and tau has a
gamma distribution of shape and rate ``nu_k / 2``. Given the row, with ``delta`` its squared
Mahalanobis distance,

    u = E tau = (nu + D) / (nu + delta),   E log tau = log u + psi((nu + D) / 2) - log((nu + D) / 2),

so that the sums of ``r``, ``r u``, ``r u d``, ``r u d d^T`` and ``r (E log tau - u)`` are sufficient.
The matrices ``Sigma`` are those of a Gaussian kind; a covariance is ``nu / (nu - 2)`` times it.

The file is longer than others because all that a kind of components can do has its tails here.

References
----------
Peel and McLachlan (2000), Robust mixture modelling using the t distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, Self

import numpy as np
import scipy  # which imports its optimize, a tenth of a second, when that is first asked for
from scipy import special

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import (
    Components,
    HasCovariances,
    HasTangent,
    RidgeLike,
    Sums,
    given_or,
)
from daskgmm.kernel.components.elliptical import Elliptical
from daskgmm.kernel.components.gaussian import Gaussians
from daskgmm.kernel.components.student_tangent import StudentTangent

__all__ = [
    "LEAST_DEGREES",
    "MOST_DEGREES",
    "Students",
    "degrees_of",
    "students_named",
    "students_of",
]

LEAST_DEGREES, MOST_DEGREES = 0.1, 1e6
"""Least and largest degrees of freedom that an M-step finds. With the largest, a component is
Gaussian to 1e-6."""
_START = 10.0
"""Degrees of freedom of starts, which are made of Gaussians."""
_SEPARATOR = "-t-"
SHARED, EACH = "shared", "each"


@dataclass(frozen=True, eq=False)
class Students(Elliptical, HasCovariances, HasTangent):
    """K multivariate t components; see :func:`students_of` for its subclasses.

    Parameters
    ----------
    means : array of shape (K, D)
        Locations, in the data's own units.
    covariances : array of the Gaussian kind's shape
        Scale matrices, in squared units of the data.
    degrees_of_freedom : array of shape (K,)
        Above 0.
    """

    means: Float64Array
    covariances: Float64Array
    degrees_of_freedom: Float64Array

    law: ClassVar[type[Gaussians]]
    degrees: ClassVar[str | float]
    """``"shared"`` by all components, ``"each"`` has its own, or the number that they have."""

    def __post_init__(self) -> None:
        if np.ndim(self.means) != 2:
            raise ParameterError(
                f"means must be (n_components, n_features); got {np.shape(self.means)}"
            )
        super().__post_init__()
        if not (self.degrees_of_freedom > 0).all():
            raise ParameterError(
                f"degrees of freedom must be above 0; got {self.degrees_of_freedom.tolist()}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is made by a function, so that pickle finds no name for it in a module.
        return (_made, (self.law, self.degrees, tuple(self.arrays.values())))

    # -- the Gaussians under them ---------------------------------------------------

    @cached_property
    def gaussians(self) -> Gaussians:
        """Gaussians of the same locations, with the scale matrices as covariances."""
        return self.law(self.means, self.covariances)

    def with_gaussians(self, gaussians: Gaussians) -> Students:
        """The same degrees of freedom with other locations and scale matrices."""
        kind = students_of(type(gaussians), self.degrees)
        return kind(gaussians.means, gaussians.covariances, self.degrees_of_freedom)

    @classmethod
    def family(cls) -> type[Gaussians]:
        """The kind of the scale matrices."""
        return cls.law

    @classmethod
    def begun(cls, gaussians: Gaussians) -> Students:
        """Components with ten degrees of freedom, or with those that are given."""
        nu = np.full(
            gaussians.n_components, _START if isinstance(cls.degrees, str) else cls.degrees
        )
        return students_of(type(gaussians), cls.degrees)(gaussians.means, gaussians.covariances, nu)

    @property
    def locations(self) -> Float64Array:
        """The means."""
        return self.means

    @classmethod
    def array_shapes(cls, k: int, d: int) -> dict[str, tuple[int, ...]]:
        """Shapes of locations, scale matrices and degrees of freedom."""
        return {**cls.law.array_shapes(k, d), "degrees_of_freedom": (k,)}

    @classmethod
    def is_scale_equivariant(cls) -> bool:
        """Whether rescaling single features maps the scale matrices' kind onto itself."""
        return cls.law.is_scale_equivariant()

    @classmethod
    def count_parameters(cls, k: int, d: int) -> int:
        """Those of the Gaussians, and the degrees of freedom that are estimated."""
        return cls.law.count_parameters(k, d) + {SHARED: 1, EACH: k}.get(str(cls.degrees), 0)

    @classmethod
    def fewest_rows(cls, d: int) -> int:
        """Those of the Gaussians."""
        return cls.law.fewest_rows(d)

    def check(self) -> None:
        """Raise SingularComponentError if a scale matrix is not positive definite."""
        self.gaussians.check()

    def variances(self) -> Float64Array:
        """Diagonals of the scale matrices, (K, D)."""
        return self.gaussians.variances()

    def dense(self) -> Float64Array:
        """The scale matrices as K full matrices, (K, D, D)."""
        return self.gaussians.dense()

    def shrunk(self, weights: Float64Array, share: Float64Array) -> Students:
        """Components whose scale matrices are moved by ``share`` (K,) towards their mean."""
        return self.with_gaussians(self.gaussians.shrunk(weights, share))

    # -- densities --------------------------------------------------------------------

    @cached_property
    def log_peaks(self) -> Float64Array:
        """Largest log density of each component, (K,)."""
        nu, half_d = self.degrees_of_freedom, 0.5 * self.n_features
        # log(Gamma((nu + D) / 2) / Gamma(nu / 2)), by a function that keeps its digits at large nu.
        log_ratio = special.gammaln(half_d) - special.betaln(half_d, 0.5 * nu)
        of_gaussian = self.gaussians.log_peaks + half_d * np.log(2.0 * np.pi)
        peaks: Float64Array = of_gaussian + log_ratio - half_d * np.log(np.pi * nu)
        return peaks

    def log_densities(self, x_t: Float64Array) -> Float64Array:
        """``log_peak - (nu + D) / 2 log(1 + delta / nu)``, (K, n)."""
        found, _ = self.densities_and_logs(self.squared_distances(x_t))
        return found

    def squared_distances(self, x_t: Float64Array) -> Float64Array:
        """``delta`` (K, n) of rows (D, n)."""
        found = self.gaussians.log_densities(x_t)
        found -= self.gaussians.log_peaks[:, None]
        found *= -2.0
        return found

    def densities_and_logs(self, squared: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Log densities, and ``log(1 + delta / nu)``, of ``delta`` (K, n), which is scratch."""
        nu = self.degrees_of_freedom[:, None]
        np.maximum(squared, 0.0, out=squared)  # which rounding may bring below
        squared /= nu
        logs = np.log1p(squared, out=squared)
        found = logs * (-0.5 * (nu + self.n_features))
        found += self.log_peaks[:, None]
        return found, logs

    def scales(self, logs: Float64Array) -> tuple[Float64Array, Float64Array]:
        """``u`` and ``E log tau - u``, (K, n), from ``log(1 + delta / nu)``, which is scratch."""
        nu, d = self.degrees_of_freedom, self.n_features
        log_u = np.subtract(np.log1p(d / nu)[:, None], logs, out=logs)
        u = np.exp(log_u)
        log_u -= u
        log_u += (special.digamma(0.5 * (nu + d)) - np.log(0.5 * (nu + d)))[:, None]
        return u, log_u

    # -- statistics ---------------------------------------------------------------------

    @classmethod
    def sum_shapes(cls, k: int, d: int) -> dict[str, tuple[int, ...]]:
        """``n_k``, ``first`` and ``second`` moments by r u, ``n_u`` and ``tails``, (K,)."""
        return {**cls.law.sum_shapes(k, d), "n_u": (k,), "tails": (k,)}

    def add_expected(self, sums: Sums, x_t: Float64Array, resp: Float64Array) -> None:
        """Add sums about the locations, in place."""
        _, logs = self.densities_and_logs(self.squared_distances(x_t))
        u, tails = self.scales(logs)
        self._add(sums, self.means, x_t, resp * u)
        self.add_tails(sums, resp, tails)

    def add_tails(self, sums: Sums, resp: Float64Array, tails: Float64Array) -> None:
        """Add ``r`` and ``r (E log tau - u)``, (K, n) each, in place."""
        n_k = resp.sum(axis=1)
        sums["n_k"][...] += n_k
        if isinstance(self.degrees, str):
            sums["tails"][...] += np.einsum("kn,kn->k", resp, tails)
        else:
            sums["tails"][...] += n_k * tail_of(self.degrees)

    def completed_tails(self, n_k: Float64Array, tails: Float64Array) -> Float64Array:
        """Sums of ``r (E log tau - u)`` from those of ``r (log u - u)``, (K,)."""
        if not isinstance(self.degrees, str):
            return n_k * tail_of(self.degrees)
        half = 0.5 * (self.degrees_of_freedom + self.n_features)
        completed: Float64Array = tails + n_k * (special.digamma(half) - np.log(half))
        return completed

    @classmethod
    def add_complete(
        cls, sums: Sums, centres: Float64Array, x_t: Float64Array, resp: Float64Array
    ) -> None:
        """Add moments of rows as if they were Gaussian, of ten degrees of freedom, in place."""
        cls._add(sums, centres, x_t, resp)
        n_k = resp.sum(axis=1)
        sums["n_k"][...] += n_k
        sums["tails"][...] += n_k * tail_of(_START if isinstance(cls.degrees, str) else cls.degrees)

    @classmethod
    def _add(
        cls, sums: Sums, centres: Float64Array, x_t: Float64Array, weights: Float64Array
    ) -> None:
        cls.law.add_complete(cls._moments(sums), centres, x_t, weights)

    @staticmethod
    def _moments(sums: Sums) -> dict[str, Float64Array]:
        """The sums as those of Gaussians, each of whose rows counts ``r u``."""
        return {"n_k": sums["n_u"], "first": sums["first"], "second": sums["second"]}

    @classmethod
    def with_moments(cls, sums: Sums, moments: Sums) -> dict[str, Float64Array]:
        """The sums with other moments by ``r u``."""
        others = {"first": moments["first"], "second": moments["second"]}
        return {**sums, **others, "n_u": moments["n_k"]}

    @classmethod
    def add_at(cls, sums: Sums, chosen: Any, part: Sums) -> None:
        """Add the sums of the ``chosen`` components, in place."""
        cls.law.add_at(cls._moments(sums), chosen, cls._moments(part))
        for name in ("n_k", "tails"):
            sums[name][chosen] += part[name]

    @classmethod
    def recentred(cls, sums: Sums, shift: Float64Array) -> dict[str, Float64Array]:
        """As those of Gaussians, by ``r u``."""
        return cls.with_moments(sums, cls.law.recentred(cls._moments(sums), shift))

    @classmethod
    def scaled_sums(cls, sums: Sums, scale: Float64Array) -> dict[str, Float64Array]:
        """Sums of rows whose features are multiplied by ``scale`` (D,)."""
        return cls.with_moments(sums, cls.law.scaled_sums(cls._moments(sums), scale))

    # -- estimates ------------------------------------------------------------------------

    @classmethod
    def estimated(
        cls,
        sums: Sums,
        centres: Float64Array,
        n_k: Float64Array,
        ridge: RidgeLike,
        means: Float64Array | None = None,
    ) -> Self:
        """``mu = sum r u x / sum r u``, ``Sigma = sum r u d d^T / sum r``, and nu by its root."""
        moments = cls._moments(sums)
        found = centres + sums["first"] / (sums["n_u"] + (n_k - sums["n_k"]))[:, None]
        means = given_or(means, found)
        second = cls.law.recentred(moments, means - centres)["second"]
        covariances = cls.law._covariances(second, n_k, ridge, means.shape[1])
        return cls(means, covariances, cls._degrees(sums["tails"], n_k))

    @classmethod
    def _degrees(cls, tails: Float64Array, n_k: Float64Array) -> Float64Array:
        if not isinstance(cls.degrees, str):
            return np.full(len(n_k), cls.degrees)
        if cls.degrees == SHARED:
            return np.full(len(n_k), degrees_of(float(tails.sum() / n_k.sum())))
        return np.array([degrees_of(tail) for tail in (tails / n_k).tolist()])

    @classmethod
    def with_ridge(cls, sums: Sums, ridge: RidgeLike) -> dict[str, Float64Array]:
        """The sums with what adds ``ridge`` to each variance that is estimated from them."""
        k_and_moments = {**cls._moments(sums), "n_k": sums["n_k"]}
        return {**sums, "second": cls.law.with_ridge(k_and_moments, ridge)["second"]}

    def penalised(self, ridge: RidgeLike) -> Float64Array:
        """``sum_j ridge_j inv(Sigma_k)_jj``, (K,)."""
        return self.gaussians.penalised(ridge)

    def take(self, chosen: Any) -> Self:
        """Some of the components."""
        some = self.gaussians.take(chosen)
        return type(self)(some.means, some.covariances, self.degrees_of_freedom[chosen])

    def sample(self, rng: np.random.Generator, k: int, n: int) -> Float64Array:
        """Draw n rows from component k, (n, D)."""
        deviations = self.gaussians.sample(rng, k, n) - self.means[k]
        half_nu = 0.5 * self.degrees_of_freedom[k]
        tau = rng.gamma(half_nu, 1.0 / half_nu, n)
        drawn: Float64Array = self.means[k] + deviations / np.sqrt(tau)[:, None]
        return drawn

    def tangent(self, shares: Float64Array) -> StudentTangent:
        """Coordinates about these components; see :class:`StudentTangent`."""
        return StudentTangent(self, shares)


def tail_of(nu: float) -> float:
    """Mean of ``E log tau - u`` at which the M-step finds ``nu``; the inverse of degrees_of."""
    return float(special.digamma(0.5 * nu) - np.log(0.5 * nu) - 1.0)


def degrees_of(tail: float) -> float:
    """Degrees of freedom of the M-step: the root of ``log(nu / 2) - psi(nu / 2) + 1 + tail = 0``.

    ``tail`` is the mean of ``E log tau - u``. The left side falls with nu; where it is above 0 at
    :data:`MOST_DEGREES`, or below at :data:`LEAST_DEGREES`, that is the maximum.
    """
    if tail >= tail_of(MOST_DEGREES):
        return MOST_DEGREES
    if not tail > tail_of(LEAST_DEGREES):
        return LEAST_DEGREES
    root: float = scipy.optimize.brentq(
        lambda log_nu: tail_of(float(np.exp(log_nu))) - tail,
        np.log(LEAST_DEGREES),
        np.log(MOST_DEGREES),
        xtol=1e-13,
    )
    return float(np.exp(root))


def _made(law: type[Gaussians], degrees: str | float, arrays: tuple[Any, ...]) -> Students:
    return students_of(law, degrees)(*arrays)


@cache  # there is one class for each number that is asked for
def students_of(law: type[Gaussians], degrees: str | float) -> type[Students]:
    """The class of t components with scale matrices of a Gaussian kind.

    Parameters
    ----------
    law : type
        A kind of Gaussians.
    degrees : "shared", "each" or float
        What :attr:`Students.degrees` is. Part of the name of the kind, such as ``full-t-shared``
        or ``full-t-4.0``.
    """
    dimensions: Mapping[str, tuple[str, ...]]
    dimensions = {**law.dimensions, "degrees_of_freedom": ("component",)}
    long_names = {
        "means": "location of the component",
        "covariances": law.long_names.get("covariances", "").replace("covariance", "scale matrix"),
        "degrees_of_freedom": "degrees of freedom of the component",
    }
    return type(
        f"Student{law.__name__}",
        (Students,),
        {
            "__module__": __name__,
            "__doc__": f"t components of {law.kind} scale matrices.",
            "kind": f"{law.kind}{_SEPARATOR}{degrees}",
            "law": law,
            "degrees": degrees,
            "dimensions": dimensions,
            "long_names": long_names,
        },
    )


def students_named(kind: str, families: Mapping[str, type[Components]]) -> type[Students] | None:
    """The class of t components with this name of a kind; None if there is none."""
    family, found, degrees = kind.partition(_SEPARATOR)
    law = families.get(family)
    if not found or law is None or not issubclass(law, Gaussians):
        return None
    if degrees in (SHARED, EACH):
        return students_of(law, degrees)
    try:
        number = float(degrees)
    except ValueError:
        return None
    is_one = 0 < number < np.inf and degrees == str(number)
    return students_of(law, number) if is_one else None
