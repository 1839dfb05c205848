"""Uncertainty: how sure a saved model is, from the stored rows that it was fitted to."""

from __future__ import annotations

from typing import Any

from daskgmm.apart import check_apart, is_at_place
from daskgmm.estimator import load_model
from daskgmm.execution import peak_memory_bytes
from daskgmm.storage import check_output, save_uncertainty

__all__ = ["measure_uncertainty"]

_SETTINGS = ("memory_limit", "stage", "stage_limit")


def measure_uncertainty(
    data: Any,
    model: str,
    output: str | None = None,
    *,
    overwrite: bool = False,
    **how: Any,
) -> dict[str, Any]:
    """Standard errors of a saved model, by :meth:`GaussianMixture.uncertainty`.

    Parameters
    ----------
    data : path, URL or Source
        The rows of the fit.
    model : str
        Path or URL of the model.
    output : str, optional
        Path or URL of the Zarr group to write: see
        :mod:`daskgmm.storage.outputs.uncertainties`.
    overwrite : bool
        Whether a Zarr node at ``output`` may be replaced.
    **how
        ``n_replicates``, ``sample_weight``, stored, and ``random_state``; and ``memory_limit``,
        ``stage`` and ``stage_limit`` of the estimator.

    Returns
    -------
    dict
        What :meth:`Uncertainty.as_dict` has, ``n_components``, ``n_features``, names and units of
        features where there are any, ``is_projected``, ``peak_memory_bytes``, ``model`` and
        ``output``.
    """
    weights = how.get("sample_weight")
    if output is not None:
        for rows in (data, weights) if is_at_place(weights) else (data,):
            check_apart(rows, [output, model])
        check_output(output, overwrite=overwrite)
    settings = {name: how.pop(name) for name in _SETTINGS if name in how}
    fitted = load_model(model).set_params(**settings)
    found = fitted.uncertainty(data, **how)
    record = fitted.record()
    of_model = ("n_components", "n_features", "feature_names", "feature_units")
    facts = {name: record[name] for name in of_model if name in record}
    facts["is_projected"] = fitted._projection is not None
    told = found.as_dict()
    if output is not None:
        spreads = {name: (spread.dims, spread.arrays) for name, spread in found.items()}
        attributes = {name: value for name, value in told.items() if name not in found}
        save_uncertainty(
            output,
            (fitted._mixture, fitted._projection),
            spreads,
            {**facts, **attributes},
            overwrite=overwrite,
        )
    return {
        **facts,
        **told,
        "peak_memory_bytes": peak_memory_bytes(),
        "model": model,
        "output": output,
    }
