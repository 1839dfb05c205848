"""Events: what happens in a fit, and the listeners that write it down.

To add an event, write one class that inherits from :class:`Event` and tell it: text lines, the
JSON log and the progress bar follow.
"""

from daskgmm.events.events import Failed, Message, Underway
from daskgmm.events.json_lines import JsonLines
from daskgmm.events.lines import ProgressLines
from daskgmm.events.listeners import Listener, listening, tell_message_once, teller
from daskgmm.events.log import LOG_FORMATS, Log, log_opened
from daskgmm.events.metrics import MetricsFile, Usage
from daskgmm.telling import Event, duration, passes, size_of

__all__ = [
    "LOG_FORMATS",
    "Event",
    "Failed",
    "JsonLines",
    "Listener",
    "Log",
    "Message",
    "MetricsFile",
    "ProgressLines",
    "Underway",
    "Usage",
    "duration",
    "listening",
    "log_opened",
    "passes",
    "size_of",
    "tell_message_once",
    "teller",
]
