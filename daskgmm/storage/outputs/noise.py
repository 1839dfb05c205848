"""Noise of a model as an attribute of its group, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from daskgmm.errors import ParameterError
from daskgmm.kernel import Noise, Uniform

__all__ = ["NOISE_ATTRIBUTE", "OF_NOISE", "noise_described", "noise_of_attributes"]

OF_NOISE = 3
"""``format_version`` of models with noise."""
NOISE_ATTRIBUTE = "noise"


def noise_described(noise: Noise) -> dict[str, Any]:
    """What weights do not say of noise, in plain JSON."""
    uniform = noise.uniform
    return {
        "weight": noise.weight,
        "log_density": uniform.log_density,
        "minimum": uniform.minimum.tolist(),
        "maximum": uniform.maximum.tolist(),
    }


def noise_of_attributes(attributes: Mapping[str, Any], n_features: int) -> Noise | None:
    """The noise of a model's attributes; None where there is none.

    Raises
    ------
    ParameterError
        If it is none of so many features.
    """
    found = attributes.get(NOISE_ATTRIBUTE)
    if found is None:
        return None
    try:
        weight, log_density = float(found["weight"]), float(found["log_density"])
        box = [np.asarray(found[name], np.float64) for name in ("minimum", "maximum")]
    except (KeyError, TypeError, ValueError) as error:
        raise ParameterError(f"its noise is not as daskgmm writes it ({error})") from error
    if any(end.shape != (n_features,) for end in box):
        raise ParameterError(f"its noise has no box of {n_features} features")
    return Noise(weight, Uniform(log_density, *box))
