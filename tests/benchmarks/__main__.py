"""The commands: ``python -m tests.benchmarks COMMAND``, from the root of the repository."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from dask.utils import parse_bytes

from daskgmm.em import ON_COLLAPSE
from daskgmm.errors import MemoryLimitError

from .additions import additions_table, passes_with_additions
from .billion import FitFailedError, billion_table
from .campaign import SIZES, campaign_rows, campaign_table
from .checkpointing import checkpoint_table
from .containers import containers_table
from .contestants import CONTESTANTS, Terms
from .driver import PARTITIONS, SCHEDULERS, driver_table
from .environments import CACHE, pythons_of
from .few_passes import Found, measured
from .few_passes_tables import few_passes_tables
from .fits import FITS, CheckoutFailedError, fits_table
from .grid import COMPONENTS, COVARIANCES, DTYPES, FEATURES, Point, grid
from .large_k import large_k_table, measured_large_k
from .many_workers import SHAPES, many_workers_table
from .missing import missing_rows, missing_table
from .optima import OPTIMA, Optima, searched, searched_table
from .parquet import parquet_table
from .passes import contestants_of, measured_grid, pass_tables
from .peaks import LAZY, peaks_table
from .peers import ASKED_FOR, PEERS, THIS_PROJECT
from .peers_table import BESIDE, peers_table
from .reading import read_table
from .recovery import recovery_rows, recovery_table
from .selecting import select_table
from .shapes import TABLE_SHAPES, shapes_rows, shapes_table
from .stores import CODECS, MadeStore, rows_of
from .suite import PROBLEMS
from .table import Table, write_json
from .ugly import FAULTS, ugly_rows, ugly_table

__all__ = ["main"]


class _List(click.ParamType):
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


def _bytes(value: Any) -> int:
    return int(parse_bytes(value))


class _Size(click.ParamType):
    """Bytes as a number or as text such as 512MiB."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        try:
            return _bytes(value)
        except (ValueError, TypeError):
            self.fail(f"{value!r} is not a size such as 512MiB", param, ctx)


_json = click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write there."
)
_rounds = click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
_folder = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE / "stores",
    show_default=True,
    help="Where the store is made, and kept.",
)
_codec = click.option("--codec", type=click.Choice(list(CODECS)), default="zstd", show_default=True)


def _report(tables: list[Table], json_file: Path | None) -> None:
    click.echo("\n\n".join(str(table) for table in tables))
    if json_file is not None:
        write_json(json_file, tables)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Measure passes, many components, selection, the read, checkpoints, the driver, a billion rows.

    And compare the fits of two checkouts.

    \b
    Examples:
      python -m tests.benchmarks peers
      python -m tests.benchmarks pass --quick
      python -m tests.benchmarks pass --covariance full --dtype float64 --peers onedal,sklearn
      python -m tests.benchmarks pass --threads 1,2 --peers ""
      python -m tests.benchmarks passes --problems overlapping,fifty
      python -m tests.benchmarks large-k --features 8 --components 1024
      python -m tests.benchmarks read --size 4GiB --memory-limit 1GiB
      python -m tests.benchmarks parquet --size 2GiB
      python -m tests.benchmarks containers --size 512MiB
      python -m tests.benchmarks select --rounds 1
      python -m tests.benchmarks checkpoint --size 1GiB
      python -m tests.benchmarks driver --partitions 100,1000
      python -m tests.benchmarks driver --workers 1000
      python -m tests.benchmarks missing --rounds 3
    python -m tests.benchmarks additions --features 8
      python -m tests.benchmarks shapes
      python -m tests.benchmarks billion --rows 10000000 --folder /tmp/rows
      python -m tests.benchmarks fits --peer ../before
    """


@main.command("pass")
@click.option("--features", type=_List(int), default=list(FEATURES), help="D. Default: 2 to 128.")
@click.option(
    "--components", type=_List(int), default=list(COMPONENTS), help="K. Default: 4,16,64."
)
@click.option("--covariance", type=_List(str, COVARIANCES), default=list(COVARIANCES))
@click.option("--dtype", type=_List(str, DTYPES), default=list(DTYPES))
@click.option("--rows", type=click.IntRange(1000), help="Default: by point, half a second a pass.")
@click.option(
    "--peers",
    type=_List(str, tuple(PEERS)),
    default=[name for name in PEERS if name not in ASKED_FOR],
    help='Whom to measure beside this project; "" for nobody. Default: all that are others; '
    "checkout is the one that DASKGMM_CHECKOUT names, weighted has a weight for each row, blocks "
    "is through a Dask array.",
)
@click.option("--here", is_flag=True, help="Peers of the current environment; make no other.")
@click.option(
    "--threads", type=_List(int), default=[], help="Compare this project on so many cores."
)
@click.option("--quick", is_flag=True, help="A tiny grid of tiny data, to see that all runs.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE,
    show_default=True,
    help="Where the environments of peers are made, and kept.",
)
@_rounds
@_json
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
    _report(pass_tables(found, contestants, reasons), json_file)
    if any(row["disagree"] for row in found):
        sys.exit(1)


@main.command("peers")
@click.option("--rows", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option("--features", type=int, default=8, show_default=True, help="D.")
@click.option("--components", type=int, default=8, show_default=True, help="K.")
@click.option("--peers", type=_List(str, BESIDE), default=list(BESIDE), help="Default: all.")
@click.option("--here", is_flag=True, help="Peers of the current environment; make no other.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE,
    show_default=True,
    help="Where the environments of peers are made, and kept.",
)
@_rounds
@_json
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
    _report([table], json_file)
    if any(row.get("agrees") == "NO" for row in table.rows):
        sys.exit(1)


@main.command("passes")
@click.option(
    "--problems", type=_List(str, tuple(PROBLEMS)), default=list(PROBLEMS), help="Default: all."
)
@click.option(
    "--rows", type=click.IntRange(1000), default=1_000_000, show_default=True, help="Of made ones."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of made rows.")
@click.option(
    "--contestants",
    type=_List(str, tuple(CONTESTANTS)),
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
@_json
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
        _report([searched_table(best)], json_file)
        return
    terms, found = Terms(patience, cache, fresh), Found()
    for more in measured(chosen, rows, seed, contestants, rounds, terms, optima, say):
        found += more
        optima.write(new=False)
        if json_file is not None:  # a suite takes hours: keep what is there
            write_json(json_file, few_passes_tables(found))
    _report(few_passes_tables(found), json_file)


@main.command("campaign")
@click.option("--tables", type=click.IntRange(1), default=60, show_default=True)
@click.option(
    "--sizes", type=_List(int), default=list(SIZES), help="Rows, by turns. Default: 100 to 100,000."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the tables.")
@_json
def _campaign(tables: int, sizes: list[int], seed: int, json_file: Path | None) -> None:
    """Whether default fits end at the best known optimum, whatever the units and the order.

    \b
    Examples:
      python -m tests.benchmarks campaign
      python -m tests.benchmarks campaign --tables 20 --sizes 100,300,1000
    """
    say = partial(click.echo, err=True)
    _report([campaign_table(list(campaign_rows(tables, sizes, seed, say)))], json_file)


@main.command("recovery")
@click.option("--rows", type=click.IntRange(1_000), default=100_000, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Draws.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@_json
def _recovery(rows: int, repeats: int, seed: int, json_file: Path | None) -> None:
    """What fits recover from rows with gross outliers, or with one rare component.

    \b
    Examples:
      python -m tests.benchmarks recovery
      python -m tests.benchmarks recovery --rows 1000000 --repeats 1
    """
    found = list(recovery_rows(rows, repeats, seed, partial(click.echo, err=True)))
    _report([recovery_table(found)], json_file)


@main.command("ugly")
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
@_json
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
    _report([ugly_table(rows)], json_file)
    if any(row["end"] in FAULTS for row in rows):
        sys.exit(1)


@main.command("shapes")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--most-rows", type=click.IntRange(3), default=20_000, show_default=True, help="Of a shape."
)
@_json
def _shapes(rounds: int, most_rows: int, json_file: Path | None) -> None:
    """Default fits of small and wide tables, beside scikit-learn's.

    \b
    Examples:
      python -m tests.benchmarks shapes
      python -m tests.benchmarks shapes --most-rows 1000 --rounds 5
    """
    shapes = tuple(shape for shape in TABLE_SHAPES if shape[0] <= most_rows)
    rows = list(shapes_rows(shapes, rounds, partial(click.echo, err=True)))
    _report([shapes_table(rows)], json_file)


@main.command("missing")
@click.option("--rows", type=click.IntRange(1000), default=200_000, show_default=True)
@click.option("--share", type=click.FloatRange(0, 1), default=0.1, show_default=True)
@_rounds
@_json
def _missing(rows: int, share: float, rounds: int, json_file: Path | None) -> None:
    """What a pass costs where a share of the rows has gaps, of few patterns and of many."""
    _report([missing_table(list(missing_rows(rows, share, rounds)), share)], json_file)


@main.command("additions")
@click.option("--features", type=_List(int), default=[2, 8, 32], help="D. Default: 2,8,32.")
@click.option("--components", type=_List(int), default=[4, 16], help="K. Default: 4,16.")
@click.option("--covariance", type=_List(str, COVARIANCES), default=["full", "diag"])
@click.option("--dtype", type=click.Choice(DTYPES), default="float64", show_default=True)
@click.option("--values", type=click.IntRange(1000), default=8_000_000, show_default=True)
@_rounds
@_json
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
    _report([additions_table(rows)], json_file)


@main.command("large-k")
@click.option("--features", type=_List(int), default=[2, 8, 16], help="D. Default: 2,8,16.")
@click.option("--components", type=_List(int), default=[256, 1024], help="K. Default: 256,1024.")
@click.option(
    "--separations",
    type=_List(float),
    default=[4.0, 2.0, 0.5],
    help="Of neighbours, in widths. Default: 4,2,0.5.",
)
@click.option("--truncate", type=_List(int), default=[32, 64, 128], help="G. Default: 32,64,128.")
@click.option("--rows", type=click.IntRange(1000), help="Default: by point.")
@_rounds
@_json
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
    _report([large_k_table(found, truncate)], json_file)


@main.command("parquet")
@click.option("--size", type=_Size(), default="1GiB", show_default=True, help="Decoded.")
@click.option("--memory-limit", type=_Size(), default="512MiB", show_default=True)
@click.option("--group-rows", type=click.IntRange(1), default=250_000, show_default=True)
@click.option("--features", type=click.IntRange(1), default=8, show_default=True)
@click.option("--components", type=click.IntRange(1), default=8, show_default=True)
@click.option("--dtype", type=click.Choice(DTYPES), default="float64", show_default=True)
@_codec
@_folder
@_rounds
@_json
def _parquet(
    size: int,
    memory_limit: int,
    group_rows: int,
    features: int,
    components: int,
    dtype: str,
    codec: str,
    folder: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Reads and passes over Parquet beside Zarr and pyarrow's own scan.

    \b
    Examples:
      python -m tests.benchmarks parquet
      python -m tests.benchmarks parquet --size 4GiB --group-rows 10000000
    """
    chunk_rows = 16_384
    n_rows = rows_of(size, features, dtype, chunk_rows)
    store = MadeStore(folder, n_rows, features, components, dtype, codec, chunk_rows)
    _report([parquet_table(store, group_rows, memory_limit, rounds)], json_file)


@main.command("containers")
@click.option("--size", type=_Size(), default="1GiB", show_default=True, help="Decoded.")
@click.option("--features", type=click.IntRange(1), default=8, show_default=True)
@click.option("--components", type=click.IntRange(1), default=8, show_default=True)
@click.option("--dtype", type=click.Choice(DTYPES), default="float64", show_default=True)
@_codec
@_folder
@_rounds
@_json
def _containers(
    size: int,
    features: int,
    components: int,
    dtype: str,
    codec: str,
    folder: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """Reads and passes over the same rows in each container, beside the bare Zarr array.

    \b
    Example:
      python -m tests.benchmarks containers --size 512MiB
    """
    chunk_rows = 16_384
    n_rows = rows_of(size, features, dtype, chunk_rows)
    store = MadeStore(folder, n_rows, features, components, dtype, codec, chunk_rows)
    _report([containers_table(store, rounds)], json_file)


@main.command("peaks")
@click.option("--sizes", type=_List(_bytes), default=[2**29, 2**32], help="Default: 512MiB,4GiB.")
@click.option("--containers", type=_List(str, LAZY), default=list(LAZY))
@click.option("--memory-limit", type=_Size(), default="1GiB", show_default=True)
@click.option("--features", type=click.IntRange(1), default=8, show_default=True)
@click.option("--components", type=click.IntRange(1), default=8, show_default=True)
@_folder
@_json
def _peaks(
    sizes: list[int],
    containers: list[str],
    memory_limit: int,
    features: int,
    components: int,
    folder: Path,
    json_file: Path | None,
) -> None:
    """Peak memory of a fit of rows in each container, by the size of the rows.

    \b
    Example:
      python -m tests.benchmarks peaks --sizes 512MiB,4GiB
    """
    store = MadeStore(folder, 0, features, components, "float64", "zstd", 16_384)
    _report([peaks_table(store, containers, sizes, memory_limit)], json_file)


@main.command("read")
@click.option("--size", type=_Size(), default="4GiB", show_default=True, help="Decoded.")
@click.option("--memory-limit", type=_Size(), default="1GiB", show_default=True)
@_codec
@click.option("--chunk-rows", type=click.IntRange(1), default=16_384, show_default=True)
@click.option("--features", type=click.IntRange(1), default=8, show_default=True)
@click.option("--components", type=click.IntRange(1), default=8, show_default=True)
@click.option("--dtype", type=click.Choice(DTYPES), default="float64", show_default=True)
@click.option("--stage", metavar="DIR|auto", help="Also measure passes that stage rows there.")
@_folder
@_rounds
@_json
def _read(
    size: int,
    memory_limit: int,
    codec: str,
    chunk_rows: int,
    features: int,
    components: int,
    dtype: str,
    stage: str | None,
    folder: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """A pass over a Zarr store against decoding alone and arithmetic alone.

    \b
    Examples:
      python -m tests.benchmarks read
      python -m tests.benchmarks read --size 8GiB --codec lz4 --components 32
      python -m tests.benchmarks read --size 2GiB --memory-limit 600MiB --stage /tmp
    """
    n_rows = rows_of(size, features, dtype, chunk_rows)
    store = MadeStore(folder, n_rows, features, components, dtype, codec, chunk_rows)
    try:
        table = read_table(store, memory_limit, rounds, stage)
    except MemoryLimitError as error:
        raise click.ClickException(str(error)) from None
    _report([table], json_file)


@main.command("select")
@click.option("--rows", type=click.IntRange(1000), default=1_000_000, show_default=True)
@click.option("--components", type=_List(int), default=[*range(2, 13)], help="K. Default: 2 to 12.")
@click.option(
    "--covariance",
    type=_List(str, COVARIANCES),
    default=["full", "tied", "diag"],
    help="Default: full,tied,diag.",
)
@_rounds
@_json
def _select(
    rows: int, components: list[int], covariance: list[str], rounds: int, json_file: Path | None
) -> None:
    """All candidates on shared passes, against a fit of its own for each.

    \b
    Example:
      python -m tests.benchmarks select --rows 100000 --components 2,4,6 --rounds 1
    """
    _report([select_table(rows, components, covariance, rounds)], json_file)


@main.command("checkpoint")
@click.option("--size", type=_Size(), default="4GiB", show_default=True, help="Decoded.")
@click.option("--memory-limit", type=_Size(), default="1GiB", show_default=True)
@click.option("--features", type=click.IntRange(1), default=8, show_default=True)
@click.option("--components", type=click.IntRange(1), default=8, show_default=True)
@_folder
@_rounds
@_json
def _checkpoint(
    size: int,
    memory_limit: int,
    features: int,
    components: int,
    folder: Path,
    rounds: int,
    json_file: Path | None,
) -> None:
    """What a checkpoint after every pass over a Zarr store costs.

    \b
    Examples:
      python -m tests.benchmarks checkpoint
      python -m tests.benchmarks checkpoint --size 1GiB --rounds 3
    """
    n_rows = rows_of(size, features, "float64", 16_384)
    store = MadeStore(folder, n_rows, features, components, "float64", "zstd", 16_384)
    _report([checkpoint_table(store, memory_limit, rounds)], json_file)


@main.command("driver")
@click.option(
    "--partitions", type=_List(int), default=list(PARTITIONS), help="Default: 100 to 10,000."
)
@click.option("--schedulers", type=_List(str, tuple(SCHEDULERS)), default=list(SCHEDULERS))
@click.option("--features", type=click.IntRange(1), default=8, show_default=True)
@click.option("--components", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(2),
    help="Instead, simulate so many: the real scheduler, and workers that do no work.",
)
@click.option(
    "--numbers", type=_List(int, tuple(SHAPES)), default=list(SHAPES), help="Of their statistics."
)
@click.option("--rounds", type=click.IntRange(1), help="Default: 5; with --workers 1.")
@_json
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
        _report([many_workers_table(workers, numbers, rounds or 1)], json_file)
        return
    if len(set(partitions)) < 2:
        raise click.UsageError("--partitions needs two numbers at least, for a line through them")
    table = driver_table(
        schedulers, partitions, n_features=features, n_components=components, rounds=rounds or 5
    )
    _report([table], json_file)


@main.command("billion")
@click.option("--rows", type=click.IntRange(1000), default=10**9, show_default=True)
@click.option("--memory-limit", type=_Size(), default="2GiB", show_default=True)
@click.option("--cores", type=click.IntRange(1), default=2, show_default=True)
@click.option("--components", type=click.IntRange(1), default=8, show_default=True)
@click.option("--max-iter", type=click.IntRange(1), default=100, show_default=True)
@click.option("--chunk-rows", type=click.IntRange(1), default=262_144, show_default=True)
@_codec
@_folder
@_json
def _billion(
    rows: int,
    memory_limit: int,
    cores: int,
    components: int,
    max_iter: int,
    chunk_rows: int,
    codec: str,
    folder: Path,
    json_file: Path | None,
) -> None:
    """Fit a billion rows of 4 float32 features, full covariances, within 2 GiB.

    The store takes some 15 GB in --folder. An interrupted run goes on where it was.

    \b
    Examples:
      python -m tests.benchmarks billion --folder /data/rows
      python -m tests.benchmarks billion --rows 20000000
    """
    store = MadeStore(folder, rows, 4, components, "float32", codec, chunk_rows)
    try:
        table = billion_table(
            store,
            memory_limit=memory_limit,
            cores=cores,
            options=["--max-iter", str(max_iter)],
        )
    except FitFailedError as error:
        raise click.ClickException(str(error)) from None
    _report([table], json_file)


@main.command("fits")
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
@_json
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
    _report([table], json_file)
    if any(row["verdict"] != "same" for row in table.rows):
        sys.exit(1)


if __name__ == "__main__":
    # As an exception, so that the processes of contestants are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(prog_name="python -m tests.benchmarks")
