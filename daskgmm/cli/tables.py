"""Tables: facts, and what makes the components of a model, as text in columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from daskgmm.plain_json import plain_json

__all__ = ["of_facts", "of_model"]

_MOST_COMPONENTS, _MOST_FEATURES = 20, 6
_IN_TABLE = {
    *("weights", "means", "covariances", "deviations", "projected_means", "degrees_of_freedom"),
    *("feature_names", "feature_units", "kept_features", "noise_weight"),
}
"""Facts of a model that its table shows."""


def of_facts(result: Mapping[str, Any]) -> str:
    """Facts a line each; long lists are for --json."""
    lines = []
    for name, value in result.items():
        text = json.dumps(plain_json(value))
        lines.append(f"{name:<24}{text if len(text) <= 200 else text[:197] + '...'}")
    return "\n".join(lines)


def of_model(result: Mapping[str, Any]) -> str:
    """Facts of a model, and below them weights, means and standard deviations by component.

    Those of the first 20 components, and of the first 6 features that the mixture is of.
    """
    facts = {name: value for name, value in result.items() if name not in _IN_TABLE}
    means = result.get("projected_means", result["means"])
    rows = [["component", "weight", *_labels(result, len(means[0]))]]
    of_each = zip(result["weights"], means, result["deviations"], strict=True)
    for k, (weight, mean, deviation) in enumerate(of_each):
        if k < _MOST_COMPONENTS:
            cells = [f"{m:.4g} \u00b1 {s:.2g}" for m, s in zip(mean, deviation, strict=True)]
            rows.append([str(k), f"{weight:.4g}", *cells[:_MOST_FEATURES]])
    if result.get("noise_weight") is not None:
        rows.append(["noise", f"{result['noise_weight']:.4g}"])
    lines = [of_facts(facts), "", *_aligned(rows)]
    n_more = len(means) - _MOST_COMPONENTS, len(means[0]) - _MOST_FEATURES
    more = [f"{n} {of}" for n, of in zip(n_more, ("components", "features"), strict=True) if n > 0]
    if more:
        lines.append(f"... and {' and '.join(more)} more: --json has all")
    return "\n".join(lines)


def _labels(result: Mapping[str, Any], n_features: int) -> list[str]:
    """Names of the features with their units, or of axes where rows are projected."""
    shown = result.get("kept_features", range(n_features))[:_MOST_FEATURES]
    if "projected_means" in result and "kept_features" not in result:
        return [f"axis {j}" for j in shown]
    names, units = result.get("feature_names"), result.get("feature_units")
    labels = [f"x{j}" if names is None else str(names[j]) for j in shown]
    if units is None:
        return labels
    return [f"{label} ({units[j]})" if units[j] else label for j, label in enumerate(labels)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines in which columns are as wide as their widest cell."""
    n_columns = max(map(len, rows))
    full = [[*row, *[""] * (n_columns - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in full) for i in range(n_columns)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in full
    ]
