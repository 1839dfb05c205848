"""Returned: every result that rows can have, once: its name, fill and attributes, and what gives it.

Predictions on a grid of xarray and stored results are described by the same rows of this table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskgmm.em import (
    Threshold,
    label_rows,
    labels_of_inliers,
    log_densities,
    probabilities,
    top_components,
)
from daskgmm.errors import ParameterError
from daskgmm.kernel import Block, Mixture
from daskgmm.rules import RESULT_NAMES

__all__ = [
    "RESULTS",
    "Result",
    "Returned",
    "of_features",
    "outliers",
    "results_named",
    "returned",
]

_NO_LABEL = -2
"""Label of a row with a gap."""


@dataclass(frozen=True)
class Returned:
    """An array with a value, or several, for each row.

    Attributes
    ----------
    name : str
    dtype : dtype
        As it is stored; predictions in Python are in int64 and float64.
    fill : int or float
        Stands for the result of a row with a gap.
    attributes : mapping
        By the CF conventions.
    dims : tuple of str
        Names of the dimensions after that of the rows.
    shape : tuple of int
        Along these.
    names : tuple of str
        What the values of a row are called, where they are not of components or ranks.
    is_counted : bool
        Whether the rows whose value is 1 are counted while it is written.
    """

    name: str
    dtype: np.dtype[Any]
    fill: int | float
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dims: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    is_counted: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of what one row has, as it is stored."""
        return int(self.dtype.itemsize) * math.prod(self.shape)


@dataclass(frozen=True)
class Result:
    """What can be asked for: one array, or several that are found together.

    Attributes
    ----------
    name : str
        As it is asked for.
    arrays : callable
        Descriptions of the arrays, given the number of components.
    function : callable
        Gives the arrays of a block of rows under a mixture, in that order.
    """

    name: str
    arrays: Callable[[int], tuple[Returned, ...]]
    function: Callable[[Block, Mixture], tuple[NDArray[Any], ...]]

    def of(self, block: Block, mixture: Mixture) -> dict[str, NDArray[Any]]:
        """The arrays of a block by name, in the dtypes that are stored."""
        arrays = self.arrays(mixture.n_components)
        found = zip(arrays, self.function(block, mixture), strict=True)
        return {array.name: values.astype(array.dtype, copy=False) for array, values in found}


_INT8, _INT32, _FLOAT64 = np.dtype(np.int8), np.dtype(np.int32), np.dtype(np.float64)


def _flags(n_components: int) -> dict[str, Any]:
    return {
        "flag_values": np.arange(n_components, dtype=_INT32),
        "flag_meanings": " ".join(f"component_{k}" for k in range(n_components)),
    }


def _labels(n_components: int) -> tuple[Returned, ...]:
    about = {"long_name": "most probable component", **_flags(n_components)}
    return (Returned("labels", _INT32, _NO_LABEL, about),)


def _labels_of_inliers(n_components: int) -> tuple[Returned, ...]:
    flags = np.arange(-1, n_components, dtype=_INT32)
    (labels,) = _labels(n_components)
    meanings = f"outlier {labels.attributes['flag_meanings']}"
    about = {**labels.attributes, "flag_values": flags, "flag_meanings": meanings}
    return (replace(labels, attributes=about),)


def _probabilities(n_components: int) -> tuple[Returned, ...]:
    about = {"long_name": "probability of the component", "units": "1"}
    along = ("component",), (n_components,)
    return (Returned("probabilities", _FLOAT64, np.nan, about, *along),)


def _log_density(_: int) -> tuple[Returned, ...]:
    """In nats, of the features in their units."""
    about = {"long_name": "log density of the mixture"}
    return (Returned("log_density", _FLOAT64, np.nan, about),)


def _top(n_components: int, n: int) -> tuple[Returned, ...]:
    along = ("rank",), (min(n, n_components),)
    labels = {"long_name": "components, the most probable first", **_flags(n_components)}
    about = {"long_name": "probability of these components", "units": "1"}
    return (
        Returned("top_labels", _INT32, _NO_LABEL, labels, *along),
        Returned("top_probabilities", _FLOAT64, np.nan, about, *along),
    )


def _squared_distance(_: int) -> tuple[Returned, ...]:
    """Of Mahalanobis."""
    about = {"long_name": "squared distance to the most probable component", "units": "1"}
    return (Returned("squared_distance", _FLOAT64, np.nan, about),)


_MEASURES = {"log_density": _log_density, "squared_distance": _squared_distance}


def _outliers(n_components: int, threshold: Threshold) -> tuple[Returned, ...]:
    about = {
        "long_name": "whether the row is an outlier",
        "flag_values": np.arange(2, dtype=_INT8),
        "flag_meanings": "inlier outlier",
        "threshold": threshold.value,
        "threshold_of": threshold.measure,
    }
    flags = Returned("outlier", _INT8, _NO_LABEL, about, is_counted=True)
    return (flags, *_MEASURES[threshold.measure](n_components))


def _found_outliers(
    block: Block, mixture: Mixture, threshold: Threshold
) -> tuple[NDArray[Any], ...]:
    return threshold.marked(block, mixture)


def _found_labels_of_inliers(
    block: Block, mixture: Mixture, threshold: Threshold
) -> tuple[NDArray[Any], ...]:
    return (labels_of_inliers(block, mixture, threshold),)


def _found_labels(block: Block, mixture: Mixture) -> tuple[NDArray[Any], ...]:
    return (label_rows(block, mixture),)


def _found_probabilities(block: Block, mixture: Mixture) -> tuple[NDArray[Any], ...]:
    return (probabilities(block, mixture),)


def _found_log_density(block: Block, mixture: Mixture) -> tuple[NDArray[Any], ...]:
    return (log_densities(block, mixture),)


RESULTS = {
    result.name: result
    for result in (
        Result("labels", _labels, _found_labels),
        Result("probabilities", _probabilities, _found_probabilities),
        Result("log_density", _log_density, _found_log_density),
    )
}
"""Results of a name alone; ``top:5`` is made by :func:`results_named`."""


def results_named(
    names: str | Iterable[str], threshold: Threshold | None = None
) -> tuple[Result, ...]:
    """The results that names ask for, or a text such as ``labels,top:5``.

    With a threshold, labels of outliers are -1.

    Raises
    ------
    ParameterError
        If one is unknown, or asked for twice.
    """
    asked = list(names.split(",") if isinstance(names, str) else names)
    if not RESULT_NAMES.accepts(asked):
        raise ParameterError(f"results must be {RESULT_NAMES.what}; got {','.join(asked)!r:.200}")
    results = tuple(_result_named(name) for name in asked)
    if threshold is None:
        return results
    found = partial(_found_labels_of_inliers, threshold=threshold)
    labels = Result("labels", _labels_of_inliers, found)
    return tuple(labels if result.name == "labels" else result for result in results)


def outliers(threshold: Threshold) -> Result:
    """Which rows are outliers, and what the threshold is compared with."""
    return Result(
        "outlier",
        partial(_outliers, threshold=threshold),
        partial(_found_outliers, threshold=threshold),
    )


def _result_named(name: str) -> Result:
    if name in RESULTS:
        return RESULTS[name]
    n = int(name.partition(":")[2])
    return Result(name, partial(_top, n=n), partial(top_components, n=n))


def of_features(name: str, long_name: str, features: Iterable[str]) -> Returned:
    """The description of a value for each of some features."""
    names = tuple(features)
    about = {"long_name": long_name}
    return Returned(name, _FLOAT64, np.nan, about, ("feature",), (len(names),), names)


def returned(name: str, n_components: int) -> Returned:
    """The description of a result that is one array."""
    (array,) = RESULTS[name].arrays(n_components)
    return array
