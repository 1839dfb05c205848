"""Values of settings: the same are accepted in Python, by commands, in files and the environment."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from daskgmm import GaussianMixture, rules
from daskgmm.cli.options import option_of
from daskgmm.errors import InvalidParameterError, JobError
from daskgmm.jobfile import Given, read_job
from daskgmm.rules import (
    ARRAY,
    COUNT,
    COUNT_OF_SEVERAL,
    COUNT_OR_NONE,
    DEGREES,
    FIXED,
    FLAG,
    N_AXES,
    NAMES,
    NOISE,
    NUMBER,
    NUMBER_OR_AUTO,
    PLACE,
    PLACE_OR_AUTO,
    POSITIVE,
    PRIOR,
    SEED,
    SHARE,
    SIZE,
    STANDARDIZE,
    TEXT,
    Rule,
    names_of,
    words_of,
)
from daskgmm.settings import DATA_OPTIONS, OPTIONS, Option, option_named

EVERY = [*OPTIONS, *DATA_OPTIONS]

NUMBERS = ("0", "1e-6", "0.25", "3"), ("-1", "nan", "inf", "-0.5", "little", "1e999", "")
TEXTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    COUNT.what: (("1", "250"), ("0", "-3", "1.5", "many", "", "nan")),
    COUNT_OR_NONE.what: (("0", "1", "250"), ("-3", "1.5", "many", "", "nan")),
    COUNT_OF_SEVERAL.what: (("2", "250"), ("1", "0", "-3", "2.5", "many", "", "nan")),
    NUMBER.what: (NUMBERS[0], ("auto", *NUMBERS[1])),
    POSITIVE.what: (("1e-6", "0.25", "3"), ("0", "auto", *NUMBERS[1])),
    SHARE.what: (("1e-6", "0.25", "0.99"), ("0", "1", "3", "auto", *NUMBERS[1])),
    NUMBER_OR_AUTO.what: (("auto", *NUMBERS[0]), NUMBERS[1]),
    FIXED.what: (
        ('{"means": [0, 2]}', '{"weights": "all", "covariances": [1]}'),
        ("means=0", '{"means": 0}', '{"means": [0, 0]}', '{"tails": "all"}', "[1]", ""),
    ),
    ARRAY.what: (("[0.5, 0.5]", "[[0, 1], [null, null]]"), ("0.5", "a", "", '{"a": 1}')),
    PRIOR.what: (("auto",), ("none", "1", "")),
    SEED.what: (("0", "4294967295"), ("-1", "4294967296", "0.5", "seed", "")),
    FLAG.what: (("true", "false"), ("maybe", "2", "")),
    STANDARDIZE.what: (("true", "false", "robust"), ("maybe", "2", "")),
    DEGREES.what: (
        ("shared", "each", "4", "0.5"),
        ("some", "0", "-1", "nan", "inf", ""),
    ),
    NOISE.what: (("true", "false", "0.5", "1e9"), ("maybe", "0", "-1", "nan", "inf", "")),
    N_AXES.what: (("1", "8", "0.99", "1.0"), ("0", "-1", "1.5", "0.0", "most", "nan", "")),
    SIZE.what: (
        ("512MiB", "4 GB", "1e6", "12345"),
        ("much", "0", "-1GB", "12 parsecs", "", "0.1", "MB"),
    ),
    PLACE.what: (("folder", "s3://bucket/kept"), ("",)),
    PLACE_OR_AUTO.what: (("auto", "folder"), ("",)),
    NAMES.what: (("a", '"a,b"'), ("", '""')),
    TEXT.what: (("rows", ""), ()),
}
"""Texts that a rule accepts, and that it refuses."""
RULES = {rule.what: rule for rule in vars(rules).values() if isinstance(rule, Rule)}
"""The rules of the package by their words."""


def texts_of(rule: Rule) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if rule.is_choice:
        return rule.words, ("magic", "", rule.words[0].upper())
    return TEXTS.get(rule.what, ((), ()))


@pytest.mark.parametrize(
    "option", [one for one in EVERY if one.key is not None], ids=lambda option: option.name
)
def test_there_are_texts_for_the_rule_of_every_option(option):
    assert any(texts_of(option.rule)), f"give texts that are, and that are not, {option.rule.what}"


@pytest.mark.parametrize("what", TEXTS)
def test_a_rule_reads_the_texts_that_it_accepts_and_no_others(what):
    rule, (good, bad) = RULES[what], TEXTS[what]
    for text in good:
        rule.read(text)
    for text in bad:
        with pytest.raises(ValueError, match="must be"):
            rule.read(text)


def test_a_line_break_in_a_name_needs_quotes():
    """It ended in a traceback, since csv.Error is no ValueError."""
    assert NAMES.read('"a\nb",c') == ["a\nb", "c"]
    assert not NAMES.accepts("a\nb")
    for read in (NAMES.read, rules.names_of):
        with pytest.raises(ValueError, match=r"'a\\nb'") as refused:
            read("a\nb")
        assert "\n" not in str(refused.value)


@dataclass(frozen=True)
class Case:
    option: Option
    text: str
    good: bool


CASES = [
    Case(option, text, good)
    for option in EVERY
    if option.key is not None
    for texts, good in zip(texts_of(option.rule), (True, False), strict=True)
    for text in texts
]


def refusal(accept: Callable[[], object]) -> InvalidParameterError | JobError | None:
    try:
        accept()
    except (InvalidParameterError, JobError) as error:
        return error
    return None


def in_python(case: Case) -> bool:
    """Whether Python takes the value, typed as somebody would type it there."""
    value: object = case.text
    if case.option.rule.parse is not str:
        with suppress(ValueError):
            value = json.loads(case.text.replace("nan", "NaN").replace("inf", "Infinity"))
    error = refusal(lambda: case.option.check(value))
    if error is None:
        return True
    assert error.parameter == case.option.name
    assert str(error).startswith(f"{case.option.name} must be ")
    assert str(error).endswith(f"got {value!r}")
    return False


def on_the_command_line(case: Case) -> bool:
    @click.command()
    @option_of(case.option)
    def command(**_: Any) -> None:
        pass

    flag = case.option.flag
    if case.option.rule is FLAG:
        flag = flag if case.text == "true" else flag.replace("--", "--no-", 1)
        arguments = [flag] if case.good else [f"{flag}={case.text}"]
    else:
        arguments = [f"{flag}={case.text}"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code in (0, 2), done.output
    return done.exit_code == 0


def in_a_job(folder: Path, case: Case, given: Mapping[str, Given], text: str) -> Any:
    job = {"data": "d", "model": {"components": 3}, "outputs": {"model": "m"}}
    section, _, word = str(case.option.key).rpartition(".")
    if text:
        (job.setdefault(section, {}) if section else job)[word] = "VALUE"
    # JSON is YAML; the value is written as a person would.
    (folder / "job.yaml").write_text(json.dumps(job).replace('"VALUE"', text))
    return read_job(str(folder / "job.yaml"), given).get(str(case.option.key))


def in_a_file(case: Case, folder: Path) -> bool:
    text = json.dumps(case.text) if case.text in ("", "nan", "inf") else case.text
    error = refusal(lambda: case.option.check(in_a_job(folder, case, {}, text)))
    if error is None:
        return True
    assert re.search(rf"job.yaml, line 1: {case.option.key} must be .*, got ", str(error))
    return False


def in_the_environment(case: Case, folder: Path) -> bool:
    given = {str(case.option.key): Given(case.text, "DASKGMM_SOMETHING")}
    error = refusal(lambda: case.option.check(in_a_job(folder, case, given, "")))
    if error is None:
        return True
    assert str(error).startswith(f"DASKGMM_SOMETHING: {case.option.key} must be ")
    return False


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.option.name}={case.text}-{case.good}"
)
def test_the_same_values_are_accepted_everywhere(case, tmp_path):
    assert in_python(case) is case.good
    assert on_the_command_line(case) is case.good
    assert in_a_file(case, tmp_path) is case.good
    assert in_the_environment(case, tmp_path) is case.good


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", np.int64(3)),
        ("reg_covar", np.float32(1e-3)),
        ("reg_covar", 0),
        ("random_state", np.random.RandomState(0)),
        ("progressive", np.True_),
        ("verbose", True),
        ("verbose", 2),
        ("stage", Path("folder")),
        ("means_init", [[0.0]]),
        ("memory_limit", 10**9),
        ("prior", {"shrinkage": np.float32(0.1), "mean": np.zeros(2), "scale": [[1.0]]}),
        *((option.name, None) for option in OPTIONS if option.default is None),
    ],
)
def test_what_only_python_can_give_is_accepted(name, value):
    option_named(name).check(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_components", True),
        ("n_components", None),
        ("n_components", "3"),
        ("tol", True),
        ("tol", 10**400),
        ("tol", float("inf")),
        ("reg_covar", "automatic"),
        ("random_state", "seed"),
        ("warm_start", 1),
        ("verbose", -1),
        ("stepper", None),
        ("covariance_type", ["full"]),
        ("means_init", "zeros"),
        ("memory_limit", 1.5),
        ("memory_limit", True),
        ("prior", {"shrinkage": "much"}),
        ("checkpoint", 3),
    ],
)
def test_what_only_python_can_give_is_refused(name, value):
    with pytest.raises(InvalidParameterError, match=f"^{name} must be .*; got ") as caught:
        GaussianMixture(**{name: value})._check_parameters()
    assert isinstance(caught.value, ValueError | TypeError)
    assert caught.value.parameter == name


_NAME = st.text(alphabet="abé1, ;'\"$\\\n*-", max_size=4).filter(lambda name: name == name.strip())


@given(st.lists(_NAME, max_size=4))
def test_words_of_names_are_read_as_the_same_names(names):
    (word,) = shlex.split(words_of(names))
    assert names_of(word) == names
    if len(names) > 1:
        (cut,) = shlex.split(words_of(names, 1))
        assert names_of(cut) == [names[0], "..."]
