"""Tables: facts, and what makes the components of a model, as text in columns.

Names are those of ``--json``, which shows every fact with all digits. Models and stores may come
from strangers, so characters that could control a terminal are replaced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from daskgmm.plain_json import plain_json
from daskgmm.redaction import on_one_line
from daskgmm.settings import OPTIONS
from daskgmm.telling import duration, size_of

__all__ = ["of_candidates", "of_facts", "of_model", "of_uncertainty"]

_NAME, _LINE = 24, 100
"""Characters of the column of names, with the blanks after them, and of a line of a table."""
_MOST_COMPONENTS, _MOST_FEATURES = 20, 40
_MOST_SHOWN, _MOST_SAID = 200, 2000
"""Characters of a list of numbers, and of a sentence or a command."""
_MOST_LINES = 200
"""Lines of a fact that is a list of names, or of things that have facts each."""

_SAID = (
    (
        *("covariance_type", "n_components", "n_features", "noise_weight", "n_rows"),
        *("n_missing", "n_left_out"),
    ),
    (
        *("log_likelihood_per_row", "penalty_per_row", "converged", "stop_reason", "tol"),
        *("remaining_gain", "n_iter", "n_passes", "rows_read"),
    ),
    (
        *("seconds", "peak_memory_bytes", "staged_bytes_memory", "staged_bytes_disk"),
        *("settings", "daskgmm_version", "loops"),
    ),
)
"""Names of a model's facts in groups. Facts of no group are shown between the last two groups."""
_NOT_SAID = {
    *("weights", "means", "covariances", "deviations", "projected_means", "degrees_of_freedom"),
    *("feature_names", "feature_units", "kept_features", "kind", "history", "statistics"),
}
"""Facts of a model that its table shows, or that say nothing at a glance."""
_IF_ANY = {"n_missing", "n_left_out", "staged_bytes_memory", "staged_bytes_disk"}
"""Facts of a model that are not said where they are 0."""


def of_facts(result: Mapping[str, Any]) -> str:
    """A line for each fact, or several for a list; facts that are None or empty are left out."""
    return "\n".join(
        line for name, value in plain_json(result).items() for line in _lines_of(name, value)
    )


def _lines_of(name: str, value: Any) -> list[str]:
    """A fact in lines; none if there is nothing to say."""
    if name == "variables" and isinstance(value, Mapping):
        return _of_each(name, value)
    if isinstance(value, Mapping):
        items = (f"{_printable(key)} {_shown(key, one)}" for key, one in value.items())
        shown = _wrapped([part for item in items for part in item.split(", ")])
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        shown = _wrapped([_printable(one) for one in value])
    else:
        shown = [text] if (text := _shown(name, value)) else []
    heads = [_printable(name), *[""] * len(shown)]
    return [f"{head:<{_NAME}}{text}" for head, text in zip(heads, shown, strict=False)]


def _wrapped(items: Sequence[str]) -> list[str]:
    """Lines of a list, broken between its items."""
    lines: list[str] = []
    for n, item in enumerate(items):
        text = item + "," * (n + 1 < len(items))
        if lines and len(lines[-1]) + 1 + len(text) <= _LINE - _NAME:
            lines[-1] += f" {text}"
        elif len(lines) < _MOST_LINES:
            lines.append(text)
        else:
            return [*lines, f"... and {len(items) - n} more: --json has all"]
    return lines


def _of_each(name: str, value: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of a table with a row for each of some things, and a column for each fact of them."""
    every = list(value.items())[:_MOST_LINES]
    texts = {
        key: {fact: text for fact in one if (text := _shown(fact, one[fact]))} for key, one in every
    }
    facts = list(dict.fromkeys(fact for said in texts.values() for fact in said))
    rows = [
        [f"  {_printable(key)}", *(said.get(fact, "") for fact in facts)]
        for key, said in texts.items()
    ]
    if not rows:
        return []
    header = [f"{name:<{_NAME - 2}}", *map(_printable, facts)]
    n_more = len(value) - len(rows)
    more = [f"  ... and {n_more} more: --json has all"] if n_more else []
    return _aligned([header, *rows]) + more


def of_model(result: Mapping[str, Any]) -> str:
    """Facts of a model in groups, and below them weights, means and deviations by component."""
    facts = {name: value for name, value in result.items() if name not in _NOT_SAID}
    facts = {name: value for name, value in facts.items() if value or name not in _IF_ANY}
    facts["settings"] = _chosen(facts.get("settings"))
    grouped = {name for group in _SAID for name in group}
    others = [name for name in facts if name not in grouped]
    *first, last = _SAID
    groups = [
        of_facts({name: facts[name] for name in group if name in facts})
        for group in (*first, others, last)
    ]
    return "\n\n".join([*filter(None, groups), "\n".join(_of_components(result))])


def _chosen(settings: Any) -> Any:
    """Settings that are not the defaults."""
    if not isinstance(settings, Mapping):
        return settings
    defaults = {option.name: option.default for option in OPTIONS}
    return {k: v for k, v in settings.items() if k not in defaults or v != defaults[k]}


def _shown(name: str, value: Any) -> str:
    """A fact as text; empty if there is nothing to say."""
    if type(value) in (int, float):
        if name == "seconds":
            return duration(value)
        if name.endswith("_bytes") or "_bytes_" in name:
            return size_of(value)
    text, most = _text(value), _MOST_SAID if isinstance(value, str) else _MOST_SHOWN
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _text(value: Any) -> str:
    """A value of plain JSON for people."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_printable(key)} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        between = "; " if any(isinstance(one, dict | list) for one in value) else ", "
        return between.join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else _printable(value)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in on_one_line(text))


def _of_components(result: Mapping[str, Any]) -> list[str]:
    """Lines of a table with a row for each component, or a column where these are too long."""
    means = result.get("projected_means", result["means"])
    n_components, n_features = len(means), len(means[0])
    rows = [
        ["component", *map(str, range(n_components))],
        ["weight", *(f"{weight:.4g}" for weight in result["weights"])],
    ]
    if degrees := result.get("degrees_of_freedom"):
        rows.append(["degrees of freedom", *(f"{nu:.3g}" for nu in degrees)])
    n_heads = len(rows)
    columns = zip(*means, strict=True), zip(*result["deviations"], strict=True)
    for label, *of_feature in zip(_labels(result, n_features), *columns, strict=True):
        pairs = zip(*of_feature, strict=True)
        cells = (f"{_number(mean, 4)} \u00b1 {_number(by, 2)}" for mean, by in pairs)
        rows.append([label, *cells])
    return _table(rows, n_heads)


def _table(every: Sequence[Sequence[str]], n_heads: int) -> list[str]:
    """Lines of a table of components in columns, or in rows if these are no longer than a line.

    Parameters
    ----------
    every : sequence of sequence of str
        A row for each feature, after ``n_heads`` others; in each a name, and a cell for each
        component.
    n_heads : int
    """
    n_components, n_features = len(every[0]) - 1, len(every) - n_heads
    rows = [row[: 1 + _MOST_COMPONENTS] for row in every[: n_heads + _MOST_FEATURES]]
    turned = [list(column) for column in zip(*rows, strict=True)]
    if _width(turned) <= _LINE:
        shown = turned
        n_shown = len(turned) - 1, len(turned[0]) - n_heads
    else:
        shown = _fitting(rows)
        n_shown = len(shown[0]) - 1, len(shown) - n_heads
    n_more = n_components - n_shown[0], n_features - n_shown[1]
    more = [f"{n} {of}" for n, of in zip(n_more, ("components", "features"), strict=True) if n > 0]
    said = [f"... and {' and '.join(more)} more: --json has all"] if more else []
    return _aligned(shown) + said


def _number(value: float, digits: int) -> str:
    """A number to so many digits; with an exponent where it is below 0.0001 or from a million on."""
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if 1.0 <= abs(value) < 1e6 and "e" in text else text


def of_candidates(result: Mapping[str, Any]) -> list[str]:
    """Lines of a table with the criteria of each candidate of a selection, and its test if any."""
    is_tested = result["bootstrap"] is not None
    of_tests = f"  {'likelihood ratio':>16}  {'p':<8}" * is_tested
    lines = [
        f"{'K':>4} {'family':<10} {'BIC':>16} {'AIC':>16} {'ICL':>16}  "
        f"{'held-out per row (error)':<26}  {'gain (error)':<19}{of_tests}"
    ]
    for entry in result["candidates"]:
        held_out = _with_error(
            entry["held_out_log_likelihood_per_row"], entry["held_out_standard_error"]
        )
        gain = _with_error(entry["held_out_gain_per_row"], entry["held_out_gain_standard_error"])
        if is_tested:
            gain = f"{gain:<19}{_of_test(entry)}"
        chosen = " <" if entry == result["best"] else "" if entry["refined"] else " ~"
        lines.append(
            f"{entry['n_components']:>4} {entry['covariance_type']:<10} {entry['bic']:>16.2f} "
            f"{entry['aic']:>16.2f} {entry['icl']:>16.2f}  "
            f"{held_out:<26}  {gain}{chosen}"
        )
    return lines


def _with_error(value: float | None, error: float | None) -> str:
    return "" if value is None else f"{value:.6f} ({error:.6f})"


def _of_test(entry: Mapping[str, Any]) -> str:
    if entry["p_value"] is None:
        return " " * 28
    return f"  {entry['likelihood_ratio']:>16.4g}  {entry['p_value']:<8.3g}"


def of_uncertainty(result: Mapping[str, Any]) -> str:
    """Weights, means and standard deviations of components, each with its standard error."""
    weights = _with_errors(result["weights"])
    lines = [f"log-likelihood per row  {_with_errors(result['log_likelihood_per_row'])}"]
    for name in ("noise_weight", "degrees_of_freedom"):
        if name in result:
            shown = _with_errors(result[name])
            text = shown if isinstance(shown, str) else ", ".join(shown[:_MOST_COMPONENTS])
            lines.append(f"{name.replace('_', ' '):<24}{text}")
    for name, said in (("means", "means"), ("deviations", "standard deviations")):
        cells = _with_errors(result[name])
        n_features = len(cells[0])
        is_of_axes = name == "deviations" and result["is_projected"]
        labels = _labels({"projected_means": []} if is_of_axes else result, n_features)
        rows = [["component", *map(str, range(len(weights)))], ["weight", *weights]]
        columns = zip(*cells, strict=True)
        rows += [[label, *column] for label, column in zip(labels, columns, strict=True)]
        lines += ["", f"{said} \u00b1 standard errors", *_table(rows, 2)]
    return "\n".join(lines)


def _with_errors(spread: Mapping[str, Any]) -> Any:
    """Lists of numbers with their errors, as deep as those of a spread; one text for a number."""

    def shown(value: Any, error: Any) -> Any:
        if isinstance(value, list):
            return [shown(*pair) for pair in zip(value, error, strict=True)]
        if not 1e-9 < error < 1e9:
            return f"{value:.6g} \u00b1 {error:.2g}"
        places = max(0, 1 - math.floor(math.log10(error)))  # two digits of the error
        return f"{value:.{places}f} \u00b1 {error:.{places}f}"

    return shown(spread["estimate"], spread["standard_error"])


def _labels(result: Mapping[str, Any], n_features: int) -> list[str]:
    """Names of the features with their units, or of axes where rows are projected."""
    shown = result.get("kept_features", range(n_features))
    if "projected_means" in result and "kept_features" not in result:
        return [f"axis {j}" for j in shown]
    names, units = result.get("feature_names"), result.get("feature_units")
    labels = [f"x{j}" if names is None else _printable(names[j]) for j in shown]
    units = [""] * n_features if units is None else [_printable(units[j]) for j in shown]
    pairs = zip(labels, units, strict=True)
    return [f"{label} ({unit})" if unit else label for label, unit in pairs]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Width of each column, with the two blanks after it."""
    return [2 + max(map(len, column)) for column in zip(*rows, strict=True)]


def _width(rows: Sequence[Sequence[str]]) -> int:
    return sum(_widths(rows)) - 2


def _fitting(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The rows with as many of their columns as fit into a line, but two at least."""
    n = len(rows[0])
    while n > 2 and _width([row[:n] for row in rows]) > _LINE:
        n -= 1
    return [list(row[:n]) for row in rows]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines in which columns are as wide as their widest cell."""
    widths = _widths(rows)
    return [
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
