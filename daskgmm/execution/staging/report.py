"""StagingReport: what processes kept of the rows, and what went wrong meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from daskgmm.errors import warn

__all__ = ["StagingReport"]


@dataclass
class StagingReport:
    """What processes kept. Additive.

    Attributes
    ----------
    memory_bytes, disk_bytes : int
    n_lost : int
        Pieces that could not be read back, and were read from the source instead.
    problem : str or None
        Why a process stopped writing, unless it had reached its limit.
    """

    memory_bytes: int = 0
    disk_bytes: int = 0
    n_lost: int = 0
    problem: str | None = None

    def __iadd__(self, other: Self) -> Self:
        self.memory_bytes += other.memory_bytes
        self.disk_bytes += other.disk_bytes
        self.n_lost += other.n_lost
        self.problem = self.problem or other.problem
        return self

    def warn(self) -> None:
        """Warn once if anything went wrong; the result of the fit is as it should be.

        Warns
        -----
        DaskGMMWarning
        """
        said = []
        if self.n_lost:
            said.append(f"{self.n_lost} staged pieces were damaged, and read from the data again")
        if self.problem:
            said.append(f"writing stopped ({self.problem}), and later passes read from the data")
        if said:
            warn(f"staging: {'; '.join(said)}; the result is not affected, check the disk")
