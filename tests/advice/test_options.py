"""Advice of errors in what a fit, or a selection, is asked for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from following import (
    PACKAGE,
    Case,
    X,
    fit,
    follow,
    stored,
)

from daskgmm import GaussianMixture, select

PARTS = (np.ones(2) / 2, X[:2], np.array([[1.0, 0.5], [0.5, 1.0]]))
"""Weights, means, and covariances that may be tied or diagonal."""


def _configured(options: dict[str, Any], function: Callable[..., Any], *args: Any) -> Any:
    with dask.config.set(options):
        return function(*args)


def _with_pool(function: Callable[..., Any], *args: Any) -> Any:
    from multiprocessing.pool import ThreadPool

    with ThreadPool(1) as pool:
        return _configured({"pool": pool}, function, *args)


CASES = {
    "too little memory for stored rows": Case(
        lambda at: fit(str(stored(at)), memory_limit="1MiB"),
        r"raise it to ([\d.]+ \w+)",
        lambda at, said: fit(str(stored(at)), memory_limit=said[1]),
    ),
    "too little memory for a chunk on Dask": Case(
        lambda at: fit(da.from_array(X, chunks=300), memory_limit=8000),
        r"takes ([\d.]+) kiB.*is held twice.*(rechunk) the array to fewer rows",
        lambda at, said: fit(
            getattr(da.from_array(X, chunks=300), said[2])(100), memory_limit=8000
        ),
    ),
    "too little memory for the parameters": Case(
        lambda at: fit(np.zeros((30, 2000)), 20, memory_limit="100MiB"),
        r"covariance_type='(\w+)'",
        lambda at, said: fit(
            np.random.default_rng(0).normal(size=(30, 2000)),
            20,
            memory_limit="1GiB",
            covariance_type=said[1],
            reg_covar=1.0,
        ),
    ),
    "a warm start of other components": Case(
        lambda at: fit(X, 1, warm_start=True).set_params(n_components=2).fit(X),
        r"set warm_start=(False)",
        lambda at, said: (
            fit(X, 1, warm_start=True)
            .set_params(n_components=2, warm_start=said[1] == "True")
            .fit(X)
        ),
    ),
    "truncation with a stepper that compares": Case(
        lambda at: fit(X, 250, truncate=4, stepper="squarem", reg_covar=0.1),
        r"set stepper='(\w+)'",
        lambda at, said: fit(X, 250, truncate=4, stepper=said[1], reg_covar=0.1),
    ),
    "truncation of few components": Case(
        lambda at: fit(X, 3, truncate=2),
        r"set truncate=(None)",
        lambda at, said: fit(X, 3, truncate=eval(said[1])),
    ),
    "select with truncation": Case(
        lambda at: select(X, [1, 2], truncate=2),
        r"select with truncate=(None), then fit",
        lambda at, said: select(X, [1, 2], truncate=eval(said[1]), random_state=0),
    ),
    "covariances that can be of two types": Case(
        lambda at: GaussianMixture.from_parameters(*PARTS),
        r"can be (\w+) or (\w+): give covariance_type",
        lambda at, said: GaussianMixture.from_parameters(*PARTS, covariance_type=said[1]),
    ),
    "more components than rows": Case(
        lambda at: fit(X[:3], 5),
        r"n_components=5 must be <= n_samples=(\d+): lower",
        lambda at, said: fit(X[:3], int(said[1]), reg_covar=0.1),
    ),
    "a pool that is no executor": Case(
        lambda at: _with_pool(fit, da.from_array(X)),
        r"leave pool out and set (num_workers)",
        lambda at, said: _configured({said[1]: 2}, fit, da.from_array(X)),
    ),
    "a covariance that is singular": Case(
        lambda at: fit(np.column_stack([X, X[:, 0]]), 2, reg_covar=0.0),
        r"raise (reg_covar)",
        lambda at, said: fit(np.column_stack([X, X[:, 0]]), 2, reg_covar=1e-3),
    ),
    "components that would all be left out": Case(
        lambda at: fit(X, 250, truncate=300),
        r"lower it, or set truncate=(None)",
        lambda at, said: [fit(X, 250, truncate=t, reg_covar=0.1) for t in (4, eval(said[1]))],
    ),
    "precisions that are none": Case(
        lambda at: fit(X, 1, precisions_init=np.array([[[1.0, 2.0], [2.0, 1.0]]])),
        r"give (inverse) covariances",
        lambda at, said: fit(X, 1, precisions_init=np.linalg.inv(np.cov(X.T))[None]),
    ),
    "covariances that are none": Case(
        lambda at: GaussianMixture.from_parameters(
            [1.0], X[:1], [[[1.0, 2.0], [2.0, 1.0]]], covariance_type="full"
        ),
        r"give covariances that are",
        lambda at, said: GaussianMixture.from_parameters(
            [1.0], X[:1], np.cov(X.T)[None], covariance_type="full"
        ),
    ),
    "select with an option of fits": Case(
        lambda at: select(X, [1, 2], checkpoint=str(at / "kept")),
        r"select has no use for (\w+): .*leave it out, or fit what was chosen with it",
        lambda at, said: fit(
            stored(at), select(X, [1, 2], random_state=0).best.n_components, checkpoint=at / "kept"
        ),
    ),
    "select without iterations": Case(
        lambda at: select(X, [1, 2], max_iter=0),
        r"max_iter=0 makes none; leave it out",
        lambda at, said: select(X, [1, 2], random_state=0),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_on_options_works(case, tmp_path):
    follow(case, tmp_path)


def test_every_extra_that_a_message_names_is_one():
    extras = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = set()
    for file in PACKAGE.rglob("*.py"):
        named |= set(re.findall(r"daskgmm\[([\w,]+)\]", file.read_text()))
    assert named
    assert named <= set(extras)
