"""The options of a conversion, once, as data: :data:`CONVERT_OPTIONS`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from daskgmm.errors import ParameterError
from daskgmm.rules import FLAG, NAMES, TEXT, Rule, names_of, one_of, words_of
from daskgmm.settings import Option

__all__ = ["CONVERT_OPTIONS", "How", "command_of", "word_of"]

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def _are_texts(value: Any) -> bool:
    listed = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    return isinstance(value, str) or (listed and bool(value))


def _is_character(value: Any) -> bool:
    return (
        isinstance(value, str) and len(value) == 1 and not value.isalnum() and value not in '"\r\n'
    )


_TEXTS = Rule("texts, with commas between them", _are_texts, parse=names_of, metavar="TEXT,...")
_CHARACTER = Rule(
    "one character that is no letter, digit or quote, or tab",
    _is_character,
    parse=lambda text: "\t" if text in ("tab", "\\t") else text,
    metavar="CHARACTER",
)

CONVERT_OPTIONS: tuple[Option, ...] = (
    Option(
        "columns",
        None,
        NAMES,
        "Columns to take, in this order; by their number from 0 on where they have no names. "
        "Default: all that hold numbers.",
    ),
    Option(
        "keep",
        None,
        NAMES,
        "Columns of CSV or Parquet that are written to Parquet as they are, beside the numbers: keys, "
        "times, texts.",
    ),
    Option(
        "variables",
        None,
        NAMES,
        "Variables of NetCDF to take. Default: all; of rows, those that hold numbers over the most "
        "dimensions.",
    ),
    Option(
        "rows",
        False,
        FLAG,
        "Write the cells of NetCDF as rows, without their grid, as Parquet has them in any case.",
    ),
    Option(
        "member", None, TEXT, "Which dataset of HDF5, or which group of NetCDF: its path in it."
    ),
    Option(
        "missing",
        "error",
        one_of("error", "drop", "keep"),
        "What becomes of a row with a missing value: an error, left out and counted, or NaN.",
    ),
    Option(
        "dtype",
        "auto",
        one_of("auto", "float32", "float64"),
        "Dtype to write. auto: float64, or float32 where no column is wider.",
    ),
    Option(
        "header",
        None,
        FLAG,
        "Whether the first line of CSV holds names. Default: it does, and is refused where it holds "
        "numbers.",
    ),
    Option(
        "separator", None, _CHARACTER, "Between values of CSV. Default: guessed among , ; tab |."
    ),
    Option("decimal", ".", one_of(".", ","), "Decimal point of CSV."),
    Option(
        "encoding",
        None,
        TEXT._replace(metavar="NAME"),
        "Of the text of CSV, such as latin-1. Default: UTF-8, or what a byte-order mark says.",
    ),
    Option(
        "missing_text",
        None,
        _TEXTS,
        "Values of CSV that are missing, beside empty ones, NA, NaN, null and the like. A number stands "
        "for all ways to write it: -9999 also for -9999.0.",
    ),
    Option(
        "ragged",
        "error",
        one_of("error", "skip"),
        "What becomes of a line of CSV with more or fewer values than the first: an error, or left out and "
        "counted.",
    ),
)
"""What :func:`daskgmm.conversion.convert.convert` and ``daskgmm convert`` can be told."""


@dataclass(frozen=True)
class How:
    """A value for each of :data:`CONVERT_OPTIONS`, which says what it means.

    Raises
    ------
    InvalidParameterError
        By :meth:`of`, if one is none that its option accepts.
    """

    columns: list[str] | None = None
    keep: list[str] | None = None
    variables: list[str] | None = None
    rows: bool = False
    member: str | None = None
    missing: str = "error"
    dtype: str = "auto"
    header: bool | None = None
    separator: str | None = None
    decimal: str = "."
    encoding: str | None = None
    missing_text: list[str] | None = None
    ragged: str = "error"

    @classmethod
    def of(cls, **given: Any) -> How:
        """The checked values of some options; the others have their defaults."""
        for option in CONVERT_OPTIONS:
            if option.name in given:
                option.check(given[option.name])
        lists = {name: names_of(given[name]) for name in _LISTS if given.get(name) is not None}
        return cls(**(given | lists))

    def check_only(self, taken: frozenset[str], what: str) -> None:
        """Refuse options that a format has no use for.

        Parameters
        ----------
        taken : set of str
            Names of options that some formats have and others do not, which this one has.
        what : str
            What messages call the format.

        Raises
        ------
        ParameterError
        """
        for option in self._given():
            if option.name not in taken | _OF_ALL:
                other = _INSTEAD.get(option.name)
                raise ParameterError(
                    f"{option.name} ({option.flag}) is of no use for {what}; "
                    + (f"use {other} (--{other})" if other in taken else "leave it out"),
                    option.name,
                )

    def check_for_grid(self, what: str) -> None:
        """Refuse options that are of rows, where a grid is written.

        Raises
        ------
        ParameterError
        """
        for option in self._given():
            if option.name in _OF_ALL:
                raise ParameterError(
                    f"{option.name} ({option.flag}) is of use for rows, and {what} stays a grid, with its gaps "
                    "and as it is stored; leave it out, or write rows (--rows)",
                    option.name,
                )

    def _given(self) -> list[Option]:
        """Options with other values than the default."""
        return [o for o in CONVERT_OPTIONS if getattr(self, o.name) != o.default]


_LISTS = tuple(option.name for option in CONVERT_OPTIONS if option.rule in (NAMES, _TEXTS))
_OF_ALL = frozenset({"missing", "dtype"})
_INSTEAD = {"columns": "variables", "variables": "columns"}
"""What some formats call what others call so."""


def command_of(name: str, options: Mapping[str, Any] = _NO_OPTIONS, ending: str = ".zarr") -> str:
    """The command that converts data for good, with the options that were given."""
    kept = Path(name).name.partition(".")[0].strip("*?[]") or "data"
    flags = {option.name: option.flag for option in CONVERT_OPTIONS}
    given = "".join(
        f" {flags[o]} {word_of(value)}"
        for o, value in options.items()
        if value is not None and value is not True
    )
    given += "".join(f" {flags[o]}" for o, value in options.items() if value is True)
    if Path(kept + ending).exists():  # such as the grid that the file was made of
        kept += "-converted"
    return f"daskgmm convert {shlex.quote(name)}{given} --output {shlex.quote(kept + ending)}"


def word_of(value: Any) -> str:
    """The value of an option as one word of a shell."""
    return words_of(value) if isinstance(value, list | tuple) else shlex.quote(str(value))
