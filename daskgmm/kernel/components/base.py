"""Components: the interface of all kinds, and capabilities: what only some kinds can do.

Symbols, here and in the kinds: K components, D features, n rows of a sub-block. Sub-blocks
are feature-major, shape (D, n), because n is long: sums over features and over components
then run along contiguous memory.

Every kind has the methods of :class:`Components`. Code that needs more asks whether the kind has
a capability, one of the abstract classes below that kinds inherit beside ``Components``; what
needs one is not offered for kinds that lack it. They are classes and not protocols because a small
fit asks thousands of times, and Python finds a class at once but a protocol method by method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Float64Array

__all__ = [
    "Components",
    "HasConjugatePrior",
    "HasCovariances",
    "HasNaturalForm",
    "HasTangent",
    "PriorOfComponents",
    "PriorTerms",
    "RidgeLike",
    "Run",
    "SharesWhitening",
    "Sums",
    "Tangent",
    "WhitensEach",
    "frozen",
    "given_or",
]

Sums = Mapping[str, Float64Array]
"""Expected sufficient statistics by name, ``n_k`` (K,) among them; sums over rows, so additive."""

RidgeLike = float | Float64Array
"""What is added to variances: one number, or one for each feature, (D,)."""

Run = tuple[slice, slice]
"""Products of features z (D, n), ``z[first] * z[second]``; one slice may be of length 1."""


@dataclass(frozen=True, eq=False)
class Components(ABC):
    """K components of one kind: their parameters, and the density of rows under them.

    The parameters are the fields of the dataclass: arrays in float64, finite and read-only.

    Raises
    ------
    ParameterError
        If an array is not finite, or its shape does not fit the other arrays.
    """

    kind: ClassVar[str]
    """Key in the table of kinds, and scikit-learn's ``covariance_type`` where it has one."""
    dimensions: ClassVar[Mapping[str, tuple[str, ...]]]
    """Names of the dimensions of each array, for files."""
    long_names: ClassVar[Mapping[str, str]] = {}
    """What each array is, for files; one that is not here is called by its name."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, frozen(field.name, getattr(self, field.name)))
        k, d = self.n_components, self.n_features
        for name, shape in self.array_shapes(k, d).items():
            found = getattr(self, name).shape
            if found != shape:
                raise ParameterError(
                    f"{name} must be of shape {shape} for {k} {self.kind} components in {d} "
                    f"features; got {found}"
                )

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writeable, so the object is built anew.
        return (type(self), tuple(self.arrays.values()))

    @property
    def arrays(self) -> dict[str, Float64Array]:
        """The parameters by name; ``type(self)(**self.arrays)`` equals ``self``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    @abstractmethod
    def locations(self) -> Float64Array:
        """Locations of the components, (K, D), about which statistics are taken."""

    @property
    def n_components(self) -> int:
        """K."""
        return int(self.locations.shape[0])

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.locations.shape[1])

    @classmethod
    @abstractmethod
    def array_shapes(cls, k: int, d: int) -> dict[str, tuple[int, ...]]:
        """Shape of each array, for K components in D features."""

    @classmethod
    @abstractmethod
    def is_scale_equivariant(cls) -> bool:
        """Whether rescaling single features maps the kind onto itself."""

    @classmethod
    @abstractmethod
    def count_parameters(cls, k: int, d: int) -> int:
        """Number of free parameters, weights not included."""

    @classmethod
    def fewest_rows(cls, d: int) -> int:
        """Rows that a component of D features needs so that its density is regular."""
        return 2

    @abstractmethod
    def check(self) -> None:
        """Raise SingularComponentError if a component has no density; see ``error.component``."""

    @property
    @abstractmethod
    def log_peaks(self) -> Float64Array:
        """Largest log density of each component, (K,), in nats; raises as :meth:`check`."""

    @abstractmethod
    def log_densities(self, x_t: Float64Array) -> Float64Array:
        """Log densities (K, n) of rows (D, n) under each component, in nats."""

    @classmethod
    @abstractmethod
    def sum_shapes(cls, k: int, d: int) -> dict[str, tuple[int, ...]]:
        """Shape of each expected sufficient statistic, by name, ``n_k`` first."""

    @abstractmethod
    def add_expected(self, sums: Sums, x_t: Float64Array, resp: Float64Array) -> None:
        """Add rows (D, n) with responsibilities (K, n) to sums about ``locations``, in place."""

    @classmethod
    @abstractmethod
    def add_complete(
        cls, sums: Sums, centres: Float64Array, x_t: Float64Array, resp: Float64Array
    ) -> None:
        """Add rows (D, n) with responsibilities (K, n) to sums about ``centres`` (K, D), in place.

        For starts, whose responsibilities come before any components: nothing is expected that
        would need their parameters, and the rows with their responsibilities are complete data.
        """

    @classmethod
    @abstractmethod
    def add_at(cls, sums: Sums, chosen: Any, part: Sums) -> None:
        """Add ``part``, the sums of the ``chosen`` components, to the sums of all, in place."""

    @classmethod
    @abstractmethod
    def recentred(cls, sums: Sums, shift: Float64Array) -> dict[str, Float64Array]:
        """The sums as if taken about centres that lie at ``centres + shift``, shift (K, D)."""

    @classmethod
    @abstractmethod
    def estimated(
        cls,
        sums: Sums,
        centres: Float64Array,
        n_k: Float64Array,
        ridge: RidgeLike,
        means: Float64Array | None = None,
    ) -> Self:
        """The components of maximum expected log-likelihood, ``ridge`` added to each variance.

        ``n_k`` (K,) are sums of responsibilities that are nowhere 0; ``ridge`` is one number, or
        one for each feature, (D,), of which a kind of one variance takes the mean. Where
        that would leave the kind, they are those of the sums that :meth:`with_ridge` gives.
        ``means`` (K, D) are locations that are given, and NaN for those to be found.
        """

    @classmethod
    @abstractmethod
    def with_ridge(cls, sums: Sums, ridge: RidgeLike) -> dict[str, Float64Array]:
        """The sums with what adds ``ridge`` to each variance that is estimated from them."""

    @abstractmethod
    def penalised(self, ridge: RidgeLike) -> Float64Array:
        """``sum_j ridge_j inv(Sigma_k)_jj``, (K,): what a ridge costs; raises as :meth:`check`."""

    @abstractmethod
    def take(self, chosen: Any) -> Self:
        """Some of the components."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, k: int, n: int) -> Float64Array:
        """Draw n rows from component k, (n, D)."""


def given_or(means: Float64Array | None, found: Float64Array) -> Float64Array:
    """The ``means`` that are given, and those ``found`` in place of NaN."""
    return found if means is None else np.where(np.isnan(means), found, means)


def frozen(name: str, value: Any) -> Float64Array:
    """A read-only copy in float64; raises ParameterError if it is not finite."""
    array = np.array(value, dtype=np.float64, order="C")  # as compiled loops need it
    if not np.all(np.isfinite(array)):
        raise ParameterError(f"{name} must be finite; got {array!r}")
    array.setflags(write=False)
    return array


class HasCovariances(ABC):
    """Components with means and covariances, which merging, division and truncation need."""

    @abstractmethod
    def variances(self) -> Float64Array:
        """Variance of each feature in each component, (K, D)."""

    @abstractmethod
    def dense(self) -> Float64Array:
        """Covariances as full matrices, (K, D, D)."""

    @abstractmethod
    def shrunk(self, weights: Float64Array, share: Float64Array) -> Components:
        """Components whose covariances are moved by ``share`` (K,) towards their weighted mean."""


class HasNaturalForm(ABC):
    """Log densities that are linear in features and products of features.

    ``log N_k = log_peak_k + a_k + linear_k . z + quadratic_k . products(z)``, with
    ``z = (x - centre) / scale``.
    """

    needs_sum_only: ClassVar[bool] = False
    """Whether all products have one coefficient, so that ``products(z)`` is their sum: P is 1."""

    @classmethod
    @abstractmethod
    def is_scale_equivariant(cls) -> bool:
        """Whether rescaling single features maps the kind onto itself."""

    @classmethod
    @abstractmethod
    def product_runs(cls, d: int) -> tuple[Run, ...]:
        """Runs of products of features that the second moments need, or whose sum they need."""

    @abstractmethod
    def natural_terms(
        self, centre: Float64Array, scale: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Means in z (K, D), and the coefficients linear (K, D) and quadratic (K, P)."""

    @classmethod
    @abstractmethod
    def sums_of_products(
        cls, n_k: Float64Array, first: Float64Array, products: Float64Array, scale: Float64Array
    ) -> dict[str, Float64Array]:
        """Sums of x about the centre, from sums of z (K, D) and of its products (K, P)."""


class WhitensEach(ABC):
    """Components each of which has its own triangular matrix that whitens deviations."""

    @abstractmethod
    def whitening(self) -> Float64Array:
        """P (K, D, D), upper triangular: ``P_k^T (x - mu_k)`` has unit covariance."""


class SharesWhitening(ABC):
    """Components of one common covariance, which one triangular matrix whitens."""

    @abstractmethod
    def common_whitening(self) -> Float64Array:
        """P (D, D), upper triangular: ``P^T (x - mu_k)`` has unit covariance for every k."""

    @abstractmethod
    def common_precision(self) -> Float64Array:
        """``P P^T``, (D, D)."""


class Tangent(Protocol):
    """Coordinates of components about an origin; every vector gives valid components."""

    widths: Float64Array
    """Square root of the share of rows that inform each coordinate, (size,).

    Whoever takes steps multiplies coordinates by them: see :class:`daskgmm.kernel.Coordinates`.
    """

    def components(self, t: Float64Array) -> Components:
        """The components at a vector of coordinates, (size,)."""
        ...

    def vector(self, components: Any) -> Float64Array:
        """Inverse of :meth:`components`."""
        ...

    def moving(self, means: NDArray[np.bool_], covariances: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Coordinates (size,) that move where such means (K, D) and covariances are free."""
        ...

    def slopes(self, t: Float64Array, components: Any, sums: Sums) -> Float64Array:
        """Gradient by t of the expected log-likelihood, from sums about ``locations``."""
        ...


class HasTangent(ABC):
    """Components that quasi-Newton steps can move."""

    @abstractmethod
    def tangent(self, shares: Float64Array) -> Tangent:
        """Coordinates about these components, of weights ``shares`` (K,), all above 0.

        Raises :class:`numpy.linalg.LinAlgError` if a covariance has no Cholesky factor.
        """


@dataclass(frozen=True, eq=False)
class PriorTerms:
    """What the conjugate prior of each component is made of.

    Attributes
    ----------
    mean : array of shape (D,)
        Prior mean of each mean.
    shrinkage : float
        Rows there that each component is given.
    dof : float
        Degrees of freedom of the prior of covariances.
    scale : array of shape (D, D)
        Scatter that each covariance is given: its diagonal where there are variances, and the mean
        of that where there is one. Zeros: covariances have no prior.
    row : float
        Weight of one row, by which all counts and the scale are multiplied.
    """

    mean: Float64Array
    shrinkage: float
    dof: float
    scale: Float64Array
    row: float = 1.0


class PriorOfComponents(Protocol):
    """The conjugate prior of K components of a kind."""

    def estimated(
        self,
        sums: Sums,
        centres: Float64Array,
        n_k: Float64Array,
        means: Float64Array | None = None,
    ) -> Components:
        """The components of maximum expected log-likelihood plus log density of the prior.

        As :meth:`Components.estimated`; ``n_k`` (K,) are nowhere 0.
        """
        ...

    def log_density(self, components: Any) -> float:
        """Log density at some components, less that at the mode: 0 or below, in nats."""
        ...

    def pulls(self, components: Any, n_k: Float64Array) -> dict[str, Float64Array]:
        """Sums about ``locations`` that have the gradient of the log density, and this ``n_k``."""
        ...


class HasConjugatePrior(ABC):
    """Components that have a conjugate prior."""

    @classmethod
    @abstractmethod
    def prior(cls, k: int, terms: PriorTerms) -> PriorOfComponents:
        """The prior of K components, made of ``terms``."""
