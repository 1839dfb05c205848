"""Delimited text: how a file of it is written, and on which of its lines something stands.

Nothing here is fast. The beginning of a file tells how it is to be read, and where it cannot be
read, a second look at it finds the line.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import math
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, NamedTuple

from daskgmm.conversion.inputs import Input
from daskgmm.conversion.options import How
from daskgmm.conversion.reader import imported, reading
from daskgmm.conversion.readers.arrow import EXTRA
from daskgmm.errors import DataError, ParameterError

__all__ = [
    "MISSING",
    "UNREADABLE",
    "Dialect",
    "QuotesCounted",
    "dialect_of",
    "first_fault",
    "first_record",
    "line_of",
    "opened",
]

SEPARATORS = (",", ";", "\t", "|")
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""Texts of missing values, as pandas has them."""
UNREADABLE = (zlib.error, lzma.LZMAError, UnicodeError)
"""What is raised on the way from bytes to text, beside OSError and EOFError."""

_HEAD_BYTES = 1 << 18
_HEAD_LINES = 200
_LONGEST_SHOWN = 40
_NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf(inity)?|nan)", re.ASCII | re.IGNORECASE
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _zstandard(handle: Any) -> Any:
    pa = imported("pyarrow", EXTRA)
    file = pa.OSFile(handle) if isinstance(handle, str) else pa.PythonFile(handle, "r")
    return pa.CompressedInputStream(file, "zstd")


_COMPRESSIONS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
    (b"\x28\xb5\x2f\xfd", _zstandard),
)
"""What compressed files begin with: their names may say otherwise."""


def opened(path: Input) -> IO[bytes]:
    """The bytes of a file, decompressed."""
    first = path.head(8)
    for magic, open_compressed in _COMPRESSIONS:
        if first.startswith(magic):
            stream: IO[bytes] = open_compressed(path.handle())
            return stream
    return path.opened()


@dataclass(frozen=True)
class Dialect:
    """How a text is written.

    Attributes
    ----------
    separator, decimal, encoding : str
    missing : tuple of str
    """

    separator: str
    decimal: str
    encoding: str
    missing: tuple[str, ...] = MISSING

    @property
    def missing_numbers(self) -> list[float]:
        """Numbers among the texts of missing values: however they are written, they mean the same."""
        numbers = (text for text in self.missing if self.is_number(text))
        found = [float(text.strip(" \t").replace(self.decimal, ".")) for text in numbers]
        return [number for number in found if math.isfinite(number)]

    def is_number(self, text: str, is_boolean: bool = False) -> bool:
        """Whether a value is a number; none is missing."""
        text = text.strip(" \t")
        if is_boolean and text.lower() in ("true", "false", "0", "1"):
            return True
        if self.decimal != ".":
            text = text.replace(".", "?").replace(self.decimal, ".")
        return _NUMBER.fullmatch(text) is not None


class Fault(NamedTuple):
    """What is wrong with a line.

    Attributes
    ----------
    line : int
        From 1 on.
    n_values : int
        Of the line.
    column : int or None
        Which value is no number; None if their count is wrong.
    text : str
        The value, shortened.
    """

    line: int
    n_values: int
    column: int | None = None
    text: str = ""


def dialect_of(path: Input, how: How) -> Dialect:
    """How a file is written, by what was said of it and by its beginning.

    Raises
    ------
    DataError
        If it is empty.
    ParameterError
        If the encoding is not known.
    """
    encoding = _encoding(path, how.encoding)
    lines = _head(path, encoding)
    if not lines:
        raise DataError(f"{path} is empty; check how it was written, or leave it out")
    separator = how.separator or _separator(lines, how.decimal)
    if separator == how.decimal:
        raise ParameterError(
            f"separator and decimal are both {separator!r}; name another --separator", "separator"
        )
    return Dialect(separator, how.decimal, encoding, (*MISSING, *(how.missing_text or ())))


def _encoding(path: Input, said: str | None) -> str:
    if said is not None:
        try:
            return codecs.lookup(said).name
        except LookupError:
            raise ParameterError(
                f"encoding {said!r} is not known; name one of Python's, such as latin-1 or cp1252",
                "encoding",
            ) from None
    with reading(path, *UNREADABLE), opened(path) as stream:
        first = stream.read(4)
    return next((name for mark, name in _MARKS if first.startswith(mark)), "utf-8")


def _text(stream: Any, encoding: str) -> io.TextIOWrapper:
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    return io.TextIOWrapper(stream, name, errors="replace", newline="")


def _head(path: Input, encoding: str) -> list[str]:
    """The first lines, each of them whole."""
    with reading(path, *UNREADABLE), opened(path) as stream, _text(stream, encoding) as text:
        found = text.read(_HEAD_BYTES)
        is_all = not text.read(1)
    lines = list(io.StringIO(found, newline=""))  # as csv has them: others end lines elsewhere, too
    if not is_all and len(lines) > 1:
        lines = lines[:-1]
    return lines[:_HEAD_LINES] if found.strip() else []


def _separator(lines: list[str], decimal: str) -> str:
    """The separator by which most lines have as many values as the first, and the most of them."""

    def score(separator: str) -> tuple[float, int]:
        widths = [len(record) for record in csv.reader(lines, delimiter=separator) if record]
        if not widths or widths[0] == 1:
            return 0.0, 0
        return widths.count(widths[0]) / len(widths), widths[0]

    return max((s for s in SEPARATORS if s != decimal), key=score)


def _records(
    path: Input, dialect: Dialect, *, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Records that are not empty, and the line on which each begins."""
    line = 1
    with (
        reading(path, *UNREADABLE),
        opened(path) as stream,
        _text(stream, dialect.encoding) as text,
    ):
        reader = csv.reader(text, delimiter=dialect.separator, strict=strict)
        try:
            for record in reader:
                if record:
                    yield line, record
                line = reader.line_num + 1
        except csv.Error as error:
            if strict and "unexpected end" not in str(error):
                return  # what is told apart here is a quote that is not closed, and nothing else
            raise DataError(
                f"{path}, line {line}: a value that begins on this line has no end; close its quote, or "
                "remove it"
            ) from None


class QuotesCounted:
    """A stream for pyarrow, which takes the end of a file for a closing quote.

    Parameters
    ----------
    stream : binary stream
    """

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._n_quotes = stream, 0

    def read(self, n_bytes: int = -1) -> bytes:
        """Bytes of the stream."""
        found = self._stream.read(n_bytes)
        self._n_quotes += found.count(b'"')
        return found

    def close(self) -> None:
        """Leave the stream to whoever opened it."""

    def check_closed(self, path: Input, dialect: Dialect) -> None:
        """Refuse a file that ends between quotes.

        Raises
        ------
        DataError
            Names the line.
        """
        if self._n_quotes % 2:  # else they are pairs
            for _ in _records(path, dialect, strict=True):
                pass


def first_record(path: Input, dialect: Dialect) -> list[str]:
    """The values of the first line that is not empty."""
    return next(_records(path, dialect), (1, []))[1]


def line_of(path: Input, dialect: Dialect, record: int, width: int | None) -> int:
    """The line on which a record begins; both are counted from the first, records from 0 on.

    Where a width is given, records of so many values alone are counted.
    """
    records = (line for line, found in _records(path, dialect) if width in (None, len(found)))
    return next(islice(records, record, None), 0)


def first_fault(
    path: Input,
    dialect: Dialect,
    width: int,
    numbers: dict[int, bool],
    n_skipped: int,
    *,
    skips: bool = False,
) -> Fault | None:
    """The first line that has another count of values, or holds none that is a number.

    Parameters
    ----------
    path : Input
    dialect : Dialect
    width : int
        Values that each line has.
    numbers : dict
        Columns in which values must be numbers, and whether each is of true and false.
    n_skipped : int
        Lines at the beginning that hold names.
    skips : bool
        Whether lines of another count are left out.
    """
    for i, (line, record) in enumerate(_records(path, dialect)):
        if len(record) != width and skips:
            continue
        if len(record) != width:
            return Fault(line, len(record))
        if i < n_skipped:
            continue
        for j, is_boolean in numbers.items():
            if record[j] not in dialect.missing and not dialect.is_number(record[j], is_boolean):
                text = record[j]
                shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
                return Fault(line, width, j, shown)
    return None
