"""Suite: problems on which fits are held against each other.

Passes depend on the data more than on anything else: where components are apart every
method needs two, where they overlap plain EM needs hundreds. So there is a problem for
each reason why EM is slow or goes astray, at a size where only full passes matter; and
real tables as they are, which are small.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA

from daskgmm.kernel import Mixture, count_parameters, gaussian_mixture

from .made import draw, truth

__all__ = ["PROBLEMS", "Posed", "Problem", "posed"]

Float64Array = NDArray[np.float64]
Draw = Callable[[int, np.random.Generator], Float64Array]

_FAITHFUL = Path(__file__).parents[1] / "data" / "faithful.txt"


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows, and the mixture to fit to them.

    Attributes
    ----------
    name : str
    n_components : int
        To fit, whatever the rows are drawn from.
    covariance_type : str
    draw : callable
        Makes so many rows with a generator; of a real table, gives all that it has.
    truth : Mixture or None
        Of full covariances, where rows are drawn from one.
    is_real : bool
        Whether its rows are a real table's.
    """

    name: str
    n_components: int
    covariance_type: str
    draw: Draw
    truth: Mixture | None = None
    is_real: bool = False

    def rows(self, n_rows: int, seed: int) -> Float64Array:
        """Rows of shape (N, D), in C order; of a real table all, whatever is asked for."""
        x = self.draw(n_rows, np.random.default_rng(seed))
        return np.ascontiguousarray(x, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Posed:
    """A problem with its rows.

    Attributes
    ----------
    problem : Problem
    x : ndarray of shape (N, D)
    file : Path
        The same rows, for other processes.
    seed : int
        Of the rows.
    """

    problem: Problem
    x: Float64Array
    file: Path
    seed: int

    @property
    def key(self) -> str:
        """What tells these rows from others."""
        return f"{self.problem.name} rows={len(self.x)} seed={self.seed}"

    @property
    def n_parameters(self) -> int:
        """p, free parameters."""
        problem = self.problem
        return count_parameters(problem.covariance_type, problem.n_components, self.x.shape[1])

    @property
    def precision(self) -> float:
        """``p / (2 N)``, nats per row: smaller differences say nothing of where rows come from."""
        return self.n_parameters / (2 * len(self.x))

    def is_proper(self, smallest_weight: float) -> bool:
        """Whether the smallest component holds rows enough to have a covariance.

        One that closes in on a few rows raises the likelihood without bound: such an
        optimum is none.
        """
        return smallest_weight * len(self.x) >= 2 * (self.x.shape[1] + 1)


@contextmanager
def posed(problem: Problem, n_rows: int, seed: int) -> Iterator[Posed]:
    """Make the rows of a problem, in memory and in a file that goes away."""
    with tempfile.TemporaryDirectory(prefix="daskgmm-passes-") as folder:
        x = problem.rows(n_rows, seed)
        file = Path(folder) / "rows.npy"
        np.save(file, x)
        yield Posed(problem, x, file, seed)


# -- mixtures ------------------------------------------------------------------


def _with(mixture: Mixture, **arrays: Float64Array) -> Mixture:
    """Some arrays of the components changed."""
    return replace(mixture, components=replace(mixture.components, **arrays))


def _spread(mixture: Mixture, factor: float) -> Mixture:
    """Components further apart, at some ``3 * factor`` standard deviations."""
    return _with(mixture, means=factor * mixture.means)


def _with_rare(mixture: Mixture, weight: float) -> Mixture:
    """The last component is left so much weight."""
    rest = mixture.weights[:-1] / mixture.weights[:-1].sum()
    return replace(mixture, weights=np.append((1.0 - weight) * rest, weight))


def _grown(mixture: Mixture, scales: Float64Array) -> Mixture:
    """Each component as large, and as far from the origin, as its scale says."""
    return _with(
        mixture,
        means=scales[:, None] * mixture.means,
        covariances=np.square(scales)[:, None, None] * mixture.covariances,
    )


def _in_units(mixture: Mixture, units: Float64Array) -> Mixture:
    """Each feature in its own unit."""
    return _with(
        mixture,
        means=mixture.means * units,
        covariances=mixture.covariances * np.multiply.outer(units, units),
    )


def _tied(mixture: Mixture) -> Mixture:
    """The first component's covariance in all."""
    return _with(mixture, covariances=np.repeat(mixture.covariances[:1], len(mixture.means), 0))


def _diagonal(mixture: Mixture) -> Mixture:
    """Without correlations."""
    return _with(mixture, covariances=mixture.covariances * np.eye(mixture.n_features))


def _spherical(mixture: Mixture) -> Mixture:
    """The first feature's variance in all."""
    variances = mixture.covariances[:, :1, :1]
    return _with(mixture, covariances=variances * np.eye(mixture.n_features))


# -- rows ----------------------------------------------------------------------


def _drawn_from(mixture: Mixture) -> Draw:
    return lambda n_rows, rng: draw(mixture, n_rows, rng, "float64")


def _in_order(mixture: Mixture) -> Draw:
    """Rows of the first component, then of the second, and so on."""

    def rows(n_rows: int, rng: np.random.Generator) -> Float64Array:
        counts = rng.multinomial(n_rows, mixture.weights)
        alone = [
            gaussian_mixture(np.ones(1), mixture.means[[k]], mixture.covariances[[k]], "full")
            for k in range(mixture.n_components)
        ]
        return np.concatenate(
            [draw(one, n, rng, "float64") for one, n in zip(alone, counts, strict=True)]
        )

    return rows


def _crescents(n_rows: int, rng: np.random.Generator) -> Float64Array:
    """Two crescents in the plane, of which no Gaussian is a part."""
    side = rng.choice([-1.0, 1.0], size=n_rows)
    angle = np.pi * rng.uniform(size=n_rows)
    arc = np.column_stack([np.cos(angle) - 0.5 * side, side * (np.sin(angle) - 0.25)])
    return arc + 0.15 * rng.standard_normal((n_rows, 2))


def _digits() -> Float64Array:
    """Handwritten digits in their first eight principal components."""
    return PCA(8, svd_solver="full").fit_transform(load_digits().data)


def _cancer() -> Float64Array:
    """Tumours in standard units: in their own, features vary by less than ``reg_covar``."""
    x = load_breast_cancer().data
    return (x - x.mean(axis=0)) / x.std(axis=0)


# -- the table -----------------------------------------------------------------


def _made(
    name: str,
    mixture: Mixture,
    n_components: int | None = None,
    covariance_type: str = "full",
    draw_from: Callable[[Mixture], Draw] = _drawn_from,
) -> Problem:
    k = n_components or mixture.n_components
    return Problem(name, k, covariance_type, draw_from(mixture), truth=mixture)


def _real(
    name: str, n_components: int, table: Callable[[], Any], covariance_type: str = "full"
) -> Problem:
    return Problem(name, n_components, covariance_type, lambda n_rows, rng: table(), is_real=True)


_THOUSANDFOLD = np.logspace(0.0, 3.0, 4)

PROBLEMS = {
    problem.name: problem
    for problem in (
        _made("apart", _spread(truth(4, 5), 3.0)),
        _made("touching", truth(8, 8)),
        _made("overlapping", _spread(truth(4, 8), 0.6)),
        _made("flat", _spread(truth(2, 10), 0.5)),
        _made("rare", _with_rare(_spread(truth(4, 4), 2.0), 1e-3)),
        _made("scales-of-components", _grown(truth(4, 4), _THOUSANDFOLD)),
        _made("scales-of-features", _in_units(truth(4, 6), _THOUSANDFOLD)),
        _made("two-or-three", truth(2, 2), 3),
        _made("six-or-nine", truth(4, 6), 9),
        _made("ten-or-fifteen", truth(3, 10), 15),
        _made("in-order", truth(8, 6), draw_from=_in_order),
        _made("tied", _tied(truth(6, 6)), covariance_type="tied"),
        _made("diag", _diagonal(truth(16, 20)), covariance_type="diag"),
        _made("spherical", _spherical(truth(8, 5)), covariance_type="spherical"),
        _made("wide", truth(32, 10)),
        _made("fifty", truth(8, 50)),
        _made("fifty-wide", truth(32, 50)),
        Problem("crescents", 6, "full", _crescents),
        _real("faithful-2", 2, lambda: np.loadtxt(_FAITHFUL)),
        _real("faithful-tied-3", 3, lambda: np.loadtxt(_FAITHFUL), "tied"),
        _real("iris-2", 2, lambda: load_iris().data),
        _real("iris-tied-3", 3, lambda: load_iris().data, "tied"),
        _real("wine-diag-3", 3, lambda: load_wine().data, "diag"),
        _real("cancer-diag-2", 2, _cancer, "diag"),
        _real("digits-10", 10, _digits),
    )
}
"""By name: made ones for each reason, then real tables. To add one, add a row."""
