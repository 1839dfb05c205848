"""Before fits: rows of other formats, converted for one command and removed after it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daskgmm.conversion.choice import NOT_ASKED, check_known, said_of_left_out
from daskgmm.conversion.convert import MissingValueError, convert, grid_written
from daskgmm.conversion.files import COMPRESSED, files_of, needs_conversion
from daskgmm.conversion.grid_files import GridFiles
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.options import CONVERT_OPTIONS, How, command_of, word_of
from daskgmm.conversion.reader import Format
from daskgmm.conversion.readers.netcdf import of_most_dimensions, open_netcdf
from daskgmm.errors import DataError, NotFoundError, ParameterError, StorageError
from daskgmm.events import Message, size_of, teller
from daskgmm.execution import give_back_memory
from daskgmm.redaction import redacted
from daskgmm.rules import names_of
from daskgmm.storage import Location, StoredSource, open_source, read_model

__all__ = ["ConvertedGrid", "check_column", "converted_before"]

_COMPRESSION = 5
"""Bytes of text assumed for each byte of a compressed file, when free disk space is checked."""
_OF_GRIDS = ("variables", "feature_dim", "mask")
"""Options that say which variables of a grid are read."""
_FLAGS = "|".join(option.flag.removeprefix("--") for option in CONVERT_OPTIONS)
_OPTION = re.compile(rf"(?:^|[\s(])--(?:no-)?(?:{_FLAGS})(?=[,;:.)]*(?:\s|$))")
"""An option of a conversion as a whole word of a message; names of files may have dashes as well."""


@dataclass(frozen=True)
class ConvertedGrid:
    """A grid that was converted for one command.

    Attributes
    ----------
    place : Location
        Where the converted group is; its name in messages is that of the original files.
    how : mapping
        Options by which it is opened.
    """

    place: Location
    how: dict[str, Any]


@contextmanager
def converted_before(
    data: Any,
    model: str | None = None,
    *,
    keeps_gaps: bool = False,
    missing: Sequence[str] = (),
    to_parquet: bool = False,
    beside: Sequence[str] = (),
    **options: Any,
) -> Iterator[StoredSource | ConvertedGrid | None]:
    """The rows of data that have to be converted, in a temporary folder while the block runs.

    Parameters
    ----------
    data : path or URL
    model : path or URL, optional
        A model whose features are read if no columns are named; the files may have others besides.
    keeps_gaps : bool
        Whether missing values become NaN, and are no error.
    missing : sequence of str
        What an option ``--missing`` of the command itself takes for rows with missing values.
    to_parquet : bool
        Whether they become Parquet, for results in Parquet, and not Zarr.
    beside : sequence of str
        Names of what is read beside the rows, such as weights.
    **options
        Of :func:`convert`; others are refused. Of grids, those by which they are opened.

    Yields
    ------
    StoredSource, ConvertedGrid or None
        None for data that are read as they are. Its name is that of ``data``.

    Raises
    ------
    ParameterError
        If an option is none of a conversion.
    StorageError
        If the temporary folder has no room for them.
    """
    if not needs_conversion(data):
        yield None
        return
    name = redacted(os.fspath(data))
    found, files = files_of(data)
    if found.has_grids and not to_parquet:
        with _grid_before(name, files, model, beside, options) as grid:
            yield grid
        return
    known = {option.name for option in CONVERT_OPTIONS}
    for given in options:
        if given not in known:
            raise ParameterError(
                f"{given} (--{given.replace('_', '-')}) is of no use for {name}, which is converted; leave "
                "it out",
                given,
            )
    kept = {"missing": "keep"} if keeps_gaps else {}
    options = _without_kept_features(_of_model(found, model) | kept | options)
    folder = Path(tempfile.mkdtemp(prefix="daskgmm-convert-"))
    output = folder / f"data{'.parquet' if to_parquet else '.zarr'}"
    try:
        _check_free(folder, files, name)
        way = command_of(name, options, output.suffix)
        teller()(
            Message(
                f"{name} is converted for this command alone; once and for all: {way}", "warning"
            )
        )
        report = _converted(data, output, options, missing)
        give_back_memory()  # a memory limit is held against what is resident
        dropped = report["columns_dropped"]
        if any(column["reason"] != NOT_ASKED for column in dropped):
            listed = "; ".join(said_of_left_out(dropped))
            teller()(Message(f"columns that are left out: {listed}", "warning"))
        columns = [column["name"] for column in report["columns"]] if to_parquet else None
        source = open_source(output, columns=columns)
        source.name = name
        yield source
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _grid_before(
    name: str,
    files: Sequence[Input],
    model: str | None,
    beside: Sequence[str],
    options: dict[str, Any],
) -> Iterator[ConvertedGrid]:
    """What a command reads of a grid, in a temporary folder while the block runs."""
    if "columns" in options:
        How(columns=names_of(options["columns"])).check_only(
            frozenset(("variables",)), f"NetCDF, which {name} is"
        )
    member, how = options.get("member"), {k: v for k, v in options.items() if k != "member"}
    record = {} if model is None else read_model(model)[1]
    grid = GridFiles(files, member)
    read_as = how if how.get("variables") is not None else (record.get("read_as") or {}) | how
    known, mask = list(grid.heads[0].variables), read_as.get("mask")
    names = read_as.get("variables")
    if names is None:
        names = how["variables"] = _features(grid, record, [*beside, *([mask] if mask else [])])
    for one in names_of(names):
        check_known(one, known, name, "--variables")
    wanted = [*names_of(names), *(one for one in (mask, *beside) if one in known)]
    folder = Path(tempfile.mkdtemp(prefix="daskgmm-convert-"))
    try:
        _check_free(folder, files, name)
        way = command_of(name, {} if member is None else {"member": member})
        choice = {o: word_of(read_as[o]) for o in _OF_GRIDS if read_as.get(o)}
        said = " ".join(f"--{o.replace('_', '-')} {value}" for o, value in choice.items())
        teller()(
            Message(
                f"{name} is converted for this command alone, as it is a grid; once and for all: {way}; then "
                f"give what it writes with {said or '--variables ' + word_of(names)}",
                "warning",
            )
        )
        place = Location.parse(folder / "data.zarr")
        grid_written(grid, place, How(variables=wanted), overwrite=False)
        give_back_memory()  # a memory limit is held against what is resident
        yield ConvertedGrid(replace(place, name=name), how)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _features(grid: GridFiles, record: dict[str, Any], without: Sequence[str]) -> list[str]:
    """The variables that a model knows, or else those of numbers over the most dimensions."""
    known = grid.heads[0].variables
    of_model = record.get("feature_names")
    if of_model and set(of_model) <= set(known):
        return list(of_model)
    with open_netcdf(grid.files[0], grid.member) as data:
        return of_most_dimensions(data, grid.files[0], without)


def _of_model(found: Format, model: str | None) -> dict[str, Any]:
    """What a model says of rows: its features, as Parquet has them, and that values may be missing."""
    if model is None:
        return {}
    record = read_model(model)[1]
    names = record.get("feature_names")
    option = next((name for name in ("columns", "variables") if name in found.options), None)
    of_model: dict[str, Any] = {option: list(names)} if names and option else {}
    if record.get("settings", {}).get("missing", "error") != "error":
        of_model["missing"] = "keep"
    return of_model


def _without_kept_features(options: dict[str, Any]) -> dict[str, Any]:
    """Options without columns to keep that are features, which are written in any case."""
    if options.get("keep") is None:
        return options
    features = names_of(options.get("columns") or [])
    keep = [name for name in names_of(options["keep"]) if name not in features]
    return options | {"keep": keep or None}


def _converted(
    data: Any, output: Path, options: dict[str, Any], missing: Sequence[str]
) -> dict[str, Any]:
    """The report of a conversion; its errors name the command that has the options they name."""
    try:
        return convert(data, output, **options)
    except MissingValueError as error:
        # This --missing is the command's own option. Converting with --missing keep would not help:
        # the command would refuse the gaps again.
        way = "leave such rows out with --missing drop"
        if "em" in missing:
            way += ", or take what is missing for values that are not known with --missing em"
        if not missing:
            once = command_of(
                redacted(os.fspath(data)), options | {"missing": "drop"}, output.suffix
            )
            way = f"leave such rows out once and for all, and give what this writes: {once}"
        raise DataError(f"{error.found}; {way}") from None
    except DataError as error:
        if _OPTION.search(str(error)) is None:
            raise
        raise type(error)(
            f"{error}. These are options of a conversion, whose output can be fitted then: add them to "
            f"{command_of(redacted(os.fspath(data)), options, output.suffix)}"
        ) from error


def check_column(column: str, source: StoredSource) -> None:
    """Refuse a column beside rows that were converted, which have only features.

    Raises
    ------
    NotFoundError
    """
    if "/" not in column and os.sep not in column and not os.path.exists(column):
        raise NotFoundError(
            f"{column} does not exist, and no column of what is converted can be weights or labels; "
            f"convert it to Parquet, of which one can: {command_of(source.name, ending='.parquet')}"
        )


def _check_free(folder: Path, files: Sequence[Input], name: str) -> None:
    """Refuse to begin where the disk has less room than the files' text takes.

    Numbers of eight bytes are about as long as a text, and are compressed when they are written.
    """
    needed = sum(file.n_bytes * (1 if _is_plain(file) else _COMPRESSION) for file in files)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{name} takes about {size_of(needed)} when it is converted, and {folder.parent} has "
            f"{size_of(free)} free; set TMPDIR to another folder, or convert it where there is room: "
            f"{command_of(name)}"
        )


def _is_plain(file: Input) -> bool:
    return file.suffix not in COMPRESSED
