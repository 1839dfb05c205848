"""Job files: what ``daskgmm run`` is to do, in YAML, held against one table.

Each row of :data:`KEYS` is a key of the file, an environment variable and an option. To
add one, add a row.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from daskgmm.configuration import (
    COUNT,
    FLAG,
    SIZE,
    TEXT,
    Configuration,
    Rule,
    Schema,
    one_of,
    read_file,
    validate,
)
from daskgmm.em import INITIALISERS, STEPPERS, STOP_RULES
from daskgmm.errors import DaskGMMError, JobError
from daskgmm.kernel import COMPONENTS

__all__ = ["KEYS", "Given", "Job", "Key", "read_job"]


def _number(value: Any) -> float | None:
    """A number of 0 or more, also as YAML 1.1 reads 1e-6: as text."""
    if type(value) not in (int, float, str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number >= 0 and math.isfinite(number) else None


_NUMBER = Rule("a number of 0 or more", lambda value: _number(value) is not None)
_TOL = Rule("auto, or a number of 0 or more", lambda v: v == "auto" or _number(v) is not None)
_SEED = Rule("a whole number from 0 to 4294967295", lambda v: type(v) is int and 0 <= v < 2**32)
_PLACE = Rule("a path or a URL", lambda value: isinstance(value, str) and bool(value))
_STAGE = Rule("auto, or a folder", _PLACE.accepts)


def _as_it_is(value: Any, _: Path | None) -> Any:
    return value


def _as_number(value: Any, _: Path | None) -> Any:
    return value if value == "auto" else _number(value)


def _as_place(value: str, folder: Path | None) -> str:
    """A path in the file means the same wherever the job is started."""
    if folder is None or "://" in value or "::" in value or Path(value).expanduser().is_absolute():
        return value
    return str(folder / value)


def _as_stage(value: str, folder: Path | None) -> str:
    return value if value == "auto" else _as_place(value, folder)


class Key(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    rule : Rule
    help : str
    convert : callable
        Of what the rule accepts, and the file's folder, which paths in it are relative to;
        None where the value is from elsewhere.
    """

    rule: Rule
    help: str
    convert: Callable[[Any, Path | None], Any] = _as_it_is


KEYS: dict[str, Key] = {
    "data": Key(_PLACE._replace(required=True), "Rows: a Zarr array or .npy file.", _as_place),
    "member": Key(TEXT, "Which array, where data is a group of several."),
    "missing_chunks": Key(
        one_of("error", "fill"), "What a chunk that is not stored means: error or fill."
    ),
    "model.components": Key(COUNT._replace(required=True), "How many, K."),
    "model.covariance": Key(one_of(*COMPONENTS), f"One of {', '.join(COMPONENTS)}."),
    "model.restarts": Key(COUNT, "Starts, of which the best is kept."),
    "model.seed": Key(_SEED, "Of sample and starts."),
    "model.max_iter": Key(COUNT, "Most passes after the scan."),
    "model.tol": Key(_TOL, "What the stop rule compares with.", _as_number),
    "model.stopping": Key(one_of(*STOP_RULES), "Which stop rule."),
    "model.stepper": Key(one_of("auto", *STEPPERS), "How parameters follow from a pass."),
    "model.reg_covar": Key(_NUMBER, "Added to each variance.", _as_number),
    "model.init_params": Key(one_of(*INITIALISERS), "How starts are made."),
    "model.progressive": Key(FLAG, "Whether starts compete on a sample."),
    "model.precision": Key(one_of("auto", "float32", "float64"), "Of the arithmetic on rows."),
    "model.truncate": Key(
        COUNT, "Compare a row with so many components near it; for 200 and more."
    ),
    "memory_limit": Key(SIZE, "Most memory of a process, such as 2GiB."),
    "stage": Key(_STAGE, "Keep decoded rows for later passes: auto, or a folder.", _as_stage),
    "stage_limit": Key(SIZE, "Most that a process writes there."),
    "stage_dtype": Key(one_of("float32"), "Round rows to it."),
    "cluster": Key(_PLACE, "File of a cluster to start, or address of a scheduler.", _as_place),
    "dashboard": Key(FLAG, "Print the address of the cluster's dashboard."),
    "performance_report": Key(_PLACE, "Where to write Dask's report, as HTML.", _as_place),
    "checkpoint": Key(_PLACE, "Folder or URL of checkpoints. Default: beside the file.", _as_place),
    "checkpoint_every": Key(COUNT, "Passes from one checkpoint to the next. Default: 1."),
    "outputs.model": Key(_PLACE._replace(required=True), "Where to write the model.", _as_place),
    "outputs.labels": Key(_PLACE, "Where to write each row's component.", _as_place),
    "outputs.probabilities": Key(_PLACE, "Where to write each row's probabilities.", _as_place),
    "outputs.scores": Key(_PLACE, "Where to write each row's log density.", _as_place),
    "outputs.report": Key(_PLACE, "Where to write what is printed, as JSON.", _as_place),
    "outputs.log": Key(_PLACE, "Local file to append the lines of the log to.", _as_place),
    "outputs.metrics": Key(
        _PLACE, "Local file to append a line of JSON to for each pass.", _as_place
    ),
    "overwrite": Key(FLAG, "Replace Zarr nodes that are there."),
}
"""Every key of a job file; nested ones have dots."""

_ESTIMATOR = {
    "components": "n_components",
    "covariance": "covariance_type",
    "restarts": "n_init",
    "seed": "random_state",
}
"""Keys of ``model`` that have another name in Python."""


class Given(NamedTuple):
    """A value from outside the file.

    Attributes
    ----------
    text : str
        As typed.
    source : str
        For messages: which option or environment variable.
    """

    text: str
    source: str


@dataclass(frozen=True)
class Job:
    """A job, all of it checked but for what is in other files.

    Attributes
    ----------
    config : Configuration
        The file.
    values : mapping
        By dotted key; those that were given.
    checkpoint : str
    sources : mapping
        By dotted key: which option or variable gave it, where the file did not.
    """

    config: Configuration
    values: Mapping[str, Any]
    checkpoint: str
    sources: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of the file."""
        return self.config.path

    def error(self, key: str, problem: str) -> DaskGMMError:
        """Return the error that a key has a problem: says where its value is from."""
        if key in self.sources:
            return JobError(f"{self.sources[key]}: {key} {problem}")
        return self.config.error(key, problem)

    def in_words_of_keys(self, error: Exception) -> DaskGMMError:
        """Return an error about a parameter of Python as one about the file, and its key if known."""
        text = " ".join(str(error).split())
        name, _, problem = text.partition(" ")
        for key in self.values:
            last = key.rpartition(".")[2]
            if name == _ESTIMATOR.get(last, last):
                return self.error(key, problem)
        return JobError(f"{self.name}: {text}")

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of :data:`KEYS`."""
        return self.values.get(key, default)

    @property
    def settings(self) -> dict[str, Any]:
        """Parameters of the estimator that decide the result."""
        given: dict[str, Any] = {"seed": 0} | self._section("model")
        return {_ESTIMATOR.get(name, name): value for name, value in given.items()}

    @property
    def places(self) -> dict[str, str]:
        """Paths and URLs by dotted key, but for where rows are staged for a while."""
        given = {key: self.values[key] for key in self.values if KEYS[key].convert is _as_place}
        return given | {"checkpoint": self.checkpoint}

    @property
    def outputs(self) -> dict[str, str]:
        """Where to write, by the key's last part."""
        return self._section("outputs")

    def _section(self, name: str) -> dict[str, Any]:
        return {
            key.removeprefix(f"{name}."): value
            for key, value in self.values.items()
            if key.startswith(f"{name}.")
        }


def read_job(path: str, given: Mapping[str, Given]) -> Job:
    """Read a job file.

    Parameters
    ----------
    path : str
        YAML, at most 64 KiB, without anchors and aliases.
    given : mapping
        By dotted key, values that take the place of the file's.

    Raises
    ------
    NotFoundError
        There is no such file.
    JobError
        It is not YAML, or a value is not what its key takes: names file, line and key.
    """
    config = read_file(path, "a YAML file such as the README shows", JobError)
    merged = copy.deepcopy(dict(config.values))
    folder = Path(path).absolute().parent
    for key, (text, source) in given.items():
        _put(merged, key, _parsed(key, text, source))
    validate(config, _SCHEMA, merged)
    values = {}
    for key, row in KEYS.items():
        value = _look_up(merged, key)
        if value is None and row.rule.required:
            raise config.error(key, f"is missing; it must be {row.rule.what}")
        if value is not None:
            values[key] = row.convert(value, None if key in given else folder)
    default = str(folder / f"{Path(path).stem}.checkpoint")
    sources = {key: source for key, (_, source) in given.items()}
    return Job(config, values, values.get("checkpoint", default), sources)


def _parsed(key: str, text: str, source: str) -> Any:
    rule = KEYS[key].rule
    try:
        value = text if rule.accepts(text) else yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not rule.accepts(value):
        raise JobError(f"{source}: {key} must be {rule.what}, got {text!r:.80}")
    return value


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    section, _, name = key.rpartition(".")
    inner = values.setdefault(section, {}) if section else values
    if isinstance(inner, dict):  # what it is otherwise, the schema refuses
        inner[name] = value


def _look_up(values: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.rpartition(".")
    inner: Mapping[str, Any] = values.get(section, {}) if section else values
    return inner.get(name)


def _schema() -> Schema:
    schema: dict[str, Any] = {}
    for key, row in KEYS.items():
        section, _, name = key.rpartition(".")
        inner = schema.setdefault(section, {}) if section else schema
        inner[name] = row.rule
    return schema


_SCHEMA = _schema()
