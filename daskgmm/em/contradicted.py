"""Contradicted labels: components of which most labelled rows are more likely under others.

Labelled rows count for their components whatever their densities are. Where rows have gaps, or some
are gross outliers, a fit can end at a poor optimum, whose components are not where their labelled
rows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from daskgmm.kernel import NOISE, Block, Mixture, labels

__all__ = ["ContradictedLabels", "contradicted_labels", "said_of_contradicted"]

_MOST_NAMED = 5


@dataclass(frozen=True)
class ContradictedLabels:
    """A component of which more than half of the labelled rows are more likely elsewhere.

    Attributes
    ----------
    component : int
    n_labelled : int
        Its labelled rows, other than those that count for nothing.
    n_elsewhere : int
        Those of them that have another most probable component without their label, or are noise.
    n_noise : int
        Those of them that are noise.
    """

    component: int
    n_labelled: int
    n_elsewhere: int
    n_noise: int = 0


def contradicted_labels(mixture: Mixture, sample: Block) -> tuple[ContradictedLabels, ...]:
    """The components whose labelled rows a fit contradicts, by their numbers.

    Parameters
    ----------
    mixture : Mixture
        The fit.
    sample : Block
        Of a scan, so that it holds all labelled rows that count: no pass is made for them.
    """
    if sample.known is None:
        return ()
    is_known = sample.known >= 0
    known, rows = sample.known[is_known], sample.take(is_known)
    predicted = labels(rows.x, mixture, rows.measurement_noise)
    found = []
    for k in np.unique(known):
        of_rows = predicted[known == k]
        elsewhere = int(np.sum(of_rows != k))
        if 2 * elsewhere > len(of_rows):
            noise = int(np.sum(of_rows == NOISE))
            found.append(ContradictedLabels(int(k), len(of_rows), elsewhere, noise))
    return tuple(found)


def said_of_contradicted(contradicted: Sequence[ContradictedLabels]) -> str:
    """For people; empty if there are none.

    Such as ``4 of 5 labelled rows of component 2 are more likely under other components``.
    """
    if not contradicted:
        return ""
    each = [
        f"{one.n_elsewhere:,} of {one.n_labelled:,} labelled rows of component {one.component}"
        for one in contradicted
    ]
    n_more = len(each) - _MOST_NAMED
    named = ", ".join(each[:_MOST_NAMED]) + (f", and most of {n_more} more" if n_more > 0 else "")
    noise = " or noise" if any(one.n_noise for one in contradicted) else ""
    return f"{named} are more likely under other components{noise}"
