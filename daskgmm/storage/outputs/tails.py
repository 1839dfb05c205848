"""Tails of a model: t components as an attribute of its group, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daskgmm.errors import ParameterError
from daskgmm.kernel import Components, Students, components_named, family_of, kind_of

__all__ = ["OF_TAILS", "TAILS_ATTRIBUTE", "kind_of_attributes", "tails_described"]

OF_TAILS = 4
"""``format_version`` of models of t components."""
TAILS_ATTRIBUTE = "tails"


def tails_described(law: type[Components]) -> dict[str, Any]:
    """What ``covariance_type`` does not say of a kind, in plain JSON."""
    assert issubclass(law, Students)
    return {"distribution": "t", "degrees_of_freedom": law.degrees}


def kind_of_attributes(covariance_type: str, attributes: Mapping[str, Any]) -> str:
    """Kind of components of a model's attributes.

    Raises
    ------
    ParameterError
        If there is no such kind.
    """
    found = attributes.get(TAILS_ATTRIBUTE)
    if found is None:
        return covariance_type
    degrees = found.get("degrees_of_freedom") if isinstance(found, dict) else None
    if not isinstance(degrees, str | float | int) or isinstance(degrees, bool):
        raise ParameterError(f"its tails are not as daskgmm writes them ({found!r:.80})")
    kind = kind_of(covariance_type, degrees if isinstance(degrees, str) else float(degrees))
    components_named(kind)  # raises where no degrees of freedom are called so
    assert family_of(kind) == covariance_type
    return kind
