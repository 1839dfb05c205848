"""Places that must lie apart: nothing that is written may fall into what is read or kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from daskgmm.storage.outputs.atomic_output import MARKERS
from daskgmm.storage.places.locations import Location

__all__ = ["enclosing_node", "first_overlap", "is_lasting"]


def first_overlap(places: Sequence[Location]) -> tuple[int, int] | None:
    """Indices of the first two places of which one is, or is inside, the other."""
    resolved = [_resolved(place) for place in places]
    for i, one in enumerate(resolved):
        for j, other in enumerate(resolved[:i]):
            if one == other or one in other.parents or other in one.parents:
                return j, i
    return None


def enclosing_node(file: str | os.PathLike[str]) -> Path | None:
    """The Zarr array or group on a local disk that a local file is inside, if any."""
    parents = Path(file).expanduser().resolve().parents
    return next((p for p in parents if any((p / m).is_file() for m in MARKERS)), None)


def is_lasting(place: Location) -> bool:
    """Whether an output there outlives this process."""
    return not place.address.startswith("memory://")


def _resolved(place: Location) -> Path:
    """The path of a place with links followed, the same however the place is written."""
    return place.path.resolve() if place.is_local else Path(place.name)
