"""Kinds of components: one class each, one table.

To add a kind, write one file here and add one row to :data:`COMPONENTS`; the identities
under ``tests/kernel`` then run over it.
"""

from __future__ import annotations

from daskgmm.errors import ParameterError
from daskgmm.kernel.components.base import (
    Components,
    HasConjugatePrior,
    HasCovariances,
    HasNaturalForm,
    HasTangent,
    PriorOfComponents,
    PriorTerms,
    SharesWhitening,
    WhitensEach,
)
from daskgmm.kernel.components.diag import DiagGaussians
from daskgmm.kernel.components.full import FullGaussians
from daskgmm.kernel.components.gaussian import Gaussians
from daskgmm.kernel.components.spherical import SphericalGaussians
from daskgmm.kernel.components.tied import TiedGaussians

__all__ = [
    "COMPONENTS",
    "Components",
    "DiagGaussians",
    "FullGaussians",
    "Gaussians",
    "HasConjugatePrior",
    "HasCovariances",
    "HasNaturalForm",
    "HasTangent",
    "PriorOfComponents",
    "PriorTerms",
    "SharesWhitening",
    "SphericalGaussians",
    "TiedGaussians",
    "WhitensEach",
    "components_named",
]

_KINDS: tuple[type[Components], ...] = (
    FullGaussians,
    TiedGaussians,
    DiagGaussians,
    SphericalGaussians,
)
COMPONENTS: dict[str, type[Components]] = {kind.kind: kind for kind in _KINDS}


def components_named(kind: str) -> type[Components]:
    """Class of a kind of components, by its key in :data:`COMPONENTS`.

    Raises
    ------
    ParameterError
        If the table has no such key.
    """
    try:
        return COMPONENTS[kind]
    except (KeyError, TypeError):
        known = ", ".join(COMPONENTS)
        raise ParameterError(f"covariance_type must be one of {known}; got {kind!r}") from None
