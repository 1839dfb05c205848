"""Ugly tables: does every fit end with a finite model, or with one clear line?

Each table has a fault that real ones have: rows that are repeated, ties, one-hot columns, stretches
that a sensor left constant, columns that are constant or sums of others, heavy tails, more
components than distinct rows, more features than rows, and scales from 1e-20 to 1e30. Half of them
have a second one.
"""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from daskgmm import GaussianMixture
from daskgmm.errors import DaskGMMError, DaskGMMWarning

from .table import Column, Table

__all__ = ["FAULTS", "UGLY", "ugly_rows", "ugly_table"]

Rows = NDArray[np.float64]
Generator = np.random.Generator


def _plain(rng: Generator) -> Rows:
    """Some clusters of unequal weights."""
    n, d, k = int(rng.integers(30, 2_000)), int(rng.integers(1, 7)), int(rng.integers(1, 6))
    label = rng.choice(k, n, p=rng.dirichlet(np.full(k, 2.0)))
    made: Rows = rng.normal(size=(n, d)) + 4.0 * rng.normal(size=(k, d))[label]
    return made


def _duplicates(x: Rows, rng: Generator) -> Rows:
    distinct = x[: int(rng.integers(2, 40))]
    return distinct[rng.integers(0, len(distinct), len(x))]


def _ties(x: Rows, rng: Generator) -> Rows:
    made: Rows = np.round(x * rng.choice([0.2, 0.5, 1.0]))
    return made


def _one_hot(x: Rows, rng: Generator) -> Rows:
    n = int(rng.integers(2, 13))
    return np.hstack([x, np.eye(n)[rng.integers(0, n, len(x))]])


def _stretches(x: Rows, rng: Generator) -> Rows:
    made = x.copy()
    for column in range(x.shape[1]):
        first = int(rng.integers(0, len(x)))
        made[first : first + int(rng.integers(1, len(x))), column] = rng.choice([0.0, -999.0])
    return made


def _constant(x: Rows, rng: Generator) -> Rows:
    value = rng.choice([0.0, 1.0, 1e6, 0.1])
    return np.insert(x, int(rng.integers(0, x.shape[1] + 1)), value, axis=1)


def _nearly_constant(x: Rows, rng: Generator) -> Rows:
    made = _constant(x, rng)
    made[int(rng.integers(0, len(x)))] += 1e-3 * rng.normal(size=made.shape[1])
    return made


def _sums(x: Rows, rng: Generator) -> Rows:
    return np.hstack([x, x @ rng.normal(size=(x.shape[1], int(rng.integers(1, 4))))])


def _wide(x: Rows, rng: Generator) -> Rows:
    n = int(rng.integers(2, 30))
    return np.asarray(rng.normal(size=(n, n + int(rng.integers(1, 40)))))


def _few(x: Rows, rng: Generator) -> Rows:
    return x[: int(rng.integers(2, 8))]


def _heavy(x: Rows, rng: Generator) -> Rows:
    return np.asarray(x * np.exp(rng.choice([3.0, 10.0]) * rng.normal(size=(len(x), 1))))


def _counts(x: Rows, rng: Generator) -> Rows:
    return np.asarray(rng.poisson(rng.gamma(0.2, 2.0, size=x.shape)).astype(np.float64))


def _tiny(x: Rows, rng: Generator) -> Rows:
    return 1e-20 * x


def _huge(x: Rows, rng: Generator) -> Rows:
    return 1e30 * x


def _scales(x: Rows, rng: Generator) -> Rows:
    return np.asarray(x * 10.0 ** rng.choice([-20, 0, 30], size=x.shape[1]))


def _far(x: Rows, rng: Generator) -> Rows:
    return np.asarray(x + rng.choice([1e6, 1e10, 1e15]))


def _outlier(x: Rows, rng: Generator) -> Rows:
    made = x.copy()
    made[int(rng.integers(0, len(x)))] *= 1e6
    return made


UGLY: dict[str, Callable[[Rows, Generator], Rows]] = {
    "duplicates": _duplicates,
    "ties": _ties,
    "one-hot": _one_hot,
    "stretches": _stretches,
    "constant": _constant,
    "nearly constant": _nearly_constant,
    "sums": _sums,
    "D > N": _wide,
    "few rows": _few,
    "heavy tails": _heavy,
    "counts": _counts,
    "1e-20": _tiny,
    "1e30": _huge,
    "all scales": _scales,
    "far away": _far,
    "outlier": _outlier,
}
"""What is done to a table, by name."""

_FAMILIES = ("full", "tied", "diag", "spherical")


def _made(number: int, rng: Generator) -> tuple[str, Rows]:
    """A table, and what is ugly in it."""
    names = list(UGLY)
    chosen = [names[number % len(names)]]
    if rng.uniform() < 0.5:
        chosen.append(names[int(rng.integers(len(names)))])
    x = _plain(rng)
    for name in chosen:
        x = UGLY[name](x, rng)
    return " + ".join(chosen), x


def _with_gaps(x: Rows, rng: Generator) -> Rows:
    """The rows with a tenth of their values missing, but never all of a row."""
    gaps = rng.random(x.shape) < 0.1
    gaps[np.arange(len(x)), rng.integers(0, x.shape[1], len(x))] = False
    return np.where(gaps, np.nan, x)


def ugly_rows(
    numbers: Iterable[int], seed: int, options: dict[str, Any], say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """How the fit of each table ended, as it is done.

    Parameters
    ----------
    numbers : iterable of int
        Of the tables, each of which is the same whatever others there are.
    seed : int
    options : dict
        Parameters of the estimator in place of defaults. With ``missing="em"``, a tenth of the values
        are missing.
    say : callable
        Told of each table as it ends.
    """
    for number in numbers:
        rng = np.random.default_rng([seed, number])
        what, x = _made(number, rng)
        # K is up to a third of the rows in one table of four.
        most = max(3, len(x) // 3) if rng.uniform() < 0.25 else 9
        k = int(rng.integers(1, min(most, 40, len(x) + 1) + 1))
        made = {"n_components": k, "covariance_type": _FAMILIES[int(rng.integers(4))]}
        row = {"table": number, "what": what, "n_rows": len(x), "n_features": x.shape[1], **made}
        if options.get("missing") == "em":
            x = _with_gaps(x, rng)
        is_lazy = number % 3 == 2
        model = GaussianMixture(**made, random_state=number, **options)
        row |= _ended(model, da.from_array(x, chunks=(64, -1)) if is_lazy else x, x)
        say(f"table {number} ({what}): {row['end']}: {row['said']}")
        yield row


def _ended(model: GaussianMixture, rows: Any, x: Rows) -> dict[str, Any]:
    """How a fit ended, and what it said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(rows)
            found = [model.weights_, model.means_, model.covariances_, model.lower_bound_]
            found += [model.score(x), model.predict_proba(x[:50]), model.sample(3)[0]]
        except DaskGMMError as error:
            is_line = len(str(error).splitlines()) == 1
            return {
                "end": f"refused ({type(error).__name__})" if is_line else "more than one line",
                "said": str(error),
            }
        except Exception as error:
            return {"end": "traceback", "said": f"{error!r}", "trace": traceback.format_exc()}
    said = "; ".join(str(one.message) for one in caught)
    if not all(np.isfinite(one).all() for one in found):
        return {"end": "not finite", "said": said}
    if strange := [one for one in caught if not _is_ours(one)]:
        return {"end": "a warning of another library", "said": str(strange[0].message)}
    if getattr(model, "collapses_", ()):
        is_pruned = len(model.weights_) < model.n_components
        return {"end": "fitted, pruned" if is_pruned else "fitted, reseeded", "said": said}
    return {"end": "fitted, with a warning" if caught else "fitted", "said": said}


def _is_ours(caught: warnings.WarningMessage) -> bool:
    """Whether we raise the warning on purpose: scikit-learn's class says that a fit has not converged."""
    is_sklearns = issubclass(caught.category, ConvergenceWarning)
    return issubclass(caught.category, DaskGMMWarning) or (
        is_sklearns and str(caught.message).startswith("not converged")
    )


def ugly_table(rows: list[dict[str, Any]]) -> Table:
    """How many fits ended in each way, by what is ugly first in the table."""
    ends = sorted({row["end"] for row in rows})
    kinds = list(dict.fromkeys(row["what"].split(" + ")[0] for row in rows))
    counts = Counter((row["what"].split(" + ")[0], row["end"]) for row in rows)
    found = [{"what": kind, **{end: counts[kind, end] for end in ends}} for kind in kinds]
    found.append({"what": "all", **Counter(row["end"] for row in rows)})
    bad = [row["table"] for row in rows if row["end"] in FAULTS]
    notes = [f"{len(bad)} of {len(rows)} ended in a way that none should: tables {bad}"]
    columns = [Column("what", "first of what is ugly"), *(Column(end, end) for end in ends)]
    return Table("Fits of ugly tables", columns, found, notes)


FAULTS = ("traceback", "not finite", "more than one line", "a warning of another library")
"""Ends that no fit should come to."""
