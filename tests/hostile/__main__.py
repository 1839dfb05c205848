"""``python -m tests.hostile``: thousands of hostile inputs, and how they ended."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from .inputs import Hostile


@click.command()
@click.option("--inputs", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(inputs: int, seed: int) -> None:
    """Give hostile inputs to the reader of every kind of file."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="daskgmm-hostile-") as folder:
        hostile = Hostile(Path(folder), seed)
        hostile.run(inputs)
    for end, count in sorted(hostile.counts.items()):
        click.echo(f"{end:<28}{count:>8}")
    click.echo(f"{'inputs':<28}{sum(hostile.counts.values()):>8}")
    click.echo(f"in {time.perf_counter() - began:.0f} s; nothing touched outside the folder given")


if __name__ == "__main__":
    main()
