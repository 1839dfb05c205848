"""What pictures are made of: counts of all rows in bins, from one pass.

Asserted: NumPy's histograms of the same rows, weighted or not; probabilities as scikit-learn has
them; additivity over blocks; what is beyond the bins is counted; bins hold the components.
"""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from commands import write_store
from made_data import made_mixture, rows_of

from daskgmm import GaussianMixture
from daskgmm.errors import DataError, ParameterError
from daskgmm.kernel import Block
from daskgmm.plot.counting import (
    Densities,
    Histograms,
    Sharpness,
    count_rows,
    edges_of_densities,
    edges_of_feature,
)
from daskgmm.plot.subject import Subject, largest_components, telling_features


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rows = rows_of(made_mixture("full", 3, 4, separation=3.0), 3000)
    rows[:5] = 100.0  # far beyond all bins
    return rows


@pytest.fixture(scope="module")
def model() -> GaussianMixture:
    mixture = made_mixture("full", 3, 4, separation=3.0)
    return GaussianMixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, covariance_type="full"
    )


@pytest.fixture(params=[None, "weights"])
def weights(request, x):
    return request.param and np.random.default_rng(1).uniform(0.0, 3.0, size=len(x))


def test_histograms_are_those_of_numpy(model, x, weights):
    asked = Histograms.of(Subject.of(model), (0, 3, 1), 20)
    found = count_rows(model, x, [asked], weights)
    (counts,) = found.answers
    total = len(x) if weights is None else weights.sum()
    assert found.weight == pytest.approx(total)
    columns = [x[:, j] for j in asked.features]
    for column, edges, single in zip(columns, asked.edges, counts["single"], strict=True):
        np.testing.assert_allclose(single, np.histogram(column, edges, weights=weights)[0])
    for (i, j), both in zip(asked.pairs, counts["pairs"], strict=True):
        bins = asked.edges[i], asked.edges[j]
        expected = np.histogram2d(columns[i], columns[j], bins, weights=weights)[0]
        np.testing.assert_allclose(both, expected)
    each = zip(columns, asked.edges, strict=True)
    outside = np.any([(c < edges[0]) | (c > edges[-1]) for c, edges in each], axis=0)
    assert outside.sum() >= 5
    weight_of = np.ones(len(x)) if weights is None else weights
    assert float(counts["beyond"]) == pytest.approx(weight_of[outside].sum())


def test_rows_with_gaps_are_counted_by_what_they_have(model, x):
    model = GaussianMixture.from_parameters(
        model.weights_, model.means_, model.covariances_, covariance_type="full"
    ).set_params(missing="em")
    holes = np.random.default_rng(2).random(x.shape) < 0.2
    rows = np.where(holes, np.nan, x)
    asked = Histograms.of(Subject.of(model), (0, 3), 20)
    found = count_rows(model, rows, [asked, Sharpness((0, 1, 2))])
    counts, sharpness = found.answers
    a, b = rows[:, 0], rows[:, 3]
    for column, edges, single in zip((a, b), asked.edges, counts["single"], strict=True):
        np.testing.assert_array_equal(single, np.histogram(column[~np.isnan(column)], edges)[0])
    some = ~np.isnan(rows).all(axis=1)  # others are left out
    assert found.n_rows == some.sum()
    both = ~np.isnan(a) & ~np.isnan(b)
    expected = np.histogram2d(a[both], b[both], asked.edges)[0]
    np.testing.assert_array_equal(counts["pairs"][0], expected)
    np.testing.assert_array_equal(counts["present"], [(~np.isnan(c)).sum() for c in (a, b)])
    assert counts["lacking"] == np.sum(~both & some)
    assert counts["beyond"] == both.sum() - expected.sum()
    assert sharpness["greatest"].sum() == pytest.approx(some.sum())


def test_log_densities_are_counted_as_by_numpy(model, x, weights):
    asked = Densities(edges_of_densities(Subject.of(model), 30))
    (counts,) = count_rows(model, x, [asked], weights).answers
    densities = model.score_samples(x)
    expected = np.histogram(densities, asked.edges, weights=weights)[0]
    np.testing.assert_allclose(counts["counts"], expected)
    total = len(x) if weights is None else weights.sum()
    assert counts["sum"] / total == pytest.approx(model.score(x, sample_weight=weights))
    assert counts["above"] == 0
    assert counts["below"] + counts["counts"].sum() == pytest.approx(total)


def test_sharpness_is_that_of_the_probabilities(model, x, weights):
    asked = Sharpness((0, 2))  # component 1 is among the others
    (counts,) = count_rows(model, x, [asked], weights).answers
    probabilities = model.predict_proba(x)
    weight_of = np.ones(len(x)) if weights is None else weights
    greatest = np.histogram(probabilities.max(axis=1), asked.edges, weights=weights)[0]
    np.testing.assert_allclose(counts["greatest"].sum(axis=0), greatest)
    place = np.array([0, 2, 1])[probabilities.argmax(axis=1)]
    for one in range(3):
        own = (weight_of * (place == one)) @ probabilities[:, [0, 2, 1]]
        np.testing.assert_allclose(counts["overlap"][one, :3], own, rtol=1e-9, atol=1e-12)
    assert not counts["overlap"][3].any()  # there is no noise


def test_noise_is_a_class_of_its_own():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(900, 2)), rng.uniform(-20, 20, size=(300, 2))])
    model = GaussianMixture(1, noise=True, random_state=0).fit(x)
    asked = Sharpness((0,))
    (counts,) = count_rows(model, x, [asked]).answers
    n_noise = np.count_nonzero(model.predict(x) == -1)
    assert n_noise > 200
    assert counts["greatest"].sum(axis=1) == pytest.approx([len(x) - n_noise, 0, n_noise])


def test_counts_of_parts_add_up(model, x):
    asked = (Histograms.of(Subject.of(model), (0, 1), 10), Sharpness((0, 1, 2)))
    mixture = model._mixture
    for question in asked:
        whole = question.count(Block(x), mixture)
        parts = [question.count(Block(part), mixture) for part in np.array_split(x, 7)]
        for name, counts in whole.items():
            np.testing.assert_allclose(sum(part[name] for part in parts), counts, atol=1e-9)
        assert sum(counts.nbytes for counts in whole.values()) <= question.n_bytes + 8


def test_stored_and_lazy_rows_give_the_same(model, x, tmp_path):
    asked = [Histograms.of(Subject.of(model), (0, 1), 15)]
    stored = write_store(tmp_path / "x.zarr", x)
    expected = count_rows(model, x, asked).answers[0]
    for rows in (str(stored), da.from_array(x, chunks=(700, 4)), pd.DataFrame(x)):
        found = count_rows(model, rows, asked).answers[0]
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_rows_that_cannot_be_used_are_refused(model, x):
    bad = x.copy()
    bad[7, 2] = np.inf
    asked = [Histograms.of(Subject.of(model), (0, 1), 15)]
    with pytest.raises(DataError, match="row 7, column 2"):
        count_rows(model, da.from_array(bad, chunks=(700, 4)), asked)


@pytest.mark.parametrize("family", ["full", "tied", "diag", "spherical"])
def test_bins_hold_all_but_a_few_rows_of_the_mixture(family):
    mixture = made_mixture(family, 4, 3)
    model = GaussianMixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, covariance_type=family
    )
    x, subject = rows_of(mixture, 4000), Subject.of(model)
    edges = edges_of_feature(subject, 1, 50)
    # 4 standard deviations: 6e-5 of Gaussian rows, 0.25 of 4000; 3 or more have odds of 1 in 500
    assert np.sum((x[:, 1] < edges[0]) | (x[:, 1] > edges[-1])) < 3
    densities, edges = model.score_samples(x), edges_of_densities(subject, 50)
    assert np.all(densities <= edges[-1])
    # 1e-4 of the rows at most: 0.4 of 4000; 5 or more have odds of 1 in 10,000
    assert np.sum(densities < edges[0]) < 5


@pytest.mark.parametrize("stray", [(0.0, 1e6), (1e3, 1.0)], ids=["wide", "far"])
def test_a_component_of_a_few_outliers_does_not_stretch_the_bins(stray):
    mean, variance = stray
    with_it = GaussianMixture.from_parameters(
        [0.4976, 0.5, 0.0024],
        [[-3.0], [3.0], [mean]],
        [[1.0], [1.0], [variance]],
        covariance_type="diag",
    )
    without = GaussianMixture.from_parameters(
        np.array([0.4976, 0.5]) / 0.9976, [[-3.0], [3.0]], np.ones((2, 1)), covariance_type="diag"
    )
    edges, expected = (edges_of_feature(Subject.of(one), 0, 50) for one in (with_it, without))
    np.testing.assert_allclose(edges, expected, rtol=1e-12)


def test_small_components_that_are_near_are_within_the_bins():
    near = GaussianMixture.from_parameters(
        [0.99, 0.01], [[0.0], [9.0]], np.ones((2, 1)), covariance_type="diag"
    )
    # 5 standard deviations of all rows, of variance 1 + 0.99 * 0.01 * 81, from their mean of 0.09
    assert edges_of_feature(Subject.of(near), 0, 50)[-1] == pytest.approx(0.09 + 5 * 1.8019**0.5)


def test_bins_of_t_components_hold_their_log_densities():
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, size=(3000, 2))
    model = GaussianMixture(1, tails="t", degrees_of_freedom=3.0, random_state=0).fit(x)
    edges = edges_of_densities(Subject.of(model), 50)
    densities = model.score_samples(x)
    assert np.sum(densities < edges[0]) < 5  # as above
    assert np.all(densities <= edges[-1])


# -- what is shown where there is too much -----------------------------------------


def test_features_that_say_the_same_are_not_both_chosen():
    """The second is collinear with the first, and the third tells less, but something else."""
    means = np.array([[0.0, 0.0, 0.0, 0.0], [6, 6, 0, 0], [0, 0, 2, 0], [6, 6, 2, 0]])
    covariance = np.eye(4)
    covariance[0, 1] = covariance[1, 0] = 0.999
    model = GaussianMixture.from_parameters(
        np.full(4, 0.25), means, np.array([covariance] * 4), covariance_type="full"
    )
    assert telling_features(model._mixture, 2) == (0, 2)
    assert set(telling_features(model._mixture, 9)) == {0, 1, 2, 3}


def test_one_component_tells_nothing_and_its_features_come_in_order():
    model = GaussianMixture.from_parameters([1.0], np.zeros((1, 3)), np.ones((1, 3)))
    assert telling_features(model._mixture, 2) == (0, 1)


def test_features_that_tell_most_do_not_depend_on_units():
    mixture = made_mixture("full", 3, 6)
    scale = 10.0 ** np.arange(-3, 3)
    scaled = GaussianMixture.from_parameters(
        mixture.weights,
        mixture.means * scale,
        mixture.covariances * np.multiply.outer(scale, scale),
        covariance_type="full",
    )
    assert telling_features(scaled._mixture, 4) == telling_features(mixture, 4)


def test_the_largest_components_come_in_their_order():
    model = GaussianMixture.from_parameters(
        [0.1, 0.4, 0.2, 0.3], np.zeros((4, 2)), np.ones((4, 2)), covariance_type="diag"
    )
    assert largest_components(model._mixture, 2) == (1, 3)


def test_features_are_named_as_in_the_data(x):
    table = pd.DataFrame(x, columns=["temp", "salt", "age", "depth"])
    model = GaussianMixture(2, random_state=0, max_iter=1, progressive=False)
    with pytest.warns(match="not converged"):
        model.fit(table)
    model._units = ["K", "", "year", "m"]
    subject = Subject.of(model)
    assert [subject.label(j) for j in range(4)] == ["temp (K)", "salt", "age (year)", "depth (m)"]
    assert subject.features(["age", 0]) == (2, 0)
    with pytest.raises(ParameterError, match="did you mean 'temp'"):
        subject.features(["tmp"])
    with pytest.raises(ParameterError, match="there is no feature 4; the model has 4, from 0 to 3"):
        subject.features([4])
    with pytest.raises(ParameterError, match="name each once"):
        subject.features(["temp", 0])


def test_of_projected_rows_axes_are_shown_and_of_dropped_ones_the_rest(x):
    projected = GaussianMixture(2, n_projected=2, random_state=0).fit(x)
    assert Subject.of(projected).names == ("axis 0", "axis 1")
    constant = np.insert(x, 1, 7.0, axis=1)
    dropped = GaussianMixture(2, constant="drop", random_state=0).fit(
        pd.DataFrame(constant, columns=list("abcde"))
    )
    subject = Subject.of(dropped)
    assert subject.names == ("a", "c", "d", "e")
    asked = Histograms.of(subject, (1,), 10)
    table = pd.DataFrame(constant, columns=list("abcde"))
    (counts,) = count_rows(dropped, table, [asked]).answers
    np.testing.assert_array_equal(counts["single"][0], np.histogram(x[:, 1], asked.edges[0])[0])
