"""JSON lines: each event as a line that programs can read."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import TextIO

from daskgmm.events.events import Underway
from daskgmm.events.lines import Seldom
from daskgmm.plain_json import plain_json
from daskgmm.telling import Event

__all__ = ["JsonLines"]


class JsonLines:
    """Listener that writes an event as one line of JSON.

    Each line has ``time`` (UTC, ISO 8601), ``level``, ``event`` (the event's name), and the
    event's own fields. A number that is not finite is null.

    Parameters
    ----------
    stream : text stream
        Where the lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_time = Seldom()
        self._lock = threading.Lock()  # clusters tell events from threads of their own

    def __call__(self, event: Event) -> None:
        """Write the event; a pass under way is written only every few seconds."""
        if isinstance(event, Underway) and not self._is_time(event):
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": event.level,
            "event": event.name,
            **event.redacted().fields(),
        }
        text = json.dumps(plain_json(line))
        with self._lock:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing has to be put away."""
