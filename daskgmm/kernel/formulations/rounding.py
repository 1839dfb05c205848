"""Rounding: the error of a log density that a formulation may have, by dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["FLOAT32", "FLOAT64", "keeps_digits"]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

_LARGEST_ERROR = {FLOAT64: 1e-11, FLOAT32: 1e-5}
"""Largest error of a typical row's log density, in nats.

It is a relative error of the row's responsibilities, so that float32 gives statistics to a
relative 1e-5, and better where the errors of many rows average out.
"""


def keeps_digits(size: float, dtype: np.dtype[Any]) -> bool:
    """Whether terms of this size can be summed to a log density in this dtype.

    ``size`` is the root of the sum of squares of the terms: their roundings are
    independent. False for NaN.
    """
    return size * float(np.finfo(dtype).eps) <= _LARGEST_ERROR[dtype]
