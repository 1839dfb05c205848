"""Sub-blocked: the E-step of a block as NumPy calls on sub-blocks, in float64.

BLAS would sum a float32 sub-block in float32, whose rounding is too large: only compiled loops
work in float32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel.block import Block, Float64Array
from daskgmm.kernel.formulations.rounding import FLOAT64
from daskgmm.kernel.statistics import Statistics
from daskgmm.kernel.sub_blocks import sub_blocks

__all__ = ["Evaluation", "SubBlocked", "normalise"]

_SMALLEST = 1e-280
"""Sums of densities above it have all their digits."""


def normalise(
    joint: Float64Array, bounded: bool = True, noise: float = -np.inf
) -> tuple[Float64Array, Float64Array]:
    """Responsibilities (K, n) and log of the sum over components (n,) of log densities (K, n).

    Where ``bounded``, the log densities are relative to a bound that no row exceeds, so
    that exp cannot overflow; only where rows so far from all components come that their
    densities underflow, the largest of each row is subtracted, which costs two more
    passes over ``joint``. ``noise`` is one more log density, the same for every row: it adds to
    the sum, and responsibilities leave it its share.
    """
    if bounded:
        resp = np.exp(joint)
        total = resp.sum(axis=0)
        total += np.exp(noise)
        if total.min(initial=np.inf) > _SMALLEST:
            log_total = np.log(total)
            np.multiply(resp, np.reciprocal(total, out=total), out=resp)
            return resp, log_total
    largest = joint.max(axis=0)
    np.maximum(largest, noise, out=largest)
    resp = joint - largest
    np.exp(resp, out=resp)
    total = resp.sum(axis=0)
    total += np.exp(noise - largest)
    log_total = largest + np.log(total)
    np.multiply(resp, np.reciprocal(total, out=total), out=resp)
    return resp, log_total


class Evaluation(ABC):
    """Scratch and sums of a formulation for the sub-blocks of one block, on one thread."""

    offset: float
    """Largest log of a weighted density at a mean, to which :meth:`joint` is relative."""
    noise: float
    """Log of the weighted density of noise, relative to that; -inf where there is none."""
    bounded = True
    """Whether no row's log density is above the offset."""

    @abstractmethod
    def joint(self, x_t: Float64Array) -> Float64Array:
        """``log w_k + log N(x_i | mu_k, Sigma_k) - offset``, shape (K, n), of rows (D, n).

        The result is scratch, which the next call overwrites.
        """

    def normalised(self, joint: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Responsibilities (K, n) of what :meth:`joint` gave, and log densities less the offset."""
        return normalise(joint, self.bounded, self.noise)

    @abstractmethod
    def add(self, resp: Float64Array) -> None:
        """Add the rows of the last :meth:`joint` to the sums.

        ``resp`` (K, n) are their responsibilities times their weights.
        """

    @abstractmethod
    def statistics(self, block: Block, log_likelihood: float) -> Statistics:
        """Statistics of the block, all of whose rows were added, about the mixture's means."""


class SubBlocked(ABC):
    """A formulation that is given sub-blocks, feature-major, one after the other."""

    dtypes: ClassVar[tuple[np.dtype[Any], ...]] = (FLOAT64,)
    n_components: int

    @abstractmethod
    def evaluation(self) -> Evaluation:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""

    def log_densities(self, x: NDArray[Any]) -> Float64Array:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        evaluation = self.evaluation()
        found = np.empty(len(x))
        for span, x_t in sub_blocks(x, self.n_components):
            _, log_total = evaluation.normalised(evaluation.joint(x_t))
            found[span] = log_total + evaluation.offset
        return found

    def statistics(self, block: Block, log_density: Float64Array | None = None) -> Statistics:
        """See :class:`daskgmm.kernel.formulations.Formulation`."""
        evaluation = self.evaluation()
        return evaluation.statistics(block, self._added(evaluation, block, log_density))

    def _added(
        self, evaluation: Evaluation, block: Block, log_density: Float64Array | None = None
    ) -> float:
        """Add all rows of a block to the evaluation's sums, and return their log-likelihood."""
        log_likelihood = block.total_weight * evaluation.offset
        for span, x_t in sub_blocks(block.x, self.n_components):
            resp, log_total = evaluation.normalised(evaluation.joint(x_t))
            if log_density is not None:
                log_density[span] = log_total + evaluation.offset
            if block.weight is None:
                log_likelihood += float(log_total.sum())
            else:
                weight = block.weight[span]
                log_likelihood += float(weight @ log_total)
                resp *= weight
            evaluation.add(resp)
        return log_likelihood
