"""Fingerprint: whether rows are still those that were seen before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from daskgmm.source import Source

__all__ = ["fingerprint_of", "state_of"]

_DIGITS = 16
"""Digits of each hash that are kept: enough against accidents, and short enough to show."""


def fingerprint_of(source: Source, layout: Any, versions: Sequence[str | None]) -> str:
    """Two hashes that tell whether rows are still those that were seen.

    Parameters
    ----------
    source : Source
    layout : plain JSON
        How the rows are stored: chunks, codecs, sizes.
    versions : sequence of str or None
        For each stored object its checksum, or the time when it was written, by which it
        differs from another one of the same size.

    Returns
    -------
    str
        The text ``"<hash of rows> written <hash of versions>"``. The first hash is over shape,
        dtype, layout and the first, middle and last row, the second over the versions.
    """
    facts = [list(source.shape), source.dtype.str, layout]
    rows = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    n_rows = source.shape[0]
    for row in (0, n_rows // 2, n_rows - 1):
        rows.update(np.ascontiguousarray(source.read(row, row + 1)).tobytes())
    written = hashlib.sha256(json.dumps(versions).encode())
    return f"{rows.hexdigest()[:_DIGITS]} written {written.hexdigest()[:_DIGITS]}"


def state_of(source: Source, layout: Any, versions: Sequence[str | None]) -> str | None:
    """Hash of the name, the layout and the versions of stored rows.

    None if there are no versions, or one of them is None.
    Parameters are those of :func:`fingerprint_of`.
    """
    if not versions or None in versions:
        return None
    facts = [source.name, list(source.shape), source.dtype.str, layout, list(versions)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_DIGITS]
