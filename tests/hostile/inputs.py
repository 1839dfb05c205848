"""Hostile inputs: every file that is read, as somebody else may have left it.

Each is a valid one, changed: bytes flipped, cut or put in; a value of its JSON replaced by
one that is huge, deep, of another type, or a path to elsewhere; a file removed or a folder
in its place; an array encoded such that it grows. A reader may accept it or refuse it by
an error of the project's own. It may touch, and read, nothing outside the folder that it
was given, and not run anything.
"""

from __future__ import annotations

import itertools
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
from unittest import mock

import numcodecs
import numpy as np
import yaml
import zarr

import daskgmm
from daskgmm import GaussianMixture, load_model
from daskgmm.batch import _Progress
from daskgmm.checkpoints import Checkpoints
from daskgmm.em import Resumed
from daskgmm.errors import DaskGMMError
from daskgmm.events import teller
from daskgmm.execution.clusters import read_config
from daskgmm.jobfile import read_job
from daskgmm.metrics import metrics_written
from daskgmm.storage import CheckpointFolder, Location, StateFile
from daskgmm.storage.snapshots.folders import _digest
from daskgmm.storage.snapshots.trees import Tree

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
_CLUSTERS = Path(__file__).parents[2] / "cluster_configs"

_PATHS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        ("open", "os.listdir", "os.scandir", "os.remove", "os.mkdir", "os.rmdir"), (0,)
    ),
    **dict.fromkeys(("os.truncate", "os.chmod", "os.chown", "os.utime", "os.chdir"), (0,)),
    **dict.fromkeys(
        ("os.setxattr", "os.removexattr", "shutil.rmtree", "shutil.make_archive"), (0,)
    ),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), (0, 1)),
    **dict.fromkeys(("shutil.copyfile", "shutil.copymode", "shutil.copystat"), (0, 1)),
    **dict.fromkeys(("shutil.copytree", "shutil.move", "shutil.unpack_archive"), (0, 1)),
}
"""Audit events of file systems, and which of their arguments are paths."""
_RUNS = frozenset(
    {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"}
    | {"subprocess.Popen", "pty.spawn", "pickle.find_class", "ctypes.dlopen", "code.__new__"}
    | {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request"}
)
"""Those of code that is run, or of a network."""
_LIBRARIES = {
    sys.prefix,
    sys.base_prefix,
    Path(np.__file__).parents[1],
    Path(daskgmm.__file__).parent,
}
_ITS_OWN = (*(os.path.abspath(path) + os.sep for path in _LIBRARIES), "/proc/", "/sys/", "/dev/")
"""What Python and the libraries read of themselves and of the machine."""


def outside(event: str, arguments: tuple[Any, ...], folder: str) -> str | None:
    """What an audit event touches outside a folder, if anything.

    Reading is as good as writing: what is read of another folder could be shown. Only
    what the program reads of itself is not looked at.
    """
    if event in _RUNS:
        return f"{event} {arguments!r:.100}"
    for at in _PATHS.get(event, ()):
        path = arguments[at]
        if not isinstance(path, str | bytes | os.PathLike):
            continue  # the number of a file that is open
        place = os.path.abspath(os.fsdecode(path))
        if place == folder or place.startswith(folder + os.sep):
            continue
        flags = arguments[2] if event == "open" else None
        reads = event in ("os.listdir", "os.scandir") or (
            isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if not (reads and (place + os.sep).startswith(_ITS_OWN)):
            return f"{event} {place}"
    return None


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
        progress = StateFile(Location.parse(self.good), *_JOB_STATE, self.identity)
        progress.put(_Progress(["model", "rows"], ["model"]))
        with warnings.catch_warnings(), metrics_written(self.good / "metrics.jsonl"):
            warnings.simplefilter("ignore")
            GaussianMixture(2, random_state=0, max_iter=3, tol=0.0).fit(self.data)
        files = [path for path in sorted(_CLUSTERS.glob("*.yaml")) if path.suffixes == [".yaml"]]
        self.clusters = {path.name: path.read_bytes() for path in files}
        self.touched: list[str] = []
        self._inside = ""
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note what is touched outside the folder in hand, by any thread."""
        if self._inside and (found := outside(event, arguments, self._inside)):
            self.touched.append(found)

    def run(self, n_inputs: int) -> None:
        """Give the readers so many inputs."""
        # A module that a reader is the first to import would be written beside its source.
        with mock.patch.object(sys, "dont_write_bytecode", True):
            for _, name in zip(range(n_inputs), itertools.cycle(READERS), strict=False):
                self._give(name)

    def _give(self, name: str) -> None:
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
        except DaskGMMError:
            end = "refused"
        finally:
            self._inside = ""
        assert not self.touched, self.touched
        self.counts[f"{name}, {end}"] += 1

    def changed_bytes(self, content: bytes) -> bytes:
        """A few bytes flipped, cut off, doubled or put in, or what makes a parser recurse."""
        changed = bytearray(content)
        for _ in range(self.random.choice([1, 1, 1, 3, 20])):
            at = self.random.randrange(len(changed) + 1)
            kind = self.random.randrange(5)
            if kind == 4:
                at = changed.find(b":", at) + 1  # where a value begins
                changed[at:at] = self.random.choice([b"[", b'{"a":', b"- "]) * 10_000
            elif kind == 0 and at < len(changed):
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
        elif kind < 7 and (document := _read_json(victim)) is not None:
            victim.write_text(json.dumps(self.changed_json(document)))
        else:
            victim.write_bytes(self.changed_bytes(victim.read_bytes()))


def _read_json(path: Path) -> Any:
    """A document; None where it is none, or no longer."""
    try:
        return json.loads(path.read_bytes()) if path.suffix == ".json" else None
    except (ValueError, RecursionError):
        return None


_JOB_STATE = ("job.json", "daskgmm-job", _Progress)
_CODECS: dict[str, Any] = {
    "zstd": {"level": 0, "checksum": False},
    "gzip": {"level": 5},
    "blosc": {
        **{"typesize": 8, "cname": "zstd", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0}
    },
    "crc32c": {},
}
_ZEROS = numcodecs.Zstd().encode(np.zeros(2**30, dtype="u1"))
"""32 KB."""

Reader = Callable[[Hostile, Path], Callable[[], Any]]
"""Makes an input in a folder, and gives what reads it."""


def _model(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    """A model that is changed anywhere, coordinates included, which no reader here relies on.

    Most are changed where one relies on it, too.
    """
    model = folder / "model.zarr"
    shutil.copytree(hostile.good / "model.zarr", model)
    hostile.change_tree(model)
    if hostile.random.random() < 0.7:
        hostile.change_tree(model / hostile.random.choice(["weights", "means", "covariances"]))
    return lambda: load_model(model).predict(np.zeros((3, 2)))


def _checkpoint(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    shutil.copytree(hostile.good / "checkpoint", folder / "checkpoint")
    for _ in range(hostile.random.choice([1, 4])):  # most files are not needed to go on
        hostile.change_tree(folder / "checkpoint")
    return lambda: _read_checkpoint(hostile, folder)


def _read_checkpoint(hostile: Hostile, folder: Path) -> None:
    kept = CheckpointFolder(folder / "checkpoint", hostile.identity)
    found = Checkpoints(kept, ("full", 2, 2), resume=True)
    found.scan(np.random.RandomState(0))


def _state(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    """A checkpoint of somebody who can also make the digest right."""
    shutil.copytree(hostile.good / "checkpoint", folder / "checkpoint")
    pointer = folder / "checkpoint" / "current.json"
    envelope = json.loads(pointer.read_text())
    groups = json.loads(envelope["state"])
    entry = hostile.random.choice([groups["scan"], groups["passes"][0]])
    metadata = folder / "checkpoint" / entry["name"] / "zarr.json"
    document = json.loads(metadata.read_text())
    plain = hostile.changed_json(json.loads(document["attributes"]["tree"]))
    document["attributes"]["tree"] = json.dumps(plain)
    metadata.write_text(json.dumps(document))
    numbers = zarr.open_array(metadata.parent / "numbers", mode="r")[:]
    entry["digest"] = _digest(Tree(plain, numbers))
    pointer.write_text(json.dumps(envelope | {"state": json.dumps(groups)}))
    return lambda: _read_checkpoint(hostile, folder)


def _bomb(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    """A model in which an array decodes to more than its shape, or is in other chunks."""
    shutil.copytree(hostile.good / "model.zarr", folder / "model.zarr")
    name = hostile.random.choice(["weights", "means", "covariances"])
    document = folder / "model.zarr" / name / "zarr.json"
    metadata = json.loads(document.read_text())
    codecs = hostile.random.choice([["zstd"], ["gzip"], ["blosc"], ["zstd", "crc32c"], ["crc32c"]])
    metadata["codecs"] = [
        {"name": "bytes", "configuration": {"endian": "little"}},
        *({"name": codec, "configuration": _CODECS[codec]} for codec in codecs),
    ]
    if hostile.random.random() < 0.5:
        huge = hostile.random.choice([2**20, 2**27, 2**40])
        metadata["chunk_grid"]["configuration"]["chunk_shape"][0] = huge
    document.write_text(json.dumps(metadata))
    (chunk,) = (path for path in (folder / "model.zarr" / name / "c").rglob("*") if path.is_file())
    chunk.write_bytes(_ZEROS)
    return lambda: load_model(folder / "model.zarr")


def _progress(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    """What a job has noted of itself."""
    content = (hostile.good / "job.json").read_bytes()
    kind = hostile.random.randrange(3)
    if kind == 0:
        content = hostile.changed_bytes(content)
    else:
        envelope = json.loads(content)
        if kind == 1:
            envelope = hostile.changed_json(envelope)
        else:
            name = hostile.random.choice(["identity", "state"])
            inner = hostile.changed_json(json.loads(envelope[name]))
            envelope[name] = json.dumps(inner)
        content = json.dumps(envelope).encode()
    (folder / "job.json").write_bytes(content)
    return lambda: StateFile(Location.parse(folder), *_JOB_STATE, hostile.identity)


def _cluster(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    name = hostile.random.choice(list(hostile.clusters))
    content = hostile.clusters[name]
    if hostile.random.random() < 0.5:
        content = hostile.changed_bytes(content)
    else:
        content = json.dumps(hostile.changed_json(yaml.safe_load(content))).encode()
    (folder / name).write_bytes(content)
    return lambda: read_config(str(folder / name))


def _metrics(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    """Lines of an earlier fit, which one that goes on continues."""
    path = folder / "metrics.jsonl"
    content = (hostile.good / "metrics.jsonl").read_bytes()
    if hostile.random.random() < 0.5:
        content = hostile.changed_bytes(content)
    else:
        lines = content.splitlines()
        at = hostile.random.randrange(len(lines))
        lines[at] = json.dumps(hostile.changed_json(json.loads(lines[at]))).encode()
        content = b"\n".join(lines) + b"\n"
    path.write_bytes(content)

    def read() -> None:
        with metrics_written(path):
            teller()(Resumed(2))

    return read


def _job(hostile: Hostile, folder: Path) -> Callable[[], Any]:
    path = folder / "job.yaml"
    if hostile.random.random() < 0.5:
        path.write_bytes(hostile.changed_bytes(_JOB.encode()))
    else:
        path.write_text(json.dumps(hostile.changed_json(yaml.safe_load(_JOB))))
    return lambda: read_job(str(path), {})


READERS: dict[str, Reader] = {
    "model": _model,
    "bomb": _bomb,
    "checkpoint": _checkpoint,
    "state": _state,
    "job": _job,
    "progress": _progress,
    "cluster": _cluster,
    "metrics": _metrics,
}
