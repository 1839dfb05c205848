"""Kept: a few values that a process keeps, because they are dear to make again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

__all__ = ["Kept"]


class Kept:
    """The last values by key, of this process.

    Parameters
    ----------
    most : int
        How many.
    most_bytes : int, optional
        Of all together, as far as they are said to have some.
    """

    def __init__(self, most: int, most_bytes: int = 0) -> None:
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._most, self._most_bytes = most, most_bytes
        self._n_bytes = 0
        self._lock = threading.Lock()

    def put(self, key: Hashable, value: Any, n_bytes: int = 0) -> None:
        """Keep a value, and drop the oldest where there are too many."""
        with self._lock:
            self._drop(key)
            self._values[key] = value, n_bytes
            self._n_bytes += n_bytes
            while len(self._values) > self._most or self._n_bytes > self._most_bytes:
                if len(self._values) == 1:
                    break
                self._drop(next(iter(self._values)))

    def get(self, key: Hashable) -> Any:
        """The value; None where there is none."""
        with self._lock:
            return self._values.get(key, (None, 0))[0]

    def take(self, key: Hashable) -> Any:
        """The value, which nobody else can have then; None where there is none."""
        with self._lock:
            return self._drop(key)

    def _drop(self, key: Hashable) -> Any:
        value, n_bytes = self._values.pop(key, (None, 0))
        self._n_bytes -= n_bytes
        return value
