"""Configurations: YAML files read safely, and held against a schema.

A schema is a mapping from keys to rules, or to schemas where the value has keys of
its own. Every error names the file, the line and the key.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import yaml

from daskgmm.errors import DaskGMMError, NotFoundError
from daskgmm.redaction import on_one_line
from daskgmm.rules import NUMBER, SIZE, Rule

MAX_BYTES = 2**16
"""Bytes that a configuration may have; parsing takes some seconds at this size."""
MAX_DEPTH = 16
"""Levels that a configuration may have; the parser recurses."""


Schema: TypeAlias = "Mapping[str, Rule | Schema]"


SECONDS = Rule("a number of seconds above 0", lambda value: NUMBER.accepts(value) and value > 0)
WAIT = Rule("a number of seconds (0: do not wait)", NUMBER.accepts)
SIZE_OR_AUTO = Rule("auto, or a size such as 8GiB", lambda v: v == "auto" or SIZE.accepts(v))
TEXTS = Rule(
    "a list of texts",
    lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
)
TEXT_OF_TEXT = Rule(
    "a mapping of text to text (numbers in quotes)",
    lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
)
MAPPING = Rule("a mapping", lambda value: isinstance(value, dict))


class CoreLoader(yaml.SafeLoader):
    """YAML by the core schema of version 1.2: what else a plain text may be, it is a text.

    By YAML 1.1, as which PyYAML reads, ``2:12`` is 132 and ``02:00:00`` is 7200 (base 60),
    ``010`` is 8, ``no`` and ``off`` are false, and ``2024-01-31`` is a date.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


_CORE = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
"""Tags, what is read as one, and the characters that it may begin with."""


def _whole_number(loader: CoreLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


for _tag, _pattern, _first in _CORE:
    CoreLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"(?:{_pattern})$"),
        ["", *_first] if _tag == "null" else list(_first),
    )
CoreLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)


@dataclass(frozen=True)
class Configuration:
    """The content of a configuration file.

    Attributes
    ----------
    path : str
        The file that it was read from.
    values : mapping
        The file's content.
    lines : mapping of str to int
        Line of every key, counted from 1; nested keys have dots (``options.memory``).
    error_kind : type
        Class of the errors that :meth:`error` returns.
    """

    path: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(repr=False)
    error_kind: type[DaskGMMError] = DaskGMMError

    def section(self, key: str) -> Mapping[str, Any]:
        """Return the mapping under ``key``, empty where the file has none."""
        section: Mapping[str, Any] = self.values.get(key, {})
        return section

    def beside(self, name: str) -> Path:
        """Return the path of a file that is named relative to the configuration's folder."""
        return Path(self.path).parent / Path(name).expanduser()

    def error(self, key: str, problem: str) -> DaskGMMError:
        """Return the error that ``key`` has a ``problem``, with file and line."""
        parent = key.rpartition(".")[0]  # a missing key has no line of its own
        line = self.lines.get(key, self.lines.get(parent, 1))
        return self.error_kind(f"{self.path}, line {line}: {key} {problem}")


def read_file(path: str, what: str, error_kind: type[DaskGMMError]) -> Configuration:
    """Read a configuration; :func:`validate` is the next step.

    Parameters
    ----------
    path : str
        A YAML file of at most 64 KiB, without anchors and aliases.
    what : str
        The kinds of file or text that could be given, in words for messages.
    error_kind : type
        Class of the errors about the file.

    Returns
    -------
    Configuration

    Raises
    ------
    NotFoundError
        There is no such file.
    error_kind
        It cannot be read or is not YAML.
    """
    text = _read_text(path, what, error_kind)
    try:
        _check_shape(path, text, error_kind)
        # It builds plain values alone, as yaml.SafeLoader, from which it descends.
        values = yaml.load(text, Loader=CoreLoader)
        node = yaml.compose(text, Loader=CoreLoader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = on_one_line(getattr(error, "problem", None) or error)
        raise error_kind(f"{path}{line}: not YAML: {problem}") from error
    if not isinstance(values, dict):
        raise error_kind(f"{path}: must hold keys and values, got {reprlib.repr(values)}")
    lines: dict[str, int] = {}
    config = Configuration(path, values, lines, error_kind)
    for key, number in _lines(node):
        if key in lines:
            raise config.error(key, f"is there again on line {number}; keep one")
        lines[key] = number
    return config


def _read_text(path: str, what: str, error_kind: type[DaskGMMError]) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file; give {what}") from error
    except OSError as error:
        raise error_kind(f"{path}: cannot be read: {error}") from error
    if len(content) > MAX_BYTES:
        raise error_kind(f"{path}: exceeds {MAX_BYTES} bytes; is it a configuration?")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise error_kind(f"{path}: is not UTF-8 text: {error}") from error


def _check_shape(path: str, text: str, error_kind: type[DaskGMMError]) -> None:
    """Refuse what makes a short file large or deep, before any object is built from it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if getattr(event, "anchor", None):  # an alias event has the anchor that it repeats
            raise error_kind(
                f"{path}, line {line}: anchors and aliases (&{event.anchor}, *{event.anchor}) "
                f"are refused; write the value out"
            )
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise error_kind(f"{path}, line {line}: nested deeper than {MAX_DEPTH} levels")


def _lines(node: yaml.Node, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Dotted keys of a mapping node and their lines."""
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        yield key, key_node.start_mark.line + 1
        if isinstance(value_node, yaml.MappingNode):
            yield from _lines(value_node, f"{key}.")


def validate(
    config: Configuration, schema: Schema, values: Mapping[str, Any], prefix: str = ""
) -> None:
    """Raise an error for the first of ``values`` that does not fit the schema."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in schema:
            near = difflib.get_close_matches(str(name), schema, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(schema)}"
            for other, inner in schema.items():
                if not isinstance(inner, Rule) and name in inner:
                    hint = f"it is a key of {other}: write it there, as {prefix}{other}.{name}"
            raise config.error(key, f"is unknown; {hint}")
        rule = schema[name]
        if not isinstance(rule, Rule):
            if not isinstance(value, dict):
                raise config.error(key, f"must hold keys ({', '.join(rule)})")
            validate(config, rule, value, f"{key}.")
        elif not rule.accepts(value):
            raise config.error(key, f"must be {rule.what}, got {reprlib.repr(value)}")
    for name, rule in schema.items():
        if isinstance(rule, Rule) and rule.required and name not in values:
            raise config.error(f"{prefix}{name}", f"is missing; it must be {rule.what}")
