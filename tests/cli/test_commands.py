"""What each command promises: its JSON, its progress, its figures beside scikit-learn's.

Asserted: keys and values of the JSON, what goes to which stream, agreement with
scikit-learn's ``GaussianMixture`` of the same parameters. Not asserted: the wording of
text for people, and whether a fit finds the truth.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
import zarr
from commands import DASKGMM, daskgmm, forked, result_in, write_store

from daskgmm import GaussianMixture, load_model
from daskgmm.cli import main
from daskgmm.cli.help import GROUPS
from daskgmm.settings import OPTIONS

FIT_KEYS = {
    "n_rows",
    "n_features",
    "n_components",
    "covariance_type",
    "log_likelihood_per_row",
    "n_iter",
    "n_passes",
    "rows_read",
    "seconds",
    "peak_memory_bytes",
    "stop_reason",
    "converged",
    "model",
}

PASS_LINE = re.compile(
    r"pass \d+: log-likelihood per row -?[\d.e+-]+(  gain -?[\d.e+-]+)?  [\d,]+ rows/s"
)
"""What a pass is told of by; the first has no gain."""


@pytest.fixture(scope="module")
def sklearn_model(made):
    """``model.zarr`` of the folder, in scikit-learn's arithmetic."""
    return load_model(made / "model.zarr").to_sklearn()


def test_fit_prints_one_json_document_and_progress_elsewhere(folder, x):
    done = forked(
        "fit", "data.zarr", "--components", 3, "--output", "new.zarr", "--json", cwd=folder
    )
    result = done.json
    assert set(result) >= FIT_KEYS
    assert (result["n_rows"], result["n_features"]) == x.shape
    assert (result["n_components"], result["covariance_type"]) == (3, "full")
    assert (result["stop_reason"], result["converged"]) == ("gap", True)
    assert result["n_passes"] == result["n_iter"] + 1  # the scan
    assert result["rows_read"] == result["n_passes"] * result["n_rows"]
    assert result["peak_memory_bytes"] > 2**20
    assert result["seconds"] > 0
    assert result["model"] == "new.zarr"

    # A line for starts is there if they took long, as they do on a machine with other work.
    said = [line for line in done.stderr.splitlines() if not line.startswith("starts: ")]
    scan, *passes = said
    assert scan.startswith(f"scan: {len(x):,} rows")
    assert len(passes) == result["n_iter"]
    assert all(PASS_LINE.match(line) for line in passes), passes
    assert all("gain" in line for line in passes[1:])

    # The log-likelihood is of the parameters that the last pass was made at.
    shown = re.search(r"per row (-?[\d.e+-]+)", passes[-1])
    assert float(shown[1]) == pytest.approx(result["log_likelihood_per_row"], rel=1e-8)


def test_one_read_is_what_is_asked_for(tmp_path):
    """The rows are more than a sample holds: of fewer, no start can be made before a read."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150_000, 2)) + 6 * rng.integers(2, size=(150_000, 1))
    np.save(tmp_path / "x.npy", x)
    words = ("fit", "x.npy", "--components", 2, "--output", "m.zarr", "--reads", 1)
    done = forked(*words, "--json", cwd=tmp_path)
    assert done.json["n_passes"] == done.json["n_iter"] == 1
    assert done.json["rows_read"] == 150_000
    assert done.json["stop_reason"] == "reads"
    assert "scan with pass 1: 150,000 rows" in done.stderr
    assert done.json["remaining_gain"] > 0
    (note,) = done.notes
    assert "per row was left to gain" in note
    model = load_model(tmp_path / "m.zarr")
    theirs = model.to_sklearn().set_params(max_iter=100, tol=1e-9, warm_start=True).fit(x)
    n_parameters = 11
    assert model.score(x) > theirs.score(x) - n_parameters / (2 * len(x))


def test_fit_prints_text_for_people(folder):
    done = forked("fit", "data.zarr", "--components", 2, "--output", "new.zarr", cwd=folder)
    assert done.status == 0
    for words in ("2 full components on 10,000 rows x 3 features", "new.zarr", "peak memory"):
        assert words in done.stdout


def test_of_many_components_some_weights_are_printed_and_all_as_json(tmp_path):
    write_store(tmp_path / "data.zarr", np.random.default_rng(0).normal(size=(500, 1)))
    command = ("fit", "data.zarr", "--components", 24, "--max-iter", 1, "--output", "m.zarr")
    done = forked(*command, cwd=tmp_path)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("weights ")]
    assert re.fullmatch(r"weights +(0\.\d+ ){20}and 4 more, all of which --json prints", line)
    assert len(forked(*command, "--overwrite", "--json", cwd=tmp_path).json["weights"]) == 24


def test_fit_reaches_the_same_as_scikit_learn_from_its_parameters(folder, x):
    """A converged fit is a fixed point: started there, scikit-learn does not gain."""
    model = load_model(folder / "model.zarr").to_sklearn()
    there = model.score(x)
    model.set_params(
        weights_init=model.weights_,
        means_init=model.means_,
        precisions_init=model.precisions_,
        max_iter=20,
        tol=1e-6,
    )
    # tol of the fit, nats per row
    assert model.fit(x.astype(np.float64)).score(x) - there < 1e-3


def test_options_reach_the_fit(folder):
    done = forked(
        *("fit", "data.zarr", "--components", 2, "--output", "new.zarr", "--json"),
        *("--covariance", "diag", "--restarts", 2, "--seed", 5, "--max-iter", 7, "--tol", "1e-12"),
        *("--stopping", "increment", "--reg-covar", "1e-3", "--init-params", "random"),
        *("--no-progressive", "--precision", "float64", "--stepper", "squarem"),
        *("--standardize", "true"),
        cwd=folder,
    )
    result = done.json
    assert result["covariance_type"] == "diag"
    assert result["settings"] == {
        **{option.name: option.default for option in OPTIONS if option.is_saved},
        "tol": 1e-12,
        "reg_covar": 1e-3,
        "max_iter": 7,
        "n_init": 2,
        "init_params": "random",
        "random_state": 5,
        "stopping": "increment",
        "stepper": "squarem",
        "progressive": False,
        "precision": "float64",
        "standardize": True,
    }
    assert (result["n_iter"], result["stop_reason"], result["converged"]) == (7, "max_iter", False)
    assert result["n_passes"] == 1 + 7  # both restarts on each
    assert len(done.notes) == 1
    assert "not converged" in done.notes[0]
    assert load_model(folder / "new.zarr").covariances_.shape == (2, 3)


def test_seed_decides_the_bits(folder):
    command = ("fit", "data.zarr", "--components", 5, "--max-iter", 2, "--no-progressive")
    means = []
    for seed, name in ((1, "a.zarr"), (1, "b.zarr"), (2, "c.zarr")):
        assert forked(*command, "--seed", seed, "--output", name, cwd=folder).status == 0
        means.append(load_model(folder / name).means_)
    np.testing.assert_array_equal(means[0], means[1])
    assert not np.array_equal(means[0], means[2])


def test_score_agrees_with_scikit_learn(folder, x, sklearn_model):
    result = forked("score", "data.zarr", "--model", "model.zarr", "--json", cwd=folder).json
    assert set(result) >= {"n_rows", "log_likelihood_per_row", "aic", "bic", "icl"}
    x = x.astype(np.float64)
    responsibilities = sklearn_model.predict_proba(x)
    expected = {
        "n_rows": len(x),
        "log_likelihood_per_row": sklearn_model.score(x),
        "aic": sklearn_model.aic(x),
        "bic": sklearn_model.bic(x),
        # Biernacki et al. (2000), with the most probable component of each row
        "icl": sklearn_model.bic(x) - 2 * np.log(responsibilities.max(axis=1)).sum(),
    }
    # rows are float32: their whitened values round at 1e-7 each
    assert {key: result[key] for key in expected} == pytest.approx(expected, rel=1e-6)


def test_predict_agrees_with_scikit_learn(folder, x, sklearn_model):
    done = forked(
        *("predict", "data.zarr", "--model", "model.zarr", "--output", "labels.zarr", "--json"),
        *("--probabilities", "probabilities.zarr", "--log-density", "density.zarr"),
        cwd=folder,
    )
    assert done.json["n_rows"] == len(x)
    labels, probabilities, density = (
        result_in(folder / name)[...]
        for name in ("labels.zarr", "probabilities.zarr", "density.zarr")
    )
    assert labels.dtype.kind == "i"
    x = x.astype(np.float64)
    expected = sklearn_model.predict_proba(x)
    # rows are float32: log densities of some -10 round at 1e-6 absolute
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(density, sklearn_model.score_samples(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=1))
    clear = np.sort(expected, axis=1)[:, -2] < 0.499  # a tie may go either way
    np.testing.assert_array_equal(labels[clear], sklearn_model.predict(x)[clear])


def test_predictions_have_checksums(folder):
    forked("predict", "data.zarr", "--model", "model.zarr", "--output", "labels.zarr", cwd=folder)
    codecs = result_in(folder / "labels.zarr").metadata.to_dict()["codecs"]
    assert "crc32c" in [codec["name"] for codec in codecs]


def test_info_of_a_model(folder):
    result = forked("info", "model.zarr", "--json", cwd=folder).json
    model = load_model(folder / "model.zarr")
    assert (result["kind"], result["n_components"], result["n_rows"]) == ("model", 3, 10_000)
    np.testing.assert_array_equal(result["means"], model.means_)
    np.testing.assert_array_equal(result["covariances"], model.covariances_)
    np.testing.assert_array_equal(result["weights"], model.weights_)
    assert len(result["history"]) == result["n_iter"]


def test_info_shows_a_model_as_a_table(folder, x):
    table = pd.DataFrame(x, columns=["temp", "salt", "age"])
    model = GaussianMixture(3, random_state=0).fit(table)
    model._units = ["K", "", "year"]
    model.save(folder / "named.zarr")
    done = forked("info", "named.zarr", cwd=folder)
    header, *rows = done.stdout.splitlines()[-4:]
    assert re.split(r"  +", header) == ["component", "weight", "temp (K)", "salt", "age (year)"]
    for k, row in enumerate(rows):
        number, weight, *cells = re.split(r"  +", row)
        assert (number, weight) == (str(k), f"{model.weights_[k]:.4g}")
        deviations = np.sqrt(np.diagonal(model.covariances_[k]))
        expected = zip(model.means_[k], deviations, strict=True)
        assert cells == [f"{mean:.4g} \u00b1 {deviation:.2g}" for mean, deviation in expected]


def test_info_of_data(folder):
    result = forked("info", "data.zarr", "--json", cwd=folder).json
    assert (result["kind"], result["shape"]) == ("data", [10_000, 3])
    assert (result["dtype"], result["chunks"]) == ("float32", [1000, 3])
    assert result["has_checksum"] is True


def test_check_of_whole_data(folder):
    done = forked("check", "data.zarr", "--json", cwd=folder)
    assert (done.json["damage"], done.json["n_missing_chunks"], done.json["n_chunks"]) == (
        None,
        0,
        10,
    )
    assert done.notes == []


def test_check_of_damaged_data_reports_and_fails(folder):
    (folder / "data.zarr" / "c" / "4" / "0").unlink()
    done = forked("check", "data.zarr", "--json", cwd=folder)
    assert done.status == 1
    result = json.loads(done.stdout)
    assert (result["n_missing_chunks"], result["missing"]) == (1, ["c/4/0"])
    assert "c/4/0" in result["damage"]


def test_npy_gives_the_same_parameters(folder, x):
    """As the Zarr store does, up to the rounding of sums over other blocks."""
    np.save(folder / "data.npy", x)
    arguments = ("fit", "data.npy", "--components", 3, "--output", "new.zarr")
    assert forked(*arguments, cwd=folder).status == 0
    found, expected = (load_model(folder / name) for name in ("new.zarr", "model.zarr"))
    np.testing.assert_allclose(found.means_, expected.means_, rtol=1e-5)


def test_data_may_be_a_member_of_a_group(folder, x):
    group = zarr.create_group(folder / "group.zarr")
    for name, values in (("wanted", x), ("other", x[:, :1])):
        group.create_array(name, data=values, chunks=(1000, values.shape[1]))
    command = ("fit", "--components", 3, "--max-iter", 5, "--json")
    by_option = forked(*command, "group.zarr", "--member", "wanted", "--output", "a", cwd=folder)
    by_path = forked(*command, "group.zarr/wanted", "--output", "b", cwd=folder)
    assert by_option.json["n_features"] == by_path.json["n_features"] == 3
    np.testing.assert_array_equal(load_model(folder / "a").means_, load_model(folder / "b").means_)


@pytest.mark.parametrize("command", main.commands)
def test_help_has_an_example(command, tmp_path):
    done = forked(command, "--help", cwd=tmp_path)
    assert done.status == 0
    assert f"Example:\n    daskgmm {command} " in done.stdout


@pytest.mark.parametrize("command", sorted(main.commands))
def test_help_all_has_every_option_once_and_help_has_some_of_them(command, tmp_path):
    whole, brief = (
        forked(command, option, cwd=tmp_path).stdout for option in ("--help-all", "--help")
    )
    wanted = {o.opts[0] for o in main.commands[command].params if isinstance(o, click.Option)}
    for option in wanted:
        assert len(re.findall(rf"^  {option}\b(?!-)", whole, re.MULTILINE)) == 1, option
    shown = {option for option in wanted if re.search(rf"^  {option}\b(?!-)", brief, re.MULTILINE)}
    assert ("--help-all" in brief) == (shown < wanted)
    required = {o.opts[0] for o in main.commands[command].params if o.required}
    assert shown >= required & wanted


def test_groups_of_help_are_of_options_that_there_are():
    there = {option.name for command in main.commands.values() for option in command.params}
    for group in GROUPS.values():
        assert {*group.common, *group.further} <= there


def test_completion_is_that_of_the_shell(tmp_path):
    for shell in ("bash", "zsh", "fish"):
        done = forked("completion", shell, cwd=tmp_path)
        assert done.status == 0, done.stderr
        assert f"_DASKGMM_COMPLETE={shell}_complete" in done.stdout
    assert forked("completion", "tcsh", cwd=tmp_path).status == 2


def test_script_for_bash_completes_commands_and_options(tmp_path):
    """As the shell does it: the function is called with the words so far."""
    (tmp_path / "script").write_text(forked("completion", "bash", cwd=tmp_path).stdout)
    asked = (
        "source ./script; COMP_WORDS=(daskgmm fit --comp); COMP_CWORD=2; "
        f"_daskgmm_completion {DASKGMM}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        ["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["--components"], done.stderr


def test_help_lists_every_command(tmp_path):
    done = forked("--help", cwd=tmp_path)
    assert done.status == 0
    for command in main.commands:
        assert re.search(rf"^  {command} +\S", done.stdout, re.MULTILINE), command


@pytest.mark.slow
@pytest.mark.parametrize(
    "size",
    ["6MB", "2GB"],
)
def test_demo_finds_the_truth(size, tmp_path, is_small):
    size = "6MB" if is_small else size
    result = forked("demo", "--size", size, "--keep", "kept", "--json", cwd=tmp_path).json
    assert result["n_rows"] == {"6MB": 187_500, "2GB": 62_500_000}[size]
    # The smallest component has n = N / 15 rows, so that its mean errs by about
    # 1 / sqrt(n) = 9e-3 sigma in each of 8 features; overlap makes that a little more.
    assert result["largest_error"] < 6 / np.sqrt(result["n_rows"] / 15)
    np.testing.assert_allclose(
        load_model(tmp_path / "kept" / "model.zarr").score(tmp_path / "kept" / "data.zarr"),
        result["log_likelihood_per_row"],
        atol=result["tol"],
    )


@pytest.mark.slow
def test_a_small_demo_reads_few_rows_few_times(tmp_path):
    """This is what makes it take seconds; ``python -m tests.benchmarks start`` measures them."""
    done = daskgmm("demo", "--small", "--keep", "kept", "--json", cwd=tmp_path)
    assert done.json["n_rows"] == 500_000
    assert done.json["largest_error"] < 6 / np.sqrt(500_000 / 15)
    assert done.json["n_passes"] <= 3


@pytest.mark.slow
def test_demo_leaves_only_the_model(tmp_path):
    result = forked("demo", "--size", "1MB", "--json", cwd=tmp_path).json
    model = load_model(result["model"])
    assert model.n_components == 5
    folder = Path(result["model"]).parent
    assert [path.name for path in folder.iterdir()] == ["model.zarr"]
    shutil.rmtree(folder)


def test_integers_are_converted_and_said_so(folder, x):
    whole = np.round(x * 50).astype(np.int16)
    write_store(folder / "whole.zarr", whole)
    write_store(folder / "float.zarr", whole.astype(np.float64))
    command = ("fit", "--components", 3, "--json")
    converted = forked(*command, "whole.zarr", "--output", "a.zarr", cwd=folder)
    plain = forked(*command, "float.zarr", "--output", "b.zarr", cwd=folder)
    assert plain.notes == []
    (note,) = converted.notes
    assert "whole.zarr has dtype int16" in note
    assert "converted to float64" in note
    assert converted.json["log_likelihood_per_row"] == plain.json["log_likelihood_per_row"]
    np.testing.assert_array_equal(
        load_model(folder / "a.zarr").means_, load_model(folder / "b.zarr").means_
    )


def test_data_without_checksum_are_noted_by_check_alone(folder, x):
    write_store(folder / "plain.zarr", x, checksum=False)
    (note,) = forked("check", "plain.zarr", cwd=folder).notes
    assert "plain.zarr has no checksum" in note
    done = forked("score", "plain.zarr", "--model", "model.zarr", cwd=folder)
    assert (done.status, done.notes) == (0, [])


def test_missing_chunks_can_be_fill_values(folder, x):
    """Chunks of zeros that zarr left out count as rows of zeros."""
    x = x.copy()
    x[1000:2000] = 0
    full = write_store(folder / "full.zarr", x)
    sparse = write_store(folder / "sparse.zarr", x, config={"write_empty_chunks": False})
    assert (full / "c" / "1" / "0").exists()
    assert not (sparse / "c" / "1" / "0").exists()
    command = ("score", "--model", "model.zarr", "--json")
    refused = forked(*command, "sparse.zarr", cwd=folder)
    assert refused.status == 1
    assert "--missing-chunks fill" in refused.error
    filled = forked(*command, "sparse.zarr", "--missing-chunks", "fill", cwd=folder).json
    assert filled == forked(*command, "full.zarr", cwd=folder).json


def test_overwrite_replaces(folder):
    before = load_model(folder / "model.zarr")
    command = ("fit", "data.zarr", "--components", 2, "--output", "model.zarr")
    assert forked(*command, "--overwrite", cwd=folder).status == 0
    assert before.n_components == 3
    assert load_model(folder / "model.zarr").n_components == 2
    assert sorted(path.name for path in folder.iterdir()) == ["data.zarr", "model.zarr"]


def test_select_chooses_and_saves(folder, x):
    command = ("select", "data.zarr", "--components", "1:3", "--covariance", "full,diag")
    done = forked(*command, "--output", "best.zarr", "--json", cwd=folder)
    result = done.json
    assert [(c["covariance_type"], c["n_components"]) for c in result["candidates"]] == [
        (family, k) for family in ("full", "diag") for k in (1, 2, 3)
    ]
    wanted = {"n_components", "covariance_type", "bic", "aic", "icl", "log_likelihood_per_row"}
    assert all(wanted <= set(candidate) for candidate in result["candidates"])
    assert result["best"] in result["candidates"]
    assert result["best"]["bic"] == min(c["bic"] for c in result["candidates"])
    assert result["model"] == "best.zarr"
    model = load_model(folder / "best.zarr")
    assert model.n_components == result["best"]["n_components"]
    assert result["rows_read"] == result["n_passes"] * len(x)


def test_select_prints_a_table_and_needs_no_output(folder):
    before = sorted(path.name for path in folder.iterdir())
    done = forked("select", "data.zarr", "--components", "2,3", cwd=folder)
    assert done.status == 0
    assert "held-out per row" in done.stdout
    assert "chosen by bic" in done.stdout
    assert done.stdout.count("full") >= 3
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--components", "5:2"), "must go up"),
        (("--components", "two"), "not like 2:12"),
        (("--components", "0:2"), "from 1"),
        (("--components", "2", "--covariance", "full,round"), "must be one of full, tied"),
        (
            ("--components", "2", "--tol", "little"),
            "must be auto, or a number of 0 or more, got 'little'",
        ),
    ],
)
def test_select_refuses_wrong_options(folder, options, words):
    done = forked("select", "data.zarr", *options, "--output", "new.zarr", cwd=folder)
    assert done.status == 2
    assert words in done.stderr
    assert not (folder / "new.zarr").exists()
