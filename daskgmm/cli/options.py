"""Options that several commands share, and the decorators that apply them."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from daskgmm.cli.errors import reported, way_on
from daskgmm.cli.opening import rows_opened
from daskgmm.conversion.options import CONVERT_OPTIONS
from daskgmm.events import LOG_FORMATS, Message, teller
from daskgmm.lazily import Lazily
from daskgmm.log_format import LOG_FORMAT_VARIABLE
from daskgmm.plain_json import plain_json
from daskgmm.rules import FLAG, Rule, counts_of
from daskgmm.settings import (
    DATA_OPTIONS,
    DRAW,
    HALF_LIFE,
    KEEP,
    LABELS,
    LEVEL,
    MARK_OUTLIERS,
    MEASUREMENT_NOISE,
    MISSING,
    N_REPLICATES,
    ONLY,
    OPTIONS,
    OUTLIER_OPTIONS,
    RESULTS,
    WEIGHTS,
    Option,
    option_named,
)

if TYPE_CHECKING:
    from daskgmm import execution, tables
    from daskgmm.execution import clusters
else:
    execution, tables = Lazily("daskgmm.execution"), Lazily("daskgmm.tables")
    clusters = Lazily("daskgmm.execution.clusters")

__all__ = [
    "Command",
    "command",
    "families",
    "metrics_option",
    "model_option",
    "numbers",
    "on_cluster",
    "option_of",
    "output_option",
    "overwrite_option",
    "with_conversion",
    "with_passes",
    "with_settings",
    "with_source",
]

Command = Callable[..., Any]

_log_format = click.option(
    "--log-format",
    type=click.Choice(list(LOG_FORMATS)),
    default="text",
    show_default=True,
    envvar=LOG_FORMAT_VARIABLE,
    show_envvar=True,
    help="Format of the lines on standard error, errors included.",
)
_log_file = click.option(
    "--log", "log_file", metavar="FILE", help="Append those lines to a local file, too."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def command(function: Command, *, has_log: bool = True) -> Command:
    """Decorate a command: report its errors, and print its result as text or as JSON.

    Apply it outside all decorators but click's own, so that errors of opening the data are
    reported as well.

    Parameters
    ----------
    function : callable
        Returns the result, a mapping, and its text.
    has_log : bool
        Whether a log is opened before anything else is done.
    """

    @functools.wraps(function)
    def shown(
        *args: Any, as_json: bool, log_format: str, log_file: str | None = None, **kwargs: Any
    ) -> None:
        with reported(log_format, log_file, way_on(kwargs)) as log:
            click.get_current_context().obj = log
            result, text = function(*args, **kwargs)
        _print(json.dumps(plain_json(result), indent=2) if as_json else text)
        if result.get("damage"):
            sys.exit(1)

    logged = (_log_format, _log_file) if has_log else (_log_format,)
    return _with_options(shown, *logged, _as_json)


def _print(text: str) -> None:
    """Print a result, when all else is done.

    Raises
    ------
    click.ClickException
        If standard output does not take it: a full disk, a pipe that nobody reads.
    """
    try:
        click.echo(text)
    except OSError as error:
        raise click.ClickException(
            f"standard output does not take the result ({error.strerror}); all else is done, and "
            "what was to be written is there"
        ) from None


def _with_options(function: Command, *options: Command) -> Command:
    """The function with options or arguments of click, in the order that help shows."""
    for decorate in reversed(options):
        function = decorate(function)
    return function


def _read_by(
    rule: Rule, several: Rule | None = None
) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Callback of click that reads a text by a rule.

    A text that ``several`` accepts and ``rule`` does not is refused with a hint at ``daskgmm select``.
    """

    def read(_: click.Context, parameter: click.Parameter, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return rule.read(text)
        except ValueError as error:
            hint = "; to choose among several, run daskgmm select" if is_several(text) else ""
            raise click.BadParameter(f"{error}{hint}") from None

    def is_several(text: str) -> bool:
        try:
            return several is not None and bool(several.read(text))
        except ValueError:
            return False

    return read


def option_of(option: Option) -> Command:
    """The option of a command that a row of the settings describes."""
    rule, default = option.rule, option.default
    names = [option.flag, option.name]
    if rule is FLAG:
        if default is not False:
            names[0] += f"/--no-{option.flag.removeprefix('--')}"
        return click.option(
            *names, is_flag=True, default=default, show_default=bool(default), help=option.help
        )
    if option.default_of_commands is not None:
        default = option.default_of_commands
    # Click takes a default of None for a value, and would never call a required option missing.
    given_or: dict[str, Any] = {"required": True} if rule.required else {"default": default}
    return click.option(
        *names,
        type=click.Choice(rule.words) if rule.is_choice else str,
        callback=_read_by(rule, option.rule_of_jobs),
        metavar=None if rule.is_choice else rule.metavar,
        show_default=True,
        help=option.help,
        **given_or,
    )


def with_conversion(function: Command) -> Command:
    """Decorator that adds the options of a conversion."""
    return _with_options(function, *map(option_of, CONVERT_OPTIONS))


def with_settings(name: str) -> Callable[[Command], Command]:
    """Decorator that adds the options of the settings that the command ``name`` has."""
    of_single_ones = (
        *(LEVEL, N_REPLICATES, RESULTS, HALF_LIFE, KEEP, MISSING, DRAW, ONLY, MARK_OUTLIERS),
        *OUTLIER_OPTIONS,
    )
    rows = (*OPTIONS, WEIGHTS, LABELS, MEASUREMENT_NOISE, *of_single_ones)
    options = [option_of(option) for option in rows if name in option.commands]
    return lambda function: _with_options(function, *options)


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
)


def _with_rows(
    function: Command, data: str | None, kwargs: dict[str, Any], *, converts: bool
) -> Any:
    """Call the function with the rows that the options name, which may have to be converted first.

    Where no data are named it is called with None.
    """
    how = {option.name: kwargs.pop(option.name) for option in DATA_OPTIONS}
    weights, labels, noise = (
        kwargs.pop(option.name, None) for option in (WEIGHTS, LABELS, MEASUREMENT_NOISE)
    )
    if data is None:
        return function(None, **kwargs)

    named = [name for name in (weights, labels, noise) if name is not None]
    with rows_opened(data, how, named, kwargs, converts=converts) as (rows, place):
        if weights is not None:
            kwargs["sample_weight"] = tables.weights_named(rows, place, weights)
        if labels is not None:
            kwargs["labels"] = tables.labels_named(rows, place, labels)
        if noise is not None:
            kwargs["measurement_noise"] = tables.weights_named(rows, place, noise)
        return function(rows, **kwargs)


_data_argument = click.argument("data")
_data_options = tuple(map(option_of, DATA_OPTIONS))


def with_source(function: Command) -> Command:
    """Give the function the opened rows that the options name."""

    @functools.wraps(function)
    def opened(data: str, **kwargs: Any) -> Any:
        return _with_rows(function, data, kwargs, converts=False)

    return _with_options(opened, _data_argument, *_data_options)


@contextmanager
def on_cluster(
    cluster: str | None, dashboard: bool, performance_report: str | None
) -> Iterator[None]:
    """Run the block's tasks on the cluster asked for, and show their progress."""
    execution.check_report_path(performance_report, cluster)
    with (
        clusters.open_cluster(cluster) as client,
        execution.report_written(client, performance_report),
    ):
        if dashboard:
            _tell_dashboard(client)
        with execution.pass_progress(client):
            yield


def _tell_dashboard(client: Any) -> None:
    address = execution.dashboard_address(client)
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


def with_passes(function: Command, data_argument: Command = _data_argument) -> Command:
    """Decorate a command that reads all rows: open them, on the cluster asked for.

    ``data_argument`` may leave the data out: then there are no rows, and the function gets None.
    """

    @functools.wraps(function)
    def passing(
        data: str | None,
        cluster: str | None,
        dashboard: bool,
        performance_report: str | None,
        **kwargs: Any,
    ) -> Any:
        with on_cluster(cluster, dashboard, performance_report):
            # Workers of a cluster need not see the temporary folder of this machine.
            return _with_rows(function, data, kwargs, converts=cluster is None)

    return _with_options(passing, *_pass_options, *_watch_options, data_argument, *_data_options)


metrics_option = click.option(
    "--metrics",
    "metrics_file",
    metavar="FILE",
    help="Append a line of JSON for each pass: likelihood, speed, bytes read, retries, memory.",
)
output_option = click.option("--output", required=True, metavar="PATH", help="Where to write.")
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace a Zarr node that is there."
)
model_option = click.option(
    "--model", required=True, metavar="PATH", help="A model that fit, select, update or run wrote."
)


def numbers(_: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Numbers from a text such as ``2:12``, which includes both ends, or ``2,4,8``."""
    try:
        return counts_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def families(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """Covariance families from a text such as ``full,diag``."""
    read = _read_by(option_named("covariance_type").rule)
    return [read(context, parameter, name.strip()) for name in value.split(",")]
