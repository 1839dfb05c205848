"""Convert: rows from files of one format to Zarr or Parquet, block after block."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.conversion.choice import check_known, said_of_left_out
from daskgmm.conversion.files import files_of, is_glob
from daskgmm.conversion.grid_files import GridFiles
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.netcdf_to_zarr import copied
from daskgmm.conversion.options import How
from daskgmm.conversion.reader import Block, Reader
from daskgmm.conversion.writers.parquet_file import ParquetFile
from daskgmm.conversion.writers.writer import Described, Writer
from daskgmm.conversion.writers.zarr_rows import ZarrRows
from daskgmm.errors import DataError, ParameterError
from daskgmm.events import duration, size_of
from daskgmm.execution import peak_memory_bytes
from daskgmm.redaction import redacted
from daskgmm.storage import Location, first_overlap, is_lasting

__all__ = ["MissingValueError", "convert", "grid_written", "told"]

WRITERS: dict[str, Callable[..., Writer]] = {
    ".zarr": ZarrRows,
    ".parquet": ParquetFile,
    ".pq": ParquetFile,
}
"""What an output's ending makes it."""

_SHOWN = 20


def convert(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Write CSV, Parquet, NetCDF or HDF5 as Zarr or Parquet, in bounded memory.

    What is written are rows; but NetCDF becomes a Zarr group of the same variables on the same grid,
    unless ``rows`` is true or the output is Parquet.

    Parameters
    ----------
    source : path or URL
        A file, a folder, or a glob, of files of one format. NetCDF of version 3 is read from local
        files alone.
    output : path or URL
        Its ending says what is written: .zarr or .parquet. It appears whole, or not.
    overwrite : bool
        Whether what is there may be replaced.
    **options
        Of :data:`daskgmm.conversion.options.CONVERT_OPTIONS`.

    Returns
    -------
    dict
        ``source output format n_files n_features dtype``; ``columns``, each with ``name``, ``type``,
        ``units`` and ``n_missing``; ``columns_kept``, names; ``columns_dropped``, each with ``name``, ``type`` and ``reason``;
        ``rows_read rows_written``, ``rows_dropped`` by reason; ``bytes_read bytes_written seconds
        peak_memory_bytes``. Of a grid, ``sizes`` of its dimensions, ``variables``, each with ``name
        type dims shape units``, and ``variables_dropped``, in place of those of rows and columns.

    Raises
    ------
    ParameterError
        If an option is none, is of no use for the format, or the output has another ending.
    NotFoundError, OutputExistsError
    DataError
        Names the file and the line or cell of what cannot be a row.
    DamagedDataError
        If a file ends too early or does not decode.
    StorageError
        If the output cannot be written.
    """
    began = time.perf_counter()
    how = How.of(**options)
    write = _writer_of(output)
    if how.keep and write is not ParquetFile:
        raise ParameterError(
            f"keep (--keep) writes columns to Parquet as they are, and {redacted(os.fspath(output))} is "
            "Zarr, which has numbers alone; name an output that ends in .parquet",
            "keep",
        )
    found, files = files_of(source)
    how.check_only(found.options, f"{found.name}, which {os.fspath(source)} is")
    place = Location.parse(output)
    _check_apart(source, files, place)
    name = redacted(os.fspath(source))
    if found.has_grids and write is ZarrRows and not how.rows:
        how.check_for_grid(name)
        facts = grid_written(GridFiles(files, how.member), place, how, overwrite=overwrite)
    else:
        facts = _rows_written(
            name, found.open(files, how), partial(write, place), how, overwrite=overwrite
        )
    return {
        "source": name,
        "output": os.fspath(output),
        "format": found.name,
        "n_files": len(files),
        **facts,
        "bytes_read": sum(file.n_bytes for file in files),
        "bytes_written": _bytes_at(place),
        "seconds": time.perf_counter() - began,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def grid_written(grid: GridFiles, place: Location, how: How, *, overwrite: bool) -> dict[str, Any]:
    """Write a grid as Zarr, and say what it has.

    Raises
    ------
    DataError, DamagedDataError, OutputExistsError, NotFoundError, StorageError
    """
    for name in how.variables or ():
        check_known(name, list(grid.heads[0].variables), grid.files[0], "--variables")
    variables, left_out = copied(grid, place, how.variables, overwrite=overwrite)
    dims = dict.fromkeys(dim for variable in variables for dim in variable["dims"])
    return {
        "sizes": {dim: grid.size(dim) for dim in dims},
        "variables": variables,
        "variables_dropped": [out._asdict() for out in left_out],
    }


def _rows_written(
    name: str, reader: Reader, write: Callable[..., Writer], how: How, *, overwrite: bool
) -> dict[str, Any]:
    """Write rows, and say which."""
    described = Described(reader.columns, reader.is_named, reader.dtype, name, reader.kept)
    rows = _Rows(reader, how.missing)
    with write(described, overwrite=overwrite) as writer, _overflow_refused(described):
        for block in reader.blocks():
            writer.write(*rows.taken(block))
        rows.check_some(name)
    return {
        "n_features": len(reader.columns),
        "dtype": str(reader.dtype),
        **rows.counts(),
        "columns_kept": [] if reader.kept is None else list(reader.kept.names),
        "columns_dropped": [column._asdict() for column in reader.left_out],
    }


@contextmanager
def _overflow_refused(described: Described) -> Iterator[None]:
    """Refuse numbers that would become infinite in the dtype that is written."""
    try:
        with np.errstate(over="raise"):
            yield
    except FloatingPointError:
        raise DataError(
            f"{described.source} holds a number that is too large for {described.dtype}; leave --dtype out, "
            "or write --dtype float64"
        ) from None


def told(report: dict[str, Any]) -> str:
    """A report of :func:`convert` as lines for people."""
    lines = _told_of_rows(report) if "columns" in report else _told_of_grid(report)
    return "\n".join(
        [
            *lines,
            f"took                    {duration(report['seconds'])}, "
            f"{size_of(report['bytes_read'] / report['seconds'])}/s, peak memory "
            f"{size_of(report['peak_memory_bytes'])}",
            f"output                  {report['output']}",
        ]
    )


def _told_of_grid(report: dict[str, Any]) -> list[str]:
    sizes = ", ".join(f"{dim} {n:,}" for dim, n in report["sizes"].items())
    shown = report["variables"][:_SHOWN]
    return [
        f"grid                    {sizes}",
        *(
            f"{'variables' if n == 0 else '':<24}{v['name']} ({', '.join(v['dims'])}) {v['type']}"
            + (f" [{v['units']}]" if v["units"] else "")
            for n, v in enumerate(shown)
        ),
        *(
            [f"{'':<24}... and {len(report['variables']) - _SHOWN} more"]
            if len(shown) < len(report["variables"])
            else []
        ),
        *(
            f"left out                {v['name']!r} {v['reason']}"
            for v in report["variables_dropped"]
        ),
    ]


def _told_of_rows(report: dict[str, Any]) -> list[str]:
    dropped = "; ".join(f"{n:,} for a {why}" for why, n in report["rows_dropped"].items())
    missing = ", ".join(
        f"{c['name']} {c['n_missing']:,}" for c in report["columns"] if c["n_missing"]
    )
    names = ", ".join(
        f"{c['name']} [{c['units']}]" if c["units"] else c["name"]
        for c in report["columns"][:_SHOWN]
    )
    lines = [
        f"{report['rows_read']:,} rows read, {report['rows_written']:,} written, x "
        f"{report['n_features']} {report['dtype']}",
        f"columns                 {names}{', ...' * (len(report['columns']) > _SHOWN)}",
    ]
    if report["columns_kept"]:
        lines.append(f"kept as they are        {', '.join(report['columns_kept'][:_SHOWN])}")
    if dropped:
        lines.append(f"rows left out           {dropped}")
    if missing:
        lines.append(f"missing values          {missing}")
    said = said_of_left_out(report["columns_dropped"])
    return [*lines, *(f"left out                {phrase}" for phrase in said)]


class MissingValueError(DataError):
    """A value is missing, and none is to be.

    Attributes
    ----------
    found : str
        Where it is, without a way out.
    """

    def __init__(self, found: str) -> None:
        super().__init__(
            f"{found}; leave such rows out with missing='drop' (--missing drop), or write NaN with "
            "missing='keep' (--missing keep)"
        )
        self.found = found


class _Rows:
    """What becomes of rows with missing values, and how many there were."""

    def __init__(self, reader: Reader, missing: str) -> None:
        self._reader, self._missing = reader, missing
        self._n_read = self._n_dropped = 0
        self._n_missing = np.zeros(len(reader.columns), np.int64)

    def taken(self, block: Block) -> tuple[NDArray[Any], Any]:
        """The rows of a block that are written, and what they have in columns that are kept.

        Raises
        ------
        DataError
            At the first missing value, if none is to be.
        """
        values = block.values
        self._n_read += len(values)
        gaps = np.isnan(values)
        if not gaps.any():
            return values, block.kept
        if self._missing == "error":
            self._refuse(block, gaps)
        self._n_missing += gaps.sum(axis=0)
        if self._missing == "keep":
            return values, block.kept
        whole = ~gaps.any(axis=1)
        self._n_dropped += len(values) - int(whole.sum())
        kept = block.kept
        return values[whole], None if kept is None else kept.filter(whole)

    def _refuse(self, block: Block, gaps: NDArray[np.bool_]) -> None:
        row, column = (int(i) for i in np.argwhere(gaps)[0])
        where = self._reader.place(block.part, block.start + row)
        raise MissingValueError(
            f"{where}: a value of {self._reader.columns[column].name!r} is missing"
        )

    def check_some(self, name: str) -> None:
        """Refuse what has no rows to write.

        Raises
        ------
        DataError
        """
        if self._n_read == 0:
            raise DataError(f"{name} has no rows; check how it was written")
        if self._n_read == self._n_dropped:
            often = self._reader.columns[int(np.argmax(self._n_missing))].name
            raise DataError(
                f"{name}: each of its {self._n_read:,} rows has a missing value, most of them one of "
                f"{often!r}; choose other columns, or write NaN with --missing keep"
            )

    def counts(self) -> dict[str, Any]:
        """Rows and columns of the report."""
        n_ragged = self._reader.n_ragged
        dropped = {"missing value": self._n_dropped, "line of another count of values": n_ragged}
        return {
            "rows_read": self._n_read + n_ragged,
            "rows_written": self._n_read - self._n_dropped,
            "rows_dropped": {why: n for why, n in dropped.items() if n},
            "columns": [
                {"name": c.name, "type": c.type, "units": c.units, "n_missing": int(n)}
                for c, n in zip(self._reader.columns, self._n_missing, strict=True)
            ],
        }


def _writer_of(output: str | os.PathLike[str]) -> Callable[..., Writer]:
    stem, ending = os.path.splitext(os.fspath(output).rstrip("/"))
    if ending.lower() not in WRITERS:
        raise ParameterError(
            f"{redacted(os.fspath(output))}: what is written is Zarr or Parquet, by the ending of its name; "
            f"name it {redacted(stem)}.zarr or {redacted(stem)}.parquet"
        )
    return WRITERS[ending.lower()]


def _check_apart(source: str | os.PathLike[str], files: Sequence[Input], output: Location) -> None:
    """Refuse an output that is, or is inside, what is read, or that would not last."""
    if not is_lasting(output):
        raise ParameterError(
            f"{output.name} is memory of this process and would go with it; name a folder, or a URL of a "
            "store that stays"
        )
    given = Location.parse(source)
    for place in [file.place for file in files] if is_glob(given) else [given]:
        if first_overlap([place, output]) is not None:
            raise ParameterError(
                f"{output.name} and {place.name} overlap; name an output that lies apart from what is read"
            )


def _bytes_at(place: Location) -> int | None:
    """Bytes of what was written; None for a URL."""
    if not place.is_local:
        return None
    if place.path.is_file():
        return place.path.stat().st_size
    return sum(p.stat().st_size for p in place.path.rglob("*") if p.is_file())
