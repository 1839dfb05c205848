"""Job files: what ``daskgmm run`` is to do, in YAML, held against one table.

Each row of :data:`KEYS` is a key of the file, an environment variable and an option. Those
that a fit has are rows of :mod:`daskgmm.settings`; to add another one, add a row here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from daskgmm.configuration import Configuration, Schema, read_file, validate
from daskgmm.errors import DaskGMMError, JobError, ParameterError
from daskgmm.redaction import on_one_line
from daskgmm.rules import FLAG, PLACE, Rule, one_of
from daskgmm.settings import (
    CRITERIA,
    DATA_OPTIONS,
    HALF_LIFE,
    KEEP,
    LABELS,
    LEVEL,
    MEASUREMENT_NOISE,
    N_REPLICATES,
    OPTIONS,
    RESULTS,
    WEIGHTS,
    Option,
)

__all__ = ["KEYS", "Given", "Job", "Key", "read_job"]


class Key(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    rule : Rule
    help : str
    option : Option or None
        The row of the settings that it is from.
    """

    rule: Rule
    help: str
    option: Option | None = None


def _keys_of(options: Iterable[Option]) -> dict[str, Key]:
    return {o.key: Key(o.rule_of_key, o.help, o) for o in options if o.key is not None}


_CRITERION = "model.criterion"
_OF_SELECTIONS = (_CRITERION, *(f"model.{option.name}" for option in (LEVEL, N_REPLICATES)))
_RESULTS_PLACE = "outputs.results"
_REQUIRED_PLACE = PLACE._replace(required=True)

KEYS: dict[str, Key] = {
    "data": Key(_REQUIRED_PLACE, "Rows: a Zarr array, .npy file or Parquet files."),
    **_keys_of(DATA_OPTIONS),
    **_keys_of([WEIGHTS, LABELS, MEASUREMENT_NOISE]),
    **_keys_of(OPTIONS),
    _CRITERION: Key(
        one_of(*CRITERIA), "What decides, where there are several components or covariances."
    ),
    **_keys_of([LEVEL, N_REPLICATES]),
    "on_new_data": Key(
        one_of("refit", "update", "predict"),
        "What is done where the data have changed since the job was done: fit them from the last "
        "model; update it with them, all being new; or keep it. Default: they are refused.",
    ),
    **_keys_of([HALF_LIFE]),
    "cluster": Key(PLACE, "File of a cluster to start, or address of a scheduler."),
    "dashboard": Key(FLAG, "Print the address of the cluster's dashboard."),
    "performance_report": Key(PLACE, "Where to write Dask's report, as HTML."),
    "outputs.model": Key(_REQUIRED_PLACE, "Where to write the model."),
    _RESULTS_PLACE: Key(PLACE, "Where to write, side by side, what results names."),
    **_keys_of([RESULTS, KEEP]),
    "outputs.labels": Key(PLACE, "Where to write each row's component."),
    "outputs.probabilities": Key(PLACE, "Where to write each row's probabilities."),
    "outputs.scores": Key(PLACE, "Where to write each row's log density."),
    "outputs.report": Key(PLACE, "Where to write what is printed, as JSON."),
    "outputs.log": Key(PLACE, "Local file to append the lines of the log to."),
    "outputs.metrics": Key(PLACE, "Local file to append a line of JSON to for each pass."),
    "overwrite": Key(FLAG, "Replace Zarr nodes that are there."),
}
"""Every key of a job file; nested ones have dots. Those of a fit are rows of the settings."""


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
        """Path or URL of the job file."""
        return self.config.path

    def error(self, key: str, problem: str) -> DaskGMMError:
        """Return the error that a key has a problem: says where its value is from."""
        if key in self.sources:
            return JobError(f"{self.sources[key]}: {key} {problem}")
        return self.config.error(key, problem)

    def in_words_of_keys(self, error: ParameterError) -> DaskGMMError:
        """The error of a parameter as one of its key, and of the file where no key is to blame."""
        text = on_one_line(error)
        for key in self.values:
            option = KEYS[key].option
            if option is not None and option.name == error.parameter:
                about, _, problem = text.partition(" ")
                return self.error(
                    key, problem if about == option.name else f"cannot be used: {text}"
                )
        return JobError(f"{self.name}: {text}")

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of :data:`KEYS`."""
        return self.values.get(key, default)

    def beside_file(self, key: str) -> str:
        """A path in the file as seen from here; of a key that was given elsewhere, as it is."""
        value: str = self.values[key]
        folder = Path(self.name).absolute().parent
        return value if key in self.sources else _beside_file(value, folder)

    @property
    def settings(self) -> dict[str, Any]:
        """Parameters of the estimator, as far as they are not its defaults."""
        defaults = {
            option.name: option.default_of_commands
            for option in OPTIONS
            if option.key is not None and option.default_of_commands is not None
        }
        return defaults | self._given(OPTIONS) | {"checkpoint": self.checkpoint}

    @property
    def candidates(self) -> dict[str, Any] | None:
        """Arguments of :func:`daskgmm.select`, where the job has several models to select from."""
        settings = self.settings
        several = {name: settings.get(name) for name in ("n_components", "covariance_type")}
        if not any(isinstance(value, list) for value in several.values()):
            return None
        counts = several["n_components"]
        unused = ("n_components", "checkpoint")
        return {
            "components": counts if isinstance(counts, list) else [counts],
            **{name: value for name, value in settings.items() if name not in unused},
            "criterion": self.get(_CRITERION, "bic"),
            **self._given([LEVEL, N_REPLICATES]),
        }

    @property
    def deciding_settings(self) -> dict[str, Any]:
        """Settings that decide the result, and the criterion of a selection."""
        deciding = {option.name for option in OPTIONS if option.decides}
        found = {name: value for name, value in self.settings.items() if name in deciding}
        several = self.candidates
        names = ("criterion", LEVEL.name, N_REPLICATES.name)
        return found | {name: several[name] for name in names if several and name in several}

    @property
    def data_settings(self) -> dict[str, Any]:
        """Parameters of :func:`daskgmm.open_rows`, as far as they are given."""
        return self._given(DATA_OPTIONS)

    def _given(self, options: Iterable[Option]) -> dict[str, Any]:
        given = {o.name: self.get(o.key) for o in options if o.key is not None}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def places(self) -> dict[str, str]:
        """Paths and URLs by dotted key, but for where rows are staged for a while."""
        given = {
            key: self.values[key]
            for key, row in KEYS.items()
            if key in self.values and row.rule.is_place and not row.rule.words
        }
        return given | {"checkpoint": self.checkpoint}

    @property
    def outputs(self) -> dict[str, str]:
        """Paths of the outputs, by the last part of their keys."""
        return {
            key.removeprefix("outputs."): value
            for key, value in self.values.items()
            if key.startswith("outputs.")
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
    config = read_file(path, "a YAML file such as `daskgmm guide jobs` shows", JobError)
    merged = copy.deepcopy(dict(config.values))
    folder = Path(path).absolute().parent
    _read_texts(merged)
    for key, (text, source) in given.items():
        _put(merged, key, _read(key, text, source))
    validate(config, _SCHEMA, merged)
    values = {}
    for key, row in KEYS.items():
        value = _look_up(merged, key)
        if value is None and row.rule.required:
            raise config.error(key, f"is missing; it must be {row.rule.what}")
        if value is not None:
            is_of_file = row.rule.is_place and key not in given and value not in row.rule.words
            values[key] = _beside_file(value, folder) if is_of_file else value
    default = str(folder / f"{Path(path).stem}.checkpoint")
    sources = {key: source for key, (_, source) in given.items()}
    job = Job(config, values, values.get("checkpoint", default), sources)
    of_selections = [key for key in _OF_SELECTIONS if key in values]
    if of_selections and job.candidates is None:
        raise job.error(
            of_selections[0],
            "decides between several models; give model.components as 2:12, say, or leave it out",
        )
    if RESULTS.name in values and _RESULTS_PLACE not in values:
        raise job.error(
            RESULTS.name, f"says what {_RESULTS_PLACE} holds; give its place, or leave it out"
        )
    if HALF_LIFE.name in values and values.get("on_new_data") != "update":
        raise job.error(HALF_LIFE.name, "is for on_new_data: update; add that, or leave it out")
    beside = [option.name for option in (LABELS, MEASUREMENT_NOISE) if option.name in values]
    if beside and values.get("on_new_data") in ("refit", "update"):
        raise job.error(
            "on_new_data",
            f"is {values['on_new_data']}, which goes on from a model without {beside[0]}; leave it or "
            f"{beside[0]} out, or run with --fresh to fit anew",
        )
    if values.get("on_new_data") == "update" and job.get("model.missing") == "em":
        raise job.error(
            "on_new_data",
            "is update, which goes on from complete rows alone, and model.missing is em; set "
            "model.missing: drop, or on_new_data: refit",
        )
    if values.get("on_new_data") == "refit" and job.candidates is not None:
        raise job.error(
            "on_new_data",
            "is refit, which goes on from one model; give one model.components and one "
            "model.covariance, or run with --fresh to select anew",
        )
    return job


def _beside_file(place: str, folder: Path) -> str:
    """A path in the file means the same wherever the job is started."""
    if "://" in place or "::" in place or Path(place).expanduser().is_absolute():
        return place
    return str(folder / place)


def _read_texts(values: dict[str, Any]) -> None:
    """Read texts as their rules do: YAML 1.1 takes 1e-6 for one. Wrong ones are left as they are."""
    for key, row in KEYS.items():
        value = _look_up(values, key)
        if isinstance(value, str):
            with suppress(ValueError):
                _put(values, key, row.rule.read(value))


def _read(key: str, text: str, source: str) -> Any:
    try:
        return KEYS[key].rule.read(text)
    except ValueError as error:
        raise JobError(f"{source}: {key} {error}") from None


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    section, _, name = key.rpartition(".")
    inner = values.setdefault(section, {}) if section else values
    if isinstance(inner, dict):  # what it is otherwise, the schema refuses
        inner[name] = value


def _look_up(values: Mapping[str, Any], key: str) -> Any:
    section, _, name = key.rpartition(".")
    inner = values.get(section) if section else values
    return inner.get(name) if isinstance(inner, Mapping) else None


def _schema() -> Schema:
    schema: dict[str, Any] = {}
    for key, row in KEYS.items():
        section, _, name = key.rpartition(".")
        inner = schema.setdefault(section, {}) if section else schema
        inner[name] = row.rule
    return schema


_SCHEMA = _schema()
