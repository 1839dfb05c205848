"""Fingerprint: whether rows are still those that were seen before."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from daskgmm.em.rows import Source

__all__ = ["fingerprint_of"]


def fingerprint_of(source: Source, layout: Any) -> str:
    """SHA-256 of shape, dtype, ``layout`` (plain JSON) and the first, middle and last row."""
    facts = [list(source.shape), source.dtype.str, layout]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    n_rows = source.shape[0]
    for row in (0, n_rows // 2, n_rows - 1):
        digest.update(np.ascontiguousarray(source.read(row, row + 1)).tobytes())
    return digest.hexdigest()
