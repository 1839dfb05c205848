"""Outliers: which stored rows a saved model hardly explains, from stored rows to a file."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from daskgmm.apart import check_apart, is_at_place
from daskgmm.em import Missing, Threshold, check_marks_outliers
from daskgmm.errors import ParameterError
from daskgmm.estimator import load_model
from daskgmm.execution import peak_memory_bytes
from daskgmm.row_results import HowToWrite, SavedModel, write_results
from daskgmm.rules import names_of
from daskgmm.storage import read_model, read_projection, read_statistics, save_model
from daskgmm.tables import check_keep, check_only, check_rows_output, open_as_fitted, outliers

__all__ = ["write_outliers"]

_QUANTILE = 0.01
"""Share of the rows that are outliers by default."""


def write_outliers(
    data: Any,
    model: str,
    output: str,
    *,
    save_threshold: bool = False,
    missing: Missing | None = None,
    choice: Mapping[str, Any] = MappingProxyType({}),
    **how: Any,
) -> dict[str, Any]:
    """Write which stored rows are outliers, and what the threshold was compared with.

    The output is as those of :func:`daskgmm.job.predict`, and has ``outlier`` (row,), int8, 1 for
    outliers, and ``log_density`` or ``squared_distance`` (row,), float64. To find a quantile, the
    rows are read once before the read that writes.

    Parameters
    ----------
    data : path, URL or Source
    model : str
        Path or URL of a saved model.
    output : str
        Path or URL of the group, or of Parquet, to write.
    save_threshold : bool
        Whether the threshold is written into the model, in one step, when the output is there.
    missing : {"error", "drop"}, optional
        What NaN is; by default what it was in the fit. ``"em"`` has no one threshold.
    choice : mapping
        ``quantile``, ``probability`` and ``sample_weight`` of ``GaussianMixture.set_threshold``.
        Without the first two, the threshold is the model's own; if the model has none, it is the
        quantile 0.01.
    **how
        As of :func:`daskgmm.job.predict`; with ``only=True`` the rows alone that are outliers are
        written, into Parquet, with a column ``row`` of their numbers in the data.

    Returns
    -------
    dict
        ``n_rows n_outliers threshold threshold_of share rank_error seconds peak_memory_bytes model
        output``. ``n_rows`` are those that have values: cells or rows with gaps are not judged.
        ``share`` is the quantile or the probability.

    Raises
    ------
    ParameterError
        If options contradict each other, or places overlap.
    """
    began = time.perf_counter()
    check_apart(data, [output, model])
    if is_at_place(choice.get("sample_weight")):
        check_apart(choice["sample_weight"], [output, model])
    saved = SavedModel.read(model)
    if missing is not None:
        saved = replace(saved, missing=missing)
    check_marks_outliers(saved.missing)
    if isinstance(data, str | os.PathLike):
        data = open_as_fitted(data, saved.read_as)
    only, keep = how.pop("only", False), names_of(how.get("keep") or [])
    check_keep(keep, data, [output])
    check_rows_output(output, overwrite=bool(how.get("overwrite")), source=data)
    if only:
        check_only(data, output, keep)
    wanted = _wanted(choice, saved)
    threshold = saved.threshold
    if wanted is not None:
        here = {"memory_limit": how.get("memory_limit"), "missing": saved.missing}
        fitted = load_model(model).set_params(**here)
        threshold = fitted.set_threshold(data, **wanted).threshold_
    assert threshold is not None
    result = outliers(threshold)
    to_write = HowToWrite(**how, only=result.name if only else None)
    written = write_results(data, saved, [((result,), output)], to_write)
    if save_threshold:
        _save(threshold, model)
    return {
        "n_rows": written.n_present,
        "n_outliers": written.n_counted,
        "threshold": threshold.value,
        "threshold_of": threshold.measure,
        "share": threshold.share,
        "rank_error": threshold.rank_error,
        "seconds": time.perf_counter() - began,
        "peak_memory_bytes": peak_memory_bytes(),
        "model": model,
        "output": output,
    }


def _wanted(choice: Mapping[str, Any], saved: SavedModel) -> dict[str, Any] | None:
    """How the threshold is to be found; None where it is the model's own."""
    wanted = {name: value for name, value in choice.items() if value is not None}
    if not wanted and saved.threshold is not None:
        return None
    if {"quantile", "probability"} <= set(wanted):
        raise ParameterError(
            "outliers are chosen by a quantile or by a probability; give --quantile or "
            "--probability, not both"
        )
    if "probability" in wanted and "sample_weight" in wanted:
        raise ParameterError(
            "a probability needs no weights, which say how often rows count for a quantile: leave "
            "sample_weight (--weights) out, or give --quantile in place of --probability",
            "sample_weight",
        )
    return wanted if "probability" in wanted else {"quantile": _QUANTILE} | wanted


def _save(threshold: Threshold, model: str) -> None:
    """Put a threshold into a saved model, and leave everything else in it as it is."""
    mixture, record = read_model(model)
    save_model(
        model,
        mixture,
        {**record, "threshold": asdict(threshold)},
        overwrite=True,
        statistics=read_statistics(model, mixture),
        projection=read_projection(model, mixture),
    )
