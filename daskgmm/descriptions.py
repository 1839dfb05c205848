"""Descriptions: what can be said of a saved model, or of stored rows, without reading the rows.

It needs neither Dask nor scikit-learn, which take a second and more to import.
"""

from __future__ import annotations

from typing import Any

from daskgmm.conversion.described import described
from daskgmm.conversion.files import needs_conversion
from daskgmm.errors import DamagedDataError, DataError, ModelFormatError
from daskgmm.kernel import HasCovariances, Mixture, family_of, loops
from daskgmm.storage import (
    ParquetSource,
    StoredSource,
    is_zarr,
    open_source,
    preflight,
    read_model,
    read_projection,
    results_described,
    variables_described,
)

__all__ = ["check", "info"]


def check(source: Any) -> dict[str, Any]:
    """Facts that a listing of a store tells of its rows, without reading them.

    Parameters
    ----------
    source : StoredSource or Grid

    Returns
    -------
    dict
        The attributes of :class:`daskgmm.storage.rows.preflight.Preflight`, and ``damage``:
        the text of the error that a pass would raise, or None. For variables on a grid, ``damage``
        of the first that has some, and these facts of each in ``variables``.
    """
    arrays = getattr(source, "arrays", None)
    if arrays is None:
        return _checked(source)
    found = {name: _checked(array) for name, array in arrays.items()}
    damage = [facts["damage"] for facts in found.values() if facts["damage"]]
    return {"name": source.name, "variables": found, "damage": damage[0] if damage else None}


def _checked(source: StoredSource) -> dict[str, Any]:
    found = preflight(source)
    try:
        found.raise_for_damage(source.missing_chunks)
    except DamagedDataError as error:
        return {**found.as_dict(), "damage": str(error)}
    return {**found.as_dict(), "damage": None}


def info(path: str) -> dict[str, Any]:
    """Facts about a saved model, about results of rows, or about stored rows.

    Returns
    -------
    dict
        ``kind`` is ``"model"``, ``"results"`` or ``"data"``; of a group of variables on a grid,
        ``variables`` has the facts of each; of files that are to be converted, they are those of
        :func:`daskgmm.conversion.described.described`. ``loops`` says what computes here: the
        instruction set that compiled loops run on, or why there are none. ``drift`` says what the
        last update found: log-likelihood per new row, the largest changes of weights, and of means
        in standard deviations. ``kept_features`` are the indices of the features that the mixture
        is of, where constant ones were left out of the fit.
    """
    if needs_conversion(path):
        return {"kind": "data", **described(path), "loops": loops.described()}
    if not is_zarr(path):  # as models, results and variables are
        return _of_rows(path)
    try:
        mixture, record = read_model(path)
    except ModelFormatError as not_a_model:
        try:
            return _of_group(path)
        except DataError as not_rows:
            if str(not_rows) in str(not_a_model):  # one cause for both, which is told once
                raise ModelFormatError(str(not_rows)) from None
            raise ModelFormatError(f"{not_a_model}; nor are these rows: {not_rows}") from None
    return _of_model(path, mixture, record)


def _of_model(path: str, mixture: Mixture, record: dict[str, Any]) -> dict[str, Any]:
    """Facts about a saved model, of which mixture and record have been read."""
    projection = read_projection(path, mixture)
    means, projected = mixture.means, dict[str, Any]()
    if projection is not None:
        means, projected = projection.back(means), {"projected_means": means.tolist()}
        if projection.selected is not None:
            projected["kept_features"] = projection.selected.tolist()
    return {
        **record,
        "kind": "model",
        "covariance_type": family_of(mixture.kind),
        "weights": mixture.weights.tolist(),
        **({} if mixture.noise is None else {"noise_weight": mixture.noise.weight}),
        "means": means.tolist(),
        **projected,
        "covariances": mixture.covariances.tolist(),
        "deviations": _deviations(mixture),
        **_degrees(mixture),
        "loops": loops.described(),
        **_drift(record.get("updates") or []),
    }


def _of_group(path: str) -> dict[str, Any]:
    """Facts about what Zarr holds that is no model: results of rows, variables on a grid, or rows."""
    results = results_described(path)
    if results is not None:
        return {**results, "kind": "results", "loops": loops.described()}
    grid = variables_described(path)
    if grid is not None:
        return {"kind": "data", **grid, "loops": loops.described()}
    return _of_rows(path)


def _of_rows(path: str) -> dict[str, Any]:
    """Facts about stored rows that are no variables on a grid."""
    source, columns = open_source(path), {}
    if isinstance(source, ParquetSource):
        columns = {"columns": source.column_types}
        source = source.of_numbers()
    names = getattr(source, "feature_names", None)
    named = {} if names is None else {"feature_names": list(names)}
    data = source.survey().as_dict()
    return {"kind": "data", **data, **named, **columns, "loops": loops.described()}


def _deviations(mixture: Mixture) -> list[list[float]]:
    """Standard deviation of each feature in each component; of t components, their scales."""
    assert isinstance(mixture.components, HasCovariances)
    found: list[list[float]] = (mixture.components.variances() ** 0.5).tolist()
    return found


def _degrees(mixture: Mixture) -> dict[str, Any]:
    """Degrees of freedom, where there are any."""
    arrays, name = mixture.components.arrays, "degrees_of_freedom"
    return {name: arrays[name].tolist()} if name in arrays else {}


def _drift(updates: list[dict[str, Any]]) -> dict[str, Any]:
    """What the rows of updates did, on one line; nothing where there was no update."""
    if not updates:
        return {}
    last = updates[-1]
    return {
        "drift": {
            "n_updates": len(updates),
            "log_likelihood_before": last["log_likelihood_before"],
            "log_likelihood_after": last["log_likelihood_after"],
            "weights_moved": max(abs(moved) for moved in last["weights_moved"]),
            "means_moved": max(last["means_moved"]),
        }
    }
