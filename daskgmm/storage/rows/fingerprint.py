"""Fingerprint: whether rows are still those that were seen before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from daskgmm.em.rows import Source

__all__ = ["fingerprint_of"]

_DIGITS = 16
"""Of each hash: enough against accidents, and a message can show both."""


def fingerprint_of(source: Source, layout: Any, versions: Sequence[str | None]) -> str:
    """Two hashes: ``ROWS written VERSIONS``.

    The first is of shape, dtype, ``layout`` (plain JSON) and the first, middle and last
    row; the second of what tells each stored object from another one of the same size: a
    checksum, or when it was written.
    """
    facts = [list(source.shape), source.dtype.str, layout]
    rows = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    n_rows = source.shape[0]
    for row in (0, n_rows // 2, n_rows - 1):
        rows.update(np.ascontiguousarray(source.read(row, row + 1)).tobytes())
    written = hashlib.sha256(json.dumps(versions).encode())
    return f"{rows.hexdigest()[:_DIGITS]} written {written.hexdigest()[:_DIGITS]}"
