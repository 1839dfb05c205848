"""Rank ones: the curvature that a sample lacks, learned from gradients of all rows."""

from __future__ import annotations

import numpy as np

from daskgmm.kernel import Float64Array

__all__ = ["RankOnes"]

_LEAST_ANGLE = 0.05
"""Smallest cosine between a step and the missing product for which an update is stable."""


class RankOnes:
    """A symmetric matrix as a sum of ``+- v v^T``, learned from products with it."""

    def __init__(self) -> None:
        self._terms: list[tuple[float, Float64Array]] = []

    def __matmul__(self, s: Float64Array) -> Float64Array:
        product = np.zeros_like(s)
        for sign, v in self._terms:
            product += sign * (v @ s) * v
        return product

    def learn(self, s: Float64Array, product: Float64Array) -> None:
        """Update so that the product with ``s`` is ``product``; exact for the last update only."""
        missed = product - self @ s
        along = float(missed @ s)
        if abs(along) > _LEAST_ANGLE * float(np.linalg.norm(missed) * np.linalg.norm(s)):
            self._terms.append((np.sign(along), missed / np.sqrt(abs(along))))
