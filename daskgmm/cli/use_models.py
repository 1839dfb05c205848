"""Commands that hold rows against a model, thin ones over :mod:`daskgmm.job`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from daskgmm.cli.help import Grouped
from daskgmm.cli.options import (
    command,
    model_option,
    output_option,
    overwrite_option,
    with_passes,
    with_settings,
)
from daskgmm.cli.tables import of_uncertainty
from daskgmm.events import duration, size_of
from daskgmm.lazily import Lazily
from daskgmm.rules import words_of
from daskgmm.telling import passes

if TYPE_CHECKING:
    from daskgmm import imputing, job, outliers, storage, uncertainty
else:  # what help, completion and errors of usage do without
    storage = Lazily("daskgmm.storage")
    job, outliers = Lazily("daskgmm.job"), Lazily("daskgmm.outliers")
    imputing = Lazily("daskgmm.imputing")
    uncertainty = Lazily("daskgmm.uncertainty")

__all__ = ["COMMANDS"]

_SHOWN_KEYS = 5


@click.command("predict", cls=Grouped)
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

    The output is a Zarr group, which xarray opens as a Dataset; or Parquet, if DATA is Parquet or of
    a format that is converted, such as CSV. xarray takes -2, the label of rows that are left out, for
    missing, and has labels as floats, unless it is told mask_and_scale=False.

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
    lines = [(results[0] if len(results) == 1 else "output", output), *outputs[1:]]
    if len(results) > 1:
        lines.insert(0, ("results", ", ".join(results)))
    written = "\n".join(f"{name:<24}{said}" for name, said in lines)
    keys = [] if options.get("keep") else _keys_of(source, output)
    if keys:
        written += f"\nother columns           can come along: --keep {words_of(keys, _SHOWN_KEYS)}"
    return result, (
        f"{result['n_rows']:,} rows in {duration(result['seconds'])}, "
        f"{result['n_rows'] / result['seconds']:,.0f} rows/s, "
        f"peak memory {size_of(result['peak_memory_bytes'])}\n{written}"
    )


def _keys_of(source: Any, output: str) -> list[str]:
    """Names of Parquet columns that hold no numbers, such as keys, for a hint at --keep.

    There are none unless the output is Parquet.
    """
    types = getattr(source, "column_types", {})
    if not types or not storage.is_parquet_name(output):
        return []
    return [name for name in types if name not in source.number_names]


@click.command("score", cls=Grouped)
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


@click.command("outliers", cls=Grouped)
@command
@with_passes
@with_settings("outliers")
@model_option
@output_option
@click.option(
    "--save-threshold", is_flag=True, help="Keep the threshold in MODEL, for predict and later."
)
@overwrite_option
def _outliers(source: Any, model: str, output: str, **options: Any) -> tuple[dict[str, Any], str]:
    """Write which rows of DATA the model hardly explains, and their log density.

    The output is a Zarr group, which xarray opens as a Dataset; or Parquet, if DATA is Parquet or of
    a format that is converted, such as CSV.

    \b
    Example:
      daskgmm outliers data.zarr --model model.zarr --output outliers.zarr --quantile 0.001
      daskgmm outliers data.zarr --model model.zarr --output outliers.zarr \\
          --probability 1e-6 --save-threshold
      daskgmm outliers rows.parquet --model model.zarr --output few.parquet --only --keep id
    """  # noqa: D301
    names = ("quantile", "probability", "sample_weight")
    choice = {name: options.pop(name, None) for name in names}
    result = outliers.write_outliers(source, model, output, choice=choice, **options)
    beyond = "above" if result["threshold_of"] == "squared_distance" else "below"
    error = result["rank_error"]
    exact = "" if error is None else f", up to {error:.2g} of the rows" if error else ", exact"
    return result, (
        f"outliers                {result['n_outliers']:,} of {result['n_rows']:,} rows\n"
        f"threshold               {result['threshold_of']} {beyond} {result['threshold']:.9g}, "
        f"asked for {result['share']:g}{exact}\n"
        f"took                    {duration(result['seconds'])}, "
        f"peak memory {size_of(result['peak_memory_bytes'])}\n"
        f"output                  {output}"
    )


@click.command("impute", cls=Grouped)
@command
@with_passes
@with_settings("impute")
@model_option
@output_option
@overwrite_option
def _impute(source: Any, model: str, output: str, **options: Any) -> tuple[dict[str, Any], str]:
    """Write the rows of DATA with numbers in place of missing values.

    They are the means of what is missing given what is there. The output is a Zarr group of rows; of a
    grid, a group of its variables; or Parquet, if DATA is Parquet or of a format that is converted, such as CSV.

    \b
    Example:
      daskgmm impute data.zarr --model model.zarr --output filled.zarr
      daskgmm impute data.zarr --model model.zarr --output drawn.zarr --draw --seed 1
      daskgmm impute rows.csv --model model.zarr --output filled.parquet --keep id
    """  # noqa: D301
    result = imputing.write_imputed(source, model, output, **options)
    return result, (
        f"{result['n_rows']:,} rows in {duration(result['seconds'])}, "
        f"peak memory {size_of(result['peak_memory_bytes'])}\n"
        f"filled                  {result['n_filled']:,} missing values\n"
        f"output                  {output}"
    )


@click.command("uncertainty", cls=Grouped)
@command
@with_passes
@with_settings("uncertainty")
@model_option
@click.option("--output", metavar="PATH", help="Where to write the errors, as a Zarr group.")
@overwrite_option
def _uncertainty(
    source: Any, model: str, output: str | None, **options: Any
) -> tuple[dict[str, Any], str]:
    """Standard errors of a model's parameters, from the rows of DATA that it was fitted to.

    The fit is made again many times on the rows drawn anew (the Poisson bootstrap), all on the
    same reads.

    \b
    Example:
      daskgmm uncertainty data.zarr --model model.zarr
    """  # noqa: D301
    result = uncertainty.measure_uncertainty(source, model, output, **options)
    lost = f", {result['n_lost']} of them lost" if result["n_lost"] else ""
    n = result["n_replicates"] + result["n_lost"]
    return result, (
        f"{of_uncertainty(result)}\n\n"
        f"replicates              {n} of {result['n_rows']:,} rows{lost}, "
        f"{passes(result['n_passes'])}, {duration(result['seconds'])}, "
        f"peak memory {size_of(result['peak_memory_bytes'])}"
        + (f"\nnote                    {result['note']}" if result["note"] else "")
        + (f"\noutput                  {output}" if output else "")
    )


COMMANDS = (_predict, _score, _outliers, _impute, _uncertainty)
