"""Sub-blocked: the E-step of a block as NumPy calls on sub-blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.families.base import Float64Array
from daskgmm.kernel.mixture import Mixture
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = ["SMALLEST", "SubBlocked", "normalise"]

SMALLEST = 1e-280
"""Sums of densities above it have all their digits."""


def normalise(joint: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Responsibilities (K, n) and log of the sum over components (n,) of log densities (K, n).

    ``joint`` is relative to a bound that no row exceeds, so that exp cannot overflow;
    only where rows so far from all components come that their densities underflow, the
    largest of each row is subtracted, which costs two more passes over ``joint``.
    """
    resp = np.exp(joint)
    total = resp.sum(axis=0)
    if total.min(initial=np.inf) > SMALLEST:
        log_total = np.log(total)
    else:
        largest = joint.max(axis=0)
        np.exp(np.subtract(joint, largest, out=resp), out=resp)
        np.sum(resp, axis=0, out=total)
        log_total = largest + np.log(total)
    np.multiply(resp, np.reciprocal(total, out=total), out=resp)
    return resp, log_total


class SubBlocked(ABC):
    """A formulation that is given sub-blocks, feature-major, one after the other."""

    mixture: Mixture
    offset: float

    @abstractmethod
    def joint(self, x_t: Float64Array) -> Float64Array:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""

    @abstractmethod
    def add(self, resp: Float64Array) -> None:
        """Add to the statistics the rows last given to :meth:`joint`, responsibilities (K, n)."""

    def absorb(self, x: NDArray[Any]) -> float:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        log_likelihood = len(x) * self.offset
        for _, x_t in sub_blocks(x, self.mixture.n_components):
            resp, log_total = normalise(self.joint(x_t))
            log_likelihood += float(log_total.sum())
            self.add(resp)
        return log_likelihood
