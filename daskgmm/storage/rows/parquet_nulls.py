"""Nulls in Parquet: refused by what footers count, before any row is read."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from daskgmm.errors import NonFiniteError
from daskgmm.storage.rows.parquet_files import StoredFile
from daskgmm.storage.rows.parquet_footers import metadata_of

__all__ = ["check_complete"]

_AT_ONCE = 16


def check_complete(data: str, files: Sequence[StoredFile], names: Sequence[str]) -> None:
    """Refuse columns of which the footers say that they have nulls; they need not say it.

    Parameters
    ----------
    data : str
        What messages call the files.
    files : sequence of StoredFile
    names : sequence of str
        Of the columns.

    Raises
    ------
    NonFiniteError
    """
    with ThreadPoolExecutor(min(_AT_ONCE, len(files))) as pool:
        counted = pool.map(lambda file: _nulls(file, names), files)
        found: dict[str, tuple[int, str]] = {}
        for file, nulls in zip(files, counted, strict=True):
            for name, n in nulls.items():
                before, first = found.get(name, (0, file.name))
                found[name] = (before + n, first)
    if found:
        said = ", ".join(
            f"{name!r} has {n:,} (the first in {file})" for name, (n, file) in found.items()
        )
        raise NonFiniteError(
            f"{data}: columns have nulls, which a Gaussian has no density for: {said}; drop "
            "or impute them when the files are written, or leave the columns out with columns= "
            "(--columns), or such rows with missing='drop' (--missing drop), or take nulls for "
            f"values that are not known with missing='em'{_way_to_drop(data, names)}"
        )


def _way_to_drop(data: str, names: Sequence[str]) -> str:
    """The command that copies complete rows, which reads no URLs."""
    if "://" in data:
        return ""
    columns = shlex.quote(",".join(names))
    return (
        f", or such rows out of a copy: daskgmm convert {shlex.quote(data)} --columns {columns} "
        "--missing drop --output complete.parquet"
    )


def _nulls(file: StoredFile, names: Sequence[str]) -> dict[str, int]:
    """Nulls of columns that have some, as far as the footer counts them."""
    metadata = metadata_of(file)
    schema = metadata.schema
    optional = [
        (j, schema.column(j).path)
        for j in range(metadata.num_columns)
        if schema.column(j).path in names and schema.column(j).max_definition_level
    ]
    found: dict[str, int] = {}
    for i in range(metadata.num_row_groups if optional else 0):
        group = metadata.row_group(i)
        for j, name in optional:
            known = group.column(j).statistics
            if known is not None and known.has_null_count and known.null_count:
                found[name] = found.get(name, 0) + known.null_count
    return found
