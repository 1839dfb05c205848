"""Keys of job files as options and variables of the environment."""

from __future__ import annotations

import difflib
import functools
import os
from typing import Any

import click
from click.core import ParameterSource

from daskgmm.cli.options import Command
from daskgmm.errors import JobError, warn
from daskgmm.jobfile import KEYS, Given
from daskgmm.log_format import LOG_FORMAT_VARIABLE
from daskgmm.rules import FLAG
from daskgmm.settings import TIMEOUT_VARIABLE

__all__ = ["with_keys"]


def with_keys(function: Command) -> Command:
    """Decorator that adds an option and an environment variable for every key of a job file.

    The function is given ``given``, a mapping from keys to what one of the two says: a value and where
    it is from.
    """

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
            metavar=None if row.rule is FLAG else row.rule.metavar,
            help=row.help,
        )(decorated)
    return decorated


_SHORT_OPTIONS = {"outputs.log": ["--log"], "outputs.metrics": ["--metrics"]}
"""Options of the other commands for the same, which are accepted here as well."""


def _option(key: str) -> str:
    return "--" + key.replace(".", "-").replace("_", "-")


_PREFIX = "DASKGMM_"
_OTHERS = (
    *(TIMEOUT_VARIABLE, LOG_FORMAT_VARIABLE),
    *("DASKGMM_LOOPS", "DASKGMM_LOOPS_LIBRARY", "DASKGMM_COMPILER"),  # of kernel/loops
)
"""Variables of this package that are of no key."""


def _variable(key: str) -> str:
    return _PREFIX + key.replace(".", "_").upper()


def _check_variables() -> None:
    """Refuse a misspelt variable, which would be as if it were not there.

    Others are not ours: Kubernetes gives pods variables named for its services.
    """
    known = [_variable(key) for key in KEYS]
    for name in os.environ:
        if not name.startswith(_PREFIX) or name in (*known, *_OTHERS):
            continue
        near = difflib.get_close_matches(
            name.removeprefix(_PREFIX), [k.removeprefix(_PREFIX) for k in known], 1, cutoff=0.75
        )
        problem = f"the environment has {name}, which is of no key"
        if near:
            raise JobError(f"{problem}; did you mean {_PREFIX}{near[0]}?")
        warn(f"{problem} and is left alone")
