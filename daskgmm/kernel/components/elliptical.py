"""Elliptical: components with locations and matrices, of which Gaussians are the simplest."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daskgmm.kernel.block import Float64Array
from daskgmm.kernel.components.base import Components, Sums

if TYPE_CHECKING:
    from daskgmm.kernel.components.gaussian import Gaussians

__all__ = ["Elliptical"]


@dataclass(frozen=True, eq=False)
class Elliptical(Components):
    """Components whose densities fall with the Mahalanobis distance from their location."""

    @property
    @abstractmethod
    def gaussians(self) -> Gaussians:
        """The Gaussians of the same locations and matrices; for Gaussians, themselves."""

    @abstractmethod
    def with_gaussians(self, gaussians: Gaussians) -> Elliptical:
        """Components like these, of other locations and matrices."""

    @classmethod
    @abstractmethod
    def family(cls) -> type[Gaussians]:
        """Class of :attr:`gaussians`."""

    @classmethod
    @abstractmethod
    def scaled_sums(cls, sums: Sums, scale: Float64Array) -> dict[str, Float64Array]:
        """Sums of rows whose features are multiplied by ``scale`` (D,), about scaled centres."""

    @classmethod
    @abstractmethod
    def begun(cls, gaussians: Gaussians) -> Elliptical:
        """Components to start from, of which locations and matrices are all that is known."""
