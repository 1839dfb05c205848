"""Covariance families: one object each, one table.

To add a family, write one file here that implements :class:`Family` and add one
row to :data:`FAMILIES`; the identities under ``tests/kernel`` then run over it.
"""

from __future__ import annotations

from daskgmm.errors import ParameterError
from daskgmm.kernel.families.base import Family
from daskgmm.kernel.families.diag import DIAG
from daskgmm.kernel.families.full import FULL
from daskgmm.kernel.families.spherical import SPHERICAL
from daskgmm.kernel.families.tied import TIED

__all__ = ["FAMILIES", "Family", "family_named"]

FAMILIES: dict[str, Family] = {family.name: family for family in (FULL, TIED, DIAG, SPHERICAL)}


def family_named(name: str) -> Family:
    """Look a family up by scikit-learn's name for it.

    Raises
    ------
    ParameterError
        If there is none of that name.
    """
    try:
        return FAMILIES[name]
    except (KeyError, TypeError):
        known = ", ".join(FAMILIES)
        raise ParameterError(f"covariance_type must be one of {known}; got {name!r}") from None
