"""The commands, thin ones over :mod:`daskgmm.job`, its neighbours and :mod:`daskgmm.batch`."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import click

from daskgmm._version import __version__
from daskgmm.cli.errors import Main, append_to
from daskgmm.cli.keys import with_keys
from daskgmm.cli.options import (
    command,
    families,
    metrics_option,
    model_option,
    numbers,
    on_cluster,
    output_option,
    overwrite_option,
    with_conversion,
    with_passes,
    with_settings,
    with_source,
)
from daskgmm.errors import ParameterError
from daskgmm.events import Log, duration, size_of
from daskgmm.jobfile import Given, Job, read_job
from daskgmm.lazily import Lazily
from daskgmm.plain_json import plain_json
from daskgmm.settings import CRITERIA, OPTIONS, option_named
from daskgmm.telling import passes

if TYPE_CHECKING:
    from daskgmm import batch, demo, descriptions, estimator, job, metrics
    from daskgmm.conversion import convert as conversion
    from daskgmm.em import stopping
else:  # what help, completion and errors of usage do without
    batch, demo, descriptions, estimator, job, metrics = (
        Lazily(f"daskgmm.{name}")
        for name in ("batch", "demo", "descriptions", "estimator", "job", "metrics")
    )
    conversion = Lazily("daskgmm.conversion.convert")
    stopping = Lazily("daskgmm.em.stopping")

__all__ = ["main"]

_COVARIANCE = option_named("covariance_type")
_DEMO_SIZE = "2GB"
_SMALL_DEMO_SIZE = "16MB"


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="daskgmm")
def main() -> None:
    """Gaussian mixtures on data larger than memory.

    \b
    Example:
      daskgmm fit data.zarr --components 8 --output model.zarr
      daskgmm predict data.zarr --model model.zarr --output labels.zarr
    """  # noqa: D301 (\b is click's mark for text that must not be wrapped)


@main.command("fit")
@command
@with_passes
@with_settings("fit")
@metrics_option
@output_option
@overwrite_option
def _fit(
    source: Any, metrics_file: str | None, output: str, overwrite: bool, **settings: Any
) -> tuple[dict[str, Any], str]:
    """Fit a mixture to the rows of DATA and save it.

    \b
    Example:
      daskgmm fit data.zarr --components 8 --output model.zarr
    """  # noqa: D301
    how = {"sample_weight": settings.pop("sample_weight", None), "overwrite": overwrite}
    with metrics.metrics_written(metrics_file):
        model = estimator.GaussianMixture(**settings)
        result = job.fit(source, output, model, **how)
    return result, (
        f"{result['n_components']} {result['covariance_type']} components on "
        f"{result['n_rows']:,} rows x {result['n_features']} features\n"
        f"log-likelihood per row  {result['log_likelihood_per_row']:.9g}\n"
        f"stopped                 {_reason(result['stop_reason'])}, after "
        f"{result['n_iter']} iteration{'s' * (result['n_iter'] != 1)} and {passes(result['n_passes'])}, "
        f"{duration(result['seconds'])}\n"
        f"remaining gain          {result['remaining_gain']:.2g} per row, estimated\n"
        f"rows read               {result['rows_read']:,}\n"
        f"peak memory             {size_of(result['peak_memory_bytes'])}\n"
        f"weights                 {' '.join(f'{w:.4g}' for w in result['weights'])}\n"
        + (f"note                    {result['note']}\n" if result["note"] else "")
        + f"model                   {output}"
    )


@main.command("select")
@command
@with_passes
@click.option(
    "--components",
    required=True,
    callback=numbers,
    metavar="FIRST:LAST",
    help="Numbers of components to try, such as 2:12, or 2,4,8.",
)
@click.option(
    "--covariance",
    "covariance_type",
    default=_COVARIANCE.default,
    show_default=True,
    callback=families,
    metavar="FAMILY,...",
    help=f"Families to try: {', '.join(_COVARIANCE.rule.words)}.",
)
@click.option(
    "--criterion",
    type=click.Choice(list(CRITERIA)),
    default="bic",
    show_default=True,
    help="What decides; the others are printed beside it.",
)
@with_settings("select")
@click.option("--output", metavar="PATH", help="Where to write the chosen model.")
@overwrite_option
def _select(source: Any, **settings: Any) -> tuple[dict[str, Any], str]:
    """Choose the number of components and the family of covariances for the rows of DATA.

    \b
    Example:
      daskgmm select data.zarr --components 2:12 --covariance full,diag --output best.zarr
    """  # noqa: D301
    result = job.select_model(source, **settings)
    best = result["best"]
    lines = [
        f"{'K':>4} {'family':<10} {'BIC':>16} {'AIC':>16} {'ICL':>16}  "
        f"{'held-out per row (error)':<26}  gain (error)"
    ]
    for entry in result["candidates"]:
        held_out = _with_error(
            entry["held_out_log_likelihood_per_row"], entry["held_out_standard_error"]
        )
        gain = _with_error(entry["held_out_gain_per_row"], entry["held_out_gain_standard_error"])
        chosen = " <" if entry == best else "" if entry["refined"] else " ~"
        lines.append(
            f"{entry['n_components']:>4} {entry['covariance_type']:<10} {entry['bic']:>16.2f} "
            f"{entry['aic']:>16.2f} {entry['icl']:>16.2f}  "
            f"{held_out:<26}  {gain}{chosen}"
        )
    if not all(entry["refined"] for entry in result["candidates"]):
        lines += ["", "~ could not win: fitted to the sample, or to a part of it, alone"]
    lines += [
        "",
        f"chosen by {result['criterion']:<14}{best['n_components']} {best['covariance_type']}",
        f"took                    {passes(result['n_passes'])}, {duration(result['seconds'])}, "
        f"peak memory {size_of(result['peak_memory_bytes'])}",
    ]
    if result["note"]:
        lines.append(f"note                    {result['note']}")
    if result["model"]:
        lines.append(f"model                   {result['model']}")
    return result, "\n".join(lines)


def _with_error(value: float | None, error: float | None) -> str:
    return "" if value is None else f"{value:.6f} ({error:.6f})"


def _done(log: Log, asked: Job, *, fresh: bool) -> dict[str, Any]:
    """Do a job whose places lie apart."""
    log_file = asked.get("outputs.log")
    try:
        prepared = batch.Batch(asked, fresh=fresh)
    except Exception:
        append_to(log_file, log)  # that it is refused, nothing else having been written
        raise
    if prepared.is_done:
        return prepared.result() | {"done": []}
    with prepared.resumable(), prepared.alone():
        append_to(log_file, log)
        metered = metrics.metrics_written(asked.get("outputs.metrics"))
        watch = asked.get("dashboard", False), asked.get("performance_report")
        with on_cluster(asked.get("cluster"), *watch), metered:
            return prepared.run()


@main.command("run")
@functools.partial(command, has_log=False)  # its file says where, and is checked first
@click.argument("job_file", metavar="JOB.yaml")
@click.option("--fresh", is_flag=True, help="Forget an earlier run of this job, and begin anew.")
@with_keys
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
    batch.check_places(asked)
    try:
        result = _done(log, asked, fresh=fresh)
    except ParameterError as error:  # of the file, not of the command
        raise asked.in_words_of_keys(error) from None
    if not result["done"]:
        return result, f"nothing to do: {job_file} was done before, and its outputs are there"
    places = "\n".join(f"{name:<24}{place}" for name, place in result["outputs"].items())
    selection = result.get("selection")
    chosen = (
        f", chosen by {selection['criterion']} of {len(selection['candidates'])} candidates"
        if selection
        else ""
    )
    return result, (
        f"{result['n_components']} {result['covariance_type']} components{chosen}, "
        f"log-likelihood per row {result['log_likelihood_per_row']:.9g}, "
        f"{passes(result['n_passes'])}\n{places}"
    )


@main.command("update")
@command
@click.argument("model")
@with_passes
@with_settings("update")
@click.option(
    "--output", metavar="PATH", help="Where to write.  [default: over MODEL, in one step]"
)
@overwrite_option
def _update(
    source: Any, model: str, output: str | None, **options: Any
) -> tuple[dict[str, Any], str]:
    """Go on from MODEL with the new rows of DATA; it keeps statistics of the old ones.

    \b
    Example:
      daskgmm update model.zarr new-data.zarr
    """  # noqa: D301
    settings = {o.name: options.pop(o.name) for o in OPTIONS if "update" in o.commands}
    result = job.update(source, model, output, settings=settings, **options)
    found = result["update"]
    return result, (
        f"{found['n_rows']:,} new rows, {result['n_rows']:,} in all, "
        f"{passes(found['n_passes'])} over the new ones, {duration(result['seconds'])}\n"
        f"log-likelihood per row  {result['log_likelihood_per_row']:.9g}\n"
        f"of the new rows         {found['log_likelihood_before']:.9g} before, "
        f"{found['log_likelihood_after']:.9g} now\n"
        f"drift                   {_drifted(found)}\n"
        + (f"note                    {result['note']}\n" if result["note"] else "")
        + f"model                   {result['model']}"
    )


def _drifted(found: dict[str, Any]) -> str:
    """How far an update moved the components, at most."""
    weight = max(abs(moved) for moved in found["weights_moved"])
    mean = max(found["means_moved"])
    return f"weights by {weight:.2g} or less, means by {mean:.2g} standard deviations or less"


@main.command("predict")
@command
@with_passes
@with_settings("predict")
@model_option
@output_option
@click.option(
    "--probabilities", metavar="PATH", help="Write probabilities to a place of their own."
)
@click.option("--log-density", metavar="PATH", help="Write log densities to a place of their own.")
@overwrite_option
def _predict(
    source: Any,
    model: str,
    output: str,
    results: list[str],
    **options: Any,
) -> tuple[dict[str, Any], str]:
    """Write the most probable component of each row of DATA, and what else is asked for.

    The output is a Zarr group, which xarray opens as a Dataset; or Parquet, as DATA is.

    \b
    Example:
      daskgmm predict data.zarr --model model.zarr --output labels.zarr
      daskgmm predict data.zarr --model model.zarr --output results.zarr \\
          --results labels,probabilities,log_density
      daskgmm predict rows.parquet --model model.zarr --output labels.parquet --keep id
    """  # noqa: D301
    apart = [(name, options.pop(name)) for name in ("probabilities", "log_density")]
    outputs = [(",".join(results), output), *((name, path) for name, path in apart if path)]
    result = job.predict(source, model, outputs, **options)
    written = "\n".join(f"{names:<23} {path}" for names, path in outputs)
    return result, (
        f"{result['n_rows']:,} rows in {duration(result['seconds'])}, "
        f"{result['n_rows'] / result['seconds']:,.0f} rows/s, "
        f"peak memory {size_of(result['peak_memory_bytes'])}\n{written}"
    )


@main.command("score")
@command
@with_passes
@with_settings("score")
@model_option
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
@command
@click.argument("path", metavar="MODEL_OR_DATA")
def _info(path: str) -> tuple[dict[str, Any], str]:
    """Describe a saved model, or stored rows, without reading the rows.

    \b
    Example:
      daskgmm info model.zarr
    """  # noqa: D301
    result = descriptions.info(path)
    return result, _table(result)


@main.command("check")
@command
@with_source
def _check(source: Any) -> tuple[dict[str, Any], str]:
    """Look for missing, empty and truncated chunks of DATA, without reading the rows.

    \b
    Example:
      daskgmm check data.zarr
    """  # noqa: D301
    result = descriptions.check(source)
    return result, _table(result)


@main.command("convert")
@command
@click.argument("source", metavar="SRC")
@with_conversion
@output_option
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
def _convert(source: str, output: str, **options: Any) -> tuple[dict[str, Any], str]:
    """Write the rows of CSV, Parquet, NetCDF or HDF5 as Zarr or Parquet, with names and units.

    SRC is a file, a folder, or a glob in quotes; CSV may be compressed. The output's ending, .zarr
    or .parquet, says what is written.

    \b
    Example:
      daskgmm convert data.csv --output data.zarr
      daskgmm convert "flights/*.csv.gz" --columns distance,air_time --missing drop --output f.zarr
    """  # noqa: D301
    result = conversion.convert(source, output, **options)
    return result, conversion.told(result)


@main.command("demo")
@command
@click.option("--size", metavar="SIZE", help=f"Bytes of rows to make.  [default: {_DEMO_SIZE}]")
@click.option("--small", is_flag=True, help=f"Make {_SMALL_DEMO_SIZE}, which takes seconds.")
@click.option(
    "--memory-limit", default="512MiB", show_default=True, metavar="SIZE", help="Most memory."
)
@click.option(
    "--keep", metavar="FOLDER", help="Keep data and model there, instead of a temporary folder."
)
def _demo(
    size: str | None, small: bool, memory_limit: str, keep: str | None
) -> tuple[dict[str, Any], str]:
    """Make a Zarr store, fit it within the memory limit, and compare with the truth.

    By default the store is four times as large as the limit.

    \b
    Example:
      daskgmm demo --size 500MB
      daskgmm demo --small
    """  # noqa: D301
    if small and size is not None:
        raise click.UsageError(f"--small is --size {_SMALL_DEMO_SIZE}: give one of the two")
    size = size or (_SMALL_DEMO_SIZE if small else _DEMO_SIZE)
    return demo.run_demo(size=size, memory_limit=memory_limit, folder=keep)


def _reason(name: str) -> str:
    """Why a fit stopped, in words."""
    return stopping.STOP_REASONS.get(name, name)


def _table(result: dict[str, Any]) -> str:
    """Facts a line each; long lists are for --json."""
    lines = []
    for name, value in result.items():
        text = json.dumps(plain_json(value))
        lines.append(f"{name:<24}{text if len(text) <= 200 else text[:197] + '...'}")
    return "\n".join(lines)
