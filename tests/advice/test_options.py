"""Advice of errors in what a fit, or a selection, is asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
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
    found_in,
    stored,
)
from sklearn.exceptions import NotFittedError

from daskgmm import GaussianMixture, select
from daskgmm.errors import DaskGMMError, MemoryLimitError

pytestmark = pytest.mark.slow  # a fit for each word and each advice

PARTS = (np.ones(2) / 2, X[:2], np.array([[1.0, 0.5], [0.5, 1.0]]))
"""Weights, means, and covariances that may be tied or diagonal."""


def _configured(options: dict[str, Any], function: Callable[..., Any], *args: Any) -> Any:
    with dask.config.set(options):
        return function(*args)


def _with_pool(function: Callable[..., Any], *args: Any) -> Any:
    from multiprocessing.pool import ThreadPool

    with ThreadPool(1) as pool:
        return _configured({"pool": pool}, function, *args)


WIDE = np.random.default_rng(0).normal(size=(30, 2000))


def _in_chunks(at: Path, rows: int) -> Path:
    x = np.random.default_rng(0).normal(size=(200_000, 8))
    return stored(at, x, f"of{rows}.zarr", rows=rows)


def _needed(rows: Path) -> str:
    with pytest.raises(MemoryLimitError) as caught:
        fit(rows, memory_limit="1MiB")
    return found_in(str(caught.value), r"raise it to ([\d.]+ \w+)")[1]


def quietly(function: Callable[..., Any], *args: Any, **how: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, random_state=0, **how)


def _by_hand(**parameters: np.ndarray) -> np.ndarray:
    model = GaussianMixture()
    for name, value in parameters.items():
        setattr(model, name, value)
    return model.predict(X)


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
        r"leave truncate out \((None)\)",
        lambda at, said: fit(X, 3, truncate=eval(said[1])),
    ),
    "select with truncation": Case(
        lambda at: select(X, [1, 2], truncate=2),
        r"select without truncate \((None)\), then fit",
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
        r"lower it, or leave it out \((None)\)",
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
    "too little memory for stored rows, in smaller chunks": Case(
        lambda at: fit(_in_chunks(at, 200_000), memory_limit=_needed(_in_chunks(at, 1_000))),
        r"chunks of (\d+) rows.*or store the data in smaller chunks",
        lambda at, said: fit(
            _in_chunks(at, int(said[1]) // 200), memory_limit=_needed(_in_chunks(at, 1_000))
        ),
    ),
    "too little memory for a chunk on Dask, raised": Case(
        lambda at: fit(da.from_array(X, chunks=300), memory_limit=8000),
        r"rechunk the array to fewer rows, or raise it",
        lambda at, said: fit(da.from_array(X, chunks=300), memory_limit="1GiB"),
    ),
    "too little memory for the parameters, transposed": Case(
        lambda at: fit(WIDE, 20, memory_limit="100MiB"),
        r"if its rows are the features, (transpose) it",
        lambda at, said: fit(getattr(WIDE, said[1])(), 20, memory_limit="1GiB", max_iter=1),
    ),
    "too little memory for the parameters, of fewer features": Case(
        lambda at: fit(WIDE, 20, memory_limit="100MiB"),
        r"and [\d,]+ features.*choose fewer features",
        lambda at, said: fit(WIDE[:, :20], 1, memory_limit="1GiB"),
    ),
    "a size that is none": Case(
        lambda at: fit(X, memory_limit="much"),
        r"memory_limit must be a size such as (\w+), or a number of bytes, or (None)",
        lambda at, said: [fit(X, memory_limit=m) for m in (said[1], 2**30, eval(said[2]))],
    ),
    "components of a number that is none": Case(
        lambda at: fit(X, 0),
        r"n_components must be a whole number of (\d+) or more",
        lambda at, said: fit(X, int(said[1])),
    ),
    "a tolerance below 0": Case(
        lambda at: fit(X, tol=-1.0),
        r"tol must be (\w+), or a number of (\d+) or more",
        lambda at, said: [fit(X, tol=tol) for tol in (said[1], float(said[2]))],
    ),
    "parts that are fixed at nothing": Case(
        lambda at: fit(X, 2, fixed={"means": [0]}),
        r"give (\w+) for means",
        lambda at, said: fit(X, 2, fixed={"means": [0]}, **{said[1]: X[:2]}),
    ),
    "a part of one covariance": Case(
        lambda at: fit(X, 2, covariance_type="tied", fixed={"covariances": [0]}),
        r"say covariances='(all)'",
        lambda at, said: fit(
            *(X, 2),
            covariance_type="tied",
            precisions_init=np.eye(2),
            fixed={"covariances": said[1]},
        ),
    ),
    "an order of components that are fixed by number": Case(
        lambda at: fit(X, 2, fixed={"means": [0]}, means_init=X[:2], order="weight"),
        r"leave order out \((None)\)",
        lambda at, said: fit(X, 2, fixed={"means": [0]}, means_init=X[:2], order=eval(said[1])),
    ),
    "a ridge below 0": Case(
        lambda at: fit(X, reg_covar=-1.0),
        r"reg_covar must be (\w+), or a number of (\d+) or more",
        lambda at, said: [fit(X, reg_covar=ridge) for ridge in (said[1], float(said[2]))],
    ),
    "more components than distinct rows": Case(
        lambda at: fit(np.repeat(X[:2], 50, axis=0), 3, reg_covar=0.0, on_collapse="error"),
        r"lower n_components to at most (\d+)",
        lambda at, said: fit(np.repeat(X[:2], 50, axis=0), int(said[1]), reg_covar=1e-6),
    ),
    "more components than distinct rows, with a ridge": Case(
        lambda at: fit(np.repeat(X[:2], 50, axis=0), 3, reg_covar=0.0, on_collapse="error"),
        r"or give (reg_covar) a number above (0)",
        lambda at, said: fit(np.repeat(X[:2], 50, axis=0), 3, **{said[1]: int(said[2]) + 1e-3}),
    ),
    "one read without a start": Case(
        lambda at: fit(X, 1, reads=1),
        r"n_components above 1, .*; change these, or set (reads)=(\d)",
        lambda at, said: fit(X, 1, **{said[1]: int(said[2])}),
    ),
    "one read of rows in memory": Case(
        lambda at: fit(X, 2, reads=1),
        r"no start can be made from pieces of these rows.*; set (reads)=(\d)",
        lambda at, said: fit(X, 2, **{said[1]: int(said[2])}),
    ),
    "a warm start of other components, anew": Case(
        lambda at: fit(X, 1, warm_start=True).set_params(n_components=2).fit(X),
        r"or fit a new estimator",
        lambda at, said: fit(X, 2, warm_start=True),
    ),
    "means of another shape": Case(
        lambda at: fit(X, 2, means_init=X[:3]),
        r"(means_init) must have shape (\(\d+, \d+\))",
        lambda at, said: fit(X, 2, **{said[1]: X[:3].ravel()[:4].reshape(eval(said[2]))}),
    ),
    "weights that sum to something else": Case(
        lambda at: fit(X, 2, weights_init=[1.0, 1.0]),
        r"(weights_init) must be at least 0 and sum to 1; they sum to (\d+)",
        lambda at, said: fit(X, 2, **{said[1]: np.ones(2) / float(said[2])}),
    ),
    "a start that is far away": Case(
        lambda at: fit(X, 2, means_init=[[1e170, 0.0], [0.0, 1e170]]),
        r"no density under any component, .*; check the given start",
        lambda at, said: fit(X, 2, means_init=X[:2]),
    ),
    "a covariance that is singular, of fewer components": Case(
        lambda at: fit(np.repeat(X[:2], 50, axis=0), 2, reg_covar=0.0, on_collapse="error"),
        r"lower (n_components) or raise reg_covar",
        lambda at, said: fit(np.repeat(X[:3], 50, axis=0), 1, reg_covar=0.0),
    ),
    "rows drawn of a number that is none": Case(
        lambda at: fit(X).sample(0),
        r"a whole number of (\d+) or more",
        lambda at, said: fit(X).sample(int(said[1])),
    ),
    "parameters by hand, of which one lacks": Case(
        lambda at: _by_hand(means_=X[:1], covariances_=np.eye(2)[None]),
        r"(weights_) and (means_) must be set by fit, or both by hand",
        lambda at, said: [
            fit(X).predict(X),
            _by_hand(**{said[1]: np.ones(1), said[2]: X[:1]}, covariances_=np.eye(2)[None]),
        ],
        NotFittedError,
    ),
    "parameters by hand, without covariances": Case(
        lambda at: _by_hand(weights_=np.ones(1), means_=X[:1]),
        r"but neither (covariances_) nor (precisions_cholesky_)",
        lambda at, said: [
            _by_hand(weights_=np.ones(1), means_=X[:1], **{name: np.eye(2)[None]})
            for name in said.groups()
        ],
        NotFittedError,
    ),
    "no model yet": Case(
        lambda at: GaussianMixture().predict(X),
        r"Call '(fit)' with appropriate arguments",
        lambda at, said: getattr(GaussianMixture(), said[1])(X).predict(X),
        NotFittedError,
    ),
    "select of families that are none": Case(
        lambda at: select(X, [1], covariance_type=["round"]),
        r"families out of (.*); got",
        lambda at, said: select(X, [1], covariance_type=said[1].split(", "), random_state=0),
    ),
    "select of too many components": Case(
        lambda at: select(X[:20], [1, 15]),
        r"(\d+) rows are too few to try \d+ components: lower components",
        lambda at, said: select(X[:20], [1, int(said[1]) // 10], random_state=0),
    ),
    "select where nothing can be fitted": Case(
        lambda at: select(np.column_stack([X, X[:, 0]]), [1, 2], reg_covar=0.0),
        r"no candidate can be fitted: .* or raise (reg_covar)",
        lambda at, said: select(
            np.column_stack([X, X[:, 0]]), [1, 2], random_state=0, **{said[1]: 1e-3}
        ),
    ),
    "select where all collapse": Case(
        lambda at: quietly(select, np.repeat(X[:10], 2, axis=0), [4, 5], reg_covar=0.0),
        r"lower components, or raise (reg_covar)",
        lambda at, said: [
            quietly(select, np.repeat(X[:10], 2, axis=0), [1, 2], reg_covar=0.0),
            quietly(select, np.repeat(X[:10], 2, axis=0), [4, 5], **{said[1]: 1e-3}),
        ],
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


@pytest.mark.parametrize(
    "name", ["init_params", "stopping", "stepper", "covariance_type", "precision", "criterion"]
)
def test_each_word_that_is_listed_is_one(name):
    function = (
        (lambda **how: select(X, [1], random_state=0, **how))
        if name == "criterion"
        else (lambda **how: fit(X, 2, **how))
    )
    with pytest.raises(DaskGMMError) as caught:
        function(**{name: "none of these"})
    words = found_in(str(caught.value), rf"{name} must be one of ([\w+, -]+); got")[1].split(", ")
    assert len(words) > 2
    for word in words:
        function(**{name: word})


def test_a_choice_at_the_end_of_those_tried_is_made_among_more_as_the_note_says():
    x = np.concatenate([X, X + 30, X - 30])
    note = select(x, [1, 2], random_state=0).note
    most = int(found_in(str(note), r"still improves at (\d+) .*: try more")[1])
    assert select(x, range(1, most + 3), random_state=0).note is None


def test_loops_that_are_listed_can_run():
    def loops(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import daskgmm.kernel.loops"]
        environment = {**os.environ, "DASKGMM_LOOPS": name}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    said = found_in(loops("fast").stderr, r"DASKGMM_LOOPS=fast is nothing .* here: ([\w, ]+)")
    for name in said[1].split(", "):
        assert loops(name).returncode == 0
