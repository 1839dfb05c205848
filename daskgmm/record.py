"""The record of a fit: what is said of it beside the parameters, and saved with them.

A record is plain values, which become a model's attributes in JSON. The estimator
has the same facts under names with a trailing underscore.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from daskgmm._version import __version__
from daskgmm.em import (
    MEASURES,
    Collapse,
    ContradictedLabels,
    Course,
    FarValues,
    Iteration,
    Missing,
    RareComponent,
    Subsample,
    ThinComponent,
    Threshold,
    Update,
)
from daskgmm.errors import ModelFormatError, ParameterError
from daskgmm.execution import made_with, peak_memory_bytes
from daskgmm.kernel import COMPONENTS, FixedParts, family_of, gaussians_named
from daskgmm.rules import FIXED
from daskgmm.settings import OPTIONS, option_named

__all__ = [
    "facts_of_fit",
    "facts_of_record",
    "fitted_as_of_record",
    "fixed_of_record",
    "missing_of_record",
    "names_of_record",
    "read_as_of_record",
    "record_of",
    "settings_of_record",
    "threshold_of_record",
    "units_of_record",
]


def facts_of_fit(
    result: Course, n_passes: int, n_rows: int, rows_read: int, seconds: float
) -> dict[str, Any]:
    """Fitted attributes of an estimator, other than the parameters."""
    return {
        "history_": result.history,
        "rare_components_": result.rare,
        "collapses_": result.collapses,
        "updates_": (),
        "lower_bounds_": _accepted_so_far(result.history),
        "lower_bound_": result.objective,
        "penalty_": result.penalty,
        "n_iter_": len(result.history),
        "converged_": result.converged,
        "stop_reason_": result.stop_reason,
        "remaining_gain_": result.history[-1].remaining_gain if result.history else np.inf,
        "n_passes_": n_passes,
        "n_rows_": n_rows,
        "rows_read_": rows_read,
        "seconds_": seconds,
        "peak_memory_bytes_": peak_memory_bytes(),
        "made_with_": made_with(),
    }


def _accepted_so_far(history: Sequence[Iteration]) -> list[float]:
    found: list[float] = []
    for i in history:
        found.append(i.objective if i.accepted or not found else found[-1])
    return found


def record_of(model: Any) -> dict[str, Any]:
    """Facts of a fitted estimator as plain values; None for those of parameters set by hand."""

    def fact(name: str) -> Any:
        return getattr(model, name, None)

    return {
        "daskgmm_version": __version__,
        "n_components": len(model.weights_),
        "n_features": np.shape(model.means_)[1],
        **_names_of(model),
        "n_rows": fact("n_rows_"),
        "n_missing": fact("n_missing_"),
        "n_left_out": fact("n_left_out_"),
        **_height_of(model),
        "n_iter": fact("n_iter_"),
        "n_passes": fact("n_passes_"),
        "rows_read": fact("rows_read_"),
        "seconds": fact("seconds_"),
        "peak_memory_bytes": fact("peak_memory_bytes_"),
        "made_with": fact("made_with_"),
        "stage_dtype": model.stage_dtype,
        "staged_bytes_memory": fact("staged_bytes_memory_"),
        "staged_bytes_disk": fact("staged_bytes_disk_"),
        "stop_reason": fact("stop_reason_"),
        "tol": fact("tol_"),
        "remaining_gain": fact("remaining_gain_"),
        "converged": fact("converged_"),
        **_subsample_of(model),
        "settings": {o.name: _saved(getattr(model, o.name)) for o in OPTIONS if o.is_saved},
        "history": [asdict(iteration) for iteration in fact("history_") or ()],
        "rare_components": [asdict(found) for found in fact("rare_components_") or ()],
        "thin_components": [asdict(found) for found in fact("thin_components_") or ()],
        "far_values": [asdict(found) for found in fact("far_values_") or ()],
        **({"blur": model._blurred} if model._blurred else {}),
        **({} if model._ridge is None else {"ridge": list(model._ridge)}),
        "collapses": [asdict(found) for found in fact("collapses_") or ()],
        **_contradicted_in(model),
        **({"selection": model.selection_} if hasattr(model, "selection_") else {}),
        **_updates_of(model),
        **({"is_weighted": True} if model._is_weighted else {}),
        **({} if model._unit_of_weights == 1.0 else {"unit_of_weights": model._unit_of_weights}),
        **_fitted_as(model),
        **({"fixed": asdict(model._fixed_parts)} if model._fixed_parts else {}),
        **({} if fact("threshold_") is None else {"threshold": asdict(model.threshold_)}),
        **({} if fact("_known_as") is None else {"known_as": model._known_as}),
        **({} if fact("_read_as") is None else {"read_as": dict(model._read_as)}),
    }


def _height_of(model: Any) -> dict[str, float | None]:
    """Log-likelihood per row; and what a prior takes off it, where there is one."""
    bound, penalty = getattr(model, "lower_bound_", None), getattr(model, "penalty_", None)
    if not bound or not penalty:
        return {"log_likelihood_per_row": bound}
    return {"log_likelihood_per_row": bound + penalty, "penalty_per_row": penalty}


def _fitted_as(model: Any) -> dict[str, str]:
    """The kind of the fit, where the parameters are of another one in the data's own units."""
    asked = getattr(model, "_fitted_as", None)
    if asked is None or asked == family_of(model._fitted_type):
        return {}
    return {"fitted_as": asked}


def fitted_as_of_record(record: Mapping[str, Any], where: str, kind: str) -> str | None:
    """Kind of the fit of a model whose parameters are of ``kind``; None where it is the same.

    Raises
    ------
    ModelFormatError
        If no fit of it leads to these parameters; ``where`` says of which model.
    """
    asked = record.get("fitted_as")
    if asked is None:
        return None
    is_family = isinstance(asked, str) and asked in COMPONENTS and asked != kind
    if not is_family or gaussians_named(asked).scaled_family().kind != kind:
        raise ModelFormatError(
            f"{where} says that {kind} covariances were fitted as {asked!r:.80}; was it edited?"
        )
    return str(asked)


def fixed_of_record(record: Mapping[str, Any], where: str, k: int) -> FixedParts:
    """What the fit of a model of K components left as it was in the start.

    Raises
    ------
    ModelFormatError
        If that is none; ``where`` says of which model.
    """
    saved = record.get("fixed") or {}
    if FIXED.accepts(saved) and "all" not in saved.values():
        parts = {part: tuple(which) for part, which in saved.items()}
        if all(number < k for which in parts.values() for number in which):
            return FixedParts(**parts)
    raise ModelFormatError(f"{where}: its fixed parts are {saved!r:.200}; was it edited?")


def _subsample_of(model: Any) -> dict[str, Any]:
    """Whether some of the rows would have done; nothing where these are few, or not known."""
    n_rows = getattr(model, "n_rows_", None)
    found = n_rows and Subsample.enough(model._mixture, model._n_parameters(), n_rows)
    return {"subsample": asdict(found)} if found else {}


def _updates_of(model: Any) -> dict[str, Any]:
    """The updates since the fit; nothing where there was none."""
    updates = getattr(model, "updates_", None)
    if not updates:
        return {}
    return {"updates": [asdict(update) for update in updates]}


def _contradicted_in(model: Any) -> dict[str, Any]:
    """Components whose labels the fit contradicts; nothing where there are none."""
    contradicted = getattr(model, "contradicted_labels_", None)
    if not contradicted:
        return {}
    return {"contradicted_labels": [asdict(found) for found in contradicted]}


def _saved(value: Any) -> Any:
    """A setting as it is saved: None for a generator, of which nobody knows the seed."""
    return None if isinstance(value, np.random.RandomState) else value


def _names_of(model: Any) -> dict[str, list[str]]:
    """Names and units of the features, where there are any, which older models never have."""
    named = {
        "feature_names": getattr(model, "feature_names_in_", None),
        "feature_units": model._units,
    }
    return {key: [str(text) for text in texts] for key, texts in named.items() if texts is not None}


def names_of_record(record: Mapping[str, Any], where: str, n_features: int) -> list[str] | None:
    """Names of the features; None where the data had none.

    Raises
    ------
    ModelFormatError
        If there is not one for each feature; ``where`` says of which model.
    """
    return _texts_of_record(record, "feature_names", where, n_features)


def units_of_record(record: Mapping[str, Any], where: str, n_features: int) -> list[str] | None:
    """Units of the features, empty where one has none; None where the data had none.

    Raises
    ------
    ModelFormatError
        If there is not one for each feature; ``where`` says of which model.
    """
    return _texts_of_record(record, "feature_units", where, n_features)


def _texts_of_record(
    record: Mapping[str, Any], key: str, where: str, n_features: int
) -> list[str] | None:
    texts = record.get(key)
    if texts is None:
        return None
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        if len(texts) == n_features:
            return texts
        raise ModelFormatError(
            f"{where} has {len(texts)} {key} for {n_features} features; was it edited?"
        )
    raise ModelFormatError(f"{where}: its {key} are no list of strings; was it edited?")


def read_as_of_record(record: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """What said which values the rows of the fit were; None where they were rows as they are.

    Raises
    ------
    ModelFormatError
        If it names nothing; ``where`` says of which model.
    """
    found = record.get("read_as")
    if found is None:
        return None
    if isinstance(found, dict) and isinstance(names := found.get("variables"), list):
        others = {name: found[name] for name in ("feature_dim", "mask") if name in found}
        if names and all(isinstance(name, str) for name in (*names, *others.values())):
            return {"variables": names, **others}
    raise ModelFormatError(f"{where}: its read_as is {found!r:.200}; was it edited?")


def missing_of_record(record: Mapping[str, Any], where: str) -> Missing:
    """What NaN was in the rows of the fit; an error, where an older model does not say.

    Raises
    ------
    ModelFormatError
        If it is none of what there is; ``where`` says of which model.
    """
    found: Missing = settings_of_record(record, where).get("missing", "error")
    try:
        option_named("missing").check(found)
    except ParameterError as error:
        raise _edited(where, error) from error
    return found


def settings_of_record(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Parameters of the estimator that was fitted.

    Raises
    ------
    ModelFormatError
        If they are not a mapping; ``where`` says of which model.
    """
    try:
        return dict(record.get("settings") or {})
    except (TypeError, ValueError) as error:
        raise _edited(where, error) from error


def facts_of_record(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Inverse of :func:`record_of`: attributes as of :func:`facts_of_fit`, None if missing.

    Raises
    ------
    ModelFormatError
        If the history is not one; ``where`` says of which model.
    """
    try:
        history = tuple(Iteration(**iteration) for iteration in record.get("history") or [])
        thin = tuple(ThinComponent(**found) for found in record.get("thin_components") or [])
        far = tuple(FarValues(**found) for found in record.get("far_values") or [])
        rare = tuple(RareComponent(**found) for found in record.get("rare_components") or [])
        collapses = tuple(Collapse(**found) for found in record.get("collapses") or [])
        contradicted = tuple(
            ContradictedLabels(**found) for found in record.get("contradicted_labels") or []
        )
        unit = float(record.get("unit_of_weights") or 1.0)
        ridge = None if record.get("ridge") is None else [float(v) for v in record["ridge"]]
        height, penalty = record.get("log_likelihood_per_row"), record.get("penalty_per_row")
        bound = height - penalty if height and penalty else height
        updates = tuple(_update_of(found) for found in record.get("updates") or [])
    except (TypeError, ValueError) as error:
        raise _edited(where, error) from error
    same = (
        *(
            "n_iter",
            "converged",
            "stop_reason",
            "tol",
            "remaining_gain",
            "n_passes",
            "n_rows",
            "n_missing",
            "n_left_out",
            "rows_read",
            "seconds",
            "peak_memory_bytes",
            "made_with",
        ),
        *("staged_bytes_memory", "staged_bytes_disk"),
    )
    return {
        "history_": history,
        "rare_components_": rare,
        "thin_components_": thin,
        "far_values_": far,
        "_blurred": str(record.get("blur") or ""),
        "_ridge": ridge,
        "collapses_": collapses,
        "contradicted_labels_": contradicted,
        "updates_": updates,
        "_is_weighted": record.get("is_weighted") is True,
        "_unit_of_weights": unit,
        "lower_bounds_": [iteration.objective for iteration in history],
        "lower_bound_": bound,
        "penalty_": penalty or 0.0,
        **{f"{name}_": record.get(name) for name in same},
        **({"selection_": record["selection"]} if "selection" in record else {}),
        **({} if (t := threshold_of_record(record, where)) is None else {"threshold_": t}),
    }


def threshold_of_record(record: Mapping[str, Any], where: str) -> Threshold | None:
    """What makes a row an outlier; None where nobody has said.

    Raises
    ------
    ModelFormatError
        If it is none; ``where`` says of which model.
    """
    saved = record.get("threshold")
    if saved is None:
        return None
    try:
        found = Threshold(**saved)
        is_one = found.measure in MEASURES and np.isfinite(found.value)
    except TypeError:
        is_one = False
    if not is_one:
        raise ModelFormatError(f"{where}: its threshold is {saved!r:.200}; was it edited?")
    return found


def _update_of(found: Mapping[str, Any]) -> Update:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    return Update(**values)


def _edited(where: str, error: Exception) -> ModelFormatError:
    return ModelFormatError(
        f"{where}: its settings or history are not as daskgmm writes them ({error}); was it edited?"
    )
