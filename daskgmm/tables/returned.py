"""Returned: names, fill values and attributes of results that are put back on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

__all__ = ["Returned"]

_NO_LABEL = -2
"""Label of a row with a gap."""


@dataclass(frozen=True)
class Returned:
    """A kind of result for each row.

    Attributes
    ----------
    name : str
    fill : int or float
        Stands for the result of a row with a gap.
    attributes : mapping
        By the CF conventions.
    """

    name: str
    fill: int | float
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def labels(cls, n_components: int) -> Self:
        """Most probable components."""
        flags = {
            "long_name": "most probable component",
            "flag_values": np.arange(n_components),
            "flag_meanings": " ".join(f"component_{k}" for k in range(n_components)),
        }
        return cls("label", _NO_LABEL, flags)

    @classmethod
    def probabilities(cls) -> Self:
        """Probabilities of the components."""
        about = {"long_name": "probability of the component", "units": "1"}
        return cls("probability", np.nan, about)

    @classmethod
    def log_densities(cls) -> Self:
        """Log densities, in nats, of the features in their units."""
        return cls("log_density", np.nan, {"long_name": "log density of the mixture"})
