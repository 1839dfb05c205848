"""Plain JSON: the values that attributes may hold, so that every Zarr reader can read them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from daskgmm.errors import ParameterError
from daskgmm.lazily import Lazily

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazily("numpy")

__all__ = ["plain_json"]


def plain_json(value: Any, where: str = "record") -> Any:
    """``value`` in dicts, lists, strings, numbers, booleans and None.

    NumPy scalars and arrays become numbers and lists. NaN and infinity, for which
    JSON has no word, become None.

    Raises
    ------
    ParameterError
        If it holds anything else; the message says where.
    """
    if value is None or isinstance(value, bool | int | str):
        # json writes a subclass, such as an IntEnum, as the text that it prints as.
        return value if value is None or type(value) in (bool, int, str) else _base(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): plain_json(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.generic | np.ndarray):
        return plain_json(value.tolist(), where)
    raise ParameterError(
        f"{where} is a {type(value).__name__}; attributes hold plain JSON: dicts, lists, strings, "
        "numbers, booleans and None"
    )


def _base(value: int | str) -> int | str:
    return str.__str__(value) if isinstance(value, str) else int(value)
