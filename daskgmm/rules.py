"""Rules: what a value may be, in words and as a test, and how a text is read as one.

One rule serves a parameter in Python, an option of a command, a variable of the environment
and a key of a file, so that all of them accept the same values. The file grows by a rule with each
kind of option, and is longer than others for it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

from daskgmm.errors import InvalidParameterError, ParameterError
from daskgmm.lazily import Lazily

if TYPE_CHECKING:
    import numpy as np
else:
    np = Lazily("numpy")

__all__ = [
    "ARRAY",
    "COUNT",
    "COUNTS",
    "COUNT_OF_SEVERAL",
    "COUNT_OR_NONE",
    "DEGREES",
    "FIXED",
    "FLAG",
    "NAMES",
    "NOISE",
    "NUMBER",
    "NUMBER_OR_AUTO",
    "N_AXES",
    "PLACE",
    "PLACE_OR_AUTO",
    "POSITIVE",
    "PRIOR",
    "RESULT_NAMES",
    "SEED",
    "SHARE",
    "SIZE",
    "STANDARDIZE",
    "TEXT",
    "VERBOSITY",
    "Rule",
    "bytes_of",
    "counts_of",
    "names_of",
    "one_of",
    "some_of",
    "words_of",
]


class Rule(NamedTuple):
    """What a value may be.

    Attributes
    ----------
    what : str
        In words that follow "must be".
    accepts : callable
        Whether a value is one; never raises.
    required : bool
        Whether commands and files must give it. In Python each parameter has a default.
    parse : callable
        Turns a text into a value, which ``accepts`` then tests; may raise ValueError.
    metavar : str
        What stands for a value in the help of the command line.
    words : tuple of str
        The names that are accepted: no others, unless the rule accepts places.
    is_place : bool
        Whether values are paths and URLs. In a file, paths are relative to its folder.
    """

    what: str
    accepts: Callable[[Any], bool]
    required: bool = False
    parse: Callable[[str], Any] = str
    metavar: str = "TEXT"
    words: tuple[str, ...] = ()
    is_place: bool = False

    @property
    def is_choice(self) -> bool:
        """Whether nothing but :attr:`words` is accepted."""
        return bool(self.words) and not self.is_place

    def read(self, text: str) -> Any:
        """The value that a text stands for.

        Raises
        ------
        ValueError
            If it stands for none that the rule accepts; the message says what it must be.
        """
        try:
            value = self.parse(text)
        except ValueError:
            value = None
        if value is None or not self.accepts(value):
            raise ValueError(f"must be {self.what}, got {text!r:.80}")
        return value


def one_of(*words: str) -> Rule:
    """The rule that accepts these words."""
    return Rule(
        f"one of {', '.join(words)}",
        lambda value: isinstance(value, str) and value in words,
        metavar=f"[{'|'.join(words)}]",
        words=words,
    )


def some_of(*words: str) -> Rule:
    """The rule that accepts one of these words, or a list of some."""
    one = one_of(*words)

    def parse(text: str) -> str | list[str]:
        parts = [part.strip() for part in text.split(",")]
        return parts[0] if len(parts) == 1 else parts

    return Rule(
        f"{one.what}, or a list of them",
        lambda value: one.accepts(value) or _is_list_of(value, one.accepts),
        parse=parse,
        metavar=f"{one.metavar},...",
    )


def _is_list_of(value: Any, accepts: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(map(accepts, value))


def counts_of(text: str) -> list[int]:
    """``2:12`` with both ends, or ``2,4,8``.

    Raises
    ------
    ValueError
        If the text is neither, or a range goes down or begins below 1.
    """
    found: list[int] = []
    for part in text.split(","):
        ends = part.split(":")
        if not all(end.strip().isdecimal() for end in ends) or len(ends) > 2:
            raise ValueError(f"{text!r} is not like 2:12, or 2,4,8")
        first, last = int(ends[0]), int(ends[-1])
        if not 1 <= first <= last:
            raise ValueError(f"{part!r} must go up, from 1 or more")
        found += range(first, last + 1)
    return found


def _count_or_counts(text: str) -> int | list[int]:
    return int(text) if text.strip().isdecimal() else counts_of(text)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_seed(value: Any) -> bool:
    if isinstance(value, np.random.RandomState):
        return True
    return _is_whole(value) and 0 <= value < 2**32


def _is_verbosity(value: Any) -> bool:
    return _is_flag(value) or (_is_whole(value) and value >= 0)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_number(value: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return 0 <= float(value) < math.inf  # which NaN is not, either
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_count_or_none(value: Any) -> bool:
    return _is_whole(value) and value >= 0


def _is_number_or_auto(value: Any) -> bool:
    return value == "auto" if isinstance(value, str) else _is_number(value)


def _is_scale(value: Any) -> bool:
    return value == "robust" if isinstance(value, str) else _is_flag(value)


def _is_axes(value: Any) -> bool:
    return _is_count(value) or (not _is_whole(value) and _is_number(value) and 0 < value <= 1)


def names_of(value: Any) -> list[str]:
    """Names from a list, or from a text with commas between them; a quoted one may have commas.

    Raises
    ------
    ParameterError
        If a text is none of names, as with a line break outside of quotes.
    """
    if not isinstance(value, str):
        return list(value)
    try:
        return [name.strip() for name in next(csv.reader([value], skipinitialspace=True), [])]
    except csv.Error:
        raise ParameterError(
            f"{value!r:.80} is no text of names with commas between them; put a name with a line break "
            "in double quotes"
        ) from None


def words_of(names: Sequence[str], most: int | None = None) -> str:
    """Names as one word of a shell, which :func:`names_of` reads as the same names.

    It is its inverse for all names that have no blanks at their ends.

    Parameters
    ----------
    names : sequence of str
    most : int, optional
        How many are shown; ``...`` stands for the others.

    Examples
    --------
    >>> print(words_of(["id", "depth,m", "sea level"]))
    'id,"depth,m",sea level'
    """
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerow(names[:most])
    text = written.getvalue().removesuffix("\r\n")
    return shlex.quote(text + (",..." if most is not None and len(names) > most else ""))


def _is_names(value: Any) -> bool:
    if not isinstance(value, str | list | tuple):
        return False
    try:
        names = names_of(value)
    except ValueError:
        return False
    return bool(names) and all(isinstance(name, str) and name for name in names)


def _is_place(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and bool(os.fspath(value))


def _is_array(value: Any) -> bool:
    has_items = hasattr(value, "__array__") or hasattr(value, "__len__")
    return has_items and not isinstance(value, str | bytes | Mapping)


def _flag(text: str) -> bool:
    """A flag as YAML 1.1 and click read it."""
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError(text)


def _flag_or_number(text: str) -> bool | float:
    """A flag by its words, else a number: 1 is a number here."""
    return _flag(text) if text.strip().isalpha() and text.lower() not in _NUMBERS else float(text)


_NUMBERS = ("inf", "infinity", "nan")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SIZE = re.compile(r"(?P<number>[\d.]+(?:e[+-]?\d+)?)\s*(?P<prefix>[kmgtp]?)(?P<binary>i?)b?")


def _amount(text: str) -> int:
    """Bytes of a size such as ``"512MiB"``, ``"4 GB"`` or ``"1e6"``."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(text)
    number, power = float(match["number"]), _POWERS[match["prefix"]]
    if not 0 < number < 1e18:
        raise ValueError(text)
    return int(number * (1024 if match["binary"] else 1000) ** power)


def _is_size(value: Any) -> bool:
    if isinstance(value, float):  # as YAML reads 1e6
        return value.is_integer() and value >= 1
    if not isinstance(value, str):
        return _is_count(value)
    try:
        return _amount(value) >= 1
    except ValueError:
        return False


COUNT = Rule("a whole number of 1 or more", _is_count, parse=int, metavar="N")
COUNT_OR_NONE = Rule("a whole number of 0 or more", _is_count_or_none, parse=int, metavar="N")
COUNT_OF_SEVERAL = Rule(
    "a whole number of 2 or more",
    lambda value: _is_count(value) and value >= 2,
    parse=int,
    metavar="N",
)
COUNTS = Rule(
    "a whole number of 1 or more, a range such as 2:12, or a list such as [2, 4, 8]",
    lambda value: _is_count(value) or _is_list_of(value, _is_count),
    required=True,
    parse=_count_or_counts,
    metavar="N|FIRST:LAST",
)
NUMBER = Rule("a number of 0 or more", _is_number, parse=float, metavar="NUMBER")
POSITIVE = Rule(
    "a number above 0",
    lambda value: _is_number(value) and value > 0,
    parse=float,
    metavar="NUMBER",
)
SHARE = Rule(
    "a number above 0 and below 1",
    lambda value: _is_number(value) and 0 < value < 1,
    parse=float,
    metavar="SHARE",
)
NUMBER_OR_AUTO = Rule(
    "auto, or a number of 0 or more",
    _is_number_or_auto,
    parse=lambda text: text if text == "auto" else float(text),
    metavar="auto|NUMBER",
)
SEED = Rule(
    "a whole number from 0 to 4294967295 (or in Python a RandomState)",
    _is_seed,
    parse=int,
    metavar="N",
)
VERBOSITY = Rule("true, false or a whole number of 0 or more", _is_verbosity, parse=int)
FLAG = Rule("true or false", _is_flag, parse=_flag, metavar="true|false")
STANDARDIZE = Rule(
    "true, false or robust",
    _is_scale,
    parse=lambda text: text if text == "robust" else _flag(text),
    metavar="true|false|robust",
)
DEGREES = Rule(
    "shared, each, or a number above 0",
    lambda value: (
        value in ("shared", "each") if isinstance(value, str) else _is_number(value) and value > 0
    ),
    parse=lambda text: text if text in ("shared", "each") else float(text),
    metavar="shared|each|NUMBER",
)
NOISE = Rule(
    "true, false, or a volume above 0",
    lambda value: _is_flag(value) or (_is_number(value) and value > 0),
    parse=_flag_or_number,
    metavar="true|false|VOLUME",
)
N_AXES = Rule(
    "a whole number of 1 or more, or a share of the variance above 0 and up to 1, such as 0.99",
    _is_axes,
    parse=lambda text: int(text) if text.strip().isdecimal() else float(text),
    metavar="N|SHARE",
)
SIZE = Rule("a size such as 8GiB, or a number of bytes", _is_size, metavar="SIZE")
NAMES = Rule("a list of names, such as a,b", _is_names, parse=names_of, metavar="NAME,...")
TEXT = Rule("text (in quotes)", lambda value: isinstance(value, str))
PLACE = Rule("a path or a URL", _is_place, metavar="PATH", is_place=True)
PLACE_OR_AUTO = Rule(
    "auto, or a folder", _is_place, metavar="DIR|auto", words=("auto",), is_place=True
)
ARRAY = Rule("an array", _is_array, parse=json.loads, metavar="JSON")

_OF_PRIOR = ("shrinkage", "dof", "scale", "mean", "concentration")


def _is_prior(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return isinstance(value, str) and value == "auto"
    return all(key in _OF_PRIOR and _are_finite(item) for key, item in value.items())


def _are_finite(value: Any) -> bool:
    """Whether a value is a number or an array of some, all finite, or None."""
    try:
        numbers = np.asarray(value)
    except ValueError:  # rows of different lengths
        return False
    return value is None or (numbers.dtype.kind in "iuf" and bool(np.isfinite(numbers).all()))


PRIOR = Rule(
    f"auto; or, in Python and in job files, a mapping of some of {', '.join(_OF_PRIOR)}",
    _is_prior,
    metavar="auto",
)
"""Which numbers a prior can have is for whoever makes it."""


_PARTS = ("weights", "means", "covariances")


def _is_fixed(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(part in _PARTS and _are_numbers(which) for part, which in value.items())


def _are_numbers(value: Any) -> bool:
    """Whether a value is all, or numbers of components, each once."""
    if isinstance(value, str):
        return value == "all"
    is_array = isinstance(value, np.ndarray) and value.ndim == 1
    if not (is_array or isinstance(value, list | tuple | range)):
        return False
    numbers = list(value)
    return all(_is_whole(n) and n >= 0 for n in numbers) and len(set(numbers)) == len(numbers)


FIXED = Rule(
    f"a mapping of some of {', '.join(_PARTS)} to all, or to a list of numbers of components",
    _is_fixed,
    parse=json.loads,
    metavar="JSON",
)


_RESULTS = ("labels", "probabilities", "log_density")
_TOP = re.compile(r"top:[1-9]\d{0,5}")


def _are_results(value: Any) -> bool:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        return False
    if not all(isinstance(n, str) and (n in _RESULTS or _TOP.fullmatch(n)) for n in names):
        return False
    kinds = [name.partition(":")[0] for name in names]
    return len(set(kinds)) == len(kinds)


RESULT_NAMES = Rule(
    f"a list of some of {', '.join(_RESULTS)}, top:5 (the five most probable), each once",
    _are_results,
    parse=lambda text: [part.strip() for part in text.split(",")],
    metavar="NAME,...",
)
"""Results for each row; a test holds the names against the table that gives them."""


def bytes_of(size: int | str | None, name: str = "memory_limit") -> int | None:
    """Bytes of a size given as a number or as text such as ``"512MiB"``; errors call it ``name``.

    Raises
    ------
    InvalidParameterError
        If it is not an amount of memory above zero.
    """
    if size is None:
        return None
    if not SIZE.accepts(size):
        raise InvalidParameterError(f"{name} must be {SIZE.what}; got {size!r}", name)
    return _amount(size) if isinstance(size, str) else int(size)
