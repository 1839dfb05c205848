"""Parquet columns: which of them are features, and what each is read as."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from daskgmm.errors import DataError, ParameterError
from daskgmm.rules import words_of

__all__ = ["Column", "Schemas", "dtype_of"]

_MOST_SHOWN = 12

Names = tuple[str, ...]


class Column(NamedTuple):
    """A column that is read.

    Attributes
    ----------
    name : str
    kind : str
        Name of its Arrow type.
    cast : bool
        Whether NumPy has no numbers of that type: it is cast to float64 first.
    itemsize : int
        Bytes of a value.
    units : str
        As the field's metadata say; empty where they do not.
    """

    name: str
    kind: str
    cast: bool
    itemsize: int
    units: str = ""


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    return any(test(kind) for test in tests)


def _column(field: Any) -> Column:
    from pyarrow import types

    cast = types.is_boolean(field.type) or types.is_decimal(field.type)
    size = max(1, field.type.bit_width // 8)
    return Column(field.name, str(field.type), cast, size, _units(field))


def _units(field: Any) -> str:
    return str((field.metadata or {}).get(b"units", b"").decode("utf-8", "replace"))


def _are_same(one: Any, other: Any) -> bool:
    """Whether two schemas have the same columns, in the same units."""
    return bool(one.equals(other)) and [*map(_units, one)] == [*map(_units, other)]


def dtype_of(columns: Sequence[Column]) -> np.dtype[Any]:
    """float32 where every column is that or float16, else float64."""
    narrow = all(column.kind in ("float", "halffloat") for column in columns)
    return np.dtype(np.float32 if narrow else np.float64)


class Schemas:
    """The schemas of all files of a folder, each once.

    Parameters
    ----------
    name : str
        Name of the data, for messages.
    found : iterable of (str, pyarrow.Schema)
        Name and schema of each file.
    """

    def __init__(self, name: str, found: Iterable[tuple[str, Any]]) -> None:
        self._name = name
        self._distinct: list[tuple[str, Any]] = []
        for file, schema in found:
            if not any(_are_same(schema, other) for _, other in self._distinct):
                self._distinct.append((file, schema))

    @property
    def _first(self) -> Any:
        return self._distinct[0][1]

    def _index(self) -> Names:
        """Columns that pandas wrote for its index, which are none of the frame's."""
        about = self._first.pandas_metadata or {}
        return tuple(n for n in about.get("index_columns", ()) if isinstance(n, str))

    def features(self, without: Iterable[str] = ()) -> tuple[Column, ...]:
        """All columns, if all are numbers, but for some.

        Raises
        ------
        DataError
            If one is no number, or a file has other columns than the first.
        """
        apart = {*without, *self._index()}
        fields = [field for field in self._first if field.name not in apart]
        refused = [f"{f.name!r} is {f.type}" for f in fields if not _is_number(f.type)]
        if refused:
            numbers = [field.name for field in fields if _is_number(field.type)]
            raise DataError(
                f"{self._name} has columns that are no numbers: {_some(refused)}; "
                + (
                    f"name the others with columns= (--columns {words_of(numbers)})"
                    if numbers
                    else "none is left that could be a feature"
                )
            )
        if not fields:
            raise DataError(f"{self._name} has no columns that could be features")
        self._check_no_others(apart)
        names = [field.name for field in fields]
        for name, n in Counter(names).items():
            if n > 1:
                raise self._doubled(name, n)
        return self.named(names)

    def numbers(self) -> Names:
        """Names of all columns that are numbers."""
        return tuple(field.name for field in self._first if _is_number(field.type))

    def types(self) -> dict[str, str]:
        """Name and type of each column of the first file."""
        return {field.name: str(field.type) for field in self._first}

    def named(self, names: Sequence[str]) -> tuple[Column, ...]:
        """Columns by name, in this order.

        Raises
        ------
        ParameterError
            If there is none of a name, or a name comes twice.
        DataError
            If one is no number, or of another type in another file.
        """
        _check_once(names, "columns")
        columns = [self._named(name) for name in names]
        self._check_equal(columns)
        return tuple(columns)

    def check_there(self, names: Sequence[str]) -> None:
        """Refuse names of columns, of any type, that are not in each file.

        Raises
        ------
        DataError, ParameterError
        """
        _check_once(names, "keep")
        for file, schema in self._distinct:
            for name in names:
                n_found = schema.names.count(name)
                if n_found == 0 and schema is self._first:
                    raise ParameterError(self._unknown(name, of_numbers=False), "keep")
                if n_found != 1:
                    raise DataError(
                        f"{self._name}: {file} has {n_found} columns {name!r}, and one is needed "
                        "to keep it; leave it out"
                    )

    def has(self, names: Iterable[str]) -> bool:
        """Whether there is a column of each name."""
        return set(names) <= set(self._first.names)

    def _named(self, name: str) -> Column:
        n_found = self._first.names.count(name)
        if n_found == 0:
            raise ParameterError(self._unknown(name), "columns")
        if n_found > 1:
            raise self._doubled(name, n_found)
        field = self._first.field(name)
        if not _is_number(field.type):
            raise DataError(
                f"{self._name}: column {name!r} is {field.type}, and features are numbers; leave it "
                f"out: {_those(self.numbers())}"
            )
        return _column(field)

    def _doubled(self, name: str, n: int) -> DataError:
        return DataError(
            f"{self._name} has {n} columns {name!r}, so that it cannot be told which is meant; write "
            "them with names of their own"
        )

    def _unknown(self, name: str, *, of_numbers: bool = True) -> str:
        """What is wrong with the name of a column that no file has."""
        folders = (part for file, _ in self._distinct for part in file.split("/")[:-1])
        if found := next((part for part in folders if part.startswith(f"{name}=")), None):
            return (
                f"{self._name} has {name!r} in the names of its folders, such as {found}, and in no file; "
                'write it into the files: python -c "import pyarrow.dataset as ds; ds.write_dataset(ds.dataset('
                f"{self._name!r}, partitioning='hive'), 'with_{name}', format='parquet')\""
            )
        near = difflib.get_close_matches(name, self._first.names, 1)
        others = _those(self.numbers()) if of_numbers else f"it has {_some(self._first.names)}"
        hint = f"did you mean {near[0]!r}?" if near else others
        return f"{self._name} has no column {name!r}; {hint}"

    def _check_equal(self, columns: Sequence[Column]) -> None:
        first, *others = self._distinct
        for file, schema in others:
            for column in columns:
                what = None
                if schema.names.count(column.name) != 1:
                    what = f"has no column {column.name!r}"
                elif (kind := str(schema.field(column.name).type)) != column.kind:
                    what = f"has {column.name!r} as {kind}"
                if what:
                    raise DataError(
                        f"{self._name}: {file} {what}, which is {column.kind} in {first[0]}; write "
                        "all files with the same types, or leave the column out with columns= "
                        "(--columns)"
                    )
                units = _units(schema.field(column.name))
                if column.units and units and units != column.units:
                    raise DataError(
                        f"{self._name}: {file} has {column.name!r} in {units!r}, which is in "
                        f"{column.units!r} in {first[0]}; write all files in the same units, or leave the "
                        "column out with columns= (--columns)"
                    )

    def _check_no_others(self, apart: Iterable[str]) -> None:
        """Refuse a file with columns of its own, which are features if the first one's are."""
        known = {*self._first.names, *apart}
        both = [n for n in self.numbers() if all(n in schema.names for _, schema in self._distinct)]
        for file, schema in self._distinct[1:]:
            for name in schema.names:
                if name not in known:
                    raise DataError(
                        f"{self._name}: {file} has a column {name!r}, which {self._distinct[0][0]} has "
                        "not; name the features with columns= "
                        f"(--columns {words_of(both)})"
                    )


def _check_once(names: Sequence[str], option: str) -> None:
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise ParameterError(f"{option} has {twice[0]!r} twice; name each column once", option)


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_SHOWN
    return ", ".join(texts[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _those(names: Sequence[str]) -> str:
    return f"those that are numbers: {_some(names)}" if names else "none is a number"
