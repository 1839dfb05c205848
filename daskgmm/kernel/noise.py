"""Noise: rows that belong to no component, as a uniform density beside them.

References
----------
Banfield and Raftery (1993), Model-based Gaussian and non-Gaussian clustering.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from daskgmm.errors import ParameterError
from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import frozen

__all__ = ["Noise", "Uniform"]


@dataclass(frozen=True, eq=False)
class Uniform:
    """A constant density, the same for every row wherever it lies.

    Parameters
    ----------
    log_density : float
        In nats: ``-log V``, V the volume of the region in which noise is expected.
    minimum, maximum : arrays of shape (D,)
        The box that noise is drawn from. Its volume is V unless that was given.

    Raises
    ------
    ParameterError
        If a number is not finite, or the box has no volume.
    """

    log_density: float
    minimum: Float64Array
    maximum: Float64Array

    def __post_init__(self) -> None:
        for name in ("minimum", "maximum"):
            object.__setattr__(self, name, frozen(name, getattr(self, name)))
        if self.minimum.shape != self.maximum.shape or not (self.minimum < self.maximum).all():
            raise ParameterError(
                "noise is drawn from a box, whose minimum is below its maximum in each feature; got "
                f"{self.minimum.tolist()} and {self.maximum.tolist()}"
            )
        if not np.isfinite(self.log_density):
            raise ParameterError(f"the log density of noise must be finite; got {self.log_density}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled arrays are writeable, so the object is built anew.
        return (type(self), (self.log_density, self.minimum, self.maximum))

    @classmethod
    def over(
        cls, minimum: Float64Array, maximum: Float64Array, log_volume: float | None = None
    ) -> Self:
        """The density over a box, or of a given volume.

        Parameters
        ----------
        minimum, maximum : arrays of shape (D,)
        log_volume : float, optional
            Logarithm of the volume; by default that of the box.
        """
        if log_volume is None:
            with np.errstate(divide="ignore", invalid="ignore"):  # what is no box is refused
                log_volume = float(np.log(maximum - minimum).sum())
        return cls(-log_volume, minimum, maximum)

    @property
    def volume(self) -> float:
        """V, in the product of the features' units."""
        return float(np.exp(-self.log_density))

    def sample(self, rng: np.random.Generator, n: int) -> Float64Array:
        """Draw n rows from the box, (n, D)."""
        return rng.uniform(self.minimum, self.maximum, (n, len(self.minimum)))

    def moved(self, scale: Float64Array, shift: Float64Array) -> Self:
        """The density of rows ``x * scale + shift``, with scale (D,) above 0."""
        return replace(
            self,
            log_density=self.log_density - float(np.log(scale).sum()),
            minimum=self.minimum * scale + shift,
            maximum=self.maximum * scale + shift,
        )


@dataclass(frozen=True, eq=False)
class Noise:
    """The share of rows that are noise, and their density.

    Parameters
    ----------
    weight : float
        From 0 to below 1.
    uniform : Uniform

    Raises
    ------
    ParameterError
        If the weight is not in that range.
    """

    weight: float
    uniform: Uniform

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < 1.0:
            raise ParameterError(
                f"the weight of noise must be at least 0 and below 1; got {self.weight}"
            )

    @property
    def log_height(self) -> float:
        """Logarithm of its weighted density, in nats; -inf for a weight of 0."""
        with np.errstate(divide="ignore"):
            return float(np.log(self.weight)) + self.uniform.log_density
