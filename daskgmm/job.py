"""Jobs: one function for each command that reads rows, from stored rows to files.

Every function returns plain values to report, ready for JSON, and writes its outputs whole or
not at all. Whatever can be refused is refused before the first pass.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

from daskgmm.checkpoints import may_pass
from daskgmm.errors import (
    DamagedDataError,
    ModelFormatError,
    ParameterError,
    StorageError,
)
from daskgmm.estimator import GaussianMixture, load_model
from daskgmm.execution import MixtureSize, Work, peak_memory_bytes
from daskgmm.kernel import Block, Mixture
from daskgmm.record import names_of_record
from daskgmm.redaction import redacted
from daskgmm.rules import names_of
from daskgmm.selection import select
from daskgmm.storage import (
    Location,
    check_output,
    first_overlap,
    is_lasting,
    read_model,
    read_projection,
)
from daskgmm.tables import (
    Asked,
    Grid,
    OpenedRows,
    Result,
    Use,
    Writer,
    check_features,
    check_keep,
    create_rows_output,
    open_input,
    open_rows,
    results_named,
    write_on_grid,
)

__all__ = ["fit", "predict", "score", "select_model", "update"]


def fit(
    data: Any,
    output: str,
    model: GaussianMixture,
    *,
    sample_weight: Any = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Fit ``model`` to stored rows and save it.

    Parameters
    ----------
    data : path, URL or Source
    output : str
        Path or URL of the model to write.
    model : GaussianMixture
        An unfitted estimator, which is fitted in place.
    sample_weight : path, URL or Source, optional
        How often each row counts.
    overwrite : bool
        Whether a Zarr node at ``output`` may be replaced.

    Returns
    -------
    dict
        The model's record, ``covariance_type``, ``weights``, ``note`` (what to know of the
        result, or None), and ``model``, its path or URL.
    """
    outputs = [output, *([model.checkpoint] if model.checkpoint else [])]
    _check_places(data, outputs)
    if _is_at_place(sample_weight):
        _check_places(sample_weight, outputs)
    check_output(output, overwrite=overwrite)
    model.fit(data, sample_weight=sample_weight)
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
        "note": model._note or None,
        "model": output,
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
    for rows in (data, weights) if _is_at_place(weights) else (data,):
        _check_places(rows, [model] if output is None else [model, output])
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
        _check_places(data, [output])
        if _is_at_place(settings.get("sample_weight")):
            _check_places(settings["sample_weight"], [output])
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
    keep: Sequence[str] | None = None,
    memory_limit: int | str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write results for each stored row, in one pass.

    Each output is a Zarr group, which xarray opens as a Dataset with a dimension ``row``, and
    which appears when all rows of all outputs are written. Its arrays are ``labels`` (row,), int32;
    ``probabilities`` (row, component) and ``log_density`` (row,), float64; and for ``top:M``
    ``top_labels`` and ``top_probabilities`` (row, rank), of the M most probable components or of
    all where there are fewer.

    Parameters
    ----------
    data : path, URL or Source
    model : str
        Path or URL of a saved model.
    outputs : mapping or sequence of pairs
        What is asked for, such as ``"labels"`` or ``"labels,log_density,top:5"``, and the path or
        URL of the group to write it to. For rows in Parquet it may be Parquet: a file, or a folder
        with a file for each that the rows are in.
    keep : sequence of str, optional
        Names of columns that are copied into outputs in Parquet.
    memory_limit : int or str, optional
    overwrite : bool

    Returns
    -------
    dict
        ``n_rows n_components seconds peak_memory_bytes``, and the place of each result.

    Raises
    ------
    ParameterError
        If a result is unknown, or places overlap.
    """
    began = time.perf_counter()
    pairs = outputs.items() if isinstance(outputs, Mapping) else outputs
    asked = [(results_named(names), place) for names, place in pairs]
    mixture, record = read_model(model)
    projection = read_projection(model, mixture)
    k = mixture.n_components
    n_features = mixture.n_features if projection is None else projection.n_in
    _check_places(data, [*(place for _, place in asked), model])
    if isinstance(data, str | os.PathLike):
        data = open_rows(data)
    kept = tuple(names_of(keep or []))
    check_keep(kept, data, [place for _, place in asked])
    wanted = {result.name: result for results, _ in asked for result in results}
    row_bytes = sum(array.row_bytes for result in wanted.values() for array in result.arrays(k))
    names = names_of_record(record, redacted(model), n_features)
    # Cells of a grid have results whether they have gaps or not.
    use = Use(counted=not isinstance(data, Grid), names=None if names is None else tuple(names))
    opened = open_input(
        data,
        Work((MixtureSize.of(mixture),), output_row_bytes=row_bytes),
        memory_limit=memory_limit,
        use=use,
    )
    check_features(
        (n_features, names),
        (opened.rows.n_features, opened.feature_names),
        f"the model {redacted(model)}",
        opened.name,
    )
    opened = opened.mapped(projection)
    places = {
        place: Asked(opened, results, k, redacted(model), overwrite, data, kept)
        for results, place in asked
    }
    if opened.laid_out is None:
        _write_results(places, mixture, opened)
    else:
        write_on_grid(places, mixture)
    return {
        "n_rows": opened.rows.n_rows,
        "n_components": k,
        "seconds": time.perf_counter() - began,
        "peak_memory_bytes": peak_memory_bytes(),
        **{result.name: place for results, place in reversed(asked) for result in results},
    }


def _write_results(places: Mapping[str, Asked], mixture: Mixture, opened: OpenedRows) -> None:
    """Write all outputs in one pass; they appear when all rows of all of them are there."""
    rows = opened.rows
    with ExitStack() as stack:
        writers = [
            (asked.results, stack.enter_context(create_rows_output(place, asked)).writer)
            for place, asked in places.items()
        ]
        n_written = rows.fold(_write_grain, mixture, writers)
        if n_written != rows.n_rows:
            raise DamagedDataError(
                f"{opened.name}: {n_written} rows came where {rows.n_rows} were expected"
            )


def _write_grain(
    block: Block, mixture: Mixture, writers: Sequence[tuple[tuple[Result, ...], Writer]]
) -> int:
    """Write the results of a grain, each of which is found once, and count its rows."""
    wanted = {result.name: result for results, _ in writers for result in results}
    found = {name: result.of(block, mixture) for name, result in wanted.items()}
    for results, writer in writers:
        writer.write(block.start, {k: v for r in results for k, v in found[r.name].items()})
    return len(block)


def score(
    data: Any, model: str, *, sample_weight: Any = None, memory_limit: int | str | None = None
) -> dict[str, Any]:
    """Log-likelihood and criteria of stored rows under a saved model, in one pass.

    Returns
    -------
    dict
        ``n_rows sum_of_weights log_likelihood_per_row aic bic icl n_parameters model``.
    """
    fitted = load_model(model).set_params(memory_limit=memory_limit)
    found = fitted.criteria(data, sample_weight)
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


def _is_at_place(weights: Any) -> bool:
    """Whether weights have a place of their own, and are no variable of the group of the rows."""
    return isinstance(weights, str | os.PathLike) or hasattr(weights, "survey")


def _check_places(data: Any, outputs: Sequence[str | os.PathLike[str]]) -> None:
    """Refuse outputs that would replace the data or each other, or would not last."""
    source = data if isinstance(data, str | os.PathLike) else data.name
    places = [Location.parse(place) for place in (source, *outputs)]
    found = first_overlap(places)
    if found is not None:
        one, other = (places[i].name for i in found)
        raise ParameterError(f"{one} and {other} overlap; data, model and outputs must lie apart")
    for place in places[1:]:
        if not is_lasting(place):
            raise ParameterError(
                f"{place.name} is memory of this process and would go with it; name a folder, or a "
                "URL of a store that stays"
            )
