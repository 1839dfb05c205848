"""Nulls in Parquet: refused by what footers count, before any row is read, other than the first null."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from daskgmm.errors import NonFiniteError
from daskgmm.rules import words_of
from daskgmm.storage.rows.parquet_files import StoredFile
from daskgmm.storage.rows.parquet_footers import metadata_of
from daskgmm.storage.rows.parquet_streams import opened_file

__all__ = ["check_complete"]

_AT_ONCE = 16
_MOST_SHOWN = 5
_BATCH_ROWS = 1 << 16


class _Nulls(NamedTuple):
    """How many nulls a column has, and the first file and row group that have some."""

    n: int
    file: StoredFile
    group: int


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
        found: dict[str, _Nulls] = {}
        for nulls in counted:
            for name, some in nulls.items():
                before = found.get(name, some._replace(n=0))
                found[name] = before._replace(n=before.n + some.n)
    if found:
        said = ", ".join(
            f"{name!r} has {nulls.n:,} (the first in {_place_of(nulls, name)})"
            for name, nulls in list(found.items())[:_MOST_SHOWN]
        )
        more = f", and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        raise NonFiniteError(
            f"{data}: columns have nulls, which a Gaussian has no density for: {said}{more}; drop "
            "or impute them when the files are written, or leave the columns out with columns= "
            "(--columns), or such rows with missing='drop' (--missing drop), or take nulls for "
            f"values that are not known with missing='em'{_way_to_drop(data, names)}"
        )


def _place_of(nulls: _Nulls, name: str) -> str:
    """File, row and row group of a column's first null; its values are read for that."""
    first = sum(nulls.file.groups[: nulls.group])
    with opened_file(nulls.file) as opened:
        which = {"row_groups": [nulls.group], "columns": [name]}
        for batch in opened.iter_batches(_BATCH_ROWS, use_threads=False, **which):
            at = np.flatnonzero(batch.column(0).is_null().to_numpy(zero_copy_only=False))
            if len(at) > 0:
                first += int(at[0])
                break
            first += batch.num_rows
    return f"{nulls.file.name} at row {first:,}, of row group {nulls.group}"


def _way_to_drop(data: str, names: Sequence[str]) -> str:
    """The command that copies complete rows, which reads no URLs."""
    if "://" in data:
        return ""
    return (
        f", or such rows out of a copy: daskgmm convert {shlex.quote(data)} --columns {words_of(names)} "
        "--missing drop --output complete.parquet"
    )


def _nulls(file: StoredFile, names: Sequence[str]) -> dict[str, _Nulls]:
    """Nulls of columns that have some, as far as the footer counts them."""
    metadata = metadata_of(file)
    schema = metadata.schema
    optional = [
        (j, schema.column(j).path)
        for j in range(metadata.num_columns)
        if schema.column(j).path in names and schema.column(j).max_definition_level
    ]
    found: dict[str, _Nulls] = {}
    for i in range(metadata.num_row_groups if optional else 0):
        group = metadata.row_group(i)
        for j, name in optional:
            known = group.column(j).statistics
            if known is not None and known.has_null_count and known.null_count:
                before = found.get(name, _Nulls(0, file, i))
                found[name] = before._replace(n=before.n + known.null_count)
    return found
