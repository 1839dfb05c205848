"""Commands that make models, thin ones over :mod:`daskgmm.job` and :mod:`daskgmm.batch`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from daskgmm.cli.errors import append_to
from daskgmm.cli.help import Grouped
from daskgmm.cli.keys import with_keys
from daskgmm.cli.options import (
    command,
    families,
    metrics_option,
    numbers,
    on_cluster,
    output_option,
    overwrite_option,
    with_passes,
    with_settings,
)
from daskgmm.cli.tables import of_candidates
from daskgmm.errors import ParameterError
from daskgmm.events import Log, duration, size_of
from daskgmm.jobfile import Given, Job, read_job
from daskgmm.lazily import Lazily
from daskgmm.settings import CRITERIA, OPTIONS, option_named
from daskgmm.telling import passes

if TYPE_CHECKING:
    from daskgmm import batch, estimator, job, metrics
    from daskgmm.em import stopping, subsample
    from daskgmm.report import page
else:  # what help, completion and errors of usage do without
    batch, estimator, job, metrics = (
        Lazily(f"daskgmm.{name}") for name in ("batch", "estimator", "job", "metrics")
    )
    page, stopping = Lazily("daskgmm.report.page"), Lazily("daskgmm.em.stopping")
    subsample = Lazily("daskgmm.em.subsample")

__all__ = ["COMMANDS"]

_COVARIANCE = option_named("covariance_type")
_MOST_NUMBERS = 20  # on a line


@click.command("fit", cls=Grouped)
@command
@with_passes
@with_settings("fit")
@metrics_option
@output_option
@click.option(
    "--report",
    metavar="FILE.html",
    help="Write a page about the model and these rows, in one read more.",
)
@overwrite_option
def _fit(
    source: Any,
    metrics_file: str | None,
    output: str,
    report: str | None,
    **settings: Any,
) -> tuple[dict[str, Any], str]:
    """Fit a mixture to the rows of DATA and save it.

    \b
    Example:
      daskgmm fit data.zarr --components 8 --output model.zarr
    """  # noqa: D301
    names = ("sample_weight", "labels", "measurement_noise")
    beside = {name: settings.pop(name, None) for name in names}
    overwrite = settings.pop("overwrite")
    if report is not None and beside["measurement_noise"] is not None:
        raise ParameterError(
            "a report holds rows against the model as they are, without their noise; leave --report or "
            "--measurement-noise out",
            "measurement_noise",
        )
    if report is not None:
        page.check_report(report, source, output, overwrite=overwrite)
    with metrics.metrics_written(metrics_file):
        model = estimator.GaussianMixture(**settings)
        result = job.fit(source, output, model, **beside, overwrite=overwrite)
    if report is not None:
        page.write_report(
            output,
            report,
            source,
            memory_limit=settings["memory_limit"],
            sample_weight=beside["sample_weight"],
            overwrite=overwrite,
        )
        result["report"] = report
    return result, (
        f"{result['n_components']} {_kind(result)} components on "
        f"{result['n_rows']:,} rows x {result['n_features']} features\n"
        f"log-likelihood per row  {result['log_likelihood_per_row']:.9g}\n"
        f"stopped                 {_reason(result['stop_reason'])}, after "
        f"{result['n_iter']} iteration{'s' * (result['n_iter'] != 1)} and {passes(result['n_passes'])}, "
        f"{duration(result['seconds'])}\n"
        f"remaining gain          {result['remaining_gain']:.2g} per row, estimated\n"
        f"rows read               {result['rows_read']:,}\n"
        + _subsample(result)
        + f"peak memory             {size_of(result['peak_memory_bytes'])}\n"
        f"weights                 {_numbers(result['weights'])}\n"
        + _noise_and_tails(result)
        + (f"note                    {result['note']}\n" if result["note"] else "")
        + f"model                   {output}"
        + (f"\nreport                  {report}" if report else "")
    )


def _subsample(result: dict[str, Any]) -> str:
    """Line on whether some of the rows would have done, where there are many."""
    if "subsample" not in result:
        return ""
    return f"would a sample do?      {subsample.Subsample(**result['subsample']).text()}\n"


def _kind(result: dict[str, Any]) -> str:
    """The covariance type, and whether components are t."""
    return f"{result['covariance_type']}{' t' * ('degrees_of_freedom' in result)}"


def _numbers(values: Sequence[float]) -> str:
    shown = " ".join(f"{value:.4g}" for value in values[:_MOST_NUMBERS])
    n_more = len(values) - _MOST_NUMBERS
    return f"{shown} and {n_more} more, all of which --json prints" if n_more > 0 else shown


def _noise_and_tails(result: dict[str, Any]) -> str:
    """Lines on the weight of noise, and on degrees of freedom, where there are any."""
    text = ""
    if "noise_weight" in result:
        text += f"weight of noise         {result['noise_weight']:.4g}\n"
    if "degrees_of_freedom" in result:
        text += f"degrees of freedom      {_numbers(result['degrees_of_freedom'])}\n"
    return text


def _reason(name: str) -> str:
    """Why a fit stopped, in words."""
    return stopping.STOP_REASONS.get(name, name)


@click.command("select", cls=Grouped)
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
    best, lines = result["best"], of_candidates(result)
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


@click.command("run", cls=Grouped)
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
        f"{result['n_components']} {_kind(result)} components{chosen}, "
        f"log-likelihood per row {result['log_likelihood_per_row']:.9g}, "
        f"{passes(result['n_passes'])}\n{places}"
    )


@click.command("update", cls=Grouped)
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


COMMANDS = (_fit, _select, _run, _update)
