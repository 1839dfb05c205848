"""Option: a row of the tables of settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daskgmm.errors import InvalidParameterError
from daskgmm.rules import Rule

__all__ = ["Option"]


@dataclass(frozen=True)
class Option:
    """A row of the table.

    Attributes
    ----------
    name : str
        Name of the parameter in Python.
    default : object
        Default of the parameter in Python. None is accepted exactly where it is the default.
    rule : Rule
        What else is accepted, from Python, the command line, a file or the environment.
    help : str
        Text for the command line.
    short : str
        Name outside Python, if that is different.
    commands : tuple of str
        Commands that have it as an option.
    section : str or None
        Section of a job file in which it is a key: ``"model"``, or ``""`` for the top level; None
        where a job has no use for it.
    default_of_commands : object
        Default outside Python, if that is different.
    decides : bool
        Whether the result depends on it: a fit can go on from a checkpoint with no other
        value of it.
    of_objective : bool
        Whether it says what a fit climbs: a warm start with another value of it is compared with
        nothing that the fit before had found.
    is_saved : bool
        Whether it is among the settings in a saved model's record.
    rule_of_jobs : Rule or None
        What a job file accepts, where that is more: several values, of which the job selects.
    """

    name: str
    default: Any
    rule: Rule
    help: str = ""
    short: str = ""
    commands: tuple[str, ...] = ()
    section: str | None = None
    default_of_commands: Any = None
    decides: bool = True
    of_objective: bool = False
    is_saved: bool = False
    rule_of_jobs: Rule | None = None

    @property
    def rule_of_key(self) -> Rule:
        """What a job file accepts."""
        return self.rule_of_jobs or self.rule

    @property
    def word(self) -> str:
        """Its name outside Python, with underscores."""
        return self.short or self.name

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.word.replace('_', '-')}"

    @property
    def key(self) -> str | None:
        """Its key in a job file, with a dot where it is in a section."""
        if self.section is None:
            return None
        return f"{self.section}.{self.word}" if self.section else self.word

    def check(self, value: Any) -> None:
        """Raise an error for a value that the parameter does not accept.

        Raises
        ------
        InvalidParameterError
        """
        if (value is None and self.default is None) or self.rule.accepts(value):
            return
        what = f"{self.rule.what}{', or None' if self.default is None else ''}"
        raise InvalidParameterError(f"{self.name} must be {what}; got {value!r:.200}", self.name)
