"""The table of settings: all that is derived from it agrees with it.

Asserted: signature, documentation, words, options of commands, keys of job files, records and
checkpoints equal the table; errors of parameters name the key that the value is from.
"""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import zarr
from made_data import made_mixture, rows_of
from sklearn.mixture import GaussianMixture as InMemoryGaussianMixture
from test_combinations import NOT_COMBINED
from test_combinations import OPTIONS as COMBINED

from daskgmm import GaussianMixture, load_model, open_rows, settings
from daskgmm.cli import main
from daskgmm.em import CRITERIA, INITIALISERS, ORDERS, STEPPERS, STOP_RULES
from daskgmm.errors import CheckpointError, InvalidParameterError, ParameterError
from daskgmm.jobfile import KEYS, Given, read_job
from daskgmm.kernel import COMPONENTS
from daskgmm.settings import DATA_OPTIONS, OPTIONS, Option
from daskgmm.tables.returned import RESULTS, results_named

BY_NAME = {option.name: option for option in OPTIONS}
EVERY = [*OPTIONS, *DATA_OPTIONS]


def named(options: list[Option]) -> Any:
    return pytest.mark.parametrize("option", options, ids=lambda option: option.name)


# -- the estimator -------------------------------------------------------------


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.name != "self"}


def test_the_signature_is_the_table():
    signature = defaults_of(GaussianMixture.__init__)
    assert list(signature.items()) == [(option.name, option.default) for option in OPTIONS]
    assert GaussianMixture().get_params() == signature


def test_the_rows_have_theirs_too():
    of_rows = {n: d for n, d in defaults_of(open_rows).items() if n != "data"}
    assert of_rows == {option.name: option.default for option in DATA_OPTIONS}


def documented() -> dict[str, str]:
    text = inspect.getdoc(GaussianMixture) or ""
    section = text.split("\nParameters\n")[1].split("\nAttributes\n")[0]
    return dict(re.findall(r"^(\w+) : (.*)$", section, flags=re.MULTILINE))


def test_every_parameter_is_documented_in_order():
    assert list(documented()) == list(BY_NAME)


@named(list(OPTIONS))
def test_documentation_gives_default_and_words(option):
    kind = documented()[option.name]
    match = re.search(r"default=(.+)$", kind)
    if match is None:
        assert option.default is None
        assert kind.endswith("optional")
    else:
        assert ast.literal_eval(match[1]) == option.default
    words = re.search(r"\{(.*?)\}", kind)
    assert tuple(re.findall(r'"(.*?)"', words[1] if words else "")) == option.rule.words


TABLES: dict[str, Any] = {
    "covariance_type": COMPONENTS,
    "init_params": INITIALISERS,
    "stopping": STOP_RULES,
    "order": ORDERS,
    "stepper": ("auto", *STEPPERS),
    "precision": typing.get_args(typing.get_type_hints(GaussianMixture.__init__)["precision"]),
    "missing_chunks": typing.get_args(typing.get_type_hints(open_rows)["missing_chunks"]),
}


@pytest.mark.parametrize("name", TABLES)
def test_words_are_the_keys_of_the_table_that_implements_them(name):
    (option,) = (option for option in EVERY if option.name == name)
    assert option.rule.words == tuple(TABLES[name])


@named([option for option in EVERY if option.default is not None])
def test_defaults_are_accepted(option):
    option.check(option.default)


def test_every_option_that_decides_the_result_meets_the_others():
    """An option that is added is tried with each other one, or it is said that it is not."""
    deciding = {option.name for option in OPTIONS if option.decides}
    assert deciding <= COMBINED.keys() | NOT_COMBINED
    assert not COMBINED.keys() & NOT_COMBINED


# -- the command line ----------------------------------------------------------


def click_options(command: str) -> dict[str, click.Option]:
    found = main.commands[command].params
    return {option.name or "": option for option in found if isinstance(option, click.Option)}


@pytest.mark.parametrize("command", ["fit", "select", "predict", "score"])
def test_commands_have_the_options_of_the_table(command):
    found = click_options(command)
    of_fit = {n for n in found if n in BY_NAME}
    own = {
        "select": {"n_components", "covariance_type", "components"},
        "predict": {"missing"},  # by default that of the model
        "score": {"missing"},
    }.get(command, set())
    expected = {option.name for option in OPTIONS if command in option.commands}
    assert of_fit - own == expected
    for name in expected:
        option, row = found[name], BY_NAME[name]
        assert option.opts == [row.flag]
        wanted = row.default if row.default_of_commands is None else row.default_of_commands
        assert row.rule.required or option.default == wanted
        assert option.help == row.help
        assert option.required == row.rule.required


def test_four_options_have_short_names():
    assert {option.flag: option.name for option in OPTIONS if option.short} == {
        "--components": "n_components",
        "--covariance": "covariance_type",
        "--restarts": "n_init",
        "--seed": "random_state",
    }


def test_every_option_that_is_offered_says_what_it_is():
    offered = [option for option in EVERY if option.commands or option.section is not None]
    assert all(option.help.endswith(".") for option in offered)


# -- job files -----------------------------------------------------------------


@named([option for option in EVERY if option.section is not None])
def test_keys_of_job_files_are_the_table(option):
    key = KEYS[f"{option.section}.{option.word}".lstrip(".")]
    assert key.option is option
    assert key.rule is option.rule_of_key
    name = f"key_{option.key}".replace(".", "_")
    of_run = click_options("run")[name]
    assert of_run.opts[0] == f"--{option.key}".replace(".", "-").replace("_", "-")
    assert of_run.envvar == f"DASKGMM_{option.key}".replace(".", "_").upper()


# -- records and checkpoints ---------------------------------------------------

OTHER: dict[str, Any] = {
    "weights_init": [1.0],
    "means_init": [[0.5, 0.5]],
    "precisions_init": [[[1.0, 0.0], [0.0, 1.0]]],
    "memory_limit": "8GiB",
    "stage": None,
    "reads": 2,
    "prior": "auto",
    "standardize": True,
    "noise": True,
    "tails": "t",
    "resume": False,
}
"""Other values than the fit below has, where the first that the rule accepts would not do."""

ALONE = [
    option
    for option in OPTIONS
    if option.name
    not in {"truncate", "warm_start", "stage_limit", "checkpoint", "degrees_of_freedom", "fixed"}
]
"""Options that can be changed alone; the others want something else to be changed with them."""


def other_value(option: Option) -> Any:
    if option.name in OTHER:
        return OTHER[option.name]
    values = (*option.rule.words, True, False, 1, 2, 1e-3, "another")
    return next(v for v in values if option.rule.accepts(v) and v != option.default)


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "rows.zarr"
    zarr.save_array(path, rows_of(made_mixture("full", 2, 2, separation=3.0), 400, seed=1))
    return path


@pytest.mark.filterwarnings("ignore:not converged")
@named(ALONE)
def test_a_fit_goes_on_from_a_checkpoint_with_what_decides_nothing(stored, tmp_path, option):
    fit = {"random_state": 0, "resume": True, "checkpoint": tmp_path / "kept", "stage": "auto"}
    done = GaussianMixture(**fit).fit(stored)
    changed = GaussianMixture(**fit | {option.name: other_value(option)})
    if option.decides:
        with pytest.raises(CheckpointError, match=rf"settings\.{option.name} was"):
            changed.fit(stored)
    else:
        np.testing.assert_array_equal(changed.fit(stored).means_, done.means_)


def test_a_record_has_the_settings_that_are_saved():
    x = rows_of(made_mixture("full", 2, 2, separation=3.0), 400, seed=1)
    model = GaussianMixture(2, random_state=0, tol=1e-3).fit(x)
    saved = model.record()["settings"]
    assert saved == {o.name: getattr(model, o.name) for o in OPTIONS if o.is_saved}
    assert {"tol", "n_init", "truncate", "random_state"} <= set(saved)


def test_a_record_has_no_seed_of_a_generator(tmp_path):
    x = rows_of(made_mixture("full", 2, 2, separation=3.0), 400, seed=1)
    GaussianMixture(2, random_state=np.random.RandomState(3)).fit(x).save(tmp_path / "model.zarr")
    assert load_model(tmp_path / "model.zarr").random_state is None
    GaussianMixture(2, random_state=3).fit(x).save(tmp_path / "seeded.zarr")
    assert load_model(tmp_path / "seeded.zarr").random_state == 3


# -- errors --------------------------------------------------------------------


def test_errors_keep_their_parameter_when_they_travel():
    for error in (ParameterError("a", "tol"), InvalidParameterError("b", "tol")):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.parameter) == (type(error), str(error), "tol")


@pytest.mark.parametrize(
    ("settings", "parameter"),
    [
        ({"n_components": 5, "truncate": 2}, "truncate"),
        ({"n_components": 300, "truncate": 300}, "truncate"),
        ({"n_components": 300, "truncate": 30, "stepper": "squarem"}, "truncate"),
        ({"means_init": [[1.0]]}, "means_init"),
        ({"weights_init": [2.0]}, "weights_init"),
        ({"precisions_init": [[[0.0, 0.0], [0.0, 0.0]]]}, "precisions_init"),
        ({"stage_limit": "1GiB"}, "stage_limit"),
        ({"resume": True}, "resume"),
    ],
)
def test_errors_of_parameters_that_do_not_go_together_name_one(settings, parameter):
    x = np.random.default_rng(0).normal(size=(1000, 2))
    with pytest.raises(ParameterError) as caught:
        GaussianMixture(**settings).fit(x)
    assert caught.value.parameter == parameter


JOB = """\
data: d
model:
  components: 300
  truncate: 300
  reg_covar: 1e-6
outputs: {model: m}
"""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ParameterError("truncate=300 leaves none out", "truncate"),
            r"line 4: model.truncate cannot be used: truncate=300 leaves none out$",
        ),
        (
            ParameterError("reg_covar must be\nmore", "reg_covar"),
            r"line 5: model.reg_covar must be more$",
        ),
        (
            InvalidParameterError("n_components must be less", "n_components"),
            r"line 3: model.components must be less$",
        ),
        (ParameterError("truncate is too much"), r"job.yaml: truncate is too much$"),
        (ParameterError("means_init is odd", "means_init"), r"job.yaml: means_init is odd$"),
    ],
)
def test_an_error_of_a_parameter_is_one_of_its_key(tmp_path, error, message):
    (tmp_path / "job.yaml").write_text(JOB)
    job = read_job(str(tmp_path / "job.yaml"), {})
    assert re.search(message, str(job.in_words_of_keys(error)))


def test_a_value_from_elsewhere_is_named_for_where_it_is_from(tmp_path):
    (tmp_path / "job.yaml").write_text(JOB)
    given = {"model.truncate": Given("30", "DASKGMM_MODEL_TRUNCATE")}
    job = read_job(str(tmp_path / "job.yaml"), given)
    error = job.in_words_of_keys(ParameterError("truncate=30 saves nothing", "truncate"))
    assert str(error).startswith("DASKGMM_MODEL_TRUNCATE: model.truncate cannot be used: ")


def test_criteria_are_those_that_there_are():
    assert tuple(CRITERIA) == settings.CRITERIA


def test_the_names_of_results_are_those_of_their_table():
    rule = settings.RESULTS.rule
    names = [*RESULTS, "top:5"]
    assert rule.accepts(names)
    assert [result.name for result in results_named(rule.read(",".join(names)))] == names
    assert re.fullmatch(r"a list of some of (.*), top:5 .*", rule.what)[1] == ", ".join(RESULTS)
    for wrong in ([], ["label"], ["labels", "labels"], ["top:5", "top:6"], ["top"], ["top:0"], 3):
        assert not rule.accepts(wrong)
    with pytest.raises(
        ParameterError, match=r"results must be a list of some of labels, .*got 'x'"
    ):
        results_named("x")


OF_THEIR_OWN = {"criteria", "from_parameters", "from_sklearn", "record", "save", "to_sklearn"}
OF_THEIR_OWN |= {"impute", "set_output", "uncertainty", "update"}
OF_THEIR_OWN |= {"condition", "marginal", "predict_features", "is_outlier", "set_threshold"}
ROUTED = {"set_fit_request", "set_predict_request", "set_predict_proba_request"}
ROUTED |= {"set_score_request"}
"""What scikit-learn itself adds where methods are given more than rows."""


def test_all_that_is_public_is_for_users():
    """Beyond scikit-learn's mixture: what the package uses of itself is private."""
    theirs = {name for name in dir(InMemoryGaussianMixture) if not name.startswith("_")}
    ours = {name for name in dir(GaussianMixture) if not name.startswith("_")}
    assert ours - theirs == OF_THEIR_OWN | ROUTED
    assert theirs - ours == set()
