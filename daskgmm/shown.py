"""Shown: a fitted mixture as a small table of HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from daskgmm.kernel import HasCovariances, Mixture

__all__ = ["html_of"]

_MOST_COMPONENTS, _MOST_FEATURES = 20, 8


def html_of(mixture: Mixture, names: Sequence[str] | None, facts: Sequence[str]) -> str:
    """A table of weights, and means with standard deviations, a row for each component.

    The components come in their order, the first 20 of them with the first 8 features.

    Parameters
    ----------
    mixture : Mixture
    names : sequence of str or None
        Of the features; from anywhere.
    facts : sequence of str
        What the line above the table says.

    Returns
    -------
    str
        HTML without scripts, in which nothing that came from outside is markup.
    """
    k, d = mixture.means.shape
    shown = range(min(d, _MOST_FEATURES))
    labels = [f"x{j}" if names is None else str(names[j]) for j in shown]
    more = ["..."] * (d > _MOST_FEATURES)
    assert isinstance(mixture.components, HasCovariances)
    deviations = mixture.components.variances() ** 0.5
    rows = [_row("th", ["", "weight", *labels, *more])]
    for i in range(min(k, _MOST_COMPONENTS)):
        means = [f"{mixture.means[i, j]:.4g} \u00b1 {deviations[i, j]:.2g}" for j in shown]
        rows.append(_row("td", [i, f"{mixture.weights[i]:.4g}", *means, *more]))
    if k > _MOST_COMPONENTS:
        rows.append(_row("td", [f"... and {k - _MOST_COMPONENTS} more"]))
    heading = escape(", ".join(facts))
    return f"<div><p>{heading}</p><table>{''.join(rows)}</table></div>"


def _row(tag: str, cells: Sequence[Any]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
