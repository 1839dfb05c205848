"""Trees: dataclasses of numbers, text and arrays as plain JSON and one run of numbers.

The annotations of the dataclasses are the schema. What is read is held against them, so
a file that was edited is refused with the name of the field, and no class is ever named
by a file.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from daskgmm.kernel import COMPONENTS, Components

__all__ = ["Tree", "TreeError", "from_tree", "to_tree"]

_LARGEST = float(np.finfo(np.float64).max)
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""JSON has no word for these."""


class TreeError(ValueError):
    """A tree is not of the type that is expected; says where."""


@dataclass(frozen=True, eq=False)
class Tree:
    """A value in plain parts.

    Attributes
    ----------
    plain : object
        JSON; an array is ``{"shape": [...], "at": first of its numbers}``.
    numbers : array of shape (n,)
        Of all arrays, in C order, float64.
    """

    plain: Any
    numbers: NDArray[np.float64]


def to_tree(value: Any) -> Tree:
    """Take a value apart; :func:`from_tree` puts it together with the same bits."""
    parts: list[NDArray[np.float64]] = []

    def plain(value: Any) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.ndarray):
            at = sum(part.size for part in parts)
            parts.append(np.ascontiguousarray(value, dtype=np.float64).ravel())
            return {"shape": list(value.shape), "at": at}
        if isinstance(value, int | np.integer):
            return int(value)
        if isinstance(value, float | np.floating):
            number = float(value)
            return number if math.isfinite(number) else str(number)
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, Components):
            arrays = {name: plain(array) for name, array in value.arrays.items()}
            return {"kind": value.kind, **arrays}
        if is_dataclass(value):
            return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        raise TypeError(f"{type(value).__name__} has no place in a tree")

    found = plain(value)
    return Tree(found, np.concatenate(parts) if parts else np.empty(0))


def from_tree(kind: Any, tree: Tree, *, instead_of_any: Any = None) -> Any:
    """Put a value together.

    Parameters
    ----------
    kind : type
        What the value must be: a dataclass, by its fields' annotations.
    tree : Tree
        From anywhere.
    instead_of_any : type, optional
        What fields annotated as Any must be.

    Raises
    ------
    TreeError
        If the tree is not of that type; names the first field that is not.
    """
    return _Reader(tree.numbers, instead_of_any).read(kind, tree.plain, "it")


class _Reader:
    def __init__(self, numbers: NDArray[np.float64], instead_of_any: Any) -> None:
        self._numbers = numbers
        self._instead_of_any = instead_of_any

    def read(self, kind: Any, plain: Any, where: str) -> Any:
        if kind is Any:
            kind = self._instead_of_any
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            options = get_args(kind)
            if plain is None and type(None) in options:
                return None
            (kind,) = (option for option in options if option is not type(None))
            return self.read(kind, plain, where)
        if origin in (list, tuple):
            item = get_args(kind)[0]
            found = self._expect(list, plain, where)
            return origin(self.read(item, p, f"{where}[{i}]") for i, p in enumerate(found))
        if origin is np.ndarray:
            return self._array(plain, where)
        if kind is Components:
            return self._components(plain, where)
        if is_dataclass(kind):
            return self._dataclass(kind, plain, where)
        return _PLAIN[kind](self, plain, where)

    def _dataclass(self, kind: Any, plain: Any, where: str) -> Any:
        found = self._expect(dict, plain, where)
        return self._built(kind, found, where)

    def _components(self, plain: Any, where: str) -> Components:
        """Components of a kind that the table of kinds has."""
        found = dict(self._expect(dict, plain, where))
        name = found.pop("kind", None)
        if not isinstance(name, str) or name not in COMPONENTS:
            raise TreeError(f"{where} is of kind {name!r:.80}; known are {', '.join(COMPONENTS)}")
        components: Components = self._built(COMPONENTS[name], found, where)
        return components

    def _built(self, kind: Any, found: dict[str, Any], where: str) -> Any:
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        if set(found) != set(names):
            raise TreeError(f"{where} has the fields {sorted(found)}, not {sorted(names)}")
        values = {name: self.read(hints[name], found[name], f"{where}.{name}") for name in names}
        try:
            return kind(**values)
        except ValueError as error:
            raise TreeError(f"{where}: {error}") from error

    def _array(self, plain: Any, where: str) -> NDArray[np.float64]:
        found = self._expect(dict, plain, where)
        shape, at = found.get("shape"), found.get("at")
        if not (
            isinstance(shape, list)
            and len(shape) <= 3
            and all(type(n) is int and n >= 0 for n in [*shape, at])
            and at + math.prod(shape) <= len(self._numbers)
        ):
            raise TreeError(f"{where} is no array: shape {shape!r:.80}, at {at!r:.80}")
        return self._numbers[at : at + math.prod(shape)].reshape(shape).copy()

    def _expect(self, kind: type, plain: Any, where: str) -> Any:
        if type(plain) is not kind:
            raise TreeError(f"{where} is a {type(plain).__name__}, not a {kind.__name__}")
        return plain

    def _float(self, plain: Any, where: str) -> float:
        if type(plain) in (int, float) and abs(plain) <= _LARGEST:
            return float(plain)
        if isinstance(plain, str) and plain in _NON_FINITE:
            return _NON_FINITE[plain]
        raise TreeError(f"{where} is {plain!r:.80}, not a number")


_PLAIN: Mapping[Any, Callable[[_Reader, Any, str], Any]] = {
    float: _Reader._float,
    int: lambda reader, plain, where: reader._expect(int, plain, where),
    bool: lambda reader, plain, where: reader._expect(bool, plain, where),
    str: lambda reader, plain, where: reader._expect(str, plain, where),
}
