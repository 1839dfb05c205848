"""What fits need, and where they end: the commands that measure whole fits."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from daskgmm.em import ON_COLLAPSE

from ..campaign import SIZES, campaign_rows, campaign_table
from ..contestants import CONTESTANTS, Terms
from ..environments import CACHE
from ..few_passes import Found, measured
from ..few_passes_tables import few_passes_tables
from ..fits import FITS, CheckoutFailedError, fits_table
from ..grid import COVARIANCES
from ..optima import OPTIMA, Optima, searched, searched_table
from ..recovery import recovery_rows, recovery_table
from ..selecting import select_table
from ..shapes import TABLE_SHAPES, shapes_rows, shapes_table
from ..suite import PROBLEMS
from ..table import write_json
from ..ugly import FAULTS, ugly_rows, ugly_table
from .options import ListOf, json_option, report, rounds_option

__all__ = ["COMMANDS"]


@click.command("passes")
@click.option(
    "--problems", type=ListOf(str, tuple(PROBLEMS)), default=list(PROBLEMS), help="Default: all."
)
@click.option(
    "--rows", type=click.IntRange(1000), default=1_000_000, show_default=True, help="Of made ones."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of made rows.")
@click.option(
    "--contestants",
    type=ListOf(str, tuple(CONTESTANTS)),
    default=["default", "plain", "sklearn"],
    help="Default: default,plain,sklearn.",
)
@click.option(
    "--rounds",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="How often the fit from cold is timed beside scikit-learn's; 0 for not at all.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0.0, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds for scikit-learn at a problem, for its one fit and again for ten restarts.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE / "restarts",
    show_default=True,
    help="Where scikit-learn's restarts are kept.",
)
@click.option("--fresh", is_flag=True, help="Make the restarts anew, and keep those.")
@click.option(
    "--optima",
    "optima_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=OPTIMA,
    help="The best log-likelihoods known. Default: beside the suite.",
)
@click.option("--update-optima", is_flag=True, help="Only look for better ones, by plain EM.")
@click.option(
    "--starts",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    help="At random, of each problem, to update from.",
)
@json_option
def _passes(
    problems: list[str],
    rows: int,
    seed: int,
    contestants: list[str],
    rounds: int,
    patience: float,
    cache: Path,
    fresh: bool,
    optima_file: Path,
    update_optima: bool,
    starts: int,
    json_file: Path | None,
) -> None:
    """Passes that a fit needs, over a suite of problems, beside scikit-learn.

    Optima better than the best known are kept, of problems that have one already.

    \b
    Examples:
      python -m tests.benchmarks passes
      python -m tests.benchmarks passes --problems flat --contestants default,squarem --rounds 0
      python -m tests.benchmarks passes --update-optima --problems flat --starts 30
    """
    chosen, optima = [PROBLEMS[name] for name in problems], Optima(optima_file)

    def say(line: str) -> None:
        click.echo(line, err=True)

    if update_optima:
        best = []
        for row in searched(chosen, rows, seed, starts, patience, optima, say):
            optima.write(new=True)
            best.append(row)
        report([searched_table(best)], json_file)
        return
    terms, found = Terms(patience, cache, fresh), Found()
    for more in measured(chosen, rows, seed, contestants, rounds, terms, optima, say):
        found += more
        optima.write(new=False)
        if json_file is not None:  # a suite takes hours: keep what is there
            write_json(json_file, few_passes_tables(found))
    report(few_passes_tables(found), json_file)


@click.command("campaign")
@click.option("--tables", type=click.IntRange(1), default=60, show_default=True)
@click.option(
    "--sizes",
    type=ListOf(int),
    default=list(SIZES),
    help="Rows, by turns. Default: 100 to 100,000.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the tables.")
@json_option
def _campaign(tables: int, sizes: list[int], seed: int, json_file: Path | None) -> None:
    """Whether default fits end at the best known optimum, whatever the units and the order.

    \b
    Examples:
      python -m tests.benchmarks campaign
      python -m tests.benchmarks campaign --tables 20 --sizes 100,300,1000
    """
    say = partial(click.echo, err=True)
    report([campaign_table(list(campaign_rows(tables, sizes, seed, say)))], json_file)


@click.command("recovery")
@click.option("--rows", type=click.IntRange(1_000), default=100_000, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Draws.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@json_option
def _recovery(rows: int, repeats: int, seed: int, json_file: Path | None) -> None:
    """What fits recover from rows with gross outliers, or with one rare component.

    \b
    Examples:
      python -m tests.benchmarks recovery
      python -m tests.benchmarks recovery --rows 1000000 --repeats 1
    """
    found = list(recovery_rows(rows, repeats, seed, partial(click.echo, err=True)))
    report([recovery_table(found)], json_file)


@click.command("ugly")
@click.option("--tables", type=click.IntRange(1), default=500, show_default=True)
@click.option("--reg-covar", default="auto", show_default=True, help="auto, or a number.")
@click.option("--on-collapse", type=click.Choice(ON_COLLAPSE), default="reseed", show_default=True)
@click.option(
    "--constant", type=click.Choice(["error", "drop"]), default="error", show_default=True
)
@click.option(
    "--missing",
    type=click.Choice(["error", "em"]),
    default="error",
    show_default=True,
    help="em: a tenth of the values are missing.",
)
@click.option("--first", type=click.IntRange(0), default=0, help="Number of the first table.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the tables.")
@json_option
def _ugly(
    tables: int,
    reg_covar: str,
    on_collapse: str,
    constant: str,
    missing: str,
    first: int,
    seed: int,
    json_file: Path | None,
) -> None:
    """Whether each fit of an ugly table ends with a finite model or one clear line.

    Exit status 1 if one does not.

    \b
    Examples:
      python -m tests.benchmarks ugly
      python -m tests.benchmarks ugly --tables 100 --reg-covar 0 --constant drop
      python -m tests.benchmarks ugly --tables 100 --first 100 --missing em
    """
    ridge = reg_covar if reg_covar == "auto" else float(reg_covar)
    options = {"reg_covar": ridge, "on_collapse": on_collapse, "constant": constant}
    options |= {"missing": missing}
    numbers = range(first, first + tables)
    rows = list(ugly_rows(numbers, seed, options, partial(click.echo, err=True)))
    report([ugly_table(rows)], json_file)
    if any(row["end"] in FAULTS for row in rows):
        sys.exit(1)


@click.command("shapes")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--most-rows", type=click.IntRange(3), default=20_000, show_default=True, help="Of a shape."
)
@json_option
def _shapes(rounds: int, most_rows: int, json_file: Path | None) -> None:
    """Default fits of small and wide tables, beside scikit-learn's.

    \b
    Examples:
      python -m tests.benchmarks shapes
      python -m tests.benchmarks shapes --most-rows 1000 --rounds 5
    """
    shapes = tuple(shape for shape in TABLE_SHAPES if shape[0] <= most_rows)
    rows = list(shapes_rows(shapes, rounds, partial(click.echo, err=True)))
    report([shapes_table(rows)], json_file)


@click.command("select")
@click.option("--rows", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option(
    "--components", type=ListOf(int), default=[*range(2, 13)], help="K. Default: 2 to 12."
)
@click.option(
    "--covariance",
    type=ListOf(str, COVARIANCES),
    default=["full", "tied", "diag"],
    help="Default: full,tied,diag.",
)
@rounds_option
@json_option
def _select(
    rows: int, components: list[int], covariance: list[str], rounds: int, json_file: Path | None
) -> None:
    """All candidates on shared passes, against a fit of its own for each.

    \b
    Example:
      python -m tests.benchmarks select --rows 100000 --components 2,4,6 --rounds 1
    """
    report([select_table(rows, components, covariance, rounds)], json_file)


@click.command("fits")
@click.option(
    "--peer",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Root of another checkout of daskgmm.",
)
@click.option(
    "--only",
    metavar="TEXT",
    multiple=True,
    help="Fits whose name contains it; may be given again. Default: all.",
)
@json_option
def _fits(peer: Path, only: tuple[str, ...], json_file: Path | None) -> None:
    """The same fits by this checkout and by another one: passes, log-likelihoods, parameters.

    Exit status 1 if a fit differs in passes, in what it chose, or in log-likelihoods by more
    than 1e-12, relative; or if it fails.

    \b
    Examples:
      python -m tests.benchmarks fits --peer ../before
      python -m tests.benchmarks fits --peer ../before --only select --only "job killed"
    """
    names = [name for name in FITS if not only or any(text in name for text in only)]
    if not names:
        raise click.UsageError(f"--only: no fit has {' or '.join(only)} in its name")
    try:
        table = fits_table(peer, names, lambda line: click.echo(line, err=True))
    except CheckoutFailedError as error:
        raise click.ClickException(str(error)) from None
    report([table], json_file)
    if any(row["verdict"] != "same" for row in table.rows):
        sys.exit(1)


COMMANDS = (
    _passes,
    _campaign,
    _recovery,
    _ugly,
    _shapes,
    _select,
    _fits,
)
