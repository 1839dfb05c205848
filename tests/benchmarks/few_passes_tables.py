"""Tables of what :mod:`few_passes` found, down to what is wanted of the default."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import geometric_mean, median
from typing import Any

from .contestants import DEFAULT, SKLEARN
from .few_passes import SAME, Found, Row
from .table import Column, Table

__all__ = ["few_passes_tables"]

_NEVER = "never"


def few_passes_tables(found: Found) -> list[Table]:
    """Made problems, real tables, seconds, and what it comes to."""
    made = [row for row in found.fits if not row["is_real"]]
    real = [row for row in found.fits if row["is_real"]]
    tables = [
        _fits_table("Passes", made),
        _fits_table("Passes over real tables, which are small", real),
        _speeds_table(found.speeds),
        _contestants_table(made),
        _targets_table(made, [row for row in found.speeds if not row["is_real"]]),
    ]
    return [table for table in tables if table.rows]


def _fits_table(title: str, rows: Sequence[Row]) -> Table:
    columns = [
        Column("problem", "problem"),
        Column("covariance", "family"),
        Column("n_features", "D"),
        Column("n_components", "K"),
        Column("n_rows", "rows", "{:,}"),
        Column("contestant", "contestant"),
        Column("to_precision_shown", "passes to p/(2N)"),
        Column("to_fine_shown", "to 1e-5"),
        Column("n_passes", "in all"),
        Column("rows_read", "rows read", "{:,}"),
        Column("seconds_shown", "seconds"),
        Column("below_best", "below the best, p/(2N)", "{:.2f}"),
        Column("log_likelihood", "log-likelihood per row", "{:.8f}"),
    ]
    notes = [
        "passes count the scan; > where a limit, not its own rule, ended the fit; of sklearn, "
        "iterations of all restarts, one after the other, and not k-means before each",
        "plain, squarem and surrogate go on beyond their users' tol, to see when they arrive",
        *(f"{r['contestant']} at {r['problem']}: {r['remark']}" for r in rows if r["remark"]),
    ]
    return Table(title, columns, [row | _shown(row) for row in rows], notes)


def _shown(row: Row) -> dict[str, str]:
    """Cells that need more than one value of a row."""
    beyond = f">{row['n_passes']}" if row["was_stopped"] else "-"
    limit = ">" if row["was_stopped"] and row["contestant"] == SKLEARN.name else ""
    return {
        "to_precision_shown": str(row.get("to_precision") or beyond),
        "to_fine_shown": str(row.get("to_fine") or beyond),
        "seconds_shown": f"{limit}{row['seconds']:.2f}",
    }


def _speeds_table(rows: Sequence[Row]) -> Table:
    columns = [
        Column("problem", "problem"),
        Column("n_rows", "rows", "{:,}"),
        Column("daskgmm_seconds", "daskgmm s", "{:.2f}"),
        Column("sklearn_seconds", "sklearn s", "{:.2f}"),
        Column("ratio_shown", "ratio"),
        Column("same_seconds", "to sklearn's end s", "{:.2f}"),
        Column("same_ratio_shown", "ratio"),
        Column("higher_by", "higher by, nats/row", "{:+.1e}"),
        Column("same", "same or better", lambda yes: "yes" if yes else "NO"),
    ]
    notes = [
        "from cold, rows in memory and code compiled, the defaults of both; > where patience "
        f"ended before sklearn did; the same within {SAME:g} nats per row; to sklearn's end: until "
        "a pass of daskgmm found the same log-likelihood or more"
    ]
    shown = [
        row | {f"{name}_shown": _ratio_shown(row, name) for name in ("ratio", "same_ratio")}
        for row in rows
    ]
    return Table("From cold to the end", columns, shown, notes)


def _ratio_shown(row: Row, name: str) -> str:
    return f"{'>' * row['gave_up']}{row[name]:.1f}" if name in row else "-"


def _contestants_table(made: Sequence[Row]) -> Table:
    """Medians and the worst over made problems; a mark that is never reached is the worst."""
    columns = [
        Column("contestant", "contestant"),
        Column("problems", "problems"),
        Column("arrived", "within p/(2N)"),
        Column("median_to_precision", "passes, median"),
        Column("worst_to_precision", "worst"),
        Column("arrived_fine", "within 1e-5"),
        Column("median_to_fine", "passes, median"),
        Column("worse_than_sklearn", "ended worse than sklearn"),
        Column("compared", "of those where it ended any"),
    ]
    names = dict.fromkeys(row["contestant"] for row in made)
    rows = [_contestant_row(name, made) for name in names]
    notes = [
        f"{row['contestant']} ended more than p/(2N) below the best of sklearn's restarts: "
        + ", ".join(row["worse_at"])
        for row in rows
        if row["worse_at"]
    ]
    return Table("Passes over made problems", columns, rows, notes)


def _contestant_row(name: str, made: Sequence[Row]) -> Row:
    own = [row for row in made if row["contestant"] == name]
    precise, fine = (_counts(own, mark) for mark in ("to_precision", "to_fine"))
    ends = _ends_beside_sklearn(name, made)
    worse_at = [problem for problem, (own_end, end) in ends.items() if own_end > end + 1.0]
    return {
        "contestant": name,
        "problems": len(own),
        "arrived": sum(map(math.isfinite, precise)),
        "median_to_precision": _or_never(median(precise)),
        "worst_to_precision": _or_never(max(precise)),
        "arrived_fine": sum(map(math.isfinite, fine)),
        "median_to_fine": _or_never(median(fine)),
        "worse_than_sklearn": len(worse_at) if ends else None,
        "compared": len(ends) or None,
        "worse_at": worse_at,
    }


def _counts(rows: Sequence[Row], mark: str) -> list[float]:
    return [row.get(mark) or math.inf for row in rows]


def _or_never(passes: float) -> float | str:
    return f"{passes:g}" if math.isfinite(passes) else _NEVER


def _ends_beside_sklearn(name: str, made: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """How far below the best, in ``p/(2N)``, a contestant and scikit-learn ended, by problem.

    Only where any restart of scikit-learn ended: who finished nothing is no measure.
    """
    ends = {(row["problem"], row["contestant"]): row.get("below_best", math.inf) for row in made}
    return {
        problem: (ends[problem, name], end)
        for (problem, who), end in ends.items()
        if who == SKLEARN.name and math.isfinite(end) and (problem, name) in ends
    }


def _targets_table(made: Sequence[Row], speeds: Sequence[Row]) -> Table:
    """What the default comes to, beside what is wanted of it."""
    columns = [Column("measure", "measure"), Column("found", "found"), Column("target", "target")]
    rows = []
    if any(row["contestant"] == DEFAULT.name for row in made):
        own = _contestant_row(DEFAULT.name, made)
        rows += [
            _target("passes to p/(2N), median", own["median_to_precision"], "at most 4"),
            _target("passes to p/(2N), worst", own["worst_to_precision"], "at most 15"),
            _target(
                f"ended worse than sklearn's restarts, of {own['compared'] or 0} compared",
                own["worse_than_sklearn"],
                "none",
            ),
        ]
    compared = [row for row in speeds if "ratio" in row]
    if compared:
        ratios = [row.get("same_ratio", row["ratio"]) for row in compared if row.get("same", True)]
        lower = sum(not row.get("same", True) for row in compared)
        rows += [
            _target("lower than one fit of sklearn by more than 1e-4", lower, "none"),
            _target("times as fast, smallest", f"{min(ratios, default=0.0):.1f}", "at least 20"),
            _target("times as fast, geometric mean", f"{_mean(ratios):.1f}", "at least 20"),
        ]
    return Table("The default over made problems", columns, rows)


def _mean(ratios: Sequence[float]) -> float:
    return geometric_mean(ratios) if ratios else 0.0


def _target(measure: str, found: Any, target: str) -> Row:
    return {"measure": measure, "found": found, "target": target}
