"""What a scheduler has seen of passes, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TaskCounts"]


@dataclass(frozen=True)
class TaskCounts:
    """What a scheduler has seen of the passes of one client.

    Attributes
    ----------
    pass_key : str
        Key of the newest pass.
    n_done, n_tasks : int
        How many of its tasks that read rows are done, and how many there are.
    seconds : float
        Time since it began.
    n_retries : int
        Tasks of all passes that were begun again, because they failed or lost their worker.
    n_workers_lost : int
        Workers that left without having been asked to.
    """

    pass_key: str = ""
    n_done: int = 0
    n_tasks: int = 0
    seconds: float = 0.0
    n_retries: int = 0
    n_workers_lost: int = 0
