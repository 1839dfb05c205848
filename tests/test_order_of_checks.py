"""What a person got wrong first is said first, in one line with the way out."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from daskgmm import GaussianMixture, select
from daskgmm.cli import main
from daskgmm.errors import DataError, MemoryLimitError, ParameterError

X = np.random.default_rng(0).normal(size=(60, 2))


@pytest.fixture(params=["memory", "dask", "zarr"])
def rows(request, tmp_path):
    if request.param == "zarr":
        zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(20, 2))
        return str(tmp_path / "x.zarr")
    return da.from_array(X, chunks=(20, 2)) if request.param == "dask" else X


def test_more_components_than_rows_come_before_memory(rows):
    for model in (GaussianMixture(1_000_000), GaussianMixture(61, memory_limit=1)):
        with pytest.raises(DataError, match="n_samples=60: lower n_components"):
            model.fit(rows)


def test_a_transposed_array_is_one_line():
    wide = np.zeros((4, 400_000))
    for x in (wide, da.from_array(wide, chunks=(2, 400_000))):
        with pytest.raises(MemoryLimitError, match=r"4 rows and 400,000 features.*transpose it"):
            GaussianMixture(2).fit(x)
        with pytest.raises(MemoryLimitError, match="transpose it"):
            select(x, [1, 2])


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".parquet", ".NC", ".json"])
def test_a_name_of_another_format_is_refused(tmp_path, suffix):
    np.save(tmp_path / "x.npy", X)
    output = str(tmp_path / f"m{suffix}")
    found = CliRunner().invoke(
        main, ["fit", str(tmp_path / "x.npy"), "--components", "1", "--output", output]
    )
    assert found.exit_code == 2
    assert "m.zarr" in found.output
    model = GaussianMixture(1).fit(X)
    with pytest.raises(ParameterError, match=r"name it .*m\.zarr"):
        model.save(output)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy"]
    model.save(tmp_path / "m.v2")


def test_fit_with_several_components_names_select(tmp_path):
    arguments = ["fit", "x.npy", "--output", str(tmp_path / "m"), "--components"]
    for several in ("2:8", "2,4"):
        found = CliRunner().invoke(main, [*arguments, several])
        assert found.exit_code == 2
        assert "to choose among several, run daskgmm select" in found.output
    assert "daskgmm select" not in CliRunner().invoke(main, [*arguments, "many"]).output
