"""Before fits: rows of other formats, converted for one command and removed after it."""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from daskgmm.conversion.convert import convert
from daskgmm.conversion.files import COMPRESSED, files_of, format_of
from daskgmm.conversion.inputs import Input
from daskgmm.conversion.options import CONVERT_OPTIONS
from daskgmm.conversion.reader import Format
from daskgmm.errors import DataError, NotFoundError, ParameterError, StorageError
from daskgmm.events import Message, size_of, teller
from daskgmm.execution import give_back_memory
from daskgmm.redaction import redacted
from daskgmm.storage import Location, StoredSource, open_source, read_model

__all__ = ["check_column", "converted_before", "needs_conversion"]

_COMPRESSION = 5
"""Bytes of text of a byte that is compressed, when free space is looked for."""
_SHOWN = 20
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@contextmanager
def converted_before(
    data: Any, model: str | None = None, *, keeps_gaps: bool = False, **options: Any
) -> Iterator[StoredSource | None]:
    """The rows of data that have to be converted, in a temporary folder while the block runs.

    Parameters
    ----------
    data : path or URL
    model : path or URL, optional
        Of which the features are taken, if none are named, and the files have others besides.
    keeps_gaps : bool
        Whether missing values become NaN, and are no error.
    **options
        Of :func:`convert`; others are refused.

    Yields
    ------
    StoredSource or None
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
    known = {option.name for option in CONVERT_OPTIONS}
    for given in options:
        if given not in known:
            raise ParameterError(
                f"{given} (--{given.replace('_', '-')}) is of no use for {name}, which is converted; leave "
                "it out",
                given,
            )
    found = files_of(data)[0]
    kept = {"missing": "keep"} if keeps_gaps else {}
    options = _of_model(found, model) | kept | options
    folder = Path(tempfile.mkdtemp(prefix="daskgmm-convert-"))
    try:
        _check_free(folder, files_of(data)[1], name)
        teller()(
            Message(
                f"{name} is converted for this command alone; once and for all: {_way(name, options)}",
                "warning",
            )
        )
        report = _converted(data, folder / "data.zarr", options)
        give_back_memory()  # a memory limit is held against what is resident
        dropped = report["columns_dropped"]
        if dropped:
            listed = "; ".join(f"{c['name']!r} {c['reason']}" for c in dropped[:_SHOWN])
            teller()(Message(f"columns that are left out: {listed}", "warning"))
        source = open_source(folder / "data.zarr")
        source.name = name
        yield source
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _converted(data: Any, output: Path, options: dict[str, Any]) -> dict[str, Any]:
    """The report of a conversion; its errors name the command that has the options they name."""
    try:
        return convert(data, output, **options)
    except DataError as error:
        if "--" not in str(error):
            raise
        raise type(error)(
            f"{error}. These are options of a conversion to Zarr, which can be fitted then: add them to "
            f"{_way(redacted(os.fspath(data)), options)}"
        ) from error


def check_column(column: str, what: str, source: StoredSource) -> None:
    """Refuse a column as weights or labels of rows that were converted, which have only features.

    Raises
    ------
    NotFoundError
    """
    if "/" not in column and os.sep not in column and not os.path.exists(column):
        way = _way(source.name).removesuffix(".zarr")
        raise NotFoundError(
            f"{column} does not exist, and no column of what is converted can be the {what}; "
            f"convert it to Parquet, of which one can: {way}.parquet"
        )


def _way(name: str, options: Mapping[str, Any] = _NO_OPTIONS) -> str:
    """The command that converts data for good, with the options that were given."""
    kept = Path(name).name.partition(".")[0].strip("*?[]") or "data"
    flags = {option.name: option.flag for option in CONVERT_OPTIONS}
    given = "".join(f" {flags[o]} {shlex.quote(_text(value))}" for o, value in options.items())
    return f"daskgmm convert {shlex.quote(name)}{given} --output {shlex.quote(kept + '.zarr')}"


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


def needs_conversion(data: Any) -> bool:
    """Whether data are of a format that no pass reads."""
    if not isinstance(data, str | os.PathLike):
        return False
    return _is_to_convert(_format_at(Location.parse(data)))


def _is_to_convert(found: Format | None) -> bool:
    return found is not None and found.before_fits


def _format_at(location: Location) -> Format | None:
    """The format of a file, a glob of files, or a local folder of files that is no store."""
    if not location.is_local:
        return format_of(location.name)
    path = location.path
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        is_store = any(name in ("zarr.json", ".zgroup", ".zarray") for name in names)
        kinds = [format_of(name) for name in names if not name.startswith((".", "_"))]
        return None if is_store or not kinds else kinds[0]
    if not path.exists() and not glob.has_magic(location.name):
        return None
    return format_of(location.name)


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
            f"{_way(name)}"
        )


def _is_plain(file: Input) -> bool:
    return file.suffix not in COMPRESSED
