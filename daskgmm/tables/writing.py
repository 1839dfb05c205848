"""Writing: the one way out for results of stored rows, which the place's name leads to a kind of.

A kind of output is one row of :data:`OUTPUTS`: it says which places are its own, refuses those
that could not be written, and makes an output for what is asked. The output is a context: whole
at its end, gone after an error. Its writer travels to the tasks and is given the results of a
block, ``writer.write(start, {name: array})``, in any order and maybe twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daskgmm._version import __version__
from daskgmm.errors import ParameterError
from daskgmm.storage import (
    RESULTS_FORMAT,
    ROW,
    ParquetOutput,
    ParquetSource,
    ResultArray,
    RowAxes,
    RowOutput,
    Variable,
    check_output,
    check_parquet_output,
    is_parquet_name,
    text_variable,
)
from daskgmm.tables.kind import OpenedRows
from daskgmm.tables.returned import Classes, Result, Returned

__all__ = [
    "OUTPUTS",
    "Asked",
    "OutputKind",
    "Writer",
    "check_keep",
    "check_only",
    "check_rows_output",
    "create_rows_output",
    "group_attributes",
]


class Writer(Protocol):
    """What tasks carry; small to pickle."""

    def write(self, start: int, results: Mapping[str, NDArray[Any]]) -> None:
        """Store results by name, each with a row for each row from ``start`` on."""
        ...


class Output(Protocol):
    """What has a writer."""

    @property
    def writer(self) -> Writer:
        """Writes the blocks."""
        ...


@dataclass(frozen=True)
class Asked:
    """What is to be written to one place.

    Attributes
    ----------
    opened : OpenedRows
        The rows; blocks of ``opened.output_rows`` rows, or multiples, are written at once.
    results : tuple of Result
    classes : tuple of int
        Of the mixture.
    model : str
        What records call the model; secrets are removed.
    overwrite : bool
        Whether an output that is there may be replaced.
    source : Source, Grid or None
        What the rows are stored in.
    keep : tuple of str
        Names of columns of the source that are copied beside the results.
    only : str or None
        Name of an array: rows alone of which it is 1 are written.
    """

    opened: OpenedRows
    results: tuple[Result, ...]
    classes: Classes
    model: str
    overwrite: bool = False
    source: Any = None
    keep: tuple[str, ...] = ()
    only: str | None = None

    @property
    def arrays(self) -> tuple[Returned, ...]:
        """All arrays of the results."""
        return tuple(a for result in self.results for a in result.arrays(self.classes))

    @property
    def stored(self) -> dict[str, ResultArray]:
        """What storage has to know of these arrays, by name."""
        return {
            a.name: ResultArray(a.dtype, a.fill, a.dims, a.shape, a.attributes, a.columns)
            for a in self.arrays
        }


@dataclass(frozen=True)
class OutputKind:
    """A row of the table.

    Attributes
    ----------
    name : str
    matches : callable
        Whether a path or URL is one of this kind, for rows of a source.
    check : callable
        ``check(place, overwrite=...)`` refuses a place that could not be written, before work starts.
    create : callable
        The output for a place and what is :class:`Asked`.
    """

    name: str
    matches: Callable[[str, Any], bool]
    check: Callable[..., None]
    create: Callable[[str, Asked], AbstractContextManager[Output]]


_ALONG = {
    "component": "component, or -1 for noise",
    "rank": "rank, 0 for the most probable component",
    "feature": "feature",
}
"""Dimensions of results beside the rows, and what coordinates along them are."""


def group_attributes(asked: Asked) -> dict[str, str]:
    """What a group of results says of itself."""
    return {
        "Conventions": "CF-1.11",
        "format": RESULTS_FORMAT,
        "title": f"results of {asked.opened.name} under {asked.model}",
        "model": asked.model,
        "data": asked.opened.name,
        "daskgmm_version": __version__,
    }


def _coordinate(dim: str, along: Sequence[int | str]) -> Variable:
    """The coordinate of a dimension of results, of numbers or of names."""
    if all(isinstance(one, str) for one in along):
        return text_variable((dim,), [str(one) for one in along], long_name=_ALONG[dim])
    return Variable((dim,), np.array(along), {"long_name": _ALONG[dim]})


def _create_group(place: str, asked: Asked) -> RowOutput:
    """A Zarr group of the results along a dimension ``row``, and coordinates along the others."""
    along = {dim: _coordinate(dim, a.along) for a in asked.arrays for dim in a.dims}
    return RowOutput.create(
        place,
        RowAxes((asked.opened.rows.n_rows,), coordinates=along),
        asked.stored,
        partition_rows=asked.opened.output_rows,
        attributes=group_attributes(asked),
        overwrite=asked.overwrite,
    )


def _create_parquet(place: str, asked: Asked) -> ParquetOutput:
    """A file for each file of the rows, with a column for each result."""
    how: dict[str, Any] = {"partition_rows": asked.opened.output_rows, "overwrite": asked.overwrite}
    made = ParquetOutput.create(place, asked.source, asked.stored, keep=asked.keep, **how)
    return made.only(asked.only)


def _is_parquet(place: str, source: Any) -> bool:
    return isinstance(source, ParquetSource) and is_parquet_name(place)


OUTPUTS: tuple[OutputKind, ...] = (
    OutputKind("parquet", _is_parquet, check_parquet_output, _create_parquet),
    OutputKind("zarr", lambda place, source: True, check_output, _create_group),
)
"""Kinds of output in the order in which they are asked; Zarr, which takes what is left, is the last."""


def _kind_of(place: str, source: Any) -> OutputKind:
    return next(kind for kind in OUTPUTS if kind.matches(place, source))


def check_rows_output(place: str, *, overwrite: bool, source: Any = None) -> None:
    """Refuse a place that results of a source could not be written to, before work starts.

    Raises
    ------
    DaskGMMError
        As the kind of output raises it.
    """
    _kind_of(place, source).check(place, overwrite=overwrite)


def check_keep(keep: Sequence[str], source: Any, places: Sequence[str]) -> None:
    """Refuse columns to keep that are not there, or where no output has columns.

    Raises
    ------
    ParameterError, DataError
    """
    if not keep:
        return
    if not any(_is_parquet(place, source) for place in places):
        if isinstance(source, ParquetSource) and places:
            stem = places[0].rstrip("/").removesuffix(".zarr")
            raise ParameterError(
                f"keep copies columns into Parquet outputs, whose names end in .parquet, and {places[0]} "
                f"does not; name the output {stem}.parquet, or leave keep out",
                "keep",
            )
        raise ParameterError(
            "keep copies columns of Parquet rows into Parquet outputs, whose names end in .parquet; "
            f"{' and '.join([source.name, *places[:1]])} are not both: leave it out",
            "keep",
        )
    source.check_kept(keep)


def check_only(source: Any, place: str, keep: Sequence[str]) -> None:
    """Refuse ``only`` if the output has a place for each row, or ``keep`` has a column ``row``.

    Raises
    ------
    ParameterError
    """
    if not _is_parquet(place, source):
        raise ParameterError(
            "only writes some rows, and an output in Zarr has a place for each; write rows of Parquet or CSV "
            "to a name that ends in .parquet, or leave only out",
            "only",
        )
    if ROW in keep:
        raise ParameterError(
            f"keep has {ROW!r}, which is the name of the column of numbers of rows; leave it out, or "
            "rename it in the data",
            "keep",
        )


def create_rows_output(place: str, asked: Asked) -> AbstractContextManager[Output]:
    """Prepare an output of results for each row; raises as :func:`check_rows_output`."""
    return _kind_of(place, asked.source).create(place, asked)
