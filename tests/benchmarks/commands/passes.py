"""What a pass costs: the commands that measure one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..additions import additions_table, passes_with_additions
from ..environments import CACHE, pythons_of
from ..grid import COMPONENTS, COVARIANCES, DTYPES, FEATURES, Point, grid
from ..large_k import large_k_table, measured_large_k
from ..missing import missing_rows, missing_table
from ..passes import contestants_of, measured_grid, pass_tables
from ..peers import ASKED_FOR, PEERS, THIS_PROJECT
from ..peers_table import BESIDE, peers_table
from ..table import write_json
from .options import ListOf, json_option, report, rounds_option

__all__ = ["COMMANDS"]


@click.command("pass")
@click.option("--features", type=ListOf(int), default=list(FEATURES), help="D. Default: 2 to 128.")
@click.option(
    "--components", type=ListOf(int), default=list(COMPONENTS), help="K. Default: 4,16,64."
)
@click.option("--covariance", type=ListOf(str, COVARIANCES), default=list(COVARIANCES))
@click.option("--dtype", type=ListOf(str, DTYPES), default=list(DTYPES))
@click.option("--rows", type=click.IntRange(1000), help="Default: by point, half a second a pass.")
@click.option(
    "--peers",
    type=ListOf(str, tuple(PEERS)),
    default=[name for name in PEERS if name not in ASKED_FOR],
    help='Whom to measure beside this project; "" for nobody. Default: all that are others; '
    "checkout is the one that DASKGMM_CHECKOUT names, weighted has a weight for each row, blocks "
    "is through a Dask array.",
)
@click.option("--here", is_flag=True, help="Peers of the current environment; make no other.")
@click.option(
    "--threads", type=ListOf(int), default=[], help="Compare this project on so many cores."
)
@click.option("--quick", is_flag=True, help="A tiny grid of tiny data, to see that all runs.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE,
    show_default=True,
    help="Where the environments of peers are made, and kept.",
)
@rounds_option
@json_option
def _pass(
    features: list[int],
    components: list[int],
    covariance: list[str],
    dtype: list[str],
    rows: int | None,
    peers: list[str],
    here: bool,
    threads: list[int],
    quick: bool,
    cache: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Seconds per pass, beside the peers and the machine's floor.

    Exit status 1 if log-likelihoods disagree after the same iterations.

    \b
    Examples:
      python -m tests.benchmarks pass --quick
      python -m tests.benchmarks pass --features 2,8,32 --covariance full --dtype float64
      python -m tests.benchmarks pass --threads 1,2 --peers "" --json scaling.json
    """
    if quick:
        features, components, rows, rounds = [2, 8], [4], rows or 20_000, min(rounds, 2)
    chosen = [PEERS[name] for name in peers]
    pythons, reasons = pythons_of([THIS_PROJECT, *chosen], cache, here=here)
    contestants = contestants_of(chosen, pythons, threads)
    found: list[dict[str, Any]] = []

    def on_row(row: dict[str, Any]) -> None:
        found.append(row)
        ratios = " ".join(
            f"{c.name} {row[f'{c.name}_ratio']:.2f}"
            for c in contestants
            if f"{c.name}_ratio" in row
        )
        click.echo(
            f"{row['covariance']} {row['dtype']} D={row['n_features']} K={row['n_components']}: "
            f"{row.get(f'{THIS_PROJECT.name}_seconds', float('nan')):.3f} s a pass; {ratios}",
            err=True,
        )
        if json_file is not None:  # a grid takes hours: keep what is there
            write_json(json_file, pass_tables(found, contestants, reasons))

    points = grid(features, components, covariance, dtype, rows)
    measured_grid(points, contestants, rounds, on_row)
    report(pass_tables(found, contestants, reasons), json_file)
    if any(row["disagree"] for row in found):
        sys.exit(1)


@click.command("peers")
@click.option("--rows", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option("--features", type=int, default=8, show_default=True, help="D.")
@click.option("--components", type=int, default=8, show_default=True, help="K.")
@click.option("--peers", type=ListOf(str, BESIDE), default=list(BESIDE), help="Default: all.")
@click.option("--here", is_flag=True, help="Peers of the current environment; make no other.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE,
    show_default=True,
    help="Where the environments of peers are made, and kept.",
)
@rounds_option
@json_option
def _peers(
    rows: int,
    features: int,
    components: int,
    peers: list[str],
    here: bool,
    cache: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """The table of the README: a pass of everybody over the same rows, or why there is none.

    Exit status 1 if log-likelihoods disagree after the same iterations.

    \b
    Examples:
      python -m tests.benchmarks peers
      python -m tests.benchmarks peers --rows 20000 --rounds 1 --peers sklearn --here
    """
    pythons, reasons = pythons_of(
        [THIS_PROJECT, *(PEERS[name] for name in peers)], cache, here=here
    )
    point = Point("full", "float64", features, components, rows)
    table = peers_table(point, peers, pythons, reasons, rounds)
    report([table], json_file)
    if any(row.get("agrees") == "NO" for row in table.rows):
        sys.exit(1)


@click.command("large-k")
@click.option("--features", type=ListOf(int), default=[2, 8, 16], help="D. Default: 2,8,16.")
@click.option("--components", type=ListOf(int), default=[256, 1024], help="K. Default: 256,1024.")
@click.option(
    "--separations",
    type=ListOf(float),
    default=[4.0, 2.0, 0.5],
    help="Of neighbours, in widths. Default: 4,2,0.5.",
)
@click.option("--truncate", type=ListOf(int), default=[32, 64, 128], help="G. Default: 32,64,128.")
@click.option("--rows", type=click.IntRange(1000), help="Default: by point.")
@rounds_option
@json_option
def _large_k(
    features: list[int],
    components: list[int],
    separations: list[float],
    truncate: list[int],
    rows: int | None,
    rounds: int,
    json_file: Path | None,
) -> None:
    """A pass over many components: what skipping and truncating are worth, and what they cost.

    \b
    Examples:
      python -m tests.benchmarks large-k
      python -m tests.benchmarks large-k --features 8 --components 1024 --truncate 16,32,64
    """
    found: list[dict[str, Any]] = []
    for row in measured_large_k(
        *(features, components, separations, truncate, rows, rounds),
        lambda line: click.echo(line, err=True),
    ):
        found.append(row)
        if json_file is not None:
            write_json(json_file, [large_k_table(found, truncate)])
    report([large_k_table(found, truncate)], json_file)


@click.command("missing")
@click.option("--rows", type=click.IntRange(1000), default=200_000, show_default=True)
@click.option("--share", type=click.FloatRange(0, 1), default=0.1, show_default=True)
@rounds_option
@json_option
def _missing(rows: int, share: float, rounds: int, json_file: Path | None) -> None:
    """What a pass costs where a share of the rows has gaps, of few patterns and of many."""
    report([missing_table(list(missing_rows(rows, share, rounds)), share)], json_file)


@click.command("additions")
@click.option("--features", type=ListOf(int), default=[2, 8, 32], help="D. Default: 2,8,32.")
@click.option("--components", type=ListOf(int), default=[4, 16], help="K. Default: 4,16.")
@click.option("--covariance", type=ListOf(str, COVARIANCES), default=["full", "diag"])
@click.option("--dtype", type=click.Choice(DTYPES), default="float64", show_default=True)
@click.option("--values", type=click.IntRange(1000), default=8_000_000, show_default=True)
@rounds_option
@json_option
def _additions(
    features: list[int],
    components: list[int],
    covariance: list[str],
    dtype: str,
    values: int,
    rounds: int,
    json_file: Path | None,
) -> None:
    """What a pass costs with a prior, fixed parts, noise or t components, beside a plain one.

    \b
    Example:
      python -m tests.benchmarks additions --features 8 --components 8
    """
    shapes = [(d, k) for d in features for k in components]
    rows = list(passes_with_additions(shapes, covariance, dtype, values, rounds))
    report([additions_table(rows)], json_file)


COMMANDS = (
    _pass,
    _peers,
    _large_k,
    _missing,
    _additions,
)
