"""Traffic: how many bytes of rows this process has read from stores."""

from __future__ import annotations

import threading

__all__ = ["bytes_read", "count_read"]

_lock = threading.Lock()
_n_bytes = 0


def count_read(n_bytes: int) -> None:
    """Add the bytes of a chunk, as stored, to what was read."""
    global _n_bytes
    with _lock:  # threads read side by side, and += alone would lose some
        _n_bytes += n_bytes


def bytes_read() -> int:
    """Bytes of rows, as stored, that this process has read since it began."""
    return _n_bytes
