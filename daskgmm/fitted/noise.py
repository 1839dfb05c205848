"""Noise: attributes of a fitted estimator that say what density rows of no component have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from daskgmm.kernel import Noise, Uniform

__all__ = ["NOISE_ATTRIBUTES", "attributes_of_noise", "noise_of"]

NOISE_ATTRIBUTES = ("noise_weight_", "noise_log_density_", "noise_box_")
"""Attributes that only models with noise have."""


def attributes_of_noise(noise: Noise) -> dict[str, Any]:
    """Values of :data:`NOISE_ATTRIBUTES`."""
    uniform = noise.uniform
    box = np.stack([uniform.minimum, uniform.maximum])
    return dict(zip(NOISE_ATTRIBUTES, (noise.weight, uniform.log_density, box), strict=True))


def noise_of(attributes: Mapping[str, Any]) -> Noise | None:
    """The noise of a model; None where it has none."""
    if "noise_weight_" not in attributes:
        return None
    weight, log_density, box = (attributes[name] for name in NOISE_ATTRIBUTES)
    return Noise(float(weight), Uniform(float(log_density), *box))
