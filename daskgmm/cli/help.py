"""Help: the options of a command in groups, those that most people need by default."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import click

__all__ = ["Grouped"]

_OTHERS = "Others"
_KEYS = "Keys of the job file, which hold before what it says"
_ALL = "daskgmm.help_all"

GROUPS: Mapping[str, tuple[str, ...]] = {
    "What is done": (
        *("n_components", "covariance_type", "criterion", "random_state", "results", "keep"),
        *("quantile", "probability", "save_threshold", "mark_outliers", "half_life"),
        *("features", "at", "fresh", "size", "small"),
    ),
    "Rows": (
        *("data", "columns", "variables", "weights", "labels", "missing", "constant"),
        *("feature_dim", "mask", "member", "missing_chunks", "layout"),
    ),
    "Where it is written": (
        *("model", "output", "probabilities", "log_density", "report", "overwrite"),
    ),
    "Kind of mixture": (
        *("prior", "noise", "tails", "degrees_of_freedom", "standardize", "n_projected"),
        *("truncate", "fixed", "reg_covar", "on_collapse", "order"),
    ),
    "Starts, steps and when to stop": (
        *("n_init", "init_params", "progressive", "weights_init", "means_init"),
        *("precisions_init", "stepper", "stopping", "tol", "max_iter", "reads", "precision"),
    ),
    "Memory and time": ("memory_limit", "stage", "stage_limit", "stage_dtype"),
    "Interruptions": ("checkpoint", "checkpoint_every", "resume"),
    "Where it runs": ("cluster", "dashboard", "performance_report"),
    "What is printed": ("as_json", "log_format", "log_file", "metrics_file"),
    _KEYS: (),
}
"""Options by what they are for, in the order of help; what is not named is among the others."""

COMMON = {
    *("n_components", "covariance_type", "criterion", "random_state", "results", "keep"),
    *("quantile", "probability", "half_life", "features", "at", "fresh", "size", "small"),
    *("data", "columns", "variables", "weights", "missing"),
    *("model", "output", "report", "overwrite"),
    *("memory_limit", "checkpoint", "resume", "cluster", "as_json"),
}
"""Those that ``--help`` shows; ``--help-all`` shows the rest as well."""

_HEADING = {name: heading for heading, names in GROUPS.items() for name in names}


class Grouped(click.Command):
    """A command whose help has its options in groups, and that has ``--help-all``."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Add the option that shows all options, where help does without some."""
        params = super().get_params(ctx)
        return params if all(_is_common(p, ctx) for p in params) else [*params, _help_all]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options that were asked for, in groups."""
        is_whole = ctx.meta.get(_ALL, False)
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
    return is_argument or is_help or param.required or param.name in COMMON


def _show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
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
