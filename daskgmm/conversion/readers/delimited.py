"""Delimited text, such as CSV: read by pyarrow block after block, with the line of what is wrong.

pyarrow refuses lines that are too short, which pandas fills up with NaN.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from daskgmm.conversion.choice import chosen, kept_of
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.options import How
from daskgmm.conversion.reader import Block, Column, imported, reading
from daskgmm.conversion.readers.arrow import EXTRA, block_of, column_of
from daskgmm.conversion.readers.delimited_text import (
    UNREADABLE,
    QuotesCounted,
    dialect_of,
    first_fault,
    first_record,
    line_of,
    opened,
)
from daskgmm.errors import DaskGMMError, DataError
from daskgmm.redaction import one_line
from daskgmm.rules import words_of

__all__ = ["DelimitedReader"]

_BLOCK_BYTES = 4 * 2**20
"""Text of a block; a few are read ahead."""
_SHOWN = 20
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_CLOCK = r"\d{1,2}:\d{2}\S*( ?[AaPp][Mm])?"
_DATE = r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3\d{4})"
_TIME = re.compile(rf"{_DATE}([T ]{_CLOCK})?|{_CLOCK}")
"""What dates and times of day look like, with which a column is no mistake in one of its lines."""


class DelimitedReader:
    """Rows of delimited text; see :class:`daskgmm.conversion.reader.Reader`.

    Parameters
    ----------
    files : sequence of Input
    how : How

    Raises
    ------
    DataError
        If a file is empty, its header is none, columns are not those of the first file, or the
        first block cannot be read.
    """

    def __init__(self, files: Sequence[Input], how: How) -> None:
        self._pa, self._csv = imported("pyarrow", EXTRA), imported("pyarrow.csv", EXTRA)
        self._files, self._how = files, how
        self._dialect = dialect_of(files[0], how)
        self.is_named = how.header is not False
        self._skips, self._skipped, self.n_ragged = how.ragged == "skip", [0], 0
        self._headers = [self._header(path) for path in files]
        if how.columns is not None:
            self._check_asked(how.columns)
        self.kept: Any = None
        columns, types = self._typed()
        kept = kept_of(columns, how.keep, files[0])
        self.kept = self._pa.schema([(columns[j].name, types[j]) for j in kept]) if kept else None
        if len(columns) == 1 and columns[0].unfit and how.columns is None:
            raise DataError(
                f"{files[0]} has one column, {columns[0].name!r:.60}, and it holds no numbers; if there are "
                "several, name what is between them, as --separator ' '"
            )
        found, self.left_out = chosen(columns, how.columns, files[0], "--columns", kept)
        self.columns = tuple(columns[j] for j in found)
        self._positions = [self._places_in(part) for part in range(len(files))]
        self.dtype = np.dtype(np.float64 if how.dtype == "auto" else how.dtype)

    def _header(self, path: Input) -> list[str]:
        """Names of a file's columns; their numbers, if it has no names."""
        record = first_record(path, self._dialect)
        if not record:
            raise DataError(f"{path} is empty; check how it was written, or leave it out")
        if not self.is_named:
            return [str(j) for j in range(len(record))]
        names = [name.strip() for name in record]
        if any("\ufffd" in name for name in names):
            raise DataError(
                f"{path}: the names of its columns are not {self._dialect.encoding.upper()}; name "
                "their encoding, such as --encoding latin-1"
            )
        numbers = [name for name in names if self._dialect.is_number(name)]
        if self._how.header is None and numbers:  # a row that is taken for names would be lost
            raise DataError(
                f"{path}: its first line holds numbers, such as {numbers[0]}, where names of columns are "
                "expected; if it is a row, add --no-header, and if these are names, --header"
            )
        return names

    def _check_asked(self, asked: Sequence[str]) -> None:
        named = [name for name in asked if not name.isdecimal()]
        if not self.is_named and named:
            n = len(self._headers[0])
            raise DataError(
                f"{self._files[0]} is without a header, so that no column has the name {named[0]!r}; "
                f"ask for columns by their number, as --columns {','.join(map(str, range(min(n, 3))))}"
            )

    def _typed(self) -> tuple[list[Column], list[Any]]:
        """All columns, and the types that the first block of the first file tells."""
        with self._faults(0, {}), opened(self._files[0]) as stream:
            reader = self._open(stream, 0, None)
            schema = reader.schema
            reader.close()
        columns = []
        for name, field in zip(self._headers[0], schema, strict=True):
            column = column_of(name, field.type)
            if self.is_named and not name:
                column = replace(column, unfit="has no name, as a column that counts rows")
            # What is asked for is held against its values, which tells the line.
            columns.append(replace(column, is_number=True))
        text = self._pa.string()  # of what has no values so far
        return columns, [text if self._pa.types.is_null(f.type) else f.type for f in schema]

    def _places_in(self, part: int) -> list[int]:
        """Where the columns that are read are in a file."""
        header, first = self._headers[part], self._headers[0]
        both = [column.name for column in self.columns] + self._kept_names
        wanted = first if self._how.columns is None else both
        lacking = [name for name in wanted if name not in header]
        extra = [name for name in header if name not in first] if self._how.columns is None else []
        if lacking or extra:
            said = [f"lacks {', '.join(map(repr, lacking[:_SHOWN]))}"] if lacking else []
            said += [f"has {', '.join(map(repr, extra[:_SHOWN]))} besides"] if extra else []
            there = [c.name for c in self.columns if c.name in header]
            raise DataError(
                f"{self._files[part]} has other columns than {self._files[0]}: it {' and '.join(said)}; "
                f"convert them apart, or take what both have with --columns {words_of(there, _SHOWN)}"
            )
        return [header.index(name) for name in both]

    @property
    def _kept_names(self) -> list[str]:
        return [] if self.kept is None else list(self.kept.names)

    def _open(
        self, stream: Any, part: int, numbers: dict[int, bool] | None, kept: Sequence[int] = ()
    ) -> Any:
        """A reader of pyarrow, of some columns, by position, of which some are of true and false.

        After them come the columns that are kept as they are.
        """
        csv, dialect = self._csv, self._dialect
        ids = [str(j) for j in range(len(self._headers[part]))]
        types = {
            str(j): self._pa.bool_() if is_boolean else self._pa.float64()
            for j, is_boolean in (numbers or {}).items()
        }
        types |= {str(j): field.type for j, field in zip(kept, self.kept or (), strict=True)}
        return csv.open_csv(
            stream,
            csv.ReadOptions(
                block_size=_BLOCK_BYTES,
                column_names=ids,
                skip_rows_after_names=int(self.is_named),
                encoding="utf8" if dialect.encoding == "utf-8" else dialect.encoding,
            ),
            csv.ParseOptions(
                delimiter=dialect.separator,
                newlines_in_values=True,
                invalid_row_handler=self._counted() if self._skips else None,
            ),
            csv.ConvertOptions(
                null_values=list(dialect.missing),
                strings_can_be_null=True,
                decimal_point=dialect.decimal,
                include_columns=list(types) or None,
                column_types=types,
            ),
        )

    def _counted(self) -> Callable[[Any], str]:
        """Has pyarrow skip ragged lines, and counts those of one read."""
        skipped = [0]
        self._skipped = skipped  # a new one: an abandoned read may still count in the old one

        def skip(row: Any) -> str:
            skipped[0] += 1
            return "skip"

        return skip

    @contextmanager
    def _faults(self, part: int, numbers: dict[int, bool]) -> Iterator[None]:
        """What pyarrow finds wrong, as an error with the line."""
        try:
            with reading(self._files[part], *UNREADABLE):
                yield
        except self._pa.ArrowInvalid as error:
            raise self._error(part, numbers, error) from None

    def _error(self, part: int, numbers: dict[int, bool], error: Exception) -> DaskGMMError:
        path, header = self._files[part], self._headers[part]
        named = int(self.is_named)
        fault = first_fault(path, self._dialect, len(header), numbers, named, skips=self._skips)
        if fault is None:
            return DataError(
                f"{path} cannot be read as CSV: {one_line(error)}; check the file, or name its "
                "--separator"
            )
        where = f"{path}, line {fault.line}"
        if fault.column is None:
            return DataError(
                f"{where}: {fault.n_values} value{'s' * (fault.n_values != 1)} where the first line has "
                f"{len(header)}; correct the line, leave such lines out with --ragged skip, or name another "
                "--separator"
            )
        named_as = {column.name: column for column in self.columns}
        if named_as[header[fault.column]].unfit and _TIME.fullmatch(fault.text):
            return DataError(f"{where}: {self._said_of_times(header[fault.column], fault.text)}")
        others = [header[j] for j in numbers if j != fault.column]
        ways = [f"say that it means a missing value with --missing-text {shlex.quote(fault.text)}"]
        if self._dialect.decimal == "." and _DECIMAL_COMMA.fullmatch(fault.text):
            ways = ["read a decimal comma with --decimal ,"]
        if others:
            ways.append(f"leave the column out with --columns {words_of(others, _SHOWN)}")
        return DataError(
            f"{where}: {fault.text!r} in column {header[fault.column]!r} is no number; correct it, or "
            + ", or ".join(ways)
        )

    def _said_of_times(self, name: str, text: str) -> str:
        """What is wrong with times among numbers, and how they stay beside these."""
        numbers = [column.name for column in self.columns if not column.unfit]
        left = f"--columns {words_of(numbers)}" if numbers else "--columns and the names of those"
        keep = words_of([*(self._how.keep or ()), name])
        return (
            f"{text!r} in column {name!r} is a date or time, and features are numbers; take those that "
            f"are with {left}, and add --keep {keep} where the output is Parquet and is to have the "
            "times as they are"
        )

    def blocks(self) -> Iterator[Block]:
        """All rows."""
        self.n_ragged = 0
        missing = np.array(self._dialect.missing_numbers, self.dtype)
        are_numbers = np.array([column.type != "bool" for column in self.columns])
        for part, path in enumerate(self._files):
            places = self._positions[part]
            n = len(self.columns)
            kept = places[n:]
            numbers = {j: c.type == "bool" for j, c in zip(places[:n], self.columns, strict=True)}
            start = 0
            with self._faults(part, numbers), opened(path) as stream:
                counted = QuotesCounted(stream)
                reader = self._open(counted, part, numbers, kept)
                try:
                    for batch in reader:
                        block = block_of(batch, n, self.dtype, self.kept, part, start)
                        if len(missing) > 0:
                            block.values[np.isin(block.values, missing) & are_numbers] = np.nan
                        yield block
                        start += batch.num_rows
                finally:
                    reader.close()
                counted.check_closed(path, self._dialect)
                self.n_ragged += self._skipped[0]

    def place(self, part: int, row: int) -> str:
        """The file and the line."""
        path = self._files[part]
        width = len(self._headers[part]) if self._skips else None
        return f"{path}, line {line_of(path, self._dialect, row + int(self.is_named), width)}"
