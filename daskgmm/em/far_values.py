"""Far values: values so far from all others of their feature that they are hardly measured ones.

A store that does not declare its fill value gives -9999 or 9.96921e36 for what is not known, and one
mistyped cell can be 1e49. Fits are made all the same, in which such rows count as any others do.

Far values lie beyond a wide gap in the sorted distances from the median. Either they are at most half of
the values, few distinct ones, and 10 times as far as all others; or they are at most a tenth, and 10,000
times as far; or they are at most a thousandth, and 100 times as far. With Cauchy's law, whose tails are the
heaviest that people meet, the first comes never, as its values do not repeat, the second once in 10,000
features and the third once in 100.

Where all other values are larger than -9999 is far from 0, it is no farther from them than they are from
each other. So -999, -9999 and the like, and the least integers of 16 and 32 bits, are named as well where
they repeat and are the only values below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from daskgmm.em.scan import Scan
from daskgmm.kernel import Float64Array

__all__ = ["FarValues", "far_values", "joined_far_values", "said_of_far_values"]

_FEWEST, _FEWEST_DISTINCT = 20, 4
"""Values of a feature, and distinct ones among those that are not far: of fewer, nothing is told."""
_REPEATED, _TIMES_REPEATED = 3, 10.0
"""Repeated values: least mean number of rows of each, and how many times as far they are."""
_TIMES, _FEW = 1e4, ((1e4, 0.1), (100.0, 1e-3))
"""How many times as far, and largest share of rows, of values that need not repeat; one alone is few."""
_LEAST_MARK, _INTEGERS = -999.0, (-(2.0**15), -(2.0**31))
"""Values that stand for none where all others are 0 or more: nines from -999 on, and the least integers."""
_MOST_GROUPS = 3
"""Groups of far values that are looked for, one beyond the other."""
_MOST_NAMED = 3
_VALUES_AT_ONCE = 1 << 20
"""Values that are looked at together: those of several features, where rows are few."""
_TIMES_NO_MEASUREMENT = 1e3
"""How many times as far as all others repeated values are that nobody can have measured."""


@dataclass(frozen=True)
class FarValues:
    """Values of a feature that are far from all others.

    Attributes
    ----------
    feature : int
    value : float
        The commonest of them.
    n_rows : float
        Rows that have one of them.
    times : float
        How many times as far from the median the nearest of them is as all others; 0 of one that is
        known by its value.
    is_repeated : bool
        Whether they are few distinct values, as fill values are.
    is_exact : bool
        Whether the rows were counted; else their number is estimated from a sample.
    """

    feature: int
    value: float
    n_rows: float
    times: float
    is_repeated: bool
    is_exact: bool

    @property
    def is_no_measurement(self) -> bool:
        """Whether they are fill values for all that can be told, of which a fit warns."""
        is_far = self.times >= _TIMES_NO_MEASUREMENT or _stands_for_none(self.value)
        return self.is_repeated and is_far

    def text(self, name: str) -> str:
        """For people, where they are and how many."""
        about = "" if self.is_exact else "about "
        is_alike = self.is_repeated or self.n_rows == 1
        said = (
            f"{name} {'is' if is_alike else 'has values such as'} {_written(self.value)} in "
            f"{about}{self.n_rows:,.0f} row{'s' * (self.n_rows != 1)}"
        )
        if self.times == 0.0:
            return f"{said}, and no other value is below 0"
        return f"{said}, {self.times:.2g} times as far from its median as all other values"


def far_values(scan: Scan) -> tuple[FarValues, ...]:
    """The far values of each feature of a scan's rows, in the data's own units.

    Parameters
    ----------
    scan : Scan
        If its rows are projected, only the features that were selected unchanged are judged.
    """
    affine, sample = scan.affine, scan.sample
    kept = np.arange(sample.n_features) if affine is None else affine.selected
    if affine is not None and affine.projects and kept is None:
        return ()
    found = []
    for j in _suspects(scan):
        column = sample.x[:, j]
        ends = np.array([scan.minimum[j], scan.maximum[j]])
        for one in _far_of_feature(column[~np.isnan(column)], ends, scan):
            value = one.value
            if affine is not None and not affine.projects:
                value = float(affine.shift[j] + affine.scale[j] * value)
            feature = j if kept is None else int(kept[j])
            found.append(replace(one, feature=feature, value=value))
    return tuple(found)


def joined_far_values(
    before: Sequence[FarValues], newer: Sequence[FarValues]
) -> tuple[FarValues, ...]:
    """Far values of rows and of others that came later, those of a feature that are alike as one."""
    found: dict[tuple[int, float | None], FarValues] = {}
    for one in (*before, *newer):
        alike = one.feature, one.value if one.is_repeated else None
        if (other := found.get(alike)) is not None:
            rows, times = one.n_rows + other.n_rows, min(one.times, other.times)
            is_exact = one.is_exact and other.is_exact
            one = replace(other, n_rows=rows, times=times, is_exact=is_exact)
        found[alike] = one
    return tuple(found.values())


def _suspects(scan: Scan) -> list[int]:
    """Features that may have far values; only theirs are sorted."""
    x, found = scan.sample.x, list[int]()
    step = max(1, _VALUES_AT_ONCE // max(1, len(x)))
    for first in range(0, x.shape[1] if len(x) else 0, step):
        some = slice(first, first + step)
        ends = np.stack([scan.minimum[some], scan.maximum[some]])
        found += (first + np.flatnonzero(_may_be_far(x[:, some], ends, scan))).tolist()
    return found


def _may_be_far(x: Float64Array, ends: Float64Array, scan: Scan) -> NDArray[np.bool_]:
    """Whether some features, whose extremes over all rows are known, may have far values.

    A gap of ten times, beyond half of the distances from the median, needs a distance of ten times
    that half.
    """
    half = len(x) // 2
    middle = np.partition(x, half, axis=0)[half]
    distances = np.abs(x - middle)
    farthest, of_all = distances.max(axis=0), np.abs(ends - middle).max(axis=0)
    is_near = farthest < _TIMES_REPEATED * np.partition(distances, half, axis=0)[half]
    is_near &= x.min(axis=0) > _LEAST_MARK
    if not scan.is_whole:
        is_near &= of_all < _TIMES * _rows_per_sampled(scan) * farthest
    may_be_far: NDArray[np.bool_] = ~is_near  # also where a value is NaN
    return may_be_far


def _rows_per_sampled(scan: Scan) -> float:
    return 1.0 if scan.is_whole else scan.weight / scan.sample.total_weight


def _far_of_feature(values: Float64Array, ends: Float64Array, scan: Scan) -> list[FarValues]:
    """Far values among some of a feature, whose extremes over all rows are known."""
    n = len(values)
    if n < _FEWEST:
        return []
    ordered, found = np.sort(values), list[FarValues]()
    middle = ordered[n // 2]
    values = ordered[np.argsort(np.abs(ordered - middle), kind="stable")]
    per_row = _rows_per_sampled(scan)
    for _ in range(_MOST_GROUPS):
        near, times = _nearer(np.abs(values - middle))
        if times < _TIMES_REPEATED or len(np.unique(values[:near])) < _FEWEST_DISTINCT:
            break
        far, n_far = values[near:], len(values) - near
        distinct, counts = np.unique(far, return_counts=True)
        commonest = float(distinct[np.argmax(counts)])
        # Of rounded values of a cluster none has half of the rows.
        is_one = 2 * counts.max() >= n_far >= _REPEATED * len(distinct)
        is_repeated = bool(is_one) and commonest != 0.0
        are_few = any(times >= least and n_far <= max(1.0, most * n) for least, most in _FEW)
        if is_repeated or are_few:
            n_rows = n_far * per_row
            one = FarValues(0, commonest, n_rows, times, is_repeated, scan.is_whole)
            found.append(one)
        values = values[:near]
    mark, n_rows = float(ordered[0]), per_row * np.searchsorted(ordered, ordered[0], "right")
    is_told = any(one.value == mark for one in found)
    if not is_told and _is_mark(ordered):
        found.append(FarValues(0, mark, float(n_rows), 0.0, True, scan.is_whole))
    farthest = float(ends[np.argmax(np.abs(ends - middle))])
    times = float(abs(farthest - middle) / (np.abs(ordered - middle).max() or np.inf))
    if not scan.is_whole and times >= _TIMES * per_row:  # of one row, which the sample lacks
        found.append(FarValues(0, farthest, 1.0, times, False, False))
    return found


def _is_mark(ordered: Float64Array) -> bool:
    """Whether the least of ascending values is a number that stands for none, and no other is below 0."""
    n_alike = int(np.searchsorted(ordered, ordered[0], "right"))
    others = ordered[n_alike:]
    is_known = ordered[0] < 0 and _stands_for_none(float(ordered[0]))
    is_alone = len(others) > 0 and others[0] >= 0.0 and len(np.unique(others)) >= _FEWEST_DISTINCT
    return bool(ordered[0] <= _LEAST_MARK and n_alike >= _REPEATED and is_known and is_alone)


def _stands_for_none(value: float) -> bool:
    """Whether people write the number where there is no value: 999, -9999 and so on, or a least integer."""
    return value in _INTEGERS or (abs(value) >= 999 and set(_written(abs(value))) == {"9"})


def _nearer(distances: Float64Array) -> tuple[int, float]:
    """How many of ascending distances are below their widest gap, and how wide that is."""
    first = len(distances) // 2
    below, above = distances[first:-1], distances[first + 1 :]
    if len(below) == 0 or not (below > 0).any():
        return len(distances), 1.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        times = np.where(below > 0, above / below, 1.0)
    widest = int(np.argmax(times))
    return first + 1 + widest, float(times[widest])


def _written(value: float) -> str:
    """The number in as few digits as tell it from all others."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)


def said_of_far_values(found: Sequence[FarValues], names: Sequence[str] | None) -> str:
    """For people, in one line, with what to do; empty if there are none.

    Parameters
    ----------
    found : sequence of FarValues
    names : sequence of str or None
        Names of the data's features; None for their numbers.
    """
    if not found:
        return ""
    named = [f"column {one.feature}" if names is None else names[one.feature] for one in found]
    each = [one.text(name) for one, name in zip(found, named, strict=True)]
    n_more = len(each) - _MOST_NAMED
    said = "; ".join(each[:_MOST_NAMED]) + (f"; and {n_more} more" if n_more > 0 else "")
    fill = next((one.value for one in found if one.is_repeated), None)
    if fill is None:
        return f"{said}: correct such values, or make them NaN and set missing='em' or 'drop'"
    return (
        f"{said}: this looks like a fill value; make it NaN (in Parquet null), or declare it (the "
        f"attribute missing_value of a Zarr array, --missing-text {_written(fill)} of daskgmm convert "
        "for CSV), and set missing='em' or 'drop'"
    )
