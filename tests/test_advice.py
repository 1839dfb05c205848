"""What errors advise works when it is followed to the letter: each case fails, reads, and follows.

The advice is taken out of the message by a pattern, and what it names is what is done.
"""

from __future__ import annotations

import re
import shutil
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import yaml
import zarr
from click.testing import CliRunner
from commands import chunk, write_store

from daskgmm import GaussianMixture, load_model, open_rows, select
from daskgmm.cli import main
from daskgmm.em import Iteration
from daskgmm.errors import DaskGMMError, InterruptedFitError
from daskgmm.events import listening

X = np.random.default_rng(0).normal(size=(600, 2)) * [1, 3]
PACKAGE = Path(__file__).parents[1] / "daskgmm"


def fit(x: Any, k: int = 1, /, **options: Any) -> GaussianMixture:
    weights = options.pop("sample_weight", None)
    fixed = {"random_state": 0, "max_iter": 3, "tol": 1e-2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(k, **(fixed | options)).fit(x, sample_weight=weights)


@dataclass(frozen=True)
class Case:
    """A failure, a pattern of its advice, and a way to follow what the pattern finds."""

    fails: Callable[[Path], Any]
    advice: str
    follows: Callable[[Path, re.Match[str]], Any]


def stored(folder: Path, x: np.ndarray = X, name: str = "x.zarr", **how: Any) -> Path:
    path = folder / name
    return path if path.exists() else write_store(path, x, **how)


def group(folder: Path) -> str:
    """A group of two arrays, and of a group that has one."""
    if not (folder / "g.zarr").exists():
        root = zarr.open_group(folder / "g.zarr", mode="w")
        for name in ("a", "b"):
            root.create_array(name, data=X)
        root.create_group("deeper").create_group("inner").create_array("c", data=X)
    return str(folder / "g.zarr")


def with_hole(folder: Path) -> Path:
    path = folder / "hole.zarr"
    if not path.exists():
        write_store(path, X, rows=100)
        chunk(path, 3).unlink()
    return path


def interrupted(folder: Path) -> dict[str, Any]:
    """Options of a fit whose folder of checkpoints holds an interrupted run."""
    options = {"checkpoint": str(folder / "kept"), "tol": 0.0, "max_iter": 30, "stepper": "plain"}
    if not (folder / "kept").exists():

        def stop(event: object) -> None:
            if isinstance(event, Iteration):
                raise KeyboardInterrupt

        with listening(stop), pytest.raises(InterruptedFitError):
            fit(stored(folder), 2, **options)
    return options


def with_nan(row: int) -> np.ndarray:
    x = X.copy()
    x[row, 1] = np.nan
    return x


PARTS = (np.ones(2) / 2, X[:2], np.array([[1.0, 0.5], [0.5, 1.0]]))
"""Weights, means, and covariances that may be tied or diagonal."""

CASES = {
    "a group of several arrays, by its path": Case(
        lambda at: open_rows(group(at)),
        r"name one, as (\S+) or member='(\w+)'",
        lambda at, said: open_rows(said[1]),
    ),
    "a group of several arrays, by its member": Case(
        lambda at: open_rows(group(at)),
        r"name one, as (\S+) or member='(\w+)'",
        lambda at, said: open_rows(group(at), member=said[2]),
    ),
    "a group of groups": Case(
        lambda at: open_rows(group(at) + "/deeper"),
        r"open one of its groups: (\w+)",
        lambda at, said: open_rows(f"{group(at)}/deeper/{said[1]}"),
    ),
    "a member that is not there": Case(
        lambda at: open_rows(group(at), member="z"),
        r"no Zarr array or group at .*/z; members of .* are: (\w+), .*; name one of them",
        lambda at, said: open_rows(group(at), member=said[1]),
    ),
    "chunks that were never written": Case(
        lambda at: fit(str(with_hole(at))),
        r"pass missing_chunks='(\w+)'",
        lambda at, said: fit(open_rows(str(with_hole(at)), missing_chunks=said[1])),
    ),
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
    "one dimension on Dask": Case(
        lambda at: fit(da.from_array(X[:, 0])),
        r"with array(\[:, None\])",
        lambda at, said: fit(eval(f"x{said[1]}", {"x": da.from_array(X[:, 0])})),
    ),
    "one dimension in a store": Case(
        lambda at: open_rows(str(stored(at, X[:, 0], "flat.zarr"))),
        r"reshape a single feature to \(n_rows, 1\)",
        lambda at, said: open_rows(str(stored(at, X[:, :1], "column.zarr"))),
    ),
    "an output that is there": Case(
        lambda at: [fit(X).save(at / "m.zarr") for _ in range(2)],
        r"replace it with (\w+)=True",
        lambda at, said: fit(X).save(at / "m.zarr", **{said[1]: True}),
    ),
    "an output of another format": Case(
        lambda at: fit(X).save(at / "model.csv"),
        r"name it (\S+),",
        lambda at, said: fit(X).save(at / Path(said[1]).name),
    ),
    "an output in a folder that is not there": Case(
        lambda at: fit(X).save(at / "no" / "m.zarr"),
        r"create (\S+) first",
        lambda at, said: [Path(said[1]).mkdir(), fit(X).save(at / "no" / "m.zarr")],
    ),
    "an interrupted run, to go on": Case(
        lambda at: fit(stored(at), 2, **interrupted(at)),
        r"continue it with (\w+)=True",
        lambda at, said: fit(stored(at), 2, **interrupted(at), **{said[1]: True}),
    ),
    "an interrupted run, to begin anew": Case(
        lambda at: fit(stored(at), 2, **interrupted(at)),
        r"or remove the folder",
        lambda at, said: [
            shutil.rmtree(at / "kept"),
            fit(stored(at), 2, checkpoint=str(at / "kept")),
        ],
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
    "a constant column": Case(
        lambda at: fit(np.column_stack([X, np.ones(len(X))])),
        r"column (\d+) of the data is constant.*drop it",
        lambda at, said: fit(np.delete(np.column_stack([X, np.ones(len(X))]), int(said[1]), 1)),
    ),
    "NaN": Case(
        lambda at: fit(with_nan(77)),
        r"the first at row (\d+), column 1.*remove or impute",
        lambda at, said: fit(np.delete(with_nan(77), int(said[1]), 0)),
    ),
    "a negative weight": Case(
        lambda at: fit(X, sample_weight=np.where(np.arange(len(X)) == 5, -1.0, 1.0)),
        r"at row (\d+); weights must be finite and 0 or more: (0) leaves a row out",
        lambda at, said: fit(
            with_nan(int(said[1])),
            sample_weight=np.where(np.arange(len(X)) == int(said[1]), float(said[2]), 1.0),
        ),
    ),
    "values whose squares overflow": Case(
        lambda at: fit(X * 1e160),
        r"rescale the data",
        lambda at, said: fit(X * 1e160 / 1e160),
    ),
    "values beyond what is staged": Case(
        lambda at: fit(str(stored(at, X * 1e60, "big.zarr")), stage="auto", stage_dtype="float32"),
        r"leave out (stage_dtype)",
        lambda at, said: fit(str(stored(at, X * 1e60, "big.zarr")), stage="auto"),
    ),
    "stage_dtype without stage": Case(
        lambda at: fit(str(stored(at)), stage_dtype="float32"),
        r"set stage='(\w+)'",
        lambda at, said: fit(str(stored(at)), stage=said[1], stage_dtype="float32"),
    ),
    "a masked array": Case(
        lambda at: fit(np.ma.masked_greater(X, 5.0)),
        r"drop or impute the masked rows",
        lambda at, said: fit(np.ma.compress_rows(np.ma.masked_greater(X, 5.0))),
    ),
    "a masked block": Case(
        lambda at: fit(da.ma.masked_greater(da.from_array(X, chunks=100), 5.0)),
        r"drop or impute the masked rows",
        lambda at, said: fit(
            da.ma.masked_greater(da.from_array(X, chunks=100), 5.0).map_blocks(
                np.ma.filled, 5.0, dtype=float
            )
        ),
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
    "checkpoints of a warm start": Case(
        lambda at: fit(stored(at), warm_start=True, checkpoint=str(at / "kept")),
        r"checkpoint does not hold the start of warm_start.*leave one out, or give .* as (\w+)",
        lambda at, said: [
            fit(stored(at), warm_start=True),
            fit(stored(at), checkpoint=str(at / "kept"), **{said[1]: X[:1]}),
        ],
    ),
    "checkpoints of rows in memory": Case(
        lambda at: fit(X, checkpoint=str(at / "kept")),
        r"checkpoint is for (stored) rows.*leave it out",
        lambda at, said: [fit(X), fit(stored(at), checkpoint=str(at / "kept"))],
    ),
    "checkpoints in a file": Case(
        lambda at: [(at / "kept").write_text(""), fit(stored(at), checkpoint=str(at / "kept"))],
        r"cannot be a folder.*check the path",
        lambda at, said: fit(stored(at), checkpoint=str(at / "another")),
    ),
    "checkpoints of another job": Case(
        lambda at: fit(stored(at), 1, **interrupted(at), resume=True),
        r"name another folder, or begin anew: remove this one",
        lambda at, said: [
            fit(stored(at), 1, checkpoint=str(at / "another")),
            shutil.rmtree(at / "kept"),
            fit(stored(at), 1, checkpoint=str(at / "kept")),
        ],
    ),
    "checkpoints that are damaged": Case(
        lambda at: [
            interrupted(at),
            [file.write_bytes(b"") for file in (at / "kept").rglob("*") if file.is_file()],
            fit(stored(at), 2, **interrupted(at), resume=True),
        ],
        r"remove (?:the folder|it) to begin anew",
        lambda at, said: [
            shutil.rmtree(at / "kept"),
            fit(stored(at), 2, checkpoint=str(at / "kept")),
        ],
    ),
    "a folder to stage in that is not there": Case(
        lambda at: fit(stored(at), stage=str(at / "fast")),
        r"the folder (\S+) does not exist; create it, or name another",
        lambda at, said: [Path(said[1]).mkdir(), fit(stored(at), stage=said[1])],
    ),
    "staging of rows in memory": Case(
        lambda at: fit(X, stage=str(at)),
        r"for data in memory or on Dask leave them out, or write the data to (Zarr) first",
        lambda at, said: [fit(X), fit(stored(at), stage="auto")],
    ),
    "a file in the place of the model": Case(
        lambda at: [(at / "m.zarr").write_text("mine"), fit(X).save(at / "m.zarr", overwrite=True)],
        r"is not a Zarr array or group, so it is never replaced; choose another name",
        lambda at, said: fit(X).save(at / "other.zarr", overwrite=True),
    ),
    "no .npy file": Case(
        lambda at: [(at / "x.npy").write_bytes(b"no header"), open_rows(at / "x.npy")],
        r"restore the file from a copy",
        lambda at, said: [np.save(at / "x.npy", X), open_rows(at / "x.npy")],
    ),
    "a .npy file that was cut off": Case(
        lambda at: [
            np.save(at / "x.npy", X),
            (at / "x.npy").write_bytes((at / "x.npy").read_bytes()[:-8]),
            open_rows(at / "x.npy"),
        ],
        r"is truncated: .*; restore it from a copy",
        lambda at, said: [np.save(at / "x.npy", X), open_rows(at / "x.npy")],
    ),
    "a .npy file behind a URL": Case(
        lambda at: open_rows("https://localhost/x.npy"),
        r"copy it here, or convert it to (Zarr)",
        lambda at, said: [np.save(at / "x.npy", X), open_rows(at / "x.npy"), open_rows(stored(at))],
    ),
    "a store that is not there": Case(
        lambda at: open_rows(at / "xx.zarr"),
        r"does not exist; check the path",
        lambda at, said: open_rows(stored(at)),
    ),
    "a folder of stores": Case(
        lambda at: [stored(at), open_rows(at)],
        r"if it is a folder of stores, name one of them",
        lambda at, said: open_rows(at / "x.zarr"),
    ),
    "stored values that are no numbers": Case(
        lambda at: open_rows(stored(at, X.astype(complex), "c.zarr")),
        r"convert the array to one of these",
        lambda at, said: open_rows(stored(at, X.astype(np.float32), "f.zarr")),
    ),
    "values that are no numbers": Case(
        lambda at: fit(X.astype(str)),
        r"rows are numbers: convert them first",
        lambda at, said: fit(X.astype(str).astype(float)),
    ),
    "columns that are no numbers": Case(
        lambda at: fit(pd.DataFrame({"a": X[:, 0], "b": "text", "c": X[:, 1]})),
        r"no numbers: '(\w+)' has dtype .*; leave them out",
        lambda at, said: fit(
            pd.DataFrame({"a": X[:, 0], "b": "text", "c": X[:, 1]}).drop(columns=said[1])
        ),
    ),
    "weights of another length": Case(
        lambda at: fit(X, sample_weight=np.ones(5)),
        r"has 5 weights, but .* has (\d+) rows; give one weight for each row",
        lambda at, said: fit(X, sample_weight=np.ones(int(said[1]))),
    ),
    "weights that are masked": Case(
        lambda at: fit(X, sample_weight=np.ma.masked_less(np.arange(len(X)), 5)),
        r"give a row that does not count the weight (0)",
        lambda at, said: fit(
            X, sample_weight=np.ma.masked_less(np.arange(len(X)), 5).filled(int(said[1]))
        ),
    ),
    "weights that are no numbers": Case(
        lambda at: fit(X, sample_weight=np.full(len(X), "1.5")),
        r"weights are numbers: convert them first",
        lambda at, said: fit(X, sample_weight=np.full(len(X), "1.5").astype(float)),
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


def _configured(options: dict[str, Any], function: Callable[..., Any], *args: Any) -> Any:
    with dask.config.set(options):
        return function(*args)


def _with_pool(function: Callable[..., Any], *args: Any) -> Any:
    from multiprocessing.pool import ThreadPool

    with ThreadPool(1) as pool:
        return _configured({"pool": pool}, function, *args)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_works(case, tmp_path):
    with pytest.raises(DaskGMMError) as caught:
        case.fails(tmp_path)
    said = re.search(case.advice, str(caught.value), re.DOTALL)
    assert said is not None, str(caught.value)
    case.follows(tmp_path, said)


def test_weights_scaled_as_the_warning_says_raise_none():
    model, weights = fit(X), np.full(len(X), 1e-3)
    with pytest.warns(UserWarning, match=r"multiply them by") as caught:
        model.bic(X, weights)
    factor = float(re.search(r"multiply them by ([\d.e+]+)", str(caught[0].message))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.bic(X, factor * weights) == pytest.approx(model.bic(X), rel=1e-3)


def test_every_extra_that_a_message_names_is_one():
    extras = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = set()
    for file in PACKAGE.rglob("*.py"):
        named |= set(re.findall(r"daskgmm\[([\w,]+)\]", file.read_text()))
    assert named
    assert named <= set(extras)


# -- the command line -----------------------------------------------------------------


def command(*words: object) -> str:
    """Standard error of a command that fails, or "" of one that does not."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    if done.exit_code == 0:
        return ""
    assert isinstance(done.exception, SystemExit), done.exception
    return done.stderr


def job_file(at: Path, content: dict[str, Any]) -> Path:
    path = at / "job.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def job(at: Path, **model: Any) -> dict[str, Any]:
    return {
        "data": str(stored(at)),
        "model": {"components": 1, "max_iter": 3, **model},
        "outputs": {"model": str(at / "model.zarr")},
        "checkpoint": str(at / "kept"),
    }


def two_jobs(at: Path) -> tuple[object, ...]:
    """A job that is done, and whose file was changed since."""
    if not (at / "job.yaml").exists():
        assert command("run", job_file(at, job(at))) == ""
        job_file(at, job(at, seed=7))
    return ("run", at / "job.yaml")


def fitted(at: Path, *more: object) -> tuple[object, ...]:
    return ("fit", stored(at), "--components", 1, "--output", at / "m.zarr", *more)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _twice(at: Path) -> tuple[object, ...]:
    """A fit whose model is there already."""
    if not (at / "m.zarr").exists():
        assert command(*fitted(at)) == ""
    return fitted(at)


COMMANDS: dict[str, tuple[Callable[[Path], Any], str, Callable[[Path, re.Match[str]], Any]]] = {
    "a group": (
        lambda at: ("fit", group(at), "--components", 1, "--output", at / "m.zarr"),
        r"name one, as (\S+) or",
        lambda at, said: ("fit", said[1], "--components", 1, "--output", at / "m.zarr"),
    ),
    "missing chunks": (
        lambda at: ("fit", with_hole(at), "--components", 1, "--output", at / "m.zarr"),
        r"\((--missing-chunks) (fill)\)",
        lambda at, said: (
            *("fit", with_hole(at), "--components", 1, "--output", at / "m.zarr"),
            *(said[1], said[2]),
        ),
    ),
    "memory": (
        lambda at: fitted(at, "--memory-limit", "1MiB"),
        r"raise it to ([\d.]+) (\w+)",
        lambda at, said: fitted(at, "--memory-limit", said[1] + said[2]),
    ),
    "several numbers of components": (
        lambda at: (*fitted(at)[:3], "1:2", *fitted(at)[4:]),
        r"run daskgmm (select)",
        lambda at, said: (said[1], *fitted(at)[1:3], "1:2", *fitted(at)[4:]),
    ),
    "an option that is misspelt": (
        lambda at: fitted(at, "--max-itr", 3),
        r"Did you mean '(--[\w-]+)'\?",
        lambda at, said: fitted(at, said[1], 3),
    ),
    "an output of another format": (
        lambda at: (*fitted(at)[:5], at / "m.csv"),
        r"name it (\S+),",
        lambda at, said: (*fitted(at)[:5], said[1]),
    ),
    "a changed job": (
        two_jobs,
        r"run the job with (--fresh)",
        lambda at, said: (*two_jobs(at), said[1]),
    ),
    "a key that is misspelt": (
        lambda at: ("run", job_file(at, job(at, max_itr=3))),
        r"did you mean (\w+)\?",
        lambda at, said: ("run", job_file(at, job(at, **{said[1]: 3}))),
    ),
    "a file of metrics inside a store": (
        lambda at: fitted(at, "--metrics", stored(at) / "metrics.jsonl"),
        r"metrics: .* is inside .*, which is Zarr; name another",
        lambda at, said: fitted(at, "--metrics", at / "metrics.jsonl"),
    ),
    "a file of metrics that holds something else": (
        lambda at: fitted(at, "--metrics", _written(at / "notes.txt", "mine")),
        r"holds something else than metrics; name another file",
        lambda at, said: fitted(at, "--metrics", at / "metrics.jsonl"),
    ),
    "a log in a folder that is not there": (
        lambda at: fitted(at, "--log", at / "no" / "fit.log"),
        r"name a file in a local folder that exists",
        lambda at, said: fitted(at, "--log", at / "fit.log"),
    ),
    "anchors in a job file": (
        lambda at: ("run", _written(at / "job.yaml", "data: &x a.zarr\nmodel: {components: 1}\n")),
        r"write the value out",
        lambda at, said: ("run", job_file(at, job(at))),
    ),
    "a criterion for one model": (
        lambda at: ("run", job_file(at, job(at, criterion="bic"))),
        r"give model.components as (\d+:)\d+, say, or leave it out",
        lambda at, said: ("run", job_file(at, job(at, criterion="bic", components="1:2"))),
    ),
    "a model in the memory of a process": (
        lambda at: ("run", job_file(at, job(at) | {"outputs": {"model": "memory://m.zarr"}})),
        r"name a folder, or a URL of a store that stays",
        lambda at, said: ("run", job_file(at, job(at))),
    ),
    "a model that is there": (
        lambda at: _twice(at),
        r"choose another name, or replace it with .*\((--overwrite)\)",
        lambda at, said: (*_twice(at), said[1]),
    ),
    "a report of a cluster without one": (
        lambda at: fitted(at, "--performance-report", at / "report.html"),
        r"add (--cluster), such as (\S+)",
        lambda at, said: (
            *fitted(at, "--performance-report", at / "report.html"),
            *(said[1], PACKAGE.parent / said[2]),
        ),
    ),
}


@pytest.mark.parametrize(("fails", "advice", "follows"), COMMANDS.values(), ids=COMMANDS)
def test_advice_of_a_command_works(fails, advice, follows, tmp_path):
    said = command(*fails(tmp_path))
    found = re.search(advice, said, re.DOTALL)
    assert found is not None, said
    assert command(*follows(tmp_path, found)) == ""


def test_an_output_that_is_there_can_be_replaced_by_the_option_that_is_named(tmp_path):
    assert command(*fitted(tmp_path)) == ""
    said = command(*fitted(tmp_path))
    option = re.search(r"\((--overwrite)\)", said)
    assert option is not None, said
    assert command(*fitted(tmp_path, option[1])) == ""
    assert load_model(tmp_path / "m.zarr").n_components == 1
