"""What the commands share: kinds of options, options, and how tables are shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from dask.utils import parse_bytes

from ..environments import CACHE
from ..stores import CODECS
from ..table import Table, write_json

__all__ = [
    "ListOf",
    "Size",
    "codec_option",
    "folder_option",
    "json_option",
    "mixture_options",
    "report",
    "rounds_option",
    "to_bytes",
]


class ListOf(click.ParamType):
    """Values with commas between them; of a known set where one is given."""

    def __init__(self, kind: Callable[[str], Any], known: tuple[Any, ...] | None = None) -> None:
        self._kind = kind
        self._known = known
        self.name = ",".join(str(value) for value in known) if known else "1,2,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> list[Any]:
        if isinstance(value, list):
            return value
        try:
            values = [self._kind(part) for part in value.split(",") if part]
        except ValueError as error:
            self.fail(str(error), param, ctx)
        for one in values:
            if self._known is not None and one not in self._known:
                self.fail(f"{one!r} is not one of {self.name}", param, ctx)
        return values


def to_bytes(value: Any) -> int:
    return int(parse_bytes(value))


class Size(click.ParamType):
    """Bytes as a number or as text such as 512MiB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            return to_bytes(value)
        except (ValueError, TypeError):
            self.fail(f"{value!r} is not a size such as 512MiB", param, ctx)


json_option = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write there."
)
rounds_option = click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE / "stores",
    show_default=True,
    help="Where the store is made, and kept.",
)
codec_option = click.option(
    "--codec", type=click.Choice(list(CODECS)), default="zstd", show_default=True
)


def mixture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--features`` and ``--components``: what rows are made of, and how many are fitted."""
    count = click.IntRange(1)
    for name in ("--components", "--features"):
        command = click.option(name, type=count, default=8, show_default=True)(command)
    return command


def report(tables: list[Table], json_file: Path | None) -> None:
    click.echo("\n\n".join(str(table) for table in tables))
    if json_file is not None:
        write_json(json_file, tables)
