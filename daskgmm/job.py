"""Jobs: one function for each command that reads rows, from stored rows to files.

Every function returns plain values to report, ready for JSON, and writes its outputs whole or
not at all. Whatever can be refused is refused before the first pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from daskgmm.apart import check_apart, is_at_place
from daskgmm.checkpoints import may_pass
from daskgmm.em import Missing, Threshold, check_marks_outliers, check_no_noise
from daskgmm.errors import ModelFormatError, ParameterError, StorageError
from daskgmm.estimator import GaussianMixture, load_model
from daskgmm.execution import peak_memory_bytes
from daskgmm.redaction import redacted
from daskgmm.row_results import HowToWrite, SavedModel, write_results
from daskgmm.selection import select
from daskgmm.storage import check_output
from daskgmm.tables import results_named

__all__ = ["fit", "predict", "score", "select_model", "update"]


def fit(
    data: Any,
    output: str,
    model: GaussianMixture,
    *,
    overwrite: bool = False,
    **beside: Any,
) -> dict[str, Any]:
    """Fit ``model`` to stored rows and save it.

    Parameters
    ----------
    data : path, URL or Source
    output : str
        Path or URL of the model to write.
    model : GaussianMixture
        An unfitted estimator, which is fitted in place.
    overwrite : bool
        Whether a Zarr node at ``output`` may be replaced.
    **beside
        ``sample_weight``, ``labels`` and ``measurement_noise`` of :meth:`GaussianMixture.fit`, each
        a path, URL or Source, or None.

    Returns
    -------
    dict
        The model's record, ``covariance_type``, ``weights``, ``note`` (what to know of the
        result, or None), and ``model``, its path or URL.
    """
    outputs = [output, *([model.checkpoint] if model.checkpoint else [])]
    check_apart(data, outputs)
    for place in beside.values():
        if is_at_place(place):
            check_apart(place, outputs)
    check_output(output, overwrite=overwrite)
    model.fit(data, **beside)
    try:
        model.save(output, overwrite=overwrite)
    except StorageError as error:
        if model.checkpoint is None:
            raise
        again = type(error)(
            f"{error}; {redacted(str(model.checkpoint))} holds the whole fit: continue with "
            "resume=True (--resume); a job file goes on when it is run again"
        )
        again.is_resumable = may_pass(error)
        raise again from error
    return {
        **model.record(),
        "covariance_type": model.covariance_type,
        "weights": model.weights_.tolist(),
        **_of_noise_and_tails(model),
        "note": model._note or None,
        "model": output,
    }


def _of_noise_and_tails(model: GaussianMixture) -> dict[str, Any]:
    """Weight of noise, and degrees of freedom, of models that have them."""
    found = {"noise_weight": "noise_weight_", "degrees_of_freedom": "degrees_of_freedom_"}
    return {
        name: np.asarray(getattr(model, attribute)).tolist()
        for name, attribute in found.items()
        if hasattr(model, attribute)
    }


def update(
    data: Any,
    model: str,
    output: str | None = None,
    *,
    overwrite: bool = False,
    known_as: str | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    **how: Any,
) -> dict[str, Any]:
    """Update a saved model with new stored rows, by :meth:`GaussianMixture.update`.

    Parameters
    ----------
    data : path, URL or Source
        The new rows alone.
    model : str
        Path or URL of the model.
    output : str, optional
        Path or URL of the model to write; by default it replaces the old one, in one step.
    overwrite : bool
        Whether a Zarr node at ``output`` may be replaced.
    known_as : str, optional
        What a job knows the new rows by.
    settings : mapping, optional
        Parameters of the estimator that no model has: where and within what memory it works.
    **how
        ``sample_weight``, stored, and ``half_life``.

    Returns
    -------
    dict
        The model's record, ``covariance_type``, ``weights``, ``note``, ``update`` (what the last
        one found), and ``model``, the path or URL that was written.
    """
    place = model if output is None else output
    weights = how.get("sample_weight")
    for rows in (data, weights) if is_at_place(weights) else (data,):
        check_apart(rows, [model] if output is None else [model, output])
    check_output(place, overwrite=overwrite or output is None)
    fitted = load_model(model).set_params(**settings)
    if fitted._statistics() is None:
        raise ModelFormatError(
            f"{redacted(model)} keeps no statistics of its rows, which an update goes on from: it is "
            "of an older version, of parameters from elsewhere, of a fit that reads cut off, or of "
            "spherical components of standardised features; fit its rows again, without reads and "
            "with covariance diag for the last, to keep them"
        )
    fitted.update(data, **how)
    fitted._known_as = known_as
    fitted.save(place, overwrite=overwrite or output is None)
    record = fitted.record()
    return {
        **record,
        "covariance_type": fitted.covariance_type,
        "weights": fitted.weights_.tolist(),
        **_of_noise_and_tails(fitted),
        "note": fitted._note or None,
        "update": record["updates"][-1],
        "model": place,
    }


def select_model(
    data: Any,
    output: str | None,
    components: Iterable[int],
    *,
    overwrite: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Choose a model of stored rows by :func:`daskgmm.select`, and save it.

    Parameters
    ----------
    data : path, URL or Source
    output : str or None
        Path or URL of the model to write, if any.
    components : iterable of int
    overwrite : bool
        Whether a Zarr node at ``output`` may be replaced.
    **settings
        Further arguments of :func:`daskgmm.select`.

    Returns
    -------
    dict
        ``candidates``, ``best``, ``criterion``, ``note``; ``n_rows``, ``n_passes``,
        ``rows_read``, ``seconds``, ``peak_memory_bytes``; and ``model``, its path or URL.
    """
    if output is not None:
        check_apart(data, [output])
        for name in ("sample_weight", "measurement_noise"):
            if is_at_place(settings.get(name)):
                check_apart(settings[name], [output])
        check_output(output, overwrite=overwrite)
    selection = select(data, components, **settings)
    if output is not None:
        selection.model.save(output, overwrite=overwrite)
    record = selection.model.record()
    facts = ("n_rows", "n_features", "n_passes", "rows_read", "seconds", "peak_memory_bytes")
    return {
        **selection.as_dict(),
        **{name: record[name] for name in facts},
        "model": output,
    }


def predict(
    data: Any,
    model: str,
    outputs: Mapping[str, str] | Sequence[tuple[str, str]],
    *,
    mark_outliers: bool = False,
    missing: Missing | None = None,
    **how: Any,
) -> dict[str, Any]:
    """Write results for each stored row, in one pass.

    Each output is a Zarr group, which xarray opens as a Dataset with a dimension ``row``, and
    which appears when all rows of all outputs are written. Its arrays are ``labels`` (row,), int32;
    ``probabilities`` (row, component) and ``log_density`` (row,), float64; and for ``top:M``
    ``top_labels`` and ``top_probabilities`` (row, rank), of the M most probable components or of
    all where there are fewer. Labels declare -2, of rows that are left out, as their ``_FillValue``,
    so that xarray opens them as floats with NaN there; ``xr.open_zarr(path, mask_and_scale=False)``
    opens them as the integers that they are.

    Parameters
    ----------
    data : path, URL or Source
    model : str
        Path or URL of a saved model.
    outputs : mapping or sequence of pairs
        What is asked for, such as ``"labels"`` or ``"labels,log_density,top:5"``, and the path or
        URL of the group to write it to. For rows in Parquet it may be Parquet: a file, or a folder
        with a file for each that the rows are in.
    mark_outliers : bool
        Whether labels of rows beyond the model's threshold are -1.
    missing : {"error", "drop", "em"}, optional
        What NaN is; by default what it was in the fit.
    **how
        ``keep``, names of columns that are copied into outputs in Parquet; ``measurement_noise``,
        stored; ``memory_limit``; and ``overwrite``.

    Returns
    -------
    dict
        ``n_rows n_components seconds peak_memory_bytes``, and the place of each result.

    Raises
    ------
    ParameterError
        If a result is unknown, places overlap, or outliers are to be marked by a model without a
        threshold.
    """
    began = time.perf_counter()
    pairs = outputs.items() if isinstance(outputs, Mapping) else outputs
    saved = SavedModel.read(model)
    if missing is not None:
        saved = replace(saved, missing=missing)
    noise = how.get("measurement_noise")
    if mark_outliers:
        check_no_noise(noise)
    threshold = _threshold_to_mark_by(saved) if mark_outliers else None
    asked = [(results_named(names, threshold), place) for names, place in pairs]
    for rows in (data, noise) if is_at_place(noise) else (data,):
        check_apart(rows, [*(place for _, place in asked), model])
    written = write_results(data, saved, asked, HowToWrite(**how))
    return {
        "n_rows": written.n_rows,
        "n_components": saved.mixture.n_components,
        "seconds": time.perf_counter() - began,
        "peak_memory_bytes": peak_memory_bytes(),
        **{result.name: place for results, place in reversed(asked) for result in results},
    }


def _threshold_to_mark_by(model: SavedModel) -> Threshold:
    check_marks_outliers(model.missing)
    if model.threshold is None:
        raise ParameterError(
            f"{model.name} has no threshold for outliers; choose one with daskgmm outliers DATA "
            "--model MODEL --output PATH --save-threshold, or set_threshold and save in Python",
            "mark_outliers",
        )
    return model.threshold


def score(
    data: Any,
    model: str,
    *,
    sample_weight: Any = None,
    memory_limit: int | str | None = None,
    missing: Missing | None = None,
    measurement_noise: Any = None,
) -> dict[str, Any]:
    """Log-likelihood and criteria of stored rows under a saved model, in one pass.

    Parameters
    ----------
    data : path, URL or Source
    model : str
        Path or URL of the model.
    sample_weight : path, URL or Source, optional
        As of :meth:`GaussianMixture.score`.
    memory_limit : int or str, optional
        Bytes that the process may use in all.
    missing : {"error", "drop", "em"}, optional
        What NaN is; by default what it was in the fit.
    measurement_noise : path, URL or Source, optional
        As of :meth:`GaussianMixture.score`.

    Returns
    -------
    dict
        ``n_rows sum_of_weights log_likelihood_per_row aic bic icl n_parameters model``.
    """
    fitted = load_model(model).set_params(memory_limit=memory_limit)
    if missing is not None:
        fitted.set_params(missing=missing)
    found = fitted.criteria(data, sample_weight, measurement_noise)
    return {
        "n_rows": found.n_rows,
        "sum_of_weights": found.weight,
        "log_likelihood_per_row": found.log_likelihood_per_row,
        "aic": found.aic,
        "bic": found.bic,
        "icl": found.icl,
        "n_parameters": found.n_parameters,
        "model": model,
    }
