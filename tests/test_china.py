"""A real picture, from the command line: segmented into eight colours.

The pixels of scikit-learn's ``china.jpg`` (273,280 rows x 3) go into Zarr, are fitted
with K = 8, labelled, and read back with plain zarr. Asserted: labels, probabilities and
log-likelihood against scikit-learn with the same parameters, and that the picture in
which each pixel has its component's mean colour is nearer to the original than one
colour is. The segmented picture has been looked at.
"""

from pathlib import Path

import numpy as np
import pytest
from commands import forked, result_in, write_store
from sklearn.datasets import load_sample_image

from daskgmm import load_model

K = 8


def daskgmm(folder: Path, *arguments: object) -> dict:
    return forked(*arguments, "--json", cwd=folder).json


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return load_sample_image("china.jpg")


@pytest.fixture(scope="module")
def pixels(picture: np.ndarray) -> np.ndarray:
    return picture.reshape(-1, 3).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> Path:
    """The picture's folder, with model, labels, probabilities and log densities in it."""
    folder = tmp_path_factory.mktemp("china")
    write_store(folder / "china.zarr", pixels, rows=20_000)
    fitted = daskgmm(folder, "fit", "china.zarr", "--components", K, "--output", "model.zarr")
    assert (fitted["n_rows"], fitted["n_features"], fitted["converged"]) == (273_280, 3, True)
    written = daskgmm(
        folder,
        *("predict", "china.zarr", "--model", "model.zarr", "--output", "labels.zarr"),
        *("--probabilities", "probabilities.zarr", "--log-density", "density.zarr"),
    )
    assert written["n_rows"] == 273_280
    return folder


def stored(folder: Path, name: str) -> np.ndarray:
    return result_in(folder / name)[...]


def test_labels_and_probabilities_agree(folder, pixels):
    labels, probabilities = stored(folder, "labels.zarr"), stored(folder, "probabilities.zarr")
    assert labels.shape == (len(pixels),)
    assert probabilities.shape == (len(pixels), K)
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=1))
    # K terms of float64 arithmetic
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert np.all(np.bincount(labels, minlength=K) > 0)


def test_densities_agree_with_scikit_learn(folder, pixels):
    model = load_model(folder / "model.zarr").to_sklearn()
    x = pixels.astype(np.float64)
    density = stored(folder, "density.zarr")
    # Pixels are whole numbers up to 255, exact in float32; what rounds there are whitened
    # values, by some 6e-8 of up to 1e2, whose squares go into log densities of some -10.
    np.testing.assert_allclose(density, model.score_samples(x), rtol=1e-4, atol=1e-4)
    probabilities = stored(folder, "probabilities.zarr")
    np.testing.assert_allclose(probabilities, model.predict_proba(x), atol=1e-4)


def test_score_agrees_with_scikit_learn(folder, pixels):
    model = load_model(folder / "model.zarr").to_sklearn()
    x = pixels.astype(np.float64)
    scored = daskgmm(folder, "score", "china.zarr", "--model", "model.zarr")
    expected = model.score(x)
    assert scored["log_likelihood_per_row"] == pytest.approx(expected, rel=1e-7)
    assert stored(folder, "density.zarr").mean() == pytest.approx(expected, rel=1e-7)
    assert scored["bic"] == pytest.approx(model.bic(x), rel=1e-7)


def segmented(means: np.ndarray, labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Each pixel in the mean colour of its component."""
    return np.clip(np.rint(means[labels]), 0, 255).astype(np.uint8).reshape(shape)


def test_segmented_picture_is_nearer_than_one_colour(folder, picture, pixels):
    labels = stored(folder, "labels.zarr")
    model = load_model(folder / "model.zarr")
    eight = segmented(model.means_, labels, picture.shape)
    daskgmm(folder, "fit", "china.zarr", "--components", 1, "--output", "one.zarr")
    one = segmented(load_model(folder / "one.zarr").means_, 0 * labels, picture.shape)

    def squared_error(other: np.ndarray) -> float:
        return float(np.square(picture.astype(float) - other).mean())

    # One colour errs by the variance of the pixels, up to the rounding of its colour.
    assert squared_error(one) == pytest.approx(pixels.var(axis=0).mean(), rel=1e-3)
    assert squared_error(eight) < 0.25 * squared_error(one)
    assert len(np.unique(eight.reshape(-1, 3), axis=0)) == K
