"""Affine: the map of rows that are scaled, or projected, before a mixture sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.components import Elliptical, components_named
from daskgmm.kernel.components.base import frozen
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.moments import Moments
from daskgmm.kernel.statistics import Statistics

__all__ = ["Affine"]

_VALUES_AT_ONCE = 1 << 15
"""In float64, so that a large block takes no more memory than it has and its result."""


@dataclass(frozen=True, eq=False)
class Affine:
    """The map ``z = (x - shift) / scale``, or ``z = (x - shift) @ matrix`` onto fewer axes.

    Parameters
    ----------
    shift : array of shape (D,)
        In the units of the data.
    scale : array of shape (D,)
        What single features are divided by, above 0; the matrix has it already.
    matrix : array of shape (D, d), optional
        ``axes / scale``, in which the axes are orthonormal columns.
    shares : array of shape (D,), optional
        Share of the rows, by weight, that have each feature, where some have gaps.

    Raises
    ------
    ParameterError
        If they are of other shapes or not finite, or a scale is not above 0.
    """

    shift: Float64Array
    scale: Float64Array
    matrix: Float64Array | None = None
    shares: Float64Array | None = None

    def __post_init__(self) -> None:
        for name in ("shift", "scale"):
            object.__setattr__(self, name, frozen(name, getattr(self, name)))
        d = self.shift.shape
        if len(d) != 1 or d == (0,) or self.scale.shape != d or not (self.scale > 0).all():
            raise ParameterError(
                f"a map has a shift and a scale above 0 of each feature; got shapes {d} and "
                f"{self.scale.shape}"
            )
        if self.matrix is None:
            return
        object.__setattr__(self, "matrix", frozen("matrix", self.matrix))
        shape = self.matrix.shape
        if len(shape) != 2 or shape[0] != d[0] or not 1 <= shape[1] <= d[0]:
            raise ParameterError(f"no map of {d[0]} features has a matrix of shape {shape}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writeable, so the object is built anew.
        return (type(self), (self.shift, self.scale, self.matrix, self.shares))

    @property
    def n_in(self) -> int:
        """D, features of the data."""
        return len(self.shift)

    @property
    def n_out(self) -> int:
        """d, features of what the mixture sees."""
        return self.n_in if self.matrix is None else int(self.matrix.shape[1])

    @property
    def projects(self) -> bool:
        """Whether rows are projected, and so cannot be mapped back."""
        return self.matrix is not None

    @cached_property
    def selected(self) -> NDArray[np.intp] | None:
        """Indices of the features that are left as they are, where all others are left out.

        None where features are scaled, or projected on axes of several.
        """
        if self.matrix is None:
            return None
        kept = np.flatnonzero(self.matrix.any(axis=1))
        is_same = np.array_equal(self.matrix[kept], np.eye(len(kept)))
        return kept if is_same and not self.shift[kept].any() else None

    def names_of_out(self, names: Sequence[str]) -> list[str]:
        """What features of the mixture are called, by names of the data's; others are axes."""
        if self.selected is None:
            return [f"axis {i}" for i in range(self.n_out)]
        return [names[j] for j in self.selected]

    @cached_property
    def factors(self) -> Float64Array:
        """What single features are multiplied by, (D,)."""
        factors: Float64Array = 1.0 / self.scale
        return factors

    @property
    def log_jacobian(self) -> float:
        """What is added to the mean log density of z for that of x; 0 where z is projected.

        A row with gaps has a density of the features that it has.
        """
        if self.projects:
            return 0.0
        return -float(np.sum(np.log(self.scale) * (1.0 if self.shares is None else self.shares)))

    def of(self, x: NDArray[Any]) -> NDArray[Any]:
        """Rows (n, d) of rows (n, D), in their precision if they are floats, C-contiguous.

        They are shifted in float64 before they are rounded: a large offset costs no digits.
        """
        found = np.empty((len(x), self.n_out), np.float32 if x.dtype == np.float32 else np.float64)
        at_once = max(1, _VALUES_AT_ONCE // self.n_in)
        n = min(len(x), at_once)
        # NumPy is slow where it repeats few features for each row.
        shift, factors = (np.tile(of_each, (n, 1)) for of_each in (self.shift, self.factors))
        part = np.empty((n, self.n_in))
        with np.errstate(all="ignore"):  # NaN and infinity are for whoever reads the rows
            for i in range(0, len(x), at_once):
                rows, to = x[i : i + at_once], found[i : i + at_once]
                m = len(rows)
                np.subtract(rows, shift[:m], out=part[:m], dtype=np.float64)
                if self.matrix is None:
                    np.multiply(part[:m], factors[:m], out=to, casting="same_kind")
                else:
                    to[...] = part[:m] @ self.matrix
        return found

    def of_block(self, block: Block) -> Block:
        """The block of the mapped rows, with their places, weights and noise.

        Rows with measurement noise are not projected.
        """
        noise = block.measurement_noise
        if noise is not None:
            assert not self.projects, "noise of features along axes has correlations"
            factors = self.factors
            of_each = np.square(factors) if noise.ndim == 2 else np.outer(factors, factors)
            noise = noise * of_each
        return replace(block, x=self.of(block.x), measurement_noise=noise)

    def back(self, z: Float64Array) -> Float64Array:
        """Rows (n, D) in the data's own units of rows (n, d).

        Of projected ones, those on the axes; they are the means of all rows that are projected
        there, as far as these are Gaussian.
        """
        if self.matrix is None:
            return z * self.scale + self.shift
        found: Float64Array = z @ (self.matrix.T * np.square(self.scale)) + self.shift
        return found

    def _linear(self, x: Float64Array) -> Float64Array:
        found: Float64Array = x * self.factors if self.matrix is None else x @ self.matrix
        return found

    def moments(self, moments: Moments) -> Moments:
        """Moments of the mapped rows."""
        half = self._linear(moments.scatter)  # scatter is symmetric
        scatter = self._linear(half.T)
        return Moments(moments.weight, self._linear(moments.mean - self.shift), scatter)

    # -- mixtures, of single features alone ------------------------------------------

    def mixture_of(self, mixture: Mixture, kind: str) -> Mixture:
        """The mixture of z, of a kind if it can be, of a mixture of x in the data's own units."""
        components = mixture.components
        assert isinstance(components, Elliptical)
        law, wanted = components.gaussians, components_named(kind)
        mapped = type(law)(law.means - self.shift, law.covariances).scaled(self.factors)
        if issubclass(wanted, Elliptical):
            mapped = wanted.family().of_scaled(mapped)
        noise = mixture.noise
        if noise is not None:
            moved = noise.uniform.moved(self.factors, -self.shift * self.factors)
            noise = replace(noise, uniform=moved)
        return Mixture(mixture.weights, components.with_gaussians(mapped), noise)

    def mixture_back(self, mixture: Mixture) -> Mixture:
        """The mixture of x, in the data's own units, of a mixture of z; spherical becomes diag."""
        components = mixture.components
        assert isinstance(components, Elliptical)
        scaled = components.gaussians.scaled(self.scale)
        back = type(scaled)(scaled.means + self.shift, scaled.covariances)
        noise = mixture.noise
        if noise is not None:
            noise = replace(noise, uniform=noise.uniform.moved(self.scale, self.shift))
        return Mixture(mixture.weights, components.with_gaussians(back), noise)

    def statistics_back(self, statistics: Statistics) -> Statistics | None:
        """Statistics of x of those of z; None where they lack what x needs."""
        law = statistics.law
        if not issubclass(law, Elliptical) or not law.is_scale_equivariant():
            return None
        uniform = statistics.uniform
        return replace(
            statistics,
            log_likelihood=statistics.log_likelihood + statistics.weight * self.log_jacobian,
            sums=law.scaled_sums(statistics.sums, self.scale),
            centres=statistics.centres * self.scale + self.shift,
            uniform=None if uniform is None else uniform.moved(self.scale, self.shift),
        )
