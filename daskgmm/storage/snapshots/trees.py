"""Trees: dataclasses of numbers, text and arrays as plain JSON and one run of numbers.

The annotations of the dataclasses are the schema. What is read is held against them, so
a file that was edited is refused with the name of the field. Where an annotation leaves a
choice of dataclasses, the file says which, by a name among theirs: no other class is ever built.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from daskgmm.errors import ParameterError
from daskgmm.kernel import COMPONENTS, Components, components_named

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
        Values of all arrays, in C order, float64.
    """

    plain: Any
    numbers: NDArray[np.float64]


def to_tree(value: Any) -> Tree:
    """Take a dataclass apart; :func:`from_tree` puts it together with the same bits."""
    writer = _Writer()
    found = writer.plain(value, type(value))
    return Tree(found, np.concatenate(writer.parts) if writer.parts else np.empty(0))


def from_tree(kind: Any, tree: Tree) -> Any:
    """Put a value together.

    Parameters
    ----------
    kind : type
        What the value must be: a dataclass, by its fields' annotations.
    tree : Tree
        From anywhere.

    Raises
    ------
    TreeError
        If the tree is not of that type; names the first field that is not.
    """
    return _Reader(tree.numbers).read(kind, tree.plain, "it")


def _options(kind: Any) -> tuple[Any, ...]:
    """What an annotation allows, but for None."""
    if get_origin(kind) not in (Union, types.UnionType):
        return (kind,)
    return tuple(option for option in get_args(kind) if option is not type(None))


def _is_needed(field: Field[Any]) -> bool:
    """Whether a field must be there. One with a default may be absent: an older version lacked it."""
    return field.default is MISSING and field.default_factory is MISSING


class _Writer:
    def __init__(self) -> None:
        self.parts: list[NDArray[np.float64]] = []

    def plain(self, value: Any, kind: Any) -> Any:
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, np.ndarray):
            at = sum(part.size for part in self.parts)
            self.parts.append(np.ascontiguousarray(value, dtype=np.float64).ravel())
            return {"shape": list(value.shape), "at": at}
        if isinstance(value, int | np.integer):
            return int(value)
        if isinstance(value, float | np.floating):
            number = float(value)
            return number if math.isfinite(number) else str(number)
        if isinstance(value, list | tuple):
            item, *_ = get_args(kind) or (Any,)  # of what is no list, reading says so
            return [self.plain(one, item) for one in value]
        if isinstance(value, Mapping):
            return {name: self.plain(array, None) for name, array in value.items()}
        if isinstance(value, Components):
            arrays = {name: self.plain(array, None) for name, array in value.arrays.items()}
            return {"kind": value.kind, **arrays}
        if not is_dataclass(value):
            raise TypeError(f"{type(value).__name__} has no place in a tree")
        hints = get_type_hints(type(value))
        found = {f.name: self.plain(getattr(value, f.name), hints[f.name]) for f in fields(value)}
        return {type(value).__name__: found} if len(_options(kind)) > 1 else found


class _Reader:
    def __init__(self, numbers: NDArray[np.float64]) -> None:
        self._numbers = numbers

    def read(self, kind: Any, plain: Any, where: str) -> Any:
        options = _options(kind)
        if options != (kind,):
            if plain is None and len(options) < len(get_args(kind)):
                return None
            return self._one_of(options, plain, where)
        origin = get_origin(kind)
        if origin in (list, tuple):
            item = get_args(kind)[0]
            found = self._expect(list, plain, where)
            return origin(self.read(item, p, f"{where}[{i}]") for i, p in enumerate(found))
        if origin is np.ndarray:
            return self._array(plain, where)
        if origin is Mapping:
            named = self._expect(dict, plain, where)
            return {name: self._array(p, f"{where}.{name}") for name, p in named.items()}
        if kind is Components:
            return self._components(plain, where)
        if is_dataclass(kind):
            return self._dataclass(kind, plain, where)
        return _PLAIN[kind](self, plain, where)

    def _one_of(self, options: tuple[Any, ...], plain: Any, where: str) -> Any:
        if len(options) == 1:
            return self.read(options[0], plain, where)
        named = {option.__name__: option for option in options}
        found = self._expect(dict, plain, where)
        if len(found) != 1 or not found.keys() <= named.keys():
            raise TreeError(f"{where} is {list(found)!r:.80}, not one of {sorted(named)}")
        ((name, of),) = found.items()
        return self.read(named[name], of, where)

    def _dataclass(self, kind: Any, plain: Any, where: str) -> Any:
        found = self._expect(dict, plain, where)
        return self._built(kind, found, where)

    def _components(self, plain: Any, where: str) -> Components:
        """Components of a kind that the table of kinds has."""
        found = dict(self._expect(dict, plain, where))
        name = found.pop("kind", None)
        try:
            law = components_named(name)
        except ParameterError:
            known = ", ".join(COMPONENTS)
            raise TreeError(f"{where} is of kind {name!r:.80}; known are {known}") from None
        components: Components = self._built(law, found, where)
        return components

    def _built(self, kind: Any, found: dict[str, Any], where: str) -> Any:
        hints = get_type_hints(kind)
        known = {field.name: _is_needed(field) for field in fields(kind)}
        needed = {name for name, is_needed in known.items() if is_needed}
        if not needed <= set(found) <= set(known):
            optional = sorted(set(known) - needed)
            may_have = f" and may have {optional}" if optional else ""
            raise TreeError(
                f"{where} has the fields {sorted(found)}; it needs {sorted(needed)}{may_have}"
            )
        values = {name: self.read(hints[name], found[name], f"{where}.{name}") for name in found}
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
