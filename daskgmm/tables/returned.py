"""Returned: every result that rows can have, once: its name, fill and attributes, and what gives it.

Predictions on a grid of xarray and stored results are described by the same rows of this table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from daskgmm.kernel import NOISE, Block, Mixture
from daskgmm.rules import RESULT_NAMES

__all__ = [
    "RESULTS",
    "Classes",
    "Result",
    "Returned",
    "names_along",
    "of_features",
    "outliers",
    "results_named",
    "returned",
]

Classes = tuple[int, ...]
"""What rows can be labelled: see :attr:`daskgmm.kernel.Mixture.classes`."""

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
        Names of the dimensions after that of the rows, one at most.
    along : tuple of int or str
        Coordinates along it: labels of components and of noise, ranks, or names of features.
    is_counted : bool
        Whether the rows whose value is 1, and those that have a value, are counted while it is
        written.
    """

    name: str
    dtype: np.dtype[Any]
    fill: int | float
    attributes: Mapping[str, Any] = field(default_factory=dict)
    dims: tuple[str, ...] = ()
    along: tuple[int | str, ...] = ()
    is_counted: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Along the dimensions after that of the rows."""
        return (len(self.along),) if self.dims else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What its values are called where each is a column of its own, after its name."""
        return tuple("noise" if one == NOISE else str(one) for one in self.along)

    @property
    def row_bytes(self) -> int:
        """Bytes of what one row has, as it is stored."""
        return int(self.dtype.itemsize) * math.prod(self.shape)

    def counts(self, values: Any) -> tuple[Any, Any]:
        """How many values are 1, and how many another than the fill; lazy where the values are."""
        return (values == 1).sum(), (values != self.fill).sum()


@dataclass(frozen=True)
class Result:
    """What can be asked for: one array, or several that are found together.

    Attributes
    ----------
    name : str
        As it is asked for.
    arrays : callable
        Descriptions of the arrays, given the classes of a mixture.
    function : callable
        Gives the arrays of a block of rows under a mixture, in that order.
    are_rows : bool
        Whether the result is the rows themselves. On a grid they are written as its variables, not as
        one array.
    """

    name: str
    arrays: Callable[[Classes], tuple[Returned, ...]]
    function: Callable[[Block, Mixture], tuple[NDArray[Any], ...]]
    are_rows: bool = False

    def of(
        self, block: Block, mixture: Mixture, out: NDArray[np.intp] | None = None
    ) -> dict[str, NDArray[Any]]:
        """The arrays of a block by name, in the dtypes that are stored; rows ``out`` are left out."""
        arrays = self.arrays(mixture.classes)
        found = {}
        for array, values in zip(arrays, self.function(block, mixture), strict=True):
            found[array.name] = stored = values.astype(array.dtype, copy=False)
            if out is not None:
                stored[out] = array.fill
        return found


_INT8, _INT32, _FLOAT64 = np.dtype(np.int8), np.dtype(np.int32), np.dtype(np.float64)


def names_along(along: Sequence[int | str]) -> list[str]:
    """What values along a dimension are called in columns: of components, noise or features."""
    names = {NOISE: "noise"}
    return [one if isinstance(one, str) else names.get(one, f"component_{one}") for one in along]


def _flags(classes: Classes) -> dict[str, Any]:
    return {
        "flag_values": np.array(classes, dtype=_INT32),
        "flag_meanings": " ".join(names_along(classes)),
    }


def _labels(classes: Classes) -> tuple[Returned, ...]:
    about = {"long_name": "most probable component", **_flags(classes)}
    return (Returned("labels", _INT32, _NO_LABEL, about),)


def _labels_of_inliers(classes: Classes) -> tuple[Returned, ...]:
    """Of which outliers have the label of noise."""
    (labels,) = _labels(classes)
    components = tuple(one for one in classes if one != NOISE)
    both = "outlier" if components == classes else "noise_or_outlier"
    about = {
        **labels.attributes,
        "flag_values": np.array([NOISE, *components], dtype=_INT32),
        "flag_meanings": " ".join([both, *names_along(components)]),
    }
    return (replace(labels, attributes=about),)


def _probabilities(classes: Classes) -> tuple[Returned, ...]:
    about = {"long_name": "probability of the component", "units": "1"}
    return (Returned("probabilities", _FLOAT64, np.nan, about, ("component",), classes),)


def _log_density(_: Classes) -> tuple[Returned, ...]:
    """In nats, of the features in their units."""
    about = {"long_name": "log density of the mixture"}
    return (Returned("log_density", _FLOAT64, np.nan, about),)


def _top(classes: Classes, n: int) -> tuple[Returned, ...]:
    along = ("rank",), tuple(range(min(n, len(classes))))
    labels = {"long_name": "components, the most probable first", **_flags(classes)}
    about = {"long_name": "probability of these components", "units": "1"}
    return (
        Returned("top_labels", _INT32, _NO_LABEL, labels, *along),
        Returned("top_probabilities", _FLOAT64, np.nan, about, *along),
    )


def _squared_distance(_: Classes) -> tuple[Returned, ...]:
    """Of Mahalanobis."""
    about = {"long_name": "squared distance to the most probable component", "units": "1"}
    return (Returned("squared_distance", _FLOAT64, np.nan, about),)


def _component_density(classes: Classes) -> tuple[Returned, ...]:
    """As :func:`_log_density`; without noise, where a mixture has it."""
    (array,) = _log_density(classes)
    if NOISE not in classes:
        return (array,)
    about = {"long_name": "log density of the components, without noise"}
    return (replace(array, attributes=about),)


_MEASURES = {"log_density": _component_density, "squared_distance": _squared_distance}


def _outliers(classes: Classes, threshold: Threshold) -> tuple[Returned, ...]:
    about = {
        "long_name": "whether the row is an outlier",
        "comment": "1 for outliers, 0 for others, -2 where a feature is missing; choose by == 1",
        "flag_values": np.arange(2, dtype=_INT8),
        "flag_meanings": "inlier outlier",
        "threshold": threshold.value,
        "threshold_of": threshold.measure,
    }
    flags = Returned("outlier", _INT8, _NO_LABEL, about, is_counted=True)
    return (flags, *_MEASURES[threshold.measure](classes))


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


def of_features(name: str, long_name: str, features: Iterable[str | int]) -> Returned:
    """The description of a value for each of some features."""
    names = tuple(features)
    about = {"long_name": long_name}
    return Returned(name, _FLOAT64, np.nan, about, ("feature",), names)


def returned(name: str, classes: Classes) -> Returned:
    """The description of a result that is one array, of a mixture of such classes."""
    (array,) = RESULTS[name].arrays(classes)
    return array
