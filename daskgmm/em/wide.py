"""Wide components: small ones that are far wider than the others, as outliers make them.

A component that has taken up outliers is missing elsewhere: two clusters may have become one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from daskgmm.kernel import Elliptical, Float64Array, Mixture

__all__ = ["WideComponent", "said_of_wide", "widest_component"]

_SMALL, _WIDE = 0.02, 10.0
"""Components of less than this share that are so many times as wide may be of outliers."""


@dataclass(frozen=True)
class WideComponent:
    """The component that is widest among those that may be of outliers.

    Attributes
    ----------
    component, feature : int
    weight : float
    times : float
        How many times as wide it is in that feature as the median component, by deviations.
    n_more : int
        Other components that may be of outliers.
    """

    component: int
    feature: int
    weight: float
    times: float
    n_more: int


def widest_component(mixture: Mixture) -> WideComponent | None:
    """The widest of the components that may be of outliers; None if none may be.

    Parameters
    ----------
    mixture : Mixture
        Components without means and covariances are no outliers'.
    """
    if not isinstance(mixture.components, Elliptical):
        return None
    deviations = np.sqrt(mixture.components.gaussians.variances())
    with np.errstate(over="ignore", divide="ignore"):  # as wide as can be is wide
        ratios = deviations / _medians(deviations, mixture.shares)
    wide = np.flatnonzero((mixture.shares < _SMALL) & (ratios.max(axis=1) > _WIDE))
    if not len(wide):
        return None
    i, j = np.unravel_index(int(np.argmax(ratios[wide])), ratios[wide].shape)
    k = int(wide[i])
    return WideComponent(k, int(j), float(mixture.weights[k]), float(ratios[k, j]), len(wide) - 1)


def said_of_wide(mixture: Mixture, names: Sequence[str], missing: str = "error") -> str:
    """For people, in one line, with what to do; empty if no component may be of outliers.

    Parameters
    ----------
    mixture : Mixture
    names : sequence of str
        Names of the features that the mixture is of.
    missing : str
        What NaN was in the fit: with ``"em"`` there can be no noise.
    """
    if (found := widest_component(mixture)) is None:
        return ""
    more = f"; {found.n_more} more {'is' if found.n_more == 1 else 'are'} like it"
    said = (
        f"component {found.component} holds {100 * found.weight:.2g}% of the weight, and is "
        f"{found.times:,.0f} times as wide in {names[found.feature]} as the median component"
        f"{more if found.n_more else ''}: it may be of outliers rather than a cluster"
    )
    if mixture.noise is not None:
        return said
    if missing == "em":
        return f"{said}; leave such rows out, since missing='em' has no noise for them"
    return f"{said}; noise=True (--noise true) takes them up, and leaves it to the other rows"


def _medians(values: Float64Array, shares: Float64Array) -> Float64Array:
    """Weighted medians (D,) of values (K, D) of the components."""
    order = np.argsort(values, axis=0)
    at = np.argmax(np.cumsum(shares[order], axis=0) >= 0.5, axis=0)
    columns = np.arange(values.shape[1])
    medians: Float64Array = values[order[at, columns], columns]
    return medians
