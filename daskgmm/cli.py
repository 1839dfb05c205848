"""The command line: thin click commands over :mod:`daskgmm.job`.

Progress, notes and errors go to standard error; results go to standard output, as
one JSON document with ``--json``. Exit status: 0 done; 1 a clear one-line error; 2
wrong usage; 75 interrupted, but ``--resume`` goes on from the checkpoint.
"""

from __future__ import annotations

import difflib
import functools
import json
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Any

import click
from click.core import ParameterSource
from dask.utils import format_bytes
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

from daskgmm import job
from daskgmm._version import __version__
from daskgmm.batch import Batch, check_places
from daskgmm.configuration import FLAG
from daskgmm.demo import run_demo
from daskgmm.em import INITIALISERS, STEPPERS, STOP_RULES
from daskgmm.errors import (
    DaskGMMError,
    DaskGMMWarning,
    InterruptedFitError,
    JobError,
    ParameterError,
)
from daskgmm.estimator import GaussianMixture
from daskgmm.execution import (
    Failed,
    Message,
    PassProgress,
    check_report_path,
    cluster_progress,
    dashboard_address,
    duration,
    report_written,
    teller,
)
from daskgmm.execution.clusters import open_cluster
from daskgmm.inputs import open_rows
from daskgmm.jobfile import KEYS, Given, Job, read_job
from daskgmm.kernel import FAMILIES
from daskgmm.logs import LOG_FORMATS, JsonLines, Log, log_opened
from daskgmm.metrics import metrics_written
from daskgmm.redaction import on_one_line, redacted
from daskgmm.selection import CRITERIA
from daskgmm.storage import plain_json
from daskgmm.storage.patience import TIMEOUT_VARIABLE

__all__ = ["main"]

Command = Callable[..., Any]

_DEFAULTS = GaussianMixture().get_params()


@contextmanager
def _reported(log_format: str, log_file: str | None, way_on: str | None) -> Iterator[Log]:
    """Errors as one line and an exit status; what happens until then as lines of a log."""
    with warnings.catch_warnings(), _terminable(), _as_click_errors(way_on):
        warnings.simplefilter("ignore")
        for category in (DaskGMMWarning, ConvergenceWarning):
            warnings.simplefilter("always", category)
        with log_opened(log_format, log_file) as log:
            try:
                with _as_click_errors(way_on):
                    yield log
            except click.ClickException as error:  # which click, or the group, shows
                log.write_to_files(_failed(error))
                raise
            except Exception as error:
                log.write_to_files(_crashed(error))
                raise


@contextmanager
def _as_click_errors(way_on: str | None) -> Iterator[None]:
    """Each error in the class that has its exit status.

    ``way_on`` says how a command that was interrupted goes on; None if it cannot.
    """
    try:
        yield
    except (ParameterError, InvalidParameterError) as error:
        raise click.UsageError(on_one_line(error)) from None
    except DaskGMMError as error:
        kind = _ResumableException if error.is_resumable else click.ClickException
        raise kind(on_one_line(error)) from None
    except InterruptedFitError as error:
        raise _ResumableException(on_one_line(error)) from None
    except KeyboardInterrupt:
        if way_on is not None:
            raise _ResumableException(f"interrupted; {way_on}") from None
        raise click.ClickException("interrupted; no output was left half written") from None


def _way_on(options: Mapping[str, Any]) -> str | None:
    """How a command goes on, whenever it is interrupted: before its first checkpoint, it begins."""
    if "job_file" in options:
        return "run the same command again to go on"
    if options.get("checkpoint") is not None:
        return "run the same command again with --resume to go on"
    return None


class _ResumableException(click.ClickException):
    """An end that is none: EX_TEMPFAIL of sysexits.h, at which batch systems try again."""

    exit_code = 75


@contextmanager
def _terminable() -> Iterator[None]:
    """End at SIGTERM, which batch systems send before they kill, as at Ctrl-C."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # as a shell has it for `command &`
                signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # It would tell of every read that is cut off, when the interpreter ends.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    signal.default_int_handler(number, frame)


def _failed(error: click.ClickException) -> Failed:
    return Failed(on_one_line(error.format_message()), error.exit_code)


def _crashed(error: Exception) -> Failed:
    """Of an error that nobody foresaw: where it happened is what helps then."""
    text = f"{type(error).__name__}: {on_one_line(error)}"
    return Failed(text, 1, traceback=redacted("".join(traceback.format_exception(error))))


_log_option = click.option(
    "--log", "log_file", metavar="FILE", help="Append those lines to a local file, too."
)
_common_options = (
    click.option(
        "--log-format",
        type=click.Choice(list(LOG_FORMATS)),
        default="text",
        show_default=True,
        help="Of the lines on standard error, errors included.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)


def _command(function: Command, *, has_log: bool = True) -> Command:
    """Common to all commands: report errors; print the result as text or as JSON.

    ``has_log`` is whether a log is opened before anything else is done. Outermost but for click's own, so that opening the data is reported, too.
    """

    @functools.wraps(function)
    def reported(
        *args: Any, as_json: bool, log_format: str, log_file: str | None = None, **kwargs: Any
    ) -> None:
        with _reported(log_format, log_file, _way_on(kwargs)) as log:
            click.get_current_context().obj = log
            result, text = function(*args, **kwargs)
        if as_json:
            click.echo(json.dumps(plain_json(result), indent=2))
        else:
            click.echo(text)
        if result.get("damage"):
            sys.exit(1)

    format_option, json_option = _common_options
    for decorate in (json_option, *([_log_option] if has_log else []), format_option):
        reported = decorate(reported)
    return reported


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
        default=_DEFAULTS["tol"],
        show_default=True,
        help="What the stop rule compares with: nats per row, or for means their squared units. "
        "auto: a tenth of what N rows can tell, p / (2 N).",
    ),
    click.option(
        "--stopping",
        type=click.Choice(list(STOP_RULES)),
        default=_DEFAULTS["stopping"],
        show_default=True,
        help="Stop at the estimated remaining gain, the last gain, or the means' movement.",
    ),
    click.option(
        "--stepper",
        type=click.Choice(["auto", *STEPPERS]),
        default=_DEFAULTS["stepper"],
        show_default=True,
        help="How the next parameters follow from a pass: a surrogate likelihood, EM extrapolated, "
        "or EM.",
    ),
    click.option(
        "--reg-covar",
        type=click.FloatRange(0),
        default=_DEFAULTS["reg_covar"],
        show_default=True,
        help="Added to each variance, squared units of the data.",
    ),
    click.option(
        "--init-params",
        type=click.Choice(list(INITIALISERS)),
        default=_DEFAULTS["init_params"],
        show_default=True,
    ),
    click.option(
        "--progressive/--no-progressive",
        default=_DEFAULTS["progressive"],
        show_default=True,
        help="Let starts compete on a sample in memory, before the first pass over all rows.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "float64"]),
        default=_DEFAULTS["precision"],
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


def _with_fit_options(function: Command) -> Command:
    """What a fit is asked for beside K and the family; in the order of help."""
    for decorate in reversed(_fit_options):
        function = decorate(function)
    return function


def _with_source(function: Command) -> Command:
    """Give the function the opened rows that the options name."""

    @functools.wraps(function)
    def opened(data: str, member: str | None, missing_chunks: Any, **kwargs: Any) -> Any:
        return function(open_rows(data, member=member, missing_chunks=missing_chunks), **kwargs)

    for decorate in _source_options:
        opened = decorate(opened)
    return opened


@contextmanager
def _on_cluster(
    cluster: str | None, dashboard: bool, performance_report: str | None
) -> Iterator[None]:
    """Have tasks run where they should, and show how far they are."""
    check_report_path(performance_report, cluster)
    with open_cluster(cluster) as client, report_written(client, performance_report):
        if dashboard:
            _tell_dashboard(client)
        with PassProgress() if client is None else cluster_progress(client):
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


def _with_passes(function: Command) -> Command:
    """Run a function that reads all rows on the cluster asked for, and show how far it is."""
    with_source = _with_source(function)

    @functools.wraps(with_source)
    def on_cluster(
        cluster: str | None, dashboard: bool, performance_report: str | None, **kwargs: Any
    ) -> Any:
        with _on_cluster(cluster, dashboard, performance_report):
            return with_source(**kwargs)

    for decorate in (*_watch_options, *_pass_options):
        on_cluster = decorate(on_cluster)
    return on_cluster


_metrics = click.option(
    "--metrics",
    metavar="FILE",
    help="Append a line of JSON for each pass: likelihood, speed, bytes read, retries, memory.",
)
_output = click.option("--output", required=True, metavar="PATH", help="Where to write.")
_overwrite = click.option("--overwrite", is_flag=True, help="Replace a Zarr node that is there.")
_model = click.option("--model", required=True, metavar="PATH", help="A model that fit wrote.")


class _Main(click.Group):
    """The group of commands, which shows their errors in the format of the log."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the format before anything can be wrong."""
        ctx.meta[_AS_JSON] = "--log-format=json" in args or ("--log-format", "json") in pairwise(
            args
        )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; as JSON, its errors are lines of the log."""
        if not ctx.meta[_AS_JSON]:
            return super().invoke(ctx)
        show = JsonLines(sys.stderr)
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            show(_failed(error))
            ctx.exit(error.exit_code)
        except click.exceptions.Exit:
            raise
        except Exception as error:
            show(_crashed(error))
            ctx.exit(1)


_AS_JSON = "daskgmm.errors_as_json"


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="daskgmm")
def main() -> None:
    """Gaussian mixtures on data larger than memory.

    \b
    Example:
      daskgmm fit data.zarr --components 8 --output model.zarr
      daskgmm predict data.zarr --model model.zarr --output labels.zarr
    """  # noqa: D301 (\b is click's mark for text that must not be wrapped)


@main.command("fit")
@_command
@_with_passes
@click.option("--components", type=click.IntRange(1), required=True, help="How many, K.")
@click.option(
    "--covariance",
    type=click.Choice(list(FAMILIES)),
    default=_DEFAULTS["covariance_type"],
    show_default=True,
    help="How covariances are constrained.",
)
@click.option(
    "--restarts",
    type=click.IntRange(1),
    default=_DEFAULTS["n_init"],
    show_default=True,
    help="Starts, of which the best is kept; at least ten compete on a sample.",
)
@click.option(
    "--truncate",
    type=click.IntRange(1),
    metavar="G",
    help="Compare a row with G components near it alone: for 200 and more. Maximises a bound.",
)
@_with_fit_options
@click.option(
    "--checkpoint",
    metavar="DIR",
    help="Keep there, after each pass, what the fit can go on from: a folder or URL.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(1),
    default=_DEFAULTS["checkpoint_every"],
    show_default=True,
    metavar="PASSES",
    help="From one checkpoint to the next.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from --checkpoint, if a fit was interrupted there.",
)
@_metrics
@_output
@_overwrite
def _fit(
    source: Any,
    components: int,
    covariance: str,
    restarts: int,
    seed: int,
    metrics: str | None,
    output: str,
    overwrite: bool,
    **settings: Any,
) -> tuple[dict[str, Any], str]:
    """Fit a mixture to the rows of DATA and save it.

    \b
    Example:
      daskgmm fit data.zarr --components 8 --output model.zarr
    """  # noqa: D301
    model = GaussianMixture(
        components,
        covariance_type=covariance,
        n_init=restarts,
        random_state=seed,
        **settings,
    )
    with metrics_written(metrics):
        result = job.fit(source, output, model, overwrite=overwrite)
    return result, (
        f"{result['n_components']} {result['covariance_type']} components on "
        f"{result['n_rows']:,} rows x {result['n_features']} features\n"
        f"log-likelihood per row  {result['log_likelihood_per_row']:.9g}\n"
        f"stopped                 {_reason(result['stop_reason'])}, after {result['n_iter']} iterations and "
        f"{result['n_passes']} passes, {duration(result['seconds'])}\n"
        f"peak memory             {format_bytes(result['peak_memory_bytes'])}\n"
        f"weights                 {' '.join(f'{w:.4g}' for w in result['weights'])}\n"
        f"model                   {output}"
    )


def _numbers(_: click.Context, parameter: click.Parameter, value: str) -> list[int]:
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


def _families(_: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",")]
    for name in names:
        if name not in FAMILIES:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(FAMILIES)}")
    return names


@main.command("select")
@_command
@_with_passes
@click.option(
    "--components",
    required=True,
    callback=_numbers,
    metavar="FIRST:LAST",
    help="Numbers of components to try, such as 2:12, or 2,4,8.",
)
@click.option(
    "--covariance",
    "covariance_type",
    default=_DEFAULTS["covariance_type"],
    show_default=True,
    callback=_families,
    metavar="FAMILY,...",
    help=f"Families to try: {', '.join(FAMILIES)}.",
)
@click.option(
    "--criterion",
    type=click.Choice(list(CRITERIA)),
    default="bic",
    show_default=True,
    help="What decides; the others are printed beside it.",
)
@_with_fit_options
@click.option("--output", metavar="PATH", help="Where to write the chosen model.")
@_overwrite
def _select(source: Any, seed: int, **settings: Any) -> tuple[dict[str, Any], str]:
    """Choose the number of components and the family of covariances for the rows of DATA.

    \b
    Example:
      daskgmm select data.zarr --components 2:12 --covariance full,diag --output best.zarr
    """  # noqa: D301
    result = job.select_model(source, random_state=seed, **settings)
    best = result["best"]
    lines = [
        f"{'K':>4} {'family':<10} {'BIC':>16} {'AIC':>16} {'ICL':>16}  held-out per row (error)"
    ]
    for entry in result["candidates"]:
        chosen = " <" if entry == best else ""
        lines.append(
            f"{entry['n_components']:>4} {entry['covariance_type']:<10} {entry['bic']:>16.2f} "
            f"{entry['aic']:>16.2f} {entry['icl']:>16.2f}  "
            f"{entry['held_out_log_likelihood_per_row']:.6f} "
            f"({entry['held_out_standard_error']:.6f}){chosen}"
        )
    lines += [
        "",
        f"chosen by {result['criterion']:<14}{best['n_components']} {best['covariance_type']}",
        f"took                    {result['n_passes']} passes, {duration(result['seconds'])}, "
        f"peak memory {format_bytes(result['peak_memory_bytes'])}",
    ]
    if result["note"]:
        lines.append(f"note                    {result['note']}")
    if result["model"]:
        lines.append(f"model                   {result['model']}")
    return result, "\n".join(lines)


def _with_keys(function: Command) -> Command:
    """An option and an environment variable for every key of a job file."""

    @functools.wraps(function)
    def given(ctx: click.Context, **kwargs: Any) -> Any:
        _check_variables()
        values = {}
        for key in KEYS:
            name = key.replace(".", "_")
            value = kwargs.pop(f"key_{name}")
            if value is not None:
                by_variable = ctx.get_parameter_source(f"key_{name}") is ParameterSource.ENVIRONMENT
                source = _variable(key) if by_variable else _option(key)
                values[key] = Given(str(value).lower() if value in (True, False) else value, source)
        return function(given=values, **kwargs)

    decorated: Command = click.pass_context(given)
    for key, row in reversed(KEYS.items()):
        names = _option(key)
        if row.rule is FLAG:
            names += f"/--no-{_option(key).removeprefix('--')}"
        decorated = click.option(
            names,
            *_SHORT_OPTIONS.get(key, ()),
            f"key_{key.replace('.', '_')}",
            envvar=_variable(key),
            default=None,
            metavar=None if row.rule is FLAG else "VALUE",
            help=row.help,
        )(decorated)
    return decorated


_SHORT_OPTIONS = {"outputs.log": ["--log"], "outputs.metrics": ["--metrics"]}
"""As the other commands call it."""


def _option(key: str) -> str:
    return "--" + key.replace(".", "-").replace("_", "-")


_PREFIX = "DASKGMM_"


def _variable(key: str) -> str:
    return _PREFIX + key.replace(".", "_").upper()


def _done(log: Log, asked: Job, *, fresh: bool) -> dict[str, Any]:
    """Do a job whose places lie apart."""
    log_file = asked.get("outputs.log")
    try:
        batch = Batch(asked, fresh=fresh)
    except Exception:
        log.append_to(log_file)  # that it is refused, nothing else having been written
        raise
    if batch.is_done:
        return batch.result() | {"done": []}
    with batch.alone():
        log.append_to(log_file)
        metrics = metrics_written(asked.get("outputs.metrics"))
        watch = asked.get("dashboard", False), asked.get("performance_report")
        with _on_cluster(asked.get("cluster"), *watch), metrics:
            return batch.run()


def _check_variables() -> None:
    """Refuse a misspelt variable, which would be as if it were not there.

    Others are not ours: Kubernetes gives pods variables named for its services.
    """
    known = [_variable(key) for key in KEYS]
    for name in os.environ:
        if not name.startswith(_PREFIX) or name in (*known, TIMEOUT_VARIABLE):
            continue
        near = difflib.get_close_matches(
            name.removeprefix(_PREFIX), [k.removeprefix(_PREFIX) for k in known], 1, cutoff=0.75
        )
        problem = f"the environment has {name}, which is of no key"
        if near:
            raise JobError(f"{problem}; did you mean {_PREFIX}{near[0]}?")
        warnings.warn(f"{problem} and is left alone", DaskGMMWarning, stacklevel=2)


@main.command("run")
@functools.partial(_command, has_log=False)  # its file says where, and is checked first
@click.argument("job_file", metavar="JOB.yaml")
@click.option("--fresh", is_flag=True, help="Forget an earlier run of this job, and begin anew.")
@_with_keys
@click.pass_obj
def _run(
    log: Log, /, job_file: str, fresh: bool, given: dict[str, Given]
) -> tuple[dict[str, Any], str]:
    """Do what a job file says: fit, and write all its outputs.

    Run again after an interruption, a job goes on; after its end it does nothing. Each
    key of the file is also an option, and an environment variable: model.components is
    --model-components and DASKGMM_MODEL_COMPONENTS; the first of option, variable and file
    holds.

    \b
    Example:
      daskgmm run job.yaml
    """  # noqa: D301
    asked = read_job(job_file, given)
    check_places(asked)
    try:
        result = _done(log, asked, fresh=fresh)
    except (ParameterError, InvalidParameterError) as error:  # of the file, not of the command
        raise asked.in_words_of_keys(error) from None
    if not result["done"]:
        return result, f"nothing to do: {job_file} was done before, and its outputs are there"
    places = "\n".join(f"{name:<24}{place}" for name, place in result["outputs"].items())
    return result, (
        f"{result['n_components']} {result['covariance_type']} components, "
        f"log-likelihood per row {result['log_likelihood_per_row']:.9g}, "
        f"{result['n_passes']} passes\n{places}"
    )


@main.command("predict")
@_command
@_with_passes
@_model
@_output
@click.option("--probabilities", metavar="PATH", help="Also write (rows, K) probabilities.")
@click.option("--log-density", metavar="PATH", help="Also write each row's log density.")
@_overwrite
def _predict(
    source: Any,
    model: str,
    output: str,
    probabilities: str | None,
    log_density: str | None,
    **options: Any,
) -> tuple[dict[str, Any], str]:
    """Write the most probable component of each row of DATA, as a Zarr array.

    \b
    Example:
      daskgmm predict data.zarr --model model.zarr --output labels.zarr
    """  # noqa: D301
    asked = {"labels": output, "probabilities": probabilities, "log_density": log_density}
    outputs = {name: path for name, path in asked.items() if path is not None}
    result = job.predict(source, model, outputs, **options)
    written = "\n".join(f"{name:<24}{path}" for name, path in outputs.items())
    return result, (
        f"{result['n_rows']:,} rows in {duration(result['seconds'])}, "
        f"{result['n_rows'] / result['seconds']:,.0f} rows/s, "
        f"peak memory {format_bytes(result['peak_memory_bytes'])}\n{written}"
    )


@main.command("score")
@_command
@_with_passes
@_model
def _score(source: Any, model: str, **options: Any) -> tuple[dict[str, Any], str]:
    """Log-likelihood, AIC, BIC and ICL of the rows of DATA under a model.

    \b
    Example:
      daskgmm score data.zarr --model model.zarr --json
    """  # noqa: D301
    result = job.score(source, model, **options)
    return result, "\n".join(
        f"{name:<24}{result[name]:.10g}"
        for name in ("n_rows", "log_likelihood_per_row", "aic", "bic", "icl")
    )


@main.command("info")
@_command
@click.argument("path", metavar="MODEL_OR_DATA")
def _info(path: str) -> tuple[dict[str, Any], str]:
    """Describe a saved model, or stored rows, without reading the rows.

    \b
    Example:
      daskgmm info model.zarr
    """  # noqa: D301
    result = job.info(path)
    return result, _table(result)


@main.command("check")
@_command
@_with_source
def _check(source: Any) -> tuple[dict[str, Any], str]:
    """Look for missing, empty and truncated chunks of DATA, without reading the rows.

    \b
    Example:
      daskgmm check data.zarr
    """  # noqa: D301
    result = job.check(source)
    return result, _table(result)


@main.command("demo")
@_command
@click.option(
    "--size", default="2GB", show_default=True, metavar="SIZE", help="Bytes of rows to make."
)
@click.option(
    "--memory-limit", default="512MiB", show_default=True, metavar="SIZE", help="Most memory."
)
@click.option(
    "--keep", metavar="FOLDER", help="Keep data and model there, instead of a temporary folder."
)
def _demo(size: str, memory_limit: str, keep: str | None) -> tuple[dict[str, Any], str]:
    """Make a Zarr store larger than the memory limit, fit it, compare with the truth.

    \b
    Example:
      daskgmm demo --size 500MB
    """  # noqa: D301
    return run_demo(size=size, memory_limit=memory_limit, folder=keep)


def _reason(name: str) -> str:
    """Why a fit stopped, in words."""
    return STOP_RULES[name].message if name in STOP_RULES else "max_iter was reached"


def _table(result: dict[str, Any]) -> str:
    """Facts a line each; long lists are for --json."""
    lines = []
    for name, value in result.items():
        text = json.dumps(plain_json(value))
        lines.append(f"{name:<24}{text if len(text) <= 200 else text[:197] + '...'}")
    return "\n".join(lines)
