"""Apart: checks that no place of a command lies in another one, before anything is read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from daskgmm.errors import ParameterError
from daskgmm.storage import Location, first_overlap, is_lasting

__all__ = ["check_apart", "is_at_place"]


def is_at_place(weights: Any) -> bool:
    """Whether weights have a place of their own, and are not a variable beside the rows."""
    return isinstance(weights, str | os.PathLike) or hasattr(weights, "survey")


def check_apart(data: Any, outputs: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse outputs that would replace the data or each other, or would not last."""
    source = data if isinstance(data, str | os.PathLike) else data.name
    places = [Location.parse(place) for place in (source, *outputs)]
    found = first_overlap(places)
    if found is not None:
        one, other = (places[i].name for i in found)
        raise ParameterError(f"{one} and {other} overlap; data, model and outputs must lie apart")
    for place in places[1:]:
        if not is_lasting(place):
            raise ParameterError(
                f"{place.name} is memory of this process and would go with it; name a folder, or a "
                "URL of a store that stays"
            )
