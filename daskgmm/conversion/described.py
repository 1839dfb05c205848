"""Described: what ``info`` says of files that are converted before they are read."""

from __future__ import annotations

import os
from typing import Any

from daskgmm.conversion.files import files_of
from daskgmm.conversion.options import How, command_of
from daskgmm.redaction import redacted

__all__ = ["described"]

_READ_BY = (
    "fit, select, update, predict, score, outliers, impute, uncertainty, plot and report, which convert it "
    "each time"
)


def described(data: str | os.PathLike[str]) -> dict[str, Any]:
    """Facts about files that have to be converted; hardly more than a first block of them is read.

    Parameters
    ----------
    data : path or URL
        A file, a folder, or a glob, of files of one format.

    Returns
    -------
    dict
        ``name format n_files n_bytes``; ``columns``, the types of those that hold numbers, by name,
        and ``units`` of those that have some; ``left_out``, why others are not taken; ``read_by``,
        the commands that convert the files by themselves; ``convert``, the command that converts
        them once and for all.

    Raises
    ------
    NotFoundError, DataError, DamagedDataError
        As :func:`daskgmm.conversion.convert.convert`.
    """
    found, files = files_of(data)
    reader, name = found.open(files, How()), redacted(os.fspath(data))
    units = {column.name: column.units for column in reader.columns if column.units}
    left_out = {column.name: column.reason for column in reader.left_out}
    return {
        "name": name,
        "format": found.name,
        "n_files": len(files),
        "n_bytes": sum(file.n_bytes for file in files),
        "columns": {column.name: column.type for column in reader.columns},
        **({"units": units} if units else {}),
        **({"left_out": left_out} if left_out else {}),
        "read_by": _READ_BY,
        "convert": command_of(name),
    }
