"""Following advice: a case fails, its message is read, and what that names is done."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr
from click.testing import CliRunner
from commands import chunk, write_store

from daskgmm import GaussianMixture
from daskgmm.cli import main
from daskgmm.em import Iteration
from daskgmm.errors import DaskGMMError, InterruptedFitError
from daskgmm.events import listening

X = np.random.default_rng(0).normal(size=(600, 2)) * [1, 3]
PACKAGE = Path(__file__).parents[2] / "daskgmm"


@dataclass(frozen=True)
class Case:
    """A failure, a pattern of its advice, and a way to follow what the pattern finds."""

    fails: Callable[[Path], Any]
    advice: str
    follows: Callable[[Path, re.Match[str]], Any]


def follow(case: Case, at: Path) -> None:
    """The test of every case: it must fail, say so, and work as said."""
    with pytest.raises(DaskGMMError) as caught:
        case.fails(at)
    case.follows(at, found_in(str(caught.value), case.advice))


def found_in(text: str, advice: str) -> re.Match[str]:
    found = re.search(advice, text, re.DOTALL)
    assert found is not None, text
    return found


def fit(x: Any, k: int = 1, /, **options: Any) -> GaussianMixture:
    weights = options.pop("sample_weight", None)
    fixed = {"random_state": 0, "max_iter": 3, "tol": 1e-2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(k, **(fixed | options)).fit(x, sample_weight=weights)


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


# -- the command line -----------------------------------------------------------------

Words = tuple[object, ...]
CommandCase = tuple[Callable[[Path], Words], str, Callable[[Path, re.Match[str]], Words]]
"""Words of a command that fails, a pattern of its advice, and words of one that follows it."""


def follow_command(case: CommandCase, at: Path) -> None:
    """The test of every command."""
    fails, advice, follows = case
    found = found_in(command(*fails(at)), advice)
    assert command(*follows(at, found)) == ""


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


def fitted(at: Path, *more: object) -> tuple[object, ...]:
    return ("fit", stored(at), "--components", 1, "--output", at / "m.zarr", *more)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
