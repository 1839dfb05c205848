"""Commands that draw what a model is, thin ones over :mod:`daskgmm.report`."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import click

from daskgmm.cli.help import Grouped
from daskgmm.cli.options import (
    Command,
    command,
    with_passes,
    with_settings,
)
from daskgmm.events import duration
from daskgmm.lazily import Lazily
from daskgmm.rules import names_of
from daskgmm.settings import PICTURES, check_picture, form_of_picture

if TYPE_CHECKING:
    from daskgmm.report import page, pictures
else:  # what help, completion and errors of usage do without
    page, pictures = Lazily("daskgmm.report.page"), Lazily("daskgmm.report.pictures")

__all__ = ["COMMANDS"]


def _features(_: click.Context, parameter: click.Parameter, text: str | None) -> Any:
    """Names or indices of features from a text such as ``temp,salt`` or ``0,3``."""
    if text is None:
        return None
    try:
        names = names_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return [int(one) if _NUMBER.fullmatch(one) else one for one in names]


_NUMBER = re.compile(r"[0-9]{1,18}")
"""An index; the digits of other scripts are none, and longer ones are beyond every array."""
_PLACE = re.compile(rf"-?{_NUMBER.pattern}")
"""An index along a dimension, which counts from the end if it is negative."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2}([T ][0-9]{2}(:[0-9]{2}){0,2})?)?")
"""Dates in ISO 8601, with or without a time. A year alone does not match, because a whole number is an
index."""
_VALUE = re.compile(r"-?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?")
"""A number with a decimal point or an exponent; a whole number without these is an index along the
dimension."""


def _places(_: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> Any:
    """Places along dimensions from texts such as ``time=3``, ``depth=5.0`` or ``time=2020-01-03``."""
    found: dict[str, int | float | str] = {}
    for text in texts:
        dim, _equals, place = text.partition("=")
        is_number = _PLACE.fullmatch(place) is not None
        is_value = _VALUE.fullmatch(place) is not None
        if not dim or not (is_number or is_value or _DATE.fullmatch(place)):
            raise click.BadParameter(
                "must be DIM=NUMBER of the place, such as time=3, DIM=VALUE with a decimal point, such as "
                f"depth=5.0, or DIM=DATE, such as time=2020-01-03; got {text!r:.80}"
            )
        if dim in found:
            raise click.BadParameter(f"names a place along {dim!r} twice; name one")
        found[dim] = int(place) if is_number else float(place) if is_value else place
    return found or None


def _checked(function: Command) -> Command:
    """The function, called only if this kind of picture can show what is asked for."""

    @functools.wraps(function)
    def checked(kind: str, data: str | None, **kwargs: Any) -> Any:
        options = {name: kwargs[name] for name in ("features", "at")}
        options["sample_weight"] = kwargs.get("weights")
        form_of_picture(kwargs["output"])
        check_picture(kind, has_rows=data is not None, options=options)
        return function(kind=kind, data=data, **kwargs)

    return checked


_may_lack_data = functools.partial(
    with_passes, data_argument=click.argument("data", required=False)
)
_KINDS = "\n".join(f"  {name:<17} {row.shows}" for name, row in PICTURES.items())
_HELP = f"""Draw MODEL, and rows of DATA, as SVG or PNG; the rows are read once.

\b
KIND is one of
{_KINDS}

Pictures have a bounded size for any number of rows, features and components: they say what they
leave out. Matplotlib draws; the extra daskgmm[plot] brings it.

\b
Example:
  daskgmm plot pairs model.zarr data.zarr --output pairs.png
  daskgmm plot convergence model.zarr --output convergence.svg
"""


@click.command("plot", cls=Grouped, help=_HELP)
@command
@_checked
@click.argument("kind", metavar="KIND", type=click.Choice(list(PICTURES)))
@click.argument("model")
@_may_lack_data
@with_settings("plot")
@click.option(
    "--features",
    callback=_features,
    metavar="NAME,...",
    help="Features to show, by name or number.  [default: those that tell most]",
)
@click.option(
    "--at",
    multiple=True,
    callback=_places,
    metavar="DIM=NUMBER|VALUE|DATE",
    help="Place along a dimension that a map does not show: its number from 0; a value of its coordinate, "
    "with a decimal point (depth=5.0); or a date along one of times (time=2020-01-03).  [default: the "
    "first]",
)
@click.option(
    "--output",
    required=True,
    metavar="FILE",
    help="Where to write: a name that ends in .svg or .png.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
def _plot(
    source: Any, kind: str, model: str, output: str, **options: Any
) -> tuple[dict[str, Any], str]:
    result = pictures.write_plot(kind, model, output, source, **options)
    return result, (
        f"{result['alt']}\n"
        f"took                    {duration(result['seconds'])}\n"
        f"picture                 {output}"
    )


@click.command("report", cls=Grouped)
@command
@click.argument("model")
@functools.partial(
    with_passes,
    data_argument=click.option(
        "--data", metavar="DATA", help="Rows that MODEL is held against; they are read once."
    ),
)
@with_settings("report")
@click.option(
    "--output",
    required=True,
    metavar="FILE.html",
    help="Where to write: a name that ends in .html.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
def _report(source: Any, model: str, output: str, **options: Any) -> tuple[dict[str, Any], str]:
    """Write a page about MODEL: what was found, how far to trust it, pictures and facts of the run.

    The page is one file of HTML that needs no network. The extra daskgmm[plot] brings Matplotlib,
    which draws.

    \b
    Example:
      daskgmm report model.zarr --data data.zarr --output report.html
    """  # noqa: D301
    result = page.write_report(model, output, source, **options)
    return result, "\n".join(
        [
            f"{result['found']} {result['trust']}",
            *(f"- {doubt}" for doubt in result["doubts"]),
            f"took                    {duration(result['seconds'])}",
            f"report                  {output}",
        ]
    )


COMMANDS = (_plot, _report)
