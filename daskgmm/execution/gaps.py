"""Gaps: what messages about NaN say where the store declares values missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from daskgmm.errors import NonFiniteError
from daskgmm.source import Source

__all__ = ["gaps_of", "told_of_gaps"]


def gaps_of(source: Source | None) -> str:
    """What a source says of the values that are missing in it; few sources do."""
    return getattr(source, "gaps", "")


@contextmanager
def told_of_gaps(source: Source | None) -> Iterator[None]:
    """Say of NaN that the store declares values missing, where it does."""
    try:
        yield
    except NonFiniteError as error:
        note = gaps_of(source)
        if not note:
            raise
        raise NonFiniteError(*error.args, f"; {note}") from None
