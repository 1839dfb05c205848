"""Kept: a few values that a process keeps, because they are dear to make again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

__all__ = ["Kept"]


class Kept:
    """The last few values by key, of this process.

    Parameters
    ----------
    most : int
        How many.
    """

    def __init__(self, most: int) -> None:
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._most = most
        self._lock = threading.Lock()

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a value, and drop the oldest where there are too many."""
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def get(self, key: Hashable) -> Any:
        """The value; None where there is none."""
        with self._lock:
            return self._values.get(key)

    def take(self, key: Hashable) -> Any:
        """The value, which nobody else can have then; None where there is none."""
        with self._lock:
            return self._values.pop(key, None)
