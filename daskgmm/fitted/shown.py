"""Shown: a fitted mixture as a small table of HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from sklearn.utils import estimator_html_repr

from daskgmm.fitted.state import FittedState
from daskgmm.kernel import HasCovariances, Mixture, name_of_kind

__all__ = ["Shown", "html_of", "html_table"]

_MOST_COMPONENTS, _MOST_FEATURES = 20, 8


def html_of(mixture: Mixture, names: Sequence[str] | None, facts: Sequence[str]) -> str:
    """A table with a row for each component: its weight, and means with standard deviations.

    Of t components the table has the roots of the scale matrices' diagonals instead of standard
    deviations. It has the first 20 components, in their order, and the first 8 features.

    Parameters
    ----------
    mixture : Mixture
    names : sequence of str or None
        Names of the features, which may hold any text.
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
    rows: list[Sequence[Any]] = []
    for i in range(min(k, _MOST_COMPONENTS)):
        means = [f"{mixture.means[i, j]:.4g} \u00b1 {deviations[i, j]:.2g}" for j in shown]
        rows.append([i, f"{mixture.weights[i]:.4g}", *means, *more])
    if k > _MOST_COMPONENTS:
        rows.append([f"... and {k - _MOST_COMPONENTS} more"])
    if mixture.noise is not None:
        rows.append(["noise", f"{mixture.noise.weight:.4g}"])
    return html_table(", ".join(facts), ["", "weight", *labels, *more], rows)


def html_table(heading: str, header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """HTML of a table under a line of text, in which nothing that it is given is markup."""
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    return f"<div><p>{escape(heading)}</p><table>{''.join(lines)}</table></div>"


def _row(tag: str, cells: Sequence[Any]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"


class Shown(FittedState):
    """A fitted mixture in notebooks, where scikit-learn has a diagram of parameters."""

    def _html_repr(self) -> str:
        if not hasattr(self, "weights_"):
            return str(estimator_html_repr(self))
        mixture, n_rows = self._mixture, getattr(self, "n_rows_", None)
        names, d = getattr(self, "feature_names_in_", None), mixture.n_features
        of = f"feature{'s' * (d > 1)}"
        if (projection := self._projection) is not None:
            listed = [f"x{j}" for j in range(projection.n_in)] if names is None else names
            names = projection.names_of_out(listed)
            of = f"ax{'e' if d > 1 else 'i'}s " if projection.selected is None else ""
            of += f"of {projection.n_in} features"
        facts = [
            f"{type(self).__name__}: {mixture.n_components} {name_of_kind(mixture.kind)} components "
            f"in {d} {of}"
        ]
        if n_rows is not None:
            facts.append(f"{n_rows:,} rows")
        if getattr(self, "lower_bound_", None) is not None:
            height = self.lower_bound_ + (getattr(self, "penalty_", None) or 0.0)
            facts.append(f"log-likelihood per row {height:.6g}")
        if getattr(self, "converged_", None) is False:
            facts.append("not converged")
        return html_of(mixture, names, facts)

    def _repr_html_inner(self) -> str:
        return self._html_repr()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/html": self._html_repr()} if "text/html" in bundle else bundle
