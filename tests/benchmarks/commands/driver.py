"""What a pass costs beside its rows: the command that measures the driver."""

from __future__ import annotations

from pathlib import Path

import click

from ..driver import PARTITIONS, SCHEDULERS, driver_table
from ..many_workers import SHAPES, many_workers_table
from .options import ListOf, json_option, mixture_options, report

__all__ = ["COMMANDS"]


@click.command("driver")
@click.option(
    "--partitions", type=ListOf(int), default=list(PARTITIONS), help="Default: 100 to 10,000."
)
@click.option("--schedulers", type=ListOf(str, tuple(SCHEDULERS)), default=list(SCHEDULERS))
@mixture_options
@click.option(
    "--workers",
    type=click.IntRange(2),
    help="Instead, simulate so many: the real scheduler, and workers that do no work.",
)
@click.option(
    "--numbers", type=ListOf(int, tuple(SHAPES)), default=list(SHAPES), help="Of their statistics."
)
@click.option("--rounds", type=click.IntRange(1), help="Default: 5; with --workers 1.")
@json_option
def _driver(
    partitions: list[int],
    schedulers: list[str],
    features: int,
    components: int,
    workers: int | None,
    numbers: list[int],
    rounds: int | None,
    json_file: Path | None,
) -> None:
    """What a pass costs beside its rows, by partitions; or by statistics, on many workers.

    \b
    Examples:
      python -m tests.benchmarks driver
      python -m tests.benchmarks driver --partitions 100,1000 --schedulers threads
      python -m tests.benchmarks driver --workers 1000
    """
    if workers is not None:
        report([many_workers_table(workers, numbers, rounds or 1)], json_file)
        return
    if len(set(partitions)) < 2:
        raise click.UsageError("--partitions needs two numbers at least, for a line through them")
    table = driver_table(
        schedulers, partitions, n_features=features, n_components=components, rounds=rounds or 5
    )
    report([table], json_file)


COMMANDS = (_driver,)
