"""Constant columns are refused by name, or left out of the fit and of what the model says.

Asserted: a fit that drops them is the fit of the other columns, whatever they hold later, in a saved
model, a selection and an update as well; where none is constant nothing changes; ways out work.
"""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from made_data import assert_same_bits

from daskgmm import GaussianMixture, load_model, select
from daskgmm.cli import main
from daskgmm.errors import DaskGMMWarning, ParameterError
from daskgmm.plot.subject import Subject


def with_constant() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(400, 3))
    x[:200] += 6.0
    return x, np.insert(x, 1, 7.0, axis=1)


@pytest.mark.parametrize(
    "more",
    [
        {},
        pytest.param({"n_projected": 2}, marks=pytest.mark.slow),
        pytest.param({"n_projected": 2, "standardize": True}, marks=pytest.mark.slow),
    ],
)
def test_dropped_columns_leave_the_fit_of_the_others(family, more, tmp_path):
    x, table = with_constant()
    settings = {"covariance_type": family, "random_state": 0, **more}
    plain = GaussianMixture(2, **settings).fit(x)
    model = GaussianMixture(2, constant="drop", **settings).fit(table)
    np.testing.assert_allclose(model.means_[:, [0, 2, 3]], plain.means_, rtol=1e-12)
    assert (model.means_[:, 1] == 7.0).all()
    assert model.score(table) == pytest.approx(plain.score(x), rel=1e-12)
    np.testing.assert_array_equal(model.predict(table), plain.predict(x))
    assert model._note == "constant column left out: 1"
    model.save(tmp_path / "model.zarr")
    again = load_model(tmp_path / "model.zarr")
    assert again._note == model._note
    other = table.copy()
    other[:, 1] = 8.0  # what the column holds does not matter
    np.testing.assert_array_equal(again.predict(other), model.predict(table))


def test_where_no_column_is_constant_nothing_is_dropped():
    x, _ = with_constant()
    model = GaussianMixture(2, random_state=0, constant="drop").fit(x)
    assert_same_bits(model._mixture, GaussianMixture(2, random_state=0).fit(x)._mixture)
    assert not hasattr(model, "projection_matrix_")


def test_a_selection_and_an_update_drop_them_too():
    x, table = with_constant()
    found = select(table, [1, 2], constant="drop", random_state=0)
    plain = select(x, [1, 2], random_state=0)
    assert [e.bic for e in found.entries] == pytest.approx([e.bic for e in plain.entries])
    assert found.note is not None
    assert found.note.endswith("constant column left out: 1")
    found.model.update(table[:50])
    np.testing.assert_allclose(found.model.means_[:, 1], 7.0)


def test_ways_out_of_constant_columns():
    _, table = with_constant()
    with pytest.raises(ValueError, match=r"out of the data, or .* by constant='drop'"):
        GaussianMixture(2).fit(table)
    with pytest.raises(ValueError, match="columns 0, 1 of the data are constant"):
        GaussianMixture(2, constant="drop").fit(np.ones((50, 2)))
    with pytest.raises(ParameterError, match="does not go with standardize='robust'"):
        GaussianMixture(2, constant="drop", standardize="robust").fit(table)
    with pytest.raises(ParameterError, match="precisions_init is of all features"):
        GaussianMixture(2, constant="drop", precisions_init=[np.eye(4)] * 2).fit(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianMixture(2, constant="drop", standardize=True).fit(table)


NAMES = ["temp", "const", "salt", "depth"]


def test_features_that_are_left_have_their_names_everywhere(family, tmp_path):
    _, table = with_constant()
    settings = {"covariance_type": family, "constant": "drop", "random_state": 0}
    model = GaussianMixture(2, **settings).fit(pd.DataFrame(table, columns=NAMES))
    path = str(tmp_path / "model.zarr")
    model.save(path)
    said = CliRunner().invoke(main, ["info", path]).stdout
    assert "axis" not in said
    assert re.search(r"component +weight +temp +salt +depth\n", said)
    assert Subject.of(load_model(path)).names == ("temp", "salt", "depth")
    html = model._repr_html_inner()
    assert f"2 {family} components in 3 of 4 features" in html
    assert "<th>temp</th><th>salt</th><th>depth</th>" in html
    with xr.open_zarr(path, consolidated=False) as saved:
        for dim in ("axis", "other_axis"):
            if dim in saved.dims:
                assert saved[dim].values.tolist() == ["temp", "salt", "depth"]


def test_features_that_are_left_have_their_numbers_where_data_have_no_names(tmp_path):
    _, table = with_constant()
    model = GaussianMixture(2, constant="drop", random_state=0).fit(table)
    path = str(tmp_path / "model.zarr")
    model.save(path)
    assert re.search(r" x0 +x2 +x3\n", CliRunner().invoke(main, ["info", path]).stdout)
    assert "<th>x0</th><th>x2</th><th>x3</th>" in model._repr_html_inner()
    with xr.open_zarr(path, consolidated=False) as saved:
        assert saved["axis"].values.tolist() == [0, 2, 3]
    with pytest.warns(DaskGMMWarning, match=r"variance of column 2 \(of column 2: "):
        GaussianMixture(2, constant="drop", random_state=0, reg_covar=1e-6).fit(
            table * [1.0, 1.0, 1e-4, 1.0]
        )


def test_axes_of_several_features_are_axes(tmp_path):
    _, table = with_constant()
    model = GaussianMixture(2, constant="drop", n_projected=2, random_state=0)
    model.fit(pd.DataFrame(table, columns=NAMES)).save(path := str(tmp_path / "model.zarr"))
    assert re.search(r" axis 0 +axis 1\n", CliRunner().invoke(main, ["info", path]).stdout)
    assert "components in 2 axes of 4 features" in model._repr_html_inner()
    with xr.open_zarr(path, consolidated=False) as saved:
        assert saved["axis"].values.tolist() == [0, 1]


def test_one_row_alone_is_fitted_with_all_its_columns():
    x, weight = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) == 4
    model = GaussianMixture(1, constant="drop", random_state=0).fit(x, sample_weight=weight)
    np.testing.assert_array_equal(model.means_, x[4:5])


def test_ways_out_are_those_that_the_fit_has():
    _, table = with_constant()
    for how, beside in (
        ({"standardize": "robust"}, {}),
        ({}, {"measurement_noise": np.full(table.shape, 0.1)}),
    ):
        with pytest.raises(ValueError, match=r"leave such columns out of the data$"):
            GaussianMixture(2, **how).fit(table, **beside)
    with pytest.raises(ValueError, match=r"no column varies"):
        GaussianMixture(2, constant="drop").fit(np.ones((50, 2)))
