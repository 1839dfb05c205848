"""Following advice: a case fails, its message is read, and what that names is done."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable, Iterable
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
    kind: type[BaseException] = DaskGMMError


def follow(case: Case, at: Path) -> None:
    """The test of every case: it must fail, say so, and work as said."""
    with pytest.raises(case.kind) as caught:
        case.fails(at)
    case.follows(at, found_in(str(caught.value), case.advice))


def follow_warning(case: Case, at: Path) -> None:
    """The test of every warning: it is given, and no more once its advice is followed."""
    said = found_in(_warnings_of(case.fails, at), case.advice)
    after = _warnings_of(case.follows, at, said)
    assert re.search(case.advice, after, re.DOTALL) is None, after


def _warnings_of(function: Callable[..., Any], *args: Any) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args)
    return "\n".join(str(warning.message) for warning in caught)


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


def zipped(folder: Path) -> str:
    """The same group in a zip file."""
    if not (folder / "g.zip").exists():
        shutil.make_archive(str(folder / "g"), "zip", group(folder))
    return str(folder / "g.zip")


def with_hole(folder: Path) -> Path:
    path = folder / "hole.zarr"
    if not path.exists():
        write_store(path, X, rows=100)
        chunk(path, 3).unlink()
    return path


def interrupted(folder: Path) -> dict[str, Any]:
    """Options of a fit whose folder of checkpoints holds an interrupted run."""
    options = {"checkpoint": str(folder / "kept"), "tol": 0.0, "max_iter": 6, "stepper": "plain"}
    if not (folder / "kept").exists():
        with listening(interrupt), pytest.raises(InterruptedFitError):
            fit(stored(folder), 2, **options)
    return options


def with_nan(row: int) -> np.ndarray:
    x = X.copy()
    x[row, 1] = np.nan
    return x


# -- the command line -----------------------------------------------------------------

Words = tuple[object, ...]
Commands = Words | Iterable[Words | Callable[[], Words]]
CommandCase = tuple[Callable[[Path], Words], str, Callable[[Path, re.Match[str]], Commands]]
"""Words of a command that fails, a pattern of its advice, and those of one, or of several, that
follow it; of the next one in turn, where it is to be prepared when the one before it has run."""


def follow_command(case: CommandCase, at: Path) -> None:
    """The test of every command."""
    fails, advice, follows = case
    followed = follows(at, found_in(command(*fails(at)), advice))
    for words in [followed] if isinstance(followed, tuple) else followed:
        assert command(*(words() if callable(words) else words)) == ""


def interrupt(event: object) -> None:
    """A listener that ends a fit after its first iteration."""
    if isinstance(event, Iteration):
        raise KeyboardInterrupt


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
    """A job of a file; what is ``...`` is left out of the model."""
    own = {"components": 1, "max_iter": 3, **model}
    return {
        "data": str(stored(at)),
        "model": {k: v for k, v in own.items() if v is not ...},
        "outputs": {"model": str(at / "model.zarr")},
        "checkpoint": str(at / "kept"),
    }


def fitted(at: Path, *more: object) -> tuple[object, ...]:
    return ("fit", stored(at), "--components", 1, "--output", at / "m.zarr", *more)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
