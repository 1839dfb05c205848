"""Kinds of fits by the estimator and by ``select``, and what is recorded of each.

Every kind has a ``name`` and ``run(folders)``, which returns plain values: ``passes``;
``log_likelihoods``, the first of which is shown; ``facts``, which are compared as they are;
and the parameters.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from daskgmm import GaussianMixture, open_rows, select

__all__ = [
    "REG_COVAR",
    "Fitted",
    "Folders",
    "Resumed",
    "Selected",
    "WarmStarted",
    "counts_of",
    "parameters_of",
    "whole_start",
]


@dataclass(frozen=True)
class Folders:
    """Where data and outputs lie.

    Attributes
    ----------
    data : Path
        What ``fits_data.write_data`` wrote; only read.
    own : Path
        For outputs; empty at first.
    """

    data: Path
    own: Path

    def rows(self, name: str, container: str) -> Any:
        """Rows of a data set, in one of ``_CONTAINERS``."""
        return _CONTAINERS[container](self.data / name)


REG_COVAR = 1e-6
"""What every fit is given that is not given another: checkouts have other defaults."""

_CONTAINERS: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: np.load(path.with_suffix(".npy")),
    "dask": lambda path: da.from_array(np.load(path.with_suffix(".npy")), chunks=(7_000, -1)),
    "zarr": lambda path: str(path.with_suffix(".zarr")),
    "npy": lambda path: open_rows(str(path.with_suffix(".npy"))),
}


def _found(model: GaussianMixture, **facts: Any) -> dict[str, Any]:
    """What is compared of a fitted estimator."""
    return {
        "passes": model.n_passes_,
        "log_likelihoods": [model.lower_bound_, *model.lower_bounds_],
        "facts": {
            "n_iter": model.n_iter_,
            "stop_reason": model.stop_reason_,
            "rare": [rare.n_rows for rare in model.rare_components_],
            **facts,
        },
        **parameters_of(model),
    }


def parameters_of(model: GaussianMixture) -> dict[str, Any]:
    return {
        name: getattr(model, f"{name}_").tolist() for name in ("weights", "means", "covariances")
    }


def whole_start(data: str, k: int, family: str) -> Callable[[Folders], dict[str, Any]]:
    """Parameters of a start: some rows as means, and the precision of all rows around them."""

    def start(folders: Folders) -> dict[str, Any]:
        x = np.load(folders.data / f"{data}.npy").astype(np.float64)
        chosen = np.random.default_rng(11).choice(len(x), k, replace=False)
        precision = k / x.var(axis=0)
        precisions = {
            "full": np.tile(np.diag(precision), (k, 1, 1)),
            "tied": np.diag(precision),
            "diag": np.tile(precision, (k, 1)),
            "spherical": np.full(k, precision.mean()),
        }
        return {
            "weights_init": np.full(k, 1.0 / k),
            "means_init": x[np.sort(chosen)],
            "precisions_init": precisions[family],
        }

    return start


@dataclass(frozen=True)
class Fitted:
    """One fit by the estimator.

    Attributes
    ----------
    name : str
    data : str
        A data set and its dtype.
    n_components : int
    options : dict
        Of the estimator.
    container : str
        What the rows are held in.
    start : callable or None
        Parameters of the start, out of the folders.
    given : tuple of str
        Which of them are given.
    """

    name: str
    data: str
    n_components: int
    options: dict[str, Any] = field(default_factory=dict)
    container: str = "memory"
    start: Callable[[Folders], dict[str, Any]] | None = None
    given: tuple[str, ...] = ("weights_init", "means_init", "precisions_init")

    def run(self, folders: Folders) -> dict[str, Any]:
        start = self.start(folders) if self.start else {}
        model = self.estimator(**{key: start[key] for key in self.given if key in start})
        x = folders.rows(self.data, self.container)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(x)
        warned = any(issubclass(one.category, ConvergenceWarning) for one in said)
        return _found(model, warned=warned)

    def estimator(self, **more: Any) -> GaussianMixture:
        options = {"reg_covar": REG_COVAR, **self.options, **more}
        return GaussianMixture(self.n_components, random_state=0, **options)


@dataclass(frozen=True)
class WarmStarted:
    """Two iterations, and a second fit that goes on from there."""

    name: str
    data: str
    n_components: int

    def run(self, folders: Folders) -> dict[str, Any]:
        x = folders.rows(self.data, "memory")
        model = GaussianMixture(
            self.n_components, random_state=0, max_iter=2, warm_start=True, reg_covar=REG_COVAR
        )
        model.fit(x)
        return _found(model.set_params(max_iter=100).fit(x), labels=counts_of(model.predict(x)))


class _Interrupting(io.StringIO):
    """Interrupts, as Ctrl-C would, whoever has written so many lines of progress."""

    def __init__(self, n_lines: int) -> None:
        super().__init__()
        self._n_lines = n_lines

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.getvalue().count("\n") >= self._n_lines:
            raise KeyboardInterrupt
        return written


@dataclass(frozen=True)
class Resumed:
    """A fit with a checkpoint that is interrupted after some lines of progress, and goes on."""

    name: str
    data: str
    n_components: int
    n_lines: int
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, folders: Folders) -> dict[str, Any]:
        x = folders.rows(self.data, "zarr")
        options = {
            "reg_covar": REG_COVAR,
            **self.options,
            "random_state": 0,
            "checkpoint": str(folders.own / f"{self.name.replace(' ', '-')}.checkpoint"),
        }
        interrupted = False
        with contextlib.redirect_stderr(_Interrupting(self.n_lines)):
            try:
                GaussianMixture(self.n_components, verbose=1, **options).fit(x)
            except KeyboardInterrupt:
                interrupted = True
        model = GaussianMixture(self.n_components, resume=True, **options).fit(x)
        return _found(model, interrupted=interrupted)


@dataclass(frozen=True)
class Selected:
    """Many candidates, one chosen."""

    name: str
    data: str
    components: tuple[int, ...]
    families: tuple[str, ...]
    criterion: str
    container: str = "memory"

    def run(self, folders: Folders) -> dict[str, Any]:
        found = select(
            folders.rows(self.data, self.container),
            self.components,
            covariance_type=self.families,
            criterion=self.criterion,
            random_state=0,
            reg_covar=REG_COVAR,
        )
        log_likelihoods = [found.best.log_likelihood_per_row]
        for entry in found.entries:
            log_likelihoods += [
                entry.log_likelihood_per_row,
                *(entry.bic, entry.aic, entry.icl),
                entry.held_out_log_likelihood_per_row,
            ]
        return {
            "passes": found.model.n_passes_,
            "log_likelihoods": log_likelihoods,
            "facts": {
                "best": [found.best.n_components, found.best.covariance_type],
                "refined": [entry.refined for entry in found.entries],
            },
            **parameters_of(found.model),
        }


def counts_of(labels: Any) -> list[int]:
    return np.bincount(np.asarray(labels)).tolist()
