"""Labels and measurement noise that lie beside stored rows: predict, jobs and selection have them."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from daskgmm import GaussianMixture, job, load_model, select
from daskgmm.batch import Batch
from daskgmm.errors import CheckpointError, JobError, ParameterError
from daskgmm.jobfile import read_job

N = 300


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(1).uniform(0.1, 2.0, (N, 2))


@pytest.fixture(scope="module")
def x(noise):
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(N, 2)) + 5.0 * (np.arange(N) % 2)[:, None]
    return exact + np.sqrt(noise) * rng.normal(size=noise.shape)


@pytest.fixture
def folder(tmp_path, x, noise):
    labels = np.full(N, -1)
    labels[:4] = [1, 0, 1, 0]  # the other way round than the fit has them by itself, or not
    for name, array in (("x", x), ("noise", noise), ("labels", labels)):
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


def _job(folder, more="", components="2"):
    (folder / "job.yaml").write_text(
        f"data: x.npy\nmeasurement_noise: noise.npy\n{more}model:\n  components: {components}\n"
        "outputs:\n  model: model.zarr\n  labels: rows.zarr\n"
    )
    return read_job(str(folder / "job.yaml"), {})


def test_a_job_has_labels_and_noise_and_its_results_are_of_noisy_rows(folder, x, noise):
    asked = _job(folder, "labels: labels.npy\n")
    batch = Batch(asked)
    with batch.alone():
        batch.run()
    labels = np.load(folder / "labels.npy")
    model = GaussianMixture(2, random_state=0).fit(x, labels=labels, measurement_noise=noise)
    saved = load_model(folder / "model.zarr")
    np.testing.assert_array_equal(saved.means_, model.means_)
    written = zarr.open_group(folder / "rows.zarr", mode="r")["labels"][:]
    np.testing.assert_array_equal(written, model.predict(x, measurement_noise=noise))
    assert (written[:4] == labels[:4]).all()
    assert Batch(asked).is_done
    np.save(folder / "noise.npy", 2.0 * noise)  # as rows that are others
    with pytest.raises(CheckpointError, match=r"data\.measurement_noise"):
        Batch(asked)


@pytest.mark.parametrize("how", ["refit", "update"])
def test_a_job_that_goes_on_from_a_model_has_neither(folder, how):
    with pytest.raises(JobError, match=f"on_new_data is {how}, .* without measurement_noise"):
        _job(folder, f"on_new_data: {how}\n")


def test_stored_results_are_of_noisy_rows(folder, x, noise):
    model = GaussianMixture(2, random_state=0, tol=1e-3).fit(x, measurement_noise=noise)
    model.save(folder / "model.zarr")
    place, beside = str(folder / "out.zarr"), str(folder / "noise.npy")
    asked = [("labels,log_density", place)]
    job.predict(str(folder / "x.npy"), str(folder / "model.zarr"), asked, measurement_noise=beside)
    found = zarr.open_group(place, mode="r")["log_density"][:]
    np.testing.assert_array_equal(found, model.score_samples(x, measurement_noise=noise))
    assert np.abs(found - model.score_samples(x)).max() > 0.1
    with pytest.raises(ParameterError, match="mark_outliers and measurement_noise"):
        job.predict(
            str(folder / "x.npy"),
            str(folder / "model.zarr"),
            asked,
            mark_outliers=True,
            measurement_noise=beside,
        )


@pytest.mark.slow
def test_a_selection_is_of_the_values_behind_noisy_ones(x, noise):
    found = select(x, [1, 2, 3], measurement_noise=noise, random_state=0)
    assert found.best.n_components == 2
    alone = GaussianMixture(2, random_state=0).fit(x, measurement_noise=noise)
    criteria = alone.criteria(x, measurement_noise=noise)
    assert found.best.bic == pytest.approx(criteria.bic, abs=0.1)
    assert found.best.icl == pytest.approx(criteria.icl, abs=0.1)
    # Held-out rows have noise as well: without it their densities were far lower.
    assert abs(found.best.held_out_log_likelihood_per_row - alone.lower_bound_) < 0.1
    with pytest.raises(ParameterError, match=r"without the measurement noise"):
        found.model.uncertainty(x)


def test_a_selection_has_no_labels(x):
    with pytest.raises(ParameterError, match="leave labels out, then fit what was chosen"):
        select(x, [1, 2], labels=np.full(N, -1))
