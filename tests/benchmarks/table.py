"""Table: what a command found, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .machine import described

__all__ = ["Column", "Table", "write_json"]


@dataclass(frozen=True)
class Column:
    """A key of the rows, its heading, and how its values are shown; absent ones as ``-``."""

    key: str
    heading: str
    show: str | Callable[[Any], str] = "{}"

    def text(self, row: dict[str, Any]) -> str:
        """The cell of a row."""
        value = row.get(self.key)
        if value is None:
            return "-"
        return self.show.format(value) if isinstance(self.show, str) else self.show(value)


@dataclass
class Table:
    """Rows of plain values; those that no column shows are for JSON alone."""

    title: str
    columns: list[Column]
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        cells = [[column.heading for column in self.columns]]
        cells += [[column.text(row) for column in self.columns] for row in self.rows]
        widths = [max(len(line[i]) for line in cells) for i in range(len(self.columns))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in cells
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([self.title, "", *lines, *(f"note: {note}" for note in self.notes)])


def write_json(path: Path, tables: Iterable[Table]) -> None:
    """Write tables, with the machine that they were measured on."""
    found = [{"title": t.title, "rows": t.rows, "notes": t.notes} for t in tables]
    path.write_text(json.dumps({"machine": described(), "tables": found}, indent=1) + "\n")
