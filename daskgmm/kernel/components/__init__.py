"""Kinds of components: one class each, one table.

To add a kind, write one file here and add one row to :data:`COMPONENTS`; the identities
under ``tests/kernel`` then run over it. To offer it to users, add its name to the words of
``covariance_type`` in :mod:`daskgmm.settings.of_fits` and to the estimator's documentation. Tests
name what is left out, oracles among it.
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
from daskgmm.kernel.components.completed import CompletesRows
from daskgmm.kernel.components.deconvolved import Deconvolves
from daskgmm.kernel.components.diag import DiagGaussians
from daskgmm.kernel.components.elliptical import Elliptical
from daskgmm.kernel.components.full import FullGaussians
from daskgmm.kernel.components.gaussian import Gaussians
from daskgmm.kernel.components.spherical import SphericalGaussians
from daskgmm.kernel.components.students import Students, students_named, students_of
from daskgmm.kernel.components.tied import TiedGaussians
from daskgmm.kernel.components.variances import UncorrelatedGaussians

__all__ = [
    "COMPONENTS",
    "CompletesRows",
    "Components",
    "Deconvolves",
    "DiagGaussians",
    "Elliptical",
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
    "Students",
    "TiedGaussians",
    "UncorrelatedGaussians",
    "WhitensEach",
    "components_named",
    "family_of",
    "gaussians_named",
    "kind_of",
    "name_of_kind",
    "students_of",
]

_KINDS: tuple[type[Components], ...] = (
    FullGaussians,
    TiedGaussians,
    DiagGaussians,
    SphericalGaussians,
)
COMPONENTS: dict[str, type[Components]] = {kind.kind: kind for kind in _KINDS}
"""Kinds by name; of kinds whose arrays have the same shapes, the least constrained first."""


def family_of(kind: str) -> str:
    """Kind of the Gaussians of a kind: itself, or what t components have for scale matrices."""
    law = components_named(kind)
    return law.family().kind if issubclass(law, Elliptical) else kind


def gaussians_named(kind: str) -> type[Gaussians]:
    """Class of the Gaussians of a kind, which has covariances; raises as :func:`components_named`."""
    law = components_named(kind)
    assert issubclass(law, Elliptical)
    return law.family()


def kind_of(family: str, degrees: str | float | None) -> str:
    """Kind of t components over a kind of Gaussians; the latter without degrees of freedom."""
    law = components_named(family)
    if degrees is None or not issubclass(law, Gaussians):
        return family
    return students_of(law, degrees).kind


def name_of_kind(kind: str) -> str:
    """What messages call a kind of components: ``full``, or ``full t``."""
    is_student = issubclass(components_named(kind), Students)
    return f"{family_of(kind)} t" if is_student else kind


def components_named(kind: str) -> type[Components]:
    """Class of a kind of components: by its key in :data:`COMPONENTS`, or of t components over it.

    Raises
    ------
    ParameterError
        If there is no such kind.
    """
    try:
        found = COMPONENTS.get(kind) or students_named(kind, COMPONENTS)
    except (AttributeError, TypeError):
        found = None
    if found is None:
        known = ", ".join(COMPONENTS)
        raise ParameterError(f"covariance_type must be one of {known}; got {kind!r}")
    return found
