"""Recovery: what a fit still finds in rows that are spoiled, beside the same rows clean.

Rows are drawn from a known mixture and spoiled; :data:`CASES` says how, and with which options they
are then fitted. To add a case, add a row there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

from daskgmm import GaussianMixture
from daskgmm.errors import DaskGMMWarning
from daskgmm.kernel import Mixture, gaussian_mixture, log_density

from .table import Column, Table

__all__ = ["CASES", "recovery_rows", "recovery_table"]

Rows = NDArray[np.float64]
Generator = np.random.Generator

_K, _D = 4, 3
_OUTLIERS, _FAR = 0.05, 30.0
"""Share of the rows that are outliers, and half of the edge of the cube in which they lie."""
_MISSING = 0.2
"""Share of the values that are missing, whatever they are."""


def _as_they_are(x: Rows, rng: Generator) -> Rows:
    return x


def _with_outliers(x: Rows, rng: Generator) -> Rows:
    n = round(_OUTLIERS / (1.0 - _OUTLIERS) * len(x))
    return np.concatenate([x, rng.uniform(-_FAR, _FAR, (n, x.shape[1]))])


def _with_gaps(x: Rows, rng: Generator) -> Rows:
    return np.where(rng.random(x.shape) < _MISSING, np.nan, x)


@dataclass(frozen=True)
class Case:
    """Rows that are spoiled, and how they are fitted.

    Attributes
    ----------
    name : str
    spoil : callable
        ``spoil(x, rng)`` gives the spoiled rows. Those of ``x`` come first, in their order, and may
        have gaps; others may follow.
    options : mapping
        Parameters of the estimator in place of defaults.
    least_weight : float or None
        Weight of the first component; None where all have the same weight.
    error_bars : bool
        Whether values are measured with noise, whose variances are about as large as theirs.
    is_told : bool
        Whether the fit is told these variances.
    """

    name: str
    spoil: Callable[[Rows, Generator], Rows] = _as_they_are
    options: Mapping[str, Any] = field(default_factory=dict)
    least_weight: float | None = None
    error_bars: bool = False
    is_told: bool = False


CASES = (
    Case("clean"),
    Case("5% gross outliers, by defaults", _with_outliers),
    Case("5% gross outliers, noise=True", _with_outliers, {"noise": True}),
    Case("5% gross outliers, tails='t'", _with_outliers, {"tails": "t"}),
    Case("20% of values missing, missing='drop'", _with_gaps, {"missing": "drop"}),
    Case("20% of values missing, missing='em'", _with_gaps, {"missing": "em"}),
    Case("one weight of 1e-3", least_weight=1e-3),
    Case("error bars as large as the widths, by defaults", error_bars=True),
    Case("error bars as large as the widths, measurement_noise", error_bars=True, is_told=True),
)
"""The rows of the table."""


def _truth(case: Case, rng: Generator) -> Mixture:
    """A mixture whose components lie apart, with correlated features."""
    weights = np.full(_K, 1.0 / _K)
    if case.least_weight is not None:
        weights[1:] = (1.0 - case.least_weight) / (_K - 1)
        weights[0] = case.least_weight
    means = 8.0 * np.vstack([np.zeros(_D), np.eye(_D)])[:_K] + rng.normal(size=(_K, _D))
    factors = np.tril(rng.uniform(-0.5, 0.5, (_K, _D, _D)), -1) + np.eye(_D)
    covariances = factors @ np.swapaxes(factors, 1, 2)
    return gaussian_mixture(weights, means, covariances, "full")


def _drawn(truth: Mixture, n: int, rng: Generator) -> tuple[Rows, NDArray[np.intp]]:
    labels = rng.choice(_K, n, p=truth.weights)
    factors = np.linalg.cholesky(truth.covariances)
    deviations = np.einsum("nij,nj->ni", factors[labels], rng.normal(size=(n, _D)))
    return truth.means[labels] + deviations, labels


def recovery_rows(
    n_rows: int, repeats: int, seed: int, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """What the fit of each case found, as it is done: medians over some draws.

    Parameters
    ----------
    n_rows : int
        Clean rows of a draw.
    repeats : int
        Draws.
    seed : int
    say : callable
        Told of each case as it ends.
    """
    for case in CASES:
        found = [
            _compared(case, n_rows, np.random.default_rng([seed, repeat]))
            for repeat in range(repeats)
        ]
        medians = {key: float(np.median([one[key] for one in found])) for key in found[0]}
        say(f"{case.name}: label agreement {medians['agreement']:.4f}")
        yield {"case": case.name, "n_rows": n_rows, "draws": found, **medians}


def _compared(case: Case, n_rows: int, rng: Generator) -> dict[str, float]:
    """Of one draw, what was found in the spoiled rows, and in the clean ones by defaults."""
    truth = _truth(case, rng)
    x, labels = _drawn(truth, n_rows, rng)
    spoiled, clean = case.spoil(x, rng), _fitted(x, {})
    noise = rng.uniform(0.1, 2.0, spoiled.shape) if case.error_bars else np.zeros_like(spoiled)
    spoiled = spoiled + np.sqrt(noise) * rng.normal(size=noise.shape)
    told = noise if case.is_told else None
    model = _fitted(spoiled, case.options, told)
    best, found = (_mean_log_density(x, one) for one in (clean, model))
    of_clean = None if told is None else told[:n_rows]
    if "missing" in case.options:  # a row that the fit dropped has a label by what it has
        model.set_params(missing="em")
    predicted = model.predict(spoiled[:n_rows], measurement_noise=of_clean)
    return {
        "agreement": adjusted_rand_score(labels, predicted),
        "agreement_clean": adjusted_rand_score(labels, clean.predict(x)),
        "error": _largest_error(truth, model.means_, n_rows),
        "error_clean": _largest_error(truth, clean.means_, n_rows),
        "gap": best - found,
        "statistical": 0.5 * clean.criteria(x).n_parameters / n_rows,
    }


def _fitted(x: Rows, options: Mapping[str, Any], noise: Rows | None = None) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DaskGMMWarning)  # such as of components that are thin
        return GaussianMixture(_K, random_state=0, **options).fit(x, measurement_noise=noise)


def _mean_log_density(x: Rows, model: GaussianMixture) -> float:
    """Mean log density of clean rows under the components alone, in nats."""
    return float(log_density(x, model._mixture.with_noise(None, 0.0)).mean())


def _largest_error(truth: Mixture, means: Rows, n_rows: int) -> float:
    """Largest error of a mean, in standard errors of it where all labels are known.

    A component that is missing counts as infinitely far.
    """
    if len(means) < truth.n_components:
        return np.inf
    distances = np.linalg.norm(truth.means[:, None] - means, axis=2)
    ours, theirs = linear_sum_assignment(distances)
    variances = np.diagonal(truth.covariances, axis1=1, axis2=2)
    errors = np.sqrt(variances / (n_rows * truth.weights[:, None]))
    return float(np.abs((means[theirs] - truth.means[ours]) / errors[ours]).max())


def recovery_table(rows: list[dict[str, Any]]) -> Table:
    """What was found in each case, beside what the clean rows give."""
    columns = [
        Column("case", "case"),
        Column("n_rows", "rows", "{:,}"),
        Column("agreement", "adjusted Rand", "{:.4f}"),
        Column("agreement_clean", "of clean rows", "{:.4f}"),
        Column("error", "error of means", "{:.2f}"),
        Column("error_clean", "of clean rows", "{:.2f}"),
        Column("gap", "gap, nats a row", "{:.1e}"),
        Column("statistical", "p/(2N)", "{:.1e}"),
    ]
    notes = [
        "label agreement is of the rows that are there in the clean data, too; -1 is a label, and so "
        "is -2, of rows without a value; rows with gaps are labelled by the values that they have",
        "error of means: the largest one, in standard errors of a mean whose rows are known",
        "gap: mean log density of the clean rows under their own fit, less that under this one "
        "(of its components alone, without noise)",
    ]
    return Table("What fits recover from spoiled rows", columns, rows, notes)
