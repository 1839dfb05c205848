"""What a person waits for before any work: the command that measures starting."""

from __future__ import annotations

from pathlib import Path

import click

from ..starting import starting_table
from .options import json_option, report, rounds_option

__all__ = ["COMMANDS"]


@click.command("start")
@rounds_option
@json_option
def _start(rounds: int, json_file: Path | None) -> None:
    """CPU seconds of commands that should answer at once, of a first fit and of the small demo.

    \b
    Example:
      python -m tests.benchmarks start
    """
    report([starting_table(rounds)], json_file)


COMMANDS = (_start,)
