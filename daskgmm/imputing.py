"""Imputing: stored rows with numbers in place of missing values, from stored rows to a store."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.apart import check_apart
from daskgmm.em import imputed_rows
from daskgmm.execution import peak_memory_bytes
from daskgmm.fitted import check_imputes, seed_of_draws
from daskgmm.kernel import Block, Mixture
from daskgmm.row_results import HowToWrite, SavedModel, write_results
from daskgmm.rules import names_of
from daskgmm.storage import ParquetSource
from daskgmm.tables import (
    Grid,
    Result,
    Returned,
    check_keep,
    check_rows_output,
    of_features,
    open_as_fitted,
)

__all__ = ["write_imputed"]

_NAME = "x"
"""Of the array, as of one that a conversion writes."""


def write_imputed(
    data: Any, model: str, output: str, *, draw: bool = False, random_state: Any = None, **how: Any
) -> dict[str, Any]:
    """Write stored rows with numbers in place of missing values, in one pass.

    The output is a Zarr group, which appears when all rows are written, of one array ``x`` (row,
    feature), and the names of the features where the model has them: rows that fits take. For a grid the
    group holds its variables, with names, units and coordinates. Features along a dimension become one
    array ``x``, whose last dimension is ``feature``. For rows in Parquet the output may be Parquet, with
    a column for each feature. Rows that have no value stay missing.

    Parameters
    ----------
    data : path, URL or Source
    model, output : str
        Path or URL of a saved model, and of the group.
    draw, random_state
        As of ``GaussianMixture.impute``, and what decides what is drawn.
    **how
        ``memory_limit`` and ``overwrite``, and ``keep``, names of columns that are copied into
        Parquet.

    Returns
    -------
    dict
        ``n_rows n_filled seconds peak_memory_bytes model output``, of which ``n_filled`` is the number
        of values that were missing and are not any more.

    Raises
    ------
    ParameterError
        If the mixture has no density of some features of a row, or places overlap.
    OutputExistsError, NotFoundError, StorageError
        If the output could not be written.
    """
    began = time.perf_counter()
    check_apart(data, [output, model])
    saved = replace(SavedModel.read(model), missing="em")
    check_imputes(saved.mixture, saved.projection)
    if isinstance(data, str | os.PathLike):
        data = open_as_fitted(data, saved.read_as)
    if isinstance(data, ParquetSource) and saved.names:  # other columns need not be numbers
        data = data.selecting(tuple(saved.names))
    check_keep(names_of(how.get("keep") or []), data, [output])
    check_rows_output(output, overwrite=bool(how.get("overwrite")), source=data)
    is_single = getattr(data, "dtype", None) == np.float32
    names = saved.names or (data.feature_names if isinstance(data, Grid) else None)
    result = _rows_of(
        names or range(saved.n_features),
        np.dtype(np.float32 if is_single else np.float64),
        seed_of_draws(random_state) if draw else None,
    )
    written = write_results(data, saved, [((result,), output)], HowToWrite(**how))
    return {
        "n_rows": written.n_rows,
        "n_filled": written.n_gaps,
        "seconds": time.perf_counter() - began,
        "peak_memory_bytes": peak_memory_bytes(),
        "model": model,
        "output": output,
    }


def _rows_of(names: Sequence[str] | range, dtype: np.dtype[Any], seed: int | None) -> Result:
    """The rows themselves, as a result of each."""
    about = replace(of_features(_NAME, "row without missing values", names), dtype=dtype)
    return Result(_NAME, partial(_array, about=about), partial(_found, seed=seed), are_rows=True)


def _array(_: tuple[int, ...], about: Returned) -> tuple[Returned, ...]:
    return (about,)


def _found(block: Block, mixture: Mixture, seed: int | None) -> tuple[NDArray[Any], ...]:
    return (imputed_rows(block, mixture, seed),)
