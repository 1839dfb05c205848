"""Hostile inputs: models, checkpoints and job files as somebody else may have left them.

Each is a valid one, changed: bytes flipped, cut or put in; a value of its JSON replaced by
one that is huge, deep, of another type, or a path to elsewhere; a file removed or a folder
in its place. A reader may accept it or refuse it by an error of the project's own. It may
touch nothing outside the folder that it was given.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import zarr

from daskgmm import GaussianMixture, load_model
from daskgmm.checkpoints import Checkpoints, _Passed, _Scanned
from daskgmm.em.steppers.surrogate import SurrogateState
from daskgmm.errors import DaskGMMError
from daskgmm.jobfile import read_job
from daskgmm.storage import CheckpointFolder
from daskgmm.storage.trees import Tree, TreeError, from_tree, to_tree

__all__ = ["READERS", "Hostile"]

_VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 2**31, 2**63, 10**400, -0.5, 1e308, "nan", "inf", "", "x" * 10_000),
    *("../../outside", "/etc/passwd", "s3://bucket/x", "|O", "object", "pickle", "<M8[ns]"),
    *([], {}, [[]], [1, 2, 3], {"name": "pickle"}, {"shape": [2**40], "at": 0}, [2**40, 2**40]),
    *([-1, 4], {"at": -1, "shape": [1]}, "\x00", "\ud800", "!!python/object:os.system"),
]
_JOB = """data: data.zarr
member: rows
model:
  components: 3
  covariance: full
  tol: 1e-6
  seed: 1
memory_limit: 1GiB
outputs:
  model: model.zarr
  report: report.json
overwrite: true
"""


def _deep(n: int) -> Any:
    value: Any = 0
    for _ in range(n):
        value = [value]
    return value


@dataclass
class Hostile:
    """So many inputs, from a seed.

    Parameters
    ----------
    work : Path
        An empty folder.
    seed : int
    """

    work: Path
    seed: int
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.data = self.work / "data.zarr"
        rng = np.random.default_rng(0)
        x = np.concatenate([rng.normal(size=(300, 2)), 4 + rng.normal(size=(300, 2))])
        zarr.save_array(self.data, x)
        self.good = self.work / "good"
        self.good.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = GaussianMixture(
                2, random_state=0, max_iter=3, tol=0.0, checkpoint=self.good / "checkpoint"
            ).fit(self.data)
        model.save(self.good / "model.zarr")
        (self.good / "job.yaml").write_text(_JOB)
        self.identity = json.loads(
            json.loads((self.good / "checkpoint" / "current.json").read_text())["identity"]
        )
        folder = CheckpointFolder(self.good / "checkpoint", self.identity)
        scanned = folder.scan(_Scanned)
        passed = folder.newest_pass(_Passed, SurrogateState)
        self.trees = [(_Scanned, to_tree(scanned)), (_Passed, to_tree(passed))]
        self.touched: list[str] = []
        self._inside = ""
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note what is written, removed, made or run outside the folder in hand."""
        if not self._inside:
            return
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes or not isinstance(path, str | bytes):
                return
        elif event in ("os.system", "subprocess.Popen", "os.exec", "socket.connect"):
            self.touched.append(f"{event} {arguments!r:.100}")
            return
        elif event not in ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            return
        place = os.path.abspath(os.fsdecode(arguments[0]))
        if not place.startswith(self._inside):
            self.touched.append(f"{event} {place}")

    def run(self, n_inputs: int) -> None:
        """Give the readers so many inputs."""
        names = list(READERS)
        for i in range(n_inputs):
            name = names[i % len(names)]
            folder = self.work / "inputs" / "case"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            read = READERS[name](self, folder)
            self._inside = str(folder)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    read()
                end = "accepted"
            except (DaskGMMError, TreeError):
                end = "refused"
            finally:
                self._inside = ""
            assert not self.touched, self.touched
            self.counts[f"{name}, {end}"] += 1

    def changed_bytes(self, content: bytes) -> bytes:
        """A few bytes flipped, cut off, doubled or put in."""
        changed = bytearray(content)
        for _ in range(self.random.choice([1, 1, 1, 3, 20])):
            at = self.random.randrange(len(changed) + 1)
            kind = self.random.randrange(4)
            if kind == 0 and at < len(changed):
                changed[at] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                del changed[at : at + self.random.choice([1, 10, 10**6])]
            elif kind == 2:
                changed[at:at] = changed[max(0, at - 50) : at]
            else:
                changed[at:at] = self.random.randbytes(self.random.choice([1, 8]))
        return bytes(changed)

    def changed_json(self, value: Any) -> Any:
        """One value of it replaced, removed, renamed or doubled."""
        value = json.loads(json.dumps(value))
        inner, key = value, None
        parent: Any = None
        while (
            isinstance(inner, dict | list)
            and inner
            and (parent is None or self.random.random() < 0.8)
        ):
            parent = inner
            key = self.random.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            inner = inner[key]
        kind = self.random.randrange(8)
        if parent is None:
            return self.random.choice(_VALUES)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[f"{key}_"] = parent.pop(key)
        elif kind == 2:
            parent[key] = _deep(self.random.choice([3, 50, 900]))
        elif kind == 3 and isinstance(inner, int | float) and not isinstance(inner, bool):
            parent[key] = inner * self.random.choice([-1, 2, 0.5, 10**9])
        else:
            parent[key] = self.random.choice(_VALUES)
        return value

    def change_tree(self, top: Path) -> None:
        """Change one file below a folder."""
        files = sorted(path for path in top.rglob("*") if path.is_file() and path.stat().st_size)
        victim = self.random.choice(files)
        kind = self.random.randrange(10)
        if kind == 0:
            victim.unlink()
        elif kind == 1:
            victim.unlink()
            victim.mkdir()
        elif kind < 7 and victim.suffix == ".json":
            victim.write_text(json.dumps(self.changed_json(json.loads(victim.read_text()))))
        else:
            victim.write_bytes(self.changed_bytes(victim.read_bytes()))


Reader = Callable[[Hostile, Path], Callable[[], Any]]
"""Makes an input in a folder, and gives what reads it."""


def _model(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    shutil.copytree(hostile.good / "model.zarr", folder / "model.zarr")
    hostile.change_tree(folder / "model.zarr")
    return lambda: load_model(folder / "model.zarr").predict(np.zeros((3, 2)))


def _checkpoint(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    shutil.copytree(hostile.good / "checkpoint", folder / "checkpoint")
    hostile.change_tree(folder / "checkpoint")
    shape = ("full", 2, 2)

    def read() -> None:
        kept = CheckpointFolder(folder / "checkpoint", hostile.identity)
        found = Checkpoints(kept, SurrogateState, shape, resume=True)
        found.scan(np.random.RandomState(0))

    return read


def _state(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    """Of somebody who can also make the digest right."""
    kind, tree = hostile.random.choice(hostile.trees)
    changed = Tree(hostile.changed_json(tree.plain), tree.numbers)
    return lambda: from_tree(kind, changed, instead_of_any=SurrogateState)


def _job(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    path = folder / "job.yaml"
    if hostile.random.random() < 0.5:
        path.write_bytes(hostile.changed_bytes(_JOB.encode()))
    else:
        path.write_text(json.dumps(hostile.changed_json(yaml.safe_load(_JOB))))
    return lambda: read_job(str(path), {})


READERS: dict[str, Reader] = {
    "model": _model,
    "checkpoint": _checkpoint,
    "state": _state,
    "job": _job,
}
