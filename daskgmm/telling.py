"""Event: the base of all that is told of a fit, and the words that its lines for people use.

The algorithm tells events and lies below the room :mod:`daskgmm.events`, which listens to
them. So the base class lies below both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

from daskgmm.redaction import redacted

__all__ = ["Event", "Message", "duration", "passes", "size_of"]


_UNITS = ("B", "kiB", "MiB", "GiB", "TiB", "PiB")


def size_of(n_bytes: float) -> str:
    """Bytes for people, as Dask writes them: ``512 B``, ``3.50 MiB``."""
    for power in range(len(_UNITS) - 1, 0, -1):
        if n_bytes >= 0.9 * 1024**power:
            return f"{n_bytes / 1024**power:.2f} {_UNITS[power]}"
    return f"{n_bytes:.0f} B"


def duration(seconds: float) -> str:
    """Seconds for people: ``0.42 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole} s" if minutes else f"{whole} s"


def passes(n: int) -> str:
    """A number of passes for people: ``1 pass``, ``12 passes``."""
    return f"{n} pass" if n == 1 else f"{n} passes"


@dataclass(frozen=True)
class Event:
    """Something that happened in a fit, with all that listeners need to tell it.

    A new kind of event is one frozen dataclass that inherits from this one. The text lines,
    the JSON log and the progress bar tell it as it describes itself here.

    Parameters
    ----------
    name : str
        Class argument: what the event is called in the JSON log.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Cooled(Event, name="cooled"):
    ...     degrees: float
    ...
    ...     def text(self):
    ...         return f"cooled to {self.degrees} degrees"
    >>> Cooled(20.5).text()
    'cooled to 20.5 degrees'
    >>> Cooled(20.5).fields()
    {'degrees': 20.5}
    """

    name: ClassVar[str]

    def __init_subclass__(cls, *, name: str) -> None:
        cls.name = name

    @property
    def level(self) -> str:
        """A level of :mod:`logging`, in small letters."""
        return "info"

    @property
    def next_pass(self) -> str | None:
        """What the bar calls the next pass; None if the pass in hand goes on."""
        return None

    def text(self) -> str | None:
        """One line for people; None if the event is not worth one."""
        return None

    def fields(self) -> dict[str, Any]:
        """What the JSON log writes beside the time, the level and the name."""
        return asdict(self)

    def redacted(self) -> Self:
        """The same event with the secrets of URLs removed from its texts."""
        texts: dict[str, Any] = {
            name: redacted(text) for name, text in vars(self).items() if isinstance(text, str)
        }
        return replace(self, **texts)


@dataclass(frozen=True)
class Message(Event, name="message"):
    """A sentence for people.

    Attributes
    ----------
    message : str
        The sentence, on one line.
    level : str
        A level of :mod:`logging`, in small letters.
    """

    message: str
    level: str = "info"

    def text(self) -> str:
        """The sentence; one that is more than information begins with ``note:``."""
        return self.message if self.level == "info" else f"note: {self.message}"
