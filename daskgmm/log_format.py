"""The format of the log that a command line asks for, before anything has parsed it.

The command imports this file before everything else, so it imports no other room.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["LOG_FORMAT_VARIABLE", "asks_for_json"]

LOG_FORMAT_VARIABLE = "DASKGMM_LOG_FORMAT"
"""Environment variable that stands for ``--log-format`` where that option is not given."""


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether errors are to be lines of JSON.

    The last option wins over earlier ones, and any option over the variable.
    """
    given = [
        value if name == "--log-format" else name.partition("=")[2]
        for name, value in pairwise([*arguments, ""])
        if name == "--log-format" or name.startswith("--log-format=")
    ]
    return [os.environ.get(LOG_FORMAT_VARIABLE, ""), *given][-1] == "json"
