"""Options that commands share, and what follows from them."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from daskgmm.cli.errors import reported, way_on
from daskgmm.em import INITIALISERS, STEPPERS, STOP_RULES
from daskgmm.estimator import GaussianMixture
from daskgmm.events import LOG_FORMATS, Message, teller
from daskgmm.execution import (
    check_report_path,
    dashboard_address,
    pass_progress,
    report_written,
)
from daskgmm.execution.clusters import open_cluster
from daskgmm.kernel import COMPONENTS
from daskgmm.log_format import LOG_FORMAT_VARIABLE
from daskgmm.plain_json import plain_json
from daskgmm.tables import open_rows

__all__ = [
    "DEFAULTS",
    "Command",
    "command",
    "families",
    "metrics_option",
    "model_option",
    "numbers",
    "on_cluster",
    "output_option",
    "overwrite_option",
    "with_fit_options",
    "with_passes",
    "with_source",
]

Command = Callable[..., Any]

DEFAULTS = GaussianMixture().get_params()
"""Of parameters, which are the options' as well."""


_log_format = click.option(
    "--log-format",
    type=click.Choice(list(LOG_FORMATS)),
    default="text",
    show_default=True,
    envvar=LOG_FORMAT_VARIABLE,
    show_envvar=True,
    help="Of the lines on standard error, errors included.",
)
_log_file = click.option(
    "--log", "log_file", metavar="FILE", help="Append those lines to a local file, too."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def command(function: Command, *, has_log: bool = True) -> Command:
    """Common to all commands: report errors; print the result as text or as JSON.

    ``has_log`` is whether a log is opened before anything else is done. Outermost but for
    click's own, so that opening the data is reported, too.
    """

    @functools.wraps(function)
    def shown(
        *args: Any, as_json: bool, log_format: str, log_file: str | None = None, **kwargs: Any
    ) -> None:
        with reported(log_format, log_file, way_on(kwargs)) as log:
            click.get_current_context().obj = log
            result, text = function(*args, **kwargs)
        if as_json:
            click.echo(json.dumps(plain_json(result), indent=2))
        else:
            click.echo(text)
        if result.get("damage"):
            sys.exit(1)

    logged = (_log_format, _log_file) if has_log else (_log_format,)
    return _with_options(shown, *logged, _as_json)


def _with_options(function: Command, *options: Command) -> Command:
    """With options or arguments, in the order of help."""
    for decorate in reversed(options):
        function = decorate(function)
    return function


_source_options = (
    click.argument("data"),
    click.option("--member", help="Which array, where DATA is a group of several."),
    click.option(
        "--missing-chunks",
        type=click.Choice(["error", "fill"]),
        default="error",
        show_default=True,
        help="What a chunk that is not stored means: damage, or the fill value.",
    ),
)
_watch_options = (
    click.option("--dashboard", is_flag=True, help="Print the address of the cluster's dashboard."),
    click.option(
        "--performance-report",
        metavar="FILE.html",
        help="Write Dask's report on what the cluster did.",
    ),
)
_pass_options = (
    click.option(
        "--cluster",
        metavar="FILE|ADDRESS",
        help="YAML file of a cluster to start, or address of a scheduler (tcp://...). "
        "Default: the threads of this process.",
    ),
    click.option(
        "--memory-limit",
        metavar="SIZE",
        help="Most memory of a process, such as 2GiB. Default: half of what is free.",
    ),
)


def _number_or_auto(_: click.Context, parameter: click.Parameter, value: str) -> float | str:
    if value == "auto":
        return value
    try:
        return float(click.FloatRange(0).convert(float(value), parameter, None))
    except (ValueError, click.BadParameter):
        raise click.BadParameter(f"{value!r} is neither auto nor a number of 0 or more") from None


_fit_options = (
    click.option(
        "--restarts",
        "n_init",
        type=click.IntRange(1),
        default=DEFAULTS["n_init"],
        show_default=True,
        help="Starts, of which the best is kept; up to ten or more compete on a sample.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Of sample and starts: the same seed gives the same bits.",
    ),
    click.option("--max-iter", type=click.IntRange(1), default=100, show_default=True),
    click.option(
        "--tol",
        metavar="auto|NUMBER",
        callback=_number_or_auto,
        default=DEFAULTS["tol"],
        show_default=True,
        help="What the stop rule compares with: nats per row, or for means their squared units. "
        "auto: a tenth of what N rows can tell, p / (2 N).",
    ),
    click.option(
        "--stopping",
        type=click.Choice(list(STOP_RULES)),
        default=DEFAULTS["stopping"],
        show_default=True,
        help="Stop at the estimated remaining gain, the last gain, or the means' movement.",
    ),
    click.option(
        "--stepper",
        type=click.Choice(["auto", *STEPPERS]),
        default=DEFAULTS["stepper"],
        show_default=True,
        help="How the next parameters follow from a pass: a surrogate likelihood, EM extrapolated, "
        "or EM.",
    ),
    click.option(
        "--reg-covar",
        type=click.FloatRange(0),
        default=DEFAULTS["reg_covar"],
        show_default=True,
        help="Added to each variance, squared units of the data.",
    ),
    click.option(
        "--init-params",
        type=click.Choice(list(INITIALISERS)),
        default=DEFAULTS["init_params"],
        show_default=True,
    ),
    click.option(
        "--progressive/--no-progressive",
        default=DEFAULTS["progressive"],
        show_default=True,
        help="Let starts compete on a sample in memory, before the first pass over all rows.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "float64"]),
        default=DEFAULTS["precision"],
        show_default=True,
        help="Of the arithmetic on single rows; auto: that of the stored rows.",
    ),
    click.option(
        "--stage",
        metavar="DIR|auto",
        help="Keep decoded rows for later passes: in a folder of a local disk, or in spare memory "
        "and then the temporary folder. Gone after the fit.",
    ),
    click.option(
        "--stage-limit",
        metavar="SIZE",
        help="Most that a process writes there. Default: until half of what is free is used.",
    ),
    click.option(
        "--stage-dtype",
        type=click.Choice(["float32"]),
        help="Round rows to it: half the bytes and faster passes, but another result.",
    ),
)


def with_fit_options(function: Command) -> Command:
    """What a fit is asked for beside K and the family."""
    return _with_options(function, *_fit_options)


def with_source(function: Command) -> Command:
    """Give the function the opened rows that the options name."""

    @functools.wraps(function)
    def opened(data: str, member: str | None, missing_chunks: Any, **kwargs: Any) -> Any:
        return function(open_rows(data, member=member, missing_chunks=missing_chunks), **kwargs)

    return _with_options(opened, *_source_options)


@contextmanager
def on_cluster(
    cluster: str | None, dashboard: bool, performance_report: str | None
) -> Iterator[None]:
    """Have tasks run where they should, and show how far they are."""
    check_report_path(performance_report, cluster)
    with open_cluster(cluster) as client, report_written(client, performance_report):
        if dashboard:
            _tell_dashboard(client)
        with pass_progress(client):
            yield


def _tell_dashboard(client: Any) -> None:
    address = dashboard_address(client)
    tell = teller()
    if address is not None:
        tell(Message(f"dashboard: {address}"))
    elif client is None:
        tell(
            Message(
                "no dashboard: threads of this process have none; for one add --cluster, such as "
                "cluster_configs/local.yaml",
                "warning",
            )
        )
    else:
        tell(Message("no dashboard: the scheduler was started without one", "warning"))


def with_passes(function: Command) -> Command:
    """Run a function that reads all rows on the cluster asked for, and show how far it is."""
    opened = with_source(function)

    @functools.wraps(opened)
    def passing(
        cluster: str | None, dashboard: bool, performance_report: str | None, **kwargs: Any
    ) -> Any:
        with on_cluster(cluster, dashboard, performance_report):
            return opened(**kwargs)

    return _with_options(passing, *_pass_options, *_watch_options)


metrics_option = click.option(
    "--metrics",
    metavar="FILE",
    help="Append a line of JSON for each pass: likelihood, speed, bytes read, retries, memory.",
)
output_option = click.option("--output", required=True, metavar="PATH", help="Where to write.")
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace a Zarr node that is there."
)
model_option = click.option(
    "--model", required=True, metavar="PATH", help="A model that fit wrote."
)


def numbers(_: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """``2:12`` with both ends, or ``2,4,8``."""
    found: list[int] = []
    for part in value.split(","):
        ends = part.split(":")
        if not all(end.strip().isdecimal() for end in ends) or len(ends) > 2:
            raise click.BadParameter(f"{value!r} is not like 2:12, or 2,4,8")
        first, last = int(ends[0]), int(ends[-1])
        if not 1 <= first <= last:
            raise click.BadParameter(f"{part!r} must go up, from 1 or more")
        found += range(first, last + 1)
    return found


def families(_: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """``full,diag``."""
    names = [name.strip() for name in value.split(",")]
    for name in names:
        if name not in COMPONENTS:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(COMPONENTS)}")
    return names
