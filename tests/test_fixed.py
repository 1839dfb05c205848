"""Fixed parts: fits leave them as they are, climb within what is free, and count that alone."""

from __future__ import annotations

import json
import warnings

import dask.array as da
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from made_data import made_mixture, precisions_of, rows_of

from daskgmm import GaussianMixture, load_model, select
from daskgmm.cli import main
from daskgmm.em import STEPPERS
from daskgmm.errors import (
    CheckpointError,
    DaskGMMWarning,
    InvalidParameterError,
    ModelFormatError,
    ParameterError,
    SingularComponentError,
)
from daskgmm.kernel import COMPONENTS, Mixture
from daskgmm.record import fixed_of_record
from daskgmm.storage import read_model

NAN = np.nan
EVERYTHING = {"weights": "all", "means": "all", "covariances": "all"}
SOME = {"weights": [2], "means": [0, 2], "covariances": [1]}
OF_COUPLED = {**SOME, "covariances": "all"}
NAMES = ("weights_", "means_", "covariances_")


def start_and_rows(family: str, n: int = 600) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A start, and rows of another mixture, which is near."""
    there = made_mixture(family, 3, 2, separation=4.0)
    x = rows_of(made_mixture(family, 3, 2, separation=4.0), n, seed=2) + 0.2
    return as_start(there), x


def as_start(mixture: Mixture) -> dict[str, np.ndarray]:
    return {
        "weights_init": mixture.weights,
        "means_init": mixture.means,
        "precisions_init": precisions_of(mixture),
    }


def some_of(family: str) -> dict[str, object]:
    return OF_COUPLED if COMPONENTS[family].couples_covariances else SOME


def fitted(x: np.ndarray, k: int = 3, **options: object) -> GaussianMixture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(k, random_state=0, **options).fit(x)


def assert_keeps(model: GaussianMixture, start: GaussianMixture, fixed: dict[str, object]) -> None:
    """The named parts have the start's bits, and others moved."""
    for part, which in fixed.items():
        ours, theirs = (getattr(m, f"{part}_") for m in (model, start))
        chosen = ... if which == "all" else list(which)
        np.testing.assert_array_equal(ours[chosen], theirs[chosen])
        if which != "all":
            assert not np.array_equal(ours, theirs)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_everything_fixed_is_the_start_to_the_bit(family, stepper):
    start, x = start_and_rows(family)
    options = {"covariance_type": family, "fixed": EVERYTHING, **start}
    model = fitted(x, stepper=stepper, **options)
    there = fitted(x, max_iter=0, **options)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(model, name), getattr(there, name))
    assert model.converged_
    assert model.n_iter_ <= 3
    assert model.bic(x) == pytest.approx(-2 * len(x) * model.score(x), rel=1e-12)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_every_stepper_climbs_to_the_same_place_within_what_is_free(family, stepper):
    start, x = start_and_rows(family)
    fixed = some_of(family)
    options = {"covariance_type": family, "fixed": fixed, "tol": 1e-11, "max_iter": 500, **start}
    model = fitted(x, stepper=stepper, **options)
    plain = fitted(x, stepper="plain", **options)
    accepted = [i.objective for i in model.history_ if i.accepted]
    assert (np.diff(accepted) >= -1e-13 * np.abs(accepted[0])).all()
    assert_keeps(model, fitted(x, **{**options, "max_iter": 0}), fixed)
    assert model.score(x) == pytest.approx(plain.score(x), abs=1e-9)
    for name in NAMES:  # to what stopping at a remaining gain of 1e-11 nats leaves
        np.testing.assert_allclose(getattr(model, name), getattr(plain, name), atol=2e-4)


@pytest.mark.parametrize(
    "more",
    [
        {"prior": "auto"},
        {"noise": True},
        {"tails": "t"},
        {"tails": "t", "degrees_of_freedom": "each", "noise": True},
        {"prior": "auto", "noise": True},
        {"standardize": "robust"},
        {"missing": "em"},
        {"missing": "drop"},
        {"reg_covar": 1e-3},
    ],
    ids=lambda more: " ".join(more),
)
@pytest.mark.parametrize("stepper", STEPPERS)
def test_beside_other_options_the_objective_never_falls(more, stepper):
    start, x = start_and_rows("full")
    x = np.vstack([x, np.random.default_rng(0).uniform(-30, 30, (30, 2))])
    if "missing" in more:
        x[::7, 0] = x[1::7, 1] = np.nan
    options = {"fixed": SOME, "tol": 1e-9, **start, **more}
    model, there = (fitted(x, stepper=stepper, **{**options, "max_iter": n}) for n in (60, 0))
    accepted = [i.objective for i in model.history_ if i.accepted]
    slack = 1e-4 if "reg_covar" in more else 1e-12  # the ridge's step leaves out a part of its own
    assert (np.diff(accepted) >= -slack).all()
    assert accepted[-1] > accepted[0]
    for part, which in SOME.items():
        ours, theirs = (getattr(m, f"{part}_")[which] for m in (model, there))
        # Standardised features are brought back.
        np.testing.assert_allclose(ours, theirs, rtol=1e-12 if "standardize" in more else 0)


def test_components_that_are_not_named_are_found():
    _, x = start_and_rows("full", 3000)
    best = fitted(x, tol=1e-9)
    for k in range(3):
        means = np.full((3, 2), NAN)
        means[1] = best.means_[k]
        model = fitted(x, means_init=means, fixed={"means": [1]}, tol=1e-9)
        np.testing.assert_array_equal(model.means_[1], best.means_[k])
        # One mean is fixed where it is best: the optimum is the same.
        assert model.score(x) == pytest.approx(best.score(x), abs=1e-7)


@pytest.mark.parametrize("progressive", [True, False])
def test_some_of_every_part_may_be_left_to_be_found(progressive):
    start, x = start_and_rows("full")
    means, precisions = np.full((3, 2), NAN), np.full((3, 2, 2), NAN)
    weights = np.array([NAN, 0.25, NAN])
    means[2], precisions[0] = start["means_init"][2], start["precisions_init"][0]
    model = fitted(
        x,
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
        fixed={"weights": [1], "means": [2], "covariances": [0]},
        progressive=progressive,
    )
    assert model.weights_[1] == 0.25
    assert model.weights_.sum() == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_array_equal(model.means_[2], means[2])
    np.testing.assert_allclose(model.precisions_[0], precisions[0], rtol=1e-10)


def test_rows_out_of_core_are_fitted_alike():
    start, x = start_and_rows("full")
    options = {"fixed": SOME, "stepper": "plain", "max_iter": 10, **start}
    ours, theirs = fitted(da.from_array(x, chunks=(100, 2)), **options), fitted(x, **options)
    assert_keeps(ours, fitted(x, **{**options, "max_iter": 0}), SOME)
    for name in NAMES:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)


def test_criteria_count_what_is_free(tmp_path):
    start, x = start_and_rows("full")
    model, free = (fitted(x, **start, **some) for some in ({"fixed": SOME}, {}))
    fewer = 1 + 2 * 2 + 3  # a weight, two means and a covariance
    for one, p in ((model, 17 - fewer), (free, 17)):
        # Of two ways to sum 600 terms.
        assert one.aic(x) == pytest.approx(-2 * len(x) * one.score(x) + 2 * p, abs=1e-7)
    assert model.tol_ == pytest.approx(0.1 * (17 - fewer) / (2 * len(x)))
    model.set_params(fixed=None)  # the fit was what it was
    model.save(tmp_path / "model.zarr")
    assert load_model(tmp_path / "model.zarr").bic(x) == model.bic(x)


def test_a_saved_model_remembers_and_updates_keep_to_it(tmp_path):
    start, x = start_and_rows("full")
    model = fitted(x, fixed=SOME, **start)
    model.save(tmp_path / "model.zarr")
    loaded = load_model(tmp_path / "model.zarr")
    assert loaded.fixed == SOME
    assert loaded.bic(x) == model.bic(x)
    before = load_model(tmp_path / "model.zarr")
    loaded.update(x + 0.5)
    assert_keeps(loaded, before, SOME)
    assert fixed_of_record(read_model(tmp_path / "model.zarr")[1], "m", 3) == model._fixed_parts


@pytest.mark.parametrize("saved", [{"means": "all"}, {"means": [3]}, {"tails": [0]}, [1]])
def test_a_record_of_other_parts_is_refused(saved):
    with pytest.raises(ModelFormatError, match="was it edited"):
        fixed_of_record({"fixed": saved}, "m", 3)


def test_warm_starts_leave_parts_as_the_last_fit_had_them():
    start, x = start_and_rows("full")
    model = fitted(x, max_iter=3, **start)
    before = fitted(x, max_iter=3, **start)
    model.set_params(warm_start=True, fixed=SOME, max_iter=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x + 0.3)
        assert_keeps(model, before, SOME)
        model.fit(x + 0.3)
    assert_keeps(model, before, SOME)


def test_a_checkpoint_is_of_its_fixed_parts(tmp_path):
    start, x = start_and_rows("full")
    path = str(tmp_path / "x.npy")
    np.save(path, x)
    options = {"checkpoint": str(tmp_path / "kept"), "resume": True, **start}
    fitted(path, fixed=SOME, **options)
    with pytest.raises(CheckpointError, match="fixed"):
        fitted(path, fixed={"means": [0]}, **options)


def test_a_component_without_rows_keeps_its_place():
    start, x = start_and_rows("full")
    start["means_init"] = start["means_init"] + np.array([[0.0], [0.0], [1e3]])
    with pytest.warns(DaskGMMWarning, match="1 of 3 components holds"):
        model = GaussianMixture(3, fixed={"means": [2]}, random_state=0, **start).fit(x)
    assert model.weights_.shape == (3,)
    np.testing.assert_array_equal(model.means_[2], start["means_init"][2])


def test_a_component_that_collapses_is_an_error():
    start, x = start_and_rows("full")
    start["means_init"] = np.vstack([start["means_init"][:2], [[500.0, 500.0]]])
    x = np.vstack([x, np.full((5, 2), 500.0)])
    with pytest.raises(SingularComponentError, match="component 2"):
        fitted(x, fixed={"means": [2]}, reg_covar=0.0, **start)
    found = fitted(x, fixed={"means": [2], "covariances": [2]}, reg_covar=0.0, **start)
    assert found.weights_[2] == pytest.approx(5 / len(x), rel=1e-6)


ONE_LINE = {
    "no such component": ({"fixed": {"means": [3]}}, "no component 3"),
    "part of what is shared": (
        {"fixed": {"covariances": [0]}, "covariance_type": "tied"},
        "for all or for none",
    ),
    "no start": ({"fixed": {"means": [0]}, "means_init": None}, "give means_init for means"),
    "noise": ({"fixed": {"weights": "all"}, "noise": True}, "nothing for noise"),
    "order": ({"fixed": {"means": [0]}, "order": "weight"}, "by number"),
    "pruning": ({"fixed": {"means": [0]}, "on_collapse": "prune"}, "by number"),
    "axes": ({"fixed": {"means": [0]}, "n_projected": 1, "precisions_init": None}, "axes"),
}


@pytest.mark.parametrize(("options", "said"), ONE_LINE.values(), ids=ONE_LINE)
def test_what_cannot_be_is_refused_in_one_line_before_rows_are_read(options, said):
    def read(block: np.ndarray) -> np.ndarray:
        raise AssertionError("the rows were read")

    start, _ = start_and_rows("full")
    if options.get("covariance_type") == "tied":
        start["precisions_init"] = start["precisions_init"][0]
    rows = da.zeros((1000, 2), chunks=(500, 2)).map_blocks(read, meta=np.empty((0, 0)))
    with pytest.raises(ParameterError, match=said) as caught:
        fitted(rows, **{**start, **options})
    assert "\n" not in str(caught.value)
    assert caught.value.parameter == "fixed"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("means_init", [[NAN, 0], [1, 1], [2, 2]], "NaN throughout"),
        ("means_init", [[0, 0], [NAN, NAN], [2, 2]], "NaN throughout"),
        ("weights_init", [NAN, 1.0, NAN], "leave nothing"),
        ("weights_init", [0.0, 1.0, 0.0], "leave nothing"),
        ("weights_init", [NAN, 0.5, 0.6], "leave nothing"),
    ],
)
def test_starts_that_say_too_little_or_too_much_are_refused(name, value, said):
    start, x = start_and_rows("full")
    part = name.removesuffix("_init")
    with pytest.raises(ParameterError, match=said):
        fitted(x, fixed={part: [1]}, **{**start, name: value})


@pytest.mark.parametrize(
    "fixed", ["all", {"tails": "all"}, {"means": 0}, {"means": [0, 0]}, {"means": [-1]}, [0]]
)
def test_what_names_no_parts_is_refused(fixed):
    with pytest.raises(InvalidParameterError, match="fixed must be a mapping"):
        GaussianMixture(3, fixed=fixed).fit(np.zeros((10, 2)))


def test_no_other_fit_could_go_on_with_the_parts():
    _, x = start_and_rows("full")
    model = fitted(x, k=2).set_params(n_components=3, warm_start=True, fixed={"means": [0]})
    with pytest.raises(ParameterError, match="has not 3 full components"):
        model.fit(x)
    with pytest.raises(ParameterError, match="select has no use for fixed"):
        select(x, [2, 3], fixed={"means": [0]})


@pytest.mark.parametrize("by", ["command", "job"])
def test_outside_python_starts_and_parts_are_json(tmp_path, by):
    start, x = start_and_rows("full")
    np.save(tmp_path / "x.npy", x)
    mean = start["means_init"][0].tolist()
    means, fixed = [mean, [None, None], [None, None]], {"means": [0]}
    out = str(tmp_path / "m.zarr")
    if by == "command":
        options = ["--components", "3", "--means-init", json.dumps(means), "--output", out]
        arguments = ["fit", str(tmp_path / "x.npy"), *options, "--fixed", json.dumps(fixed)]
    else:
        model = {"components": 3, "means_init": means, "fixed": fixed}
        job = {"data": "x.npy", "outputs": {"model": "m.zarr"}, "model": model}
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
        arguments = ["run", str(tmp_path / "job.yaml")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    found = load_model(out)
    assert found.means_[0].tolist() == mean
    assert found.fixed == fixed


@pytest.mark.parametrize("mode", ["refit", "update"])
def test_a_job_with_new_data_leaves_parts_as_they_are(tmp_path, mode):
    start, x = start_and_rows("full", 1500)
    mean = start["means_init"][0].tolist()
    np.save(tmp_path / "x.npy", x)
    model = {"components": 3, "means_init": [mean, [None] * 2, [None] * 2]}
    job = {"data": "x.npy", "outputs": {"model": "m.zarr"}, "on_new_data": mode}
    (tmp_path / "job.yaml").write_text(
        yaml.safe_dump({**job, "model": {**model, "fixed": {"means": [0]}}})
    )
    for moved in (0.0, 0.5):
        np.save(tmp_path / "x.npy", x + moved)
        done = CliRunner().invoke(main, ["run", str(tmp_path / "job.yaml")])
        assert done.exit_code == 0, done.output
        assert load_model(tmp_path / "m.zarr").means_[0].tolist() == mean
    assert load_model(tmp_path / "m.zarr").n_rows_ == (1 + (mode == "update")) * len(x)
