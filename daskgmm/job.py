"""Jobs: one function for each command that reads rows, from stored rows to files.

Every function returns plain values to report, ready for JSON, and writes its outputs whole or
not at all. Whatever can be refused is refused before the first pass.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.checkpoints import may_pass
from daskgmm.em import label_rows, log_densities, probabilities
from daskgmm.errors import (
    DamagedDataError,
    ParameterError,
    StorageError,
)
from daskgmm.estimator import GaussianMixture, load_model
from daskgmm.execution import MixtureSize, Work, peak_memory_bytes
from daskgmm.kernel import Block, Mixture
from daskgmm.record import names_of_record
from daskgmm.redaction import redacted
from daskgmm.selection import select
from daskgmm.storage import (
    Location,
    RowOutput,
    RowWriter,
    check_output,
    first_overlap,
    is_lasting,
    read_model,
)
from daskgmm.tables import OpenedRows, check_features, open_input

__all__ = ["fit", "predict", "score", "select_model"]


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


@dataclass(frozen=True)
class _Result:
    """A result that each row has.

    Attributes
    ----------
    function : callable
        Gives the results of a block, from its rows, its start and the mixture.
    dtype : dtype
    columns : callable
        Columns for K components; None for a one-dimensional result.
    """

    function: Callable[..., NDArray[Any]]
    dtype: np.dtype[Any]
    columns: Callable[[int], int | None]

    def row_bytes(self, n_components: int) -> int:
        """Bytes of the result of one row."""
        return int(self.dtype.itemsize * (self.columns(n_components) or 1))


RESULTS = {
    "labels": _Result(label_rows, np.dtype(np.int32), lambda k: None),
    "probabilities": _Result(probabilities, np.dtype(np.float64), lambda k: k),
    "log_density": _Result(log_densities, np.dtype(np.float64), lambda k: None),
}
"""Results that :func:`predict` can write."""


def predict(
    data: Any,
    model: str,
    outputs: dict[str, str],
    *,
    memory_limit: int | str | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write results for each stored row, in one pass.

    Parameters
    ----------
    data : path, URL or Source
    model : str
        Path or URL of a saved model.
    outputs : dict
        Keys of :data:`RESULTS` and the path or URL to write each to: a Zarr array with
        a row for each row of the data.
    memory_limit : int or str, optional
    overwrite : bool

    Returns
    -------
    dict
        ``n_rows n_components seconds peak_memory_bytes`` and the outputs.
    """
    began = time.perf_counter()
    mixture, record = read_model(model)
    k = mixture.n_components
    _check_places(data, [*outputs.values(), model])
    row_bytes = sum(RESULTS[name].row_bytes(k) for name in outputs)
    opened = open_input(
        data,
        Work((MixtureSize.of(mixture),), output_row_bytes=row_bytes),
        memory_limit=memory_limit,
    )
    check_features(
        (mixture.n_features, names_of_record(record, redacted(model), mixture.n_features)),
        (opened.rows.n_features, opened.feature_names),
        f"the model {redacted(model)}",
        opened.name,
    )
    _write_results(opened, mixture, outputs, overwrite=overwrite)
    return {
        "n_rows": opened.rows.n_rows,
        "n_components": k,
        "seconds": time.perf_counter() - began,
        "peak_memory_bytes": peak_memory_bytes(),
        **outputs,
    }


def _write_results(
    opened: OpenedRows, mixture: Mixture, outputs: Mapping[str, str], *, overwrite: bool
) -> None:
    """Write all outputs in one pass; they appear when all rows of all of them are there."""
    rows = opened.rows
    with ExitStack() as stack:
        writers = {}
        for name, place in outputs.items():
            output = RowOutput.create(
                place,
                n_rows=rows.n_rows,
                columns=RESULTS[name].columns(mixture.n_components),
                dtype=RESULTS[name].dtype,
                partition_rows=opened.output_rows,
                overwrite=overwrite,
            )
            writers[name] = stack.enter_context(output).writer
        n_written = rows.fold(_write_grain, mixture, writers)
        if n_written != rows.n_rows:
            raise DamagedDataError(
                f"{opened.name}: {n_written} rows came where {rows.n_rows} were expected"
            )


def _write_grain(block: Block, mixture: Mixture, writers: dict[str, RowWriter]) -> int:
    """Write the results of a grain, and count its rows."""
    for name, writer in writers.items():
        result = RESULTS[name]
        found = result.function(block, mixture)
        writer.write(block.start, found.astype(result.dtype, copy=False))
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
