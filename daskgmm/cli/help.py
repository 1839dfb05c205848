"""Help: the options of a command in groups, those that most people need by default."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import click

__all__ = ["ALL", "Grouped"]


class Group(NamedTuple):
    """Names of options that are for one thing.

    Attributes
    ----------
    common : tuple of str
        Those that ``--help`` shows.
    further : tuple of str
        Those that ``--help-all`` shows as well.
    """

    common: tuple[str, ...]
    further: tuple[str, ...] = ()


_KEYS = "Keys of the job file, which hold before what it says"
_OTHERS = "Others"
ALL = "daskgmm.help_all"
"""Key of a context's meta under which True has help show all options."""

GROUPS: Mapping[str, Group] = {
    "What is done": Group(
        (
            *("n_components", "components", "covariance_type", "criterion", "random_state"),
            *("results", "only", "keep", "draw"),
            *("quantile", "probability", "half_life", "features", "at", "fresh", "size", "small"),
        ),
        ("save_threshold", "mark_outliers", "n_replicates", "level"),
    ),
    "Rows": Group(
        ("data", "columns", "variables", "feature_dim", "mask", "weights", "missing"),
        (
            *("labels", "measurement_noise", "constant", "member"),
            *("missing_chunks", "missing_text", "dtype", "header", "separator", "decimal"),
            *("encoding", "ragged"),
        ),
    ),
    "Where it is written": Group(
        ("model", "output", "report", "overwrite"), ("probabilities", "log_density")
    ),
    "Kind of mixture": Group(
        (),
        (
            *("prior", "noise", "tails", "degrees_of_freedom", "standardize", "n_projected"),
            *("truncate", "fixed", "reg_covar", "on_collapse", "order"),
        ),
    ),
    "Starts, steps and when to stop": Group(
        (),
        (
            *("n_init", "init_params", "progressive", "weights_init", "means_init"),
            *("precisions_init", "stepper", "stopping", "tol", "max_iter", "reads", "precision"),
        ),
    ),
    "Memory and time": Group(("memory_limit",), ("stage", "stage_limit", "stage_dtype")),
    "Interruptions": Group(("checkpoint", "resume"), ("checkpoint_every",)),
    "Where it runs": Group(("cluster",), ("dashboard", "performance_report")),
    "What is printed": Group(("as_json",), ("log_format", "log_file", "metrics_file")),
    _KEYS: Group(()),
}
"""Options by what they are for, in the order of help. One that no group names is among the others,
and is shown with all."""

_COMMON = {name for group in GROUPS.values() for name in group.common}
_HEADING = {name: heading for heading, (a, b) in GROUPS.items() for name in (*a, *b)}


_DATA = ("data", "source")
"""Names of arguments that take files."""
_ONE = ("", ".zarr", ".npy")
"""Endings of DATA that cannot be several files."""


class Grouped(click.Command):
    """A command whose help has its options in groups, and that has ``--help-all``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Add to an error how several files are given: a shell expands a glob without quotes."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            given = next((ctx.params[name] for name in _DATA if ctx.params.get(name)), None)
            folder, ending = os.path.split(given or "")[0], os.path.splitext(given or "")[1]
            if type(error) is not click.UsageError or ending in _ONE:
                raise
            pattern = shlex.quote(os.path.join(folder, f"*{ending}"))
            raise click.UsageError(
                f"{error.message.rstrip('.')}; several files are one DATA: a folder of them, or a glob in "
                f"quotes, such as {pattern}",
                ctx,
            ) from None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Add the option that shows all options, where help does without some."""
        params = super().get_params(ctx)
        return params if all(_is_common(p, ctx) for p in params) else [*params, _help_all]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options that were asked for, in groups."""
        is_whole = ctx.meta.get(ALL, False)
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None and (is_whole or _is_common(param, ctx)):
                found[_heading(param.name or "")].append(record)
        for heading in (*GROUPS, _OTHERS):
            if heading in found:
                with formatter.section(heading):
                    formatter.write_dl(found[heading])


def _heading(name: str) -> str:
    return _KEYS if name.startswith("key_") else _HEADING.get(name, _OTHERS)


def _is_common(param: click.Parameter, ctx: click.Context) -> bool:
    is_help = param is _help_all or set(param.opts) <= set(ctx.help_option_names)
    is_argument = not isinstance(param, click.Option)
    return is_argument or is_help or param.required or param.name in _COMMON


def _show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


_help_all = click.Option(
    ["--help-all"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_all,
    help="Show all options and exit.",
)
