"""Choice: which columns are features, and what is said of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

from daskgmm.conversion.reader import Column, LeftOut
from daskgmm.errors import DataError

__all__ = ["check_known", "chosen", "kept_of"]

_SHOWN = 20


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
        The option that ``asked`` is of.
    kept : sequence of int
        Indices of columns that are written as they are, and are features only if they are asked for.

    Raises
    ------
    DataError
        If one that is asked for does not exist, is doubled or holds no numbers, or none does.
    """
    names = [column.name for column in columns]
    if asked is None:
        found = [j for j, column in enumerate(columns) if not column.unfit and j not in kept]
        if not found:
            said = "; ".join(f"{c.name!r} {c.unfit}" for c in columns[:_SHOWN])
            raise DataError(
                f"no column of {where} holds numbers: {said}; name those that do with {option}"
            )
    else:
        found = [_index(name, names, where, option) for name in asked]
        _check_asked(found, columns, where, option)
    doubled = [name for name, n in Counter(names[j] for j in found).items() if n > 1]
    doubled += [names[j] for j in found if names.count(names[j]) > 1]
    if doubled:
        raise DataError(
            f"{where}: {names.count(doubled[0])} columns have the name {doubled[0]!r}; rename all but "
            f"one of them in the file, or take others with {option}"
        )
    if both := [names[j] for j in found if j in kept]:
        raise DataError(
            f"{option} and --keep both name {both[0]!r}; name it in one of them, or write a copy of "
            "it under another name"
        )
    taken = {*found, *kept}
    left_out = tuple(
        LeftOut(column.name, column.type, column.unfit or "was not asked for")
        for j, column in enumerate(columns)
        if j not in taken
    )
    return found, left_out


def kept_of(columns: Sequence[Column], keep: Sequence[str] | None, where: object) -> list[int]:
    """Indices of the columns that are written as they are.

    Raises
    ------
    DataError
        If one does not exist, or is named twice.
    """
    names = [column.name for column in columns]
    found = [_index(name, names, where, "--keep") for name in keep or ()]
    for j in found:
        if found.count(j) > 1:
            raise DataError(f"--keep names {names[j]!r} twice; name it once")
    return found


def _index(name: str, names: list[str], where: object, option: str) -> int:
    check_known(name, names, where, option)
    return names.index(name)


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
    for j in found:
        if found.count(j) > 1:
            raise DataError(f"{option} names {columns[j].name!r} twice; name it once")
        if not columns[j].is_number:
            raise DataError(
                f"column {columns[j].name!r} of {where} {columns[j].unfit}; features are numbers: leave "
                f"it out of {option}, or convert it first"
            )
