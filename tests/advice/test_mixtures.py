"""Advice of errors in noise, tails, priors and outliers, and in what a model is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from following import Case, X, fit, fitted, follow, follow_command, stored

pytestmark = pytest.mark.slow

ONE_ROW = np.r_[1.0, np.zeros(len(X) - 1)]


def _asked(name: str, *args: object, **options: object) -> object:
    """What a fit with some options answers."""
    columns = np.column_stack([X, np.ones(len(X))]) if "constant" in options else X
    return getattr(fit(columns, 2, **options), name)(*args)


def _without(option: str, *args: object, name: str, **options: object) -> object:
    """The same of a fit without an option."""
    return _asked(name, *args, **{key: one for key, one in options.items() if key != option})


CASES = {
    "weights that are all tiny": Case(
        lambda at: fit(X, sample_weight=np.full(len(X), 1e-300)),
        r"multiply all weights by one factor",
        lambda at, said: fit(X, sample_weight=np.full(len(X), 1e-300) * 1e300),
    ),
    "noise of one row": Case(
        lambda at: fit(X, 2, noise=True, sample_weight=ONE_ROW),
        r"fit more rows, or leave (noise) out",
        lambda at, said: (
            fit(X, 2, noise=True),
            fit(X, 2, sample_weight=ONE_ROW, **{said[1]: None}),
        ),
    ),
    "a prior of t components": Case(
        lambda at: fit(X, 2, prior="auto", tails="t"),
        r"leave out (prior), or (tails)",
        lambda at, said: (
            fit(X, 2, tails="t", **{said[1]: None}),
            fit(X, 2, prior="auto", **{said[2]: None}),
        ),
    ),
    "degrees of freedom of Gaussians": Case(
        lambda at: fit(X, 2, degrees_of_freedom=4),
        r"set (tails)='(t)'",
        lambda at, said: fit(X, 2, degrees_of_freedom=4, **{said[1]: said[2]}),
    ),
    "a prior with a ridge": Case(
        lambda at: fit(X, 2, prior="auto", reg_covar=1e-3),
        r"leave (reg_covar) at '(auto)', .* or (prior) at None",
        lambda at, said: (
            fit(X, 2, prior="auto", **{said[1]: said[2]}),
            fit(X, 2, reg_covar=1e-3, **{said[3]: None}),
        ),
    ),
    "a prior that cannot be": Case(
        lambda at: fit(X, 2, prior={"shrinkage": -1.0}),
        r"leave it out, or set prior='(auto)'",
        lambda at, said: (fit(X, 2, prior={}), fit(X, 2, prior=said[1])),
    ),
    "a probability for t components": Case(
        lambda at: fit(X, 2, tails="t").set_threshold(probability=0.01),
        r"give a (quantile) of log densities",
        lambda at, said: fit(X, 2, tails="t").set_threshold(X, **{said[1]: 0.01}),
    ),
    "outliers without a threshold": Case(
        lambda at: fit(X, 2).is_outlier(X),
        r"set_threshold\(X, (quantile)=([\d.]+)\) or set_threshold\((probability)=([\d.]+)\)",
        lambda at, said: (
            fit(X, 2).set_threshold(X, **{said[1]: float(said[2])}).is_outlier(X),
            fit(X, 2).set_threshold(**{said[3]: float(said[4])}).is_outlier(X),
        ),
    ),
    **{
        f"{name} of a model with {option}": Case(
            lambda at, name=name, args=args, how=how: _asked(name, *args, **how),
            rf"fit without ({option})",
            lambda at, said, name=name, args=args, how=how: _without(
                said[1], *args, name=name, **how
            ),
        )
        for option, how in {
            "noise": {"noise": True},
            "tails": {"tails": "t"},
            "n_projected": {"n_projected": 1},
        }.items()
        for name, args in {
            "marginal": ([0],),
            "condition": ({0: 1.0},),
            "predict_features": (X[:, :1], [1]),
        }.items()
    },
    "a condition that is no mapping": Case(
        lambda at: fit(X, 2).condition([0]),
        r"a value for each known feature, such as \{'temp': ([\d.]+)\}",
        lambda at, said: fit(X, 2).condition({0: float(said[1])}),
    ),
    "scikit-learn has no noise": Case(
        lambda at: fit(X, 2, noise=True).to_sklearn(),
        r"fit without (noise)",
        lambda at, said: fit(X, 2, **{said[1]: None}).to_sklearn(),
    ),
    "a density nowhere": Case(
        lambda at: fit(X, 2).condition({0: 1e200}),
        r"give values that are finite and nearer to the data",
        lambda at, said: fit(X, 2).condition({0: float(X[0, 0])}),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_advice_works(name: str, tmp_path: Path) -> None:
    follow(CASES[name], tmp_path)


def _saved(at: Path) -> Path:
    if not (at / "m.zarr").exists():
        fit(X, 2).save(at / "m.zarr")
    return at / "m.zarr"


def _outliers(at: Path, *more: object) -> tuple[object, ...]:
    return ("outliers", stored(at), "--model", _saved(at), "--output", at / "out.zarr", *more)


COMMANDS = {
    "a quantile and a probability": (
        lambda at: _outliers(at, "--quantile", 0.1, "--probability", 0.1),
        r"give (--quantile) or (--probability)",
        lambda at, said: [
            _outliers(at, said[1], 0.1),
            _outliers(at, said[2], 0.1, "--overwrite"),
        ],
    ),
    "marked outliers without a threshold": (
        lambda at: (
            *("predict", stored(at), "--model", _saved(at), "--output", at / "labels.zarr"),
            "--mark-outliers",
        ),
        r"choose one with daskgmm outliers .* (--save-threshold)",
        lambda at, said: [
            _outliers(at, said[1]),
            ("predict", stored(at), "--model", _saved(at), "--output", at / "l", "--mark-outliers"),
        ],
    ),
    "a prior that is none": (
        lambda at: fitted(at, "--prior", "none"),
        r"'--prior': must be (auto);",
        lambda at, said: fitted(at, "--prior", said[1]),
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_advice_of_commands_works(name: str, tmp_path: Path) -> None:
    follow_command(COMMANDS[name], tmp_path)


def test_a_model_of_the_other_columns_goes_to_scikit_learn() -> None:
    columns = np.column_stack([X, np.ones(len(X))])
    with pytest.raises(ValueError, match="fit the other columns alone"):
        fit(columns, 2, constant="drop").to_sklearn()
    fit(X, 2).to_sklearn()
