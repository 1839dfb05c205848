"""Choice: which columns are features, and what is said of the others."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from daskgmm.conversion.reader import Column, LeftOut
from daskgmm.errors import DataError

__all__ = ["NOT_ASKED", "check_known", "chosen", "kept_of", "said_of_left_out"]

NOT_ASKED = "was not asked for"
"""The reason of columns that nobody named, beside others that were."""

_SHOWN = 20
_FEW = 3
_PLURAL = {"is": "are", "was": "were", "has": "have"}


def chosen(
    columns: Sequence[Column],
    asked: Sequence[str] | None,
    where: object,
    option: str,
    kept: Sequence[int] = (),
) -> tuple[list[int], tuple[LeftOut, ...]]:
    """Indices of the columns that are features, and the columns that are left out.

    Parameters
    ----------
    columns : sequence of Column
    asked : sequence of str or None
        Names; None for all columns that hold numbers.
    where : object
        What messages call the data.
    option : str
        The option by which the user gave ``asked``, such as ``--columns``.
    kept : sequence of int
        Indices of columns that are written as they are, and are features only if they are asked for.

    Raises
    ------
    DataError
        If a column that is asked for does not exist, shares its name with another, is also kept, or
        holds no numbers; or if no column holds numbers.
    """
    names = [column.name for column in columns]
    apart = set(kept)
    if asked is None:
        found = [j for j, column in enumerate(columns) if not column.unfit and j not in apart]
        if not found:
            said = "; ".join(f"{c.name!r} {c.unfit}" for c in columns[:_SHOWN])
            raise DataError(
                f"no column of {where} holds numbers: {said}; name those that do with {option}"
            )
    else:
        found = _indices(asked, names, where, option)
        _check_asked(found, columns, where, option)
    _check_single(found, names, where, option)
    if both := [names[j] for j in found if j in apart]:
        raise DataError(
            f"{option} and --keep both name {both[0]!r}; name it in one of them, or write a copy of "
            "it under another name"
        )
    taken = {*found, *kept}
    left_out = tuple(
        LeftOut(column.name, column.type, column.unfit or NOT_ASKED)
        for j, column in enumerate(columns)
        if j not in taken
    )
    return found, left_out


def kept_of(columns: Sequence[Column], keep: Sequence[str] | None, where: object) -> list[int]:
    """Indices of the columns that are written as they are.

    Raises
    ------
    DataError
        If one does not exist, shares its name with another, or is named twice.
    """
    names = [column.name for column in columns]
    found = _indices(keep or (), names, where, "--keep")
    _check_once(found, names, "--keep")
    _check_single(found, names, where, "--keep")
    return found


def said_of_left_out(columns: Sequence[Mapping[str, str]]) -> list[str]:
    """What is said of columns that are not written: a phrase for each reason.

    Parameters
    ----------
    columns : sequence of mapping
        A ``name`` and a ``reason`` of each, as reports of conversions have them.

    Examples
    --------
    >>> said_of_left_out(
    ...     [
    ...         {"name": "word", "reason": "is text"},
    ...         *({"name": name, "reason": "was not asked for"} for name in "abcde"),
    ...     ]
    ... )
    ["'word' is text", "5 columns were not asked for: 'a', 'b', 'c' and 2 more"]
    """
    names: dict[str, list[str]] = {}
    for column in columns:
        names.setdefault(column["reason"], []).append(column["name"])
    return [_said_of(reason, having) for reason, having in names.items()]


def _said_of(reason: str, names: list[str]) -> str:
    if len(names) == 1:
        return f"{names[0]!r} {reason}"
    verb, _, rest = reason.partition(" ")
    most = _FEW if reason == NOT_ASKED else _SHOWN
    more = f" and {len(names) - most} more" if len(names) > most else ""
    listed = ", ".join(map(repr, names[:most]))
    return f"{len(names)} columns {_PLURAL.get(verb, verb)} {rest}: {listed}{more}"


def _indices(asked: Sequence[str], names: list[str], where: object, option: str) -> list[int]:
    """Index of the first column of each name."""
    first = {name: j for j, name in reversed([*enumerate(names)])}
    for name in asked:
        if name not in first:
            check_known(name, names, where, option)
    return [first[name] for name in asked]


def _check_once(found: Sequence[int], names: Sequence[str], option: str) -> None:
    for j, n in Counter(found).items():
        if n > 1:
            raise DataError(f"{option} names {names[j]!r} twice; name it once")


def _check_single(found: Sequence[int], names: Sequence[str], where: object, option: str) -> None:
    """Refuse names that several columns have, since it is not known which of them is meant."""
    counts = Counter(names)
    for name in (names[j] for j in found):
        if counts[name] > 1:
            raise DataError(
                f"{where}: {counts[name]} columns have the name {name!r}; rename all but one of them in "
                f"the file, or take others with {option}"
            )


def check_known(name: str, names: list[str], where: object, option: str) -> None:
    """Refuse the name of a column or variable that is not there.

    Raises
    ------
    DataError
    """
    if name in names:
        return
    near = get_close_matches(name, names, 1)
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    raise DataError(
        f"{where} has no column {name!r}, which {option} names; "
        + (f"did you mean {near[0]!r}? It has: {listed}" if near else f"it has: {listed}")
    )


def _check_asked(
    found: Sequence[int], columns: Sequence[Column], where: object, option: str
) -> None:
    _check_once(found, [column.name for column in columns], option)
    for j in found:
        if not columns[j].is_number:
            is_kept = option == "--columns" and columns[j].unfit.startswith("is of times")
            keep = f"; --keep {shlex.quote(columns[j].name)} copies it to Parquet as it is"
            raise DataError(
                f"column {columns[j].name!r} of {where} {columns[j].unfit}; features are numbers: leave "
                f"it out of {option}, or convert it first{keep * is_kept}"
            )
