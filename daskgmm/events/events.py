"""Events that are told above the algorithm: progress within a pass, messages, failures."""

from __future__ import annotations

from dataclasses import dataclass

from daskgmm.telling import Event, Message, duration

__all__ = ["Failed", "Message", "Underway"]


@dataclass(frozen=True)
class Underway(Event, name="pass_underway"):
    """Tasks of a pass have ended, and others have not.

    Attributes
    ----------
    pass_key : str
        The same for all events of one pass, and another for each pass.
    n_done, n_tasks : int
        Tasks that have read their rows, and all tasks of the pass that read rows.
    seconds : float
        Wall time since the pass began.
    """

    pass_key: str
    n_done: int
    n_tasks: int
    seconds: float

    @property
    def is_partial(self) -> bool:
        """Whether some tasks are done and some are not, so that a rate can be told."""
        return 0 < self.n_done < self.n_tasks

    def text(self) -> str | None:
        """Percentage and remaining time, at the rate so far."""
        if not self.is_partial:
            return None
        seconds_left = self.seconds * (self.n_tasks - self.n_done) / self.n_done
        percent = 100 * self.n_done // self.n_tasks
        return f"  {percent}% of this pass, about {duration(seconds_left)} left"


@dataclass(frozen=True)
class Failed(Event, name="failed"):
    """The command ends with an exit status that is not 0.

    Attributes
    ----------
    message : str
        The error, on one line.
    status : int
        The exit status.
    level : str
        A level of :mod:`logging`, in small letters.
    traceback : str or None
        Where an unforeseen error happened; None for an error that daskgmm raises on purpose.
    """

    message: str
    status: int
    level: str = "error"
    traceback: str | None = None

    def text(self) -> str:
        """The error, as commands show it."""
        return f"Error: {self.message}"
