"""What every stepper answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from daskgmm.kernel import Mixture, Statistics

__all__ = ["Step", "Stepper", "has_fallen"]


@dataclass(frozen=True, eq=False)
class Step:
    """What follows from a pass.

    Attributes
    ----------
    mixture : Mixture
        Where the next pass is made.
    kept : Mixture
        The M-step of the best pass so far: the result, if this was the last one.
    accepted : bool
        Whether the pass is an advance. If not, ``mixture`` goes back to what is kept.
    remaining_gain : float or None
        The stepper's own estimate of what is left to gain per row, in nats: infinite
        where it knows that it cannot tell; None leaves it to the history.
    """

    mixture: Mixture
    kept: Mixture
    accepted: bool = True
    remaining_gain: float | None = None


class Stepper(Protocol):
    """Proposes the parameters at which the next pass is made.

    Attributes
    ----------
    state : dataclass
        All that it keeps between passes: numbers, text, arrays, mixtures, and dataclasses and
        lists of these. A new stepper that is given it goes on as this one would.
    """

    state: Any

    def next(self, mixture: Mixture, statistics: Statistics, tol: float) -> Step:
        """What follows ``mixture``, given its statistics over all rows.

        ``tol`` is what the stop rule compares with: work for less is in vain.
        """
        ...


def has_fallen(now: float, before: float) -> bool:
    """Whether an objective per row is below another by more than sums are rounded."""
    return now < before - 16 * float(np.finfo(np.float64).eps) * max(1.0, abs(before))
