"""The benchmarks run, and a wrong answer is reported. No test looks at a time."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner, Result
from sklearn.mixture import GaussianMixture

from . import billion, environments, floor, stores, suite
from .__main__ import main
from .additions import ADDITIONS
from .containers import CONTAINERS
from .fits import compared
from .grid import FEATURES, Point, default_rows, grid
from .made import start_of, truth, write_start
from .passes import Contestant, at_work, contestants_of, measured_point, pass_tables
from .peers import PEERS, THIS_PROJECT
from .restarts import remembered_restarts, restarts

pytestmark = pytest.mark.slow
"""They test what measures, and not the package; ``.ci/run`` runs them among the slow tests."""

HERE = {name: Path(sys.executable) for name in (THIS_PROJECT.name, "sklearn")}
POINT = Point("full", "float64", n_features=3, n_components=4, n_rows=5_000)


def invoked(*arguments: str) -> Result:
    """A command's result, its exception raised."""
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def measured(contestants: list[Contestant]) -> dict[str, Any]:
    """One round at one point."""
    with at_work(contestants) as field:
        return measured_point(POINT, field, rounds=1)


def tables_of(json_file: Path) -> list[list[dict[str, Any]]]:
    """Rows of each table that a command wrote."""
    return [table["rows"] for table in json.loads(json_file.read_text())["tables"]]


# -- peers ---------------------------------------------------------------------


@pytest.mark.slow
def test_peers_have_a_pass_or_a_reason(tmp_path: Path) -> None:
    """scikit-learn is here; whether R and Spark are differs from machine to machine."""
    file = tmp_path / "peers.json"
    command = ["peers", "--here", "--rows", "2000", "--rounds", "1", "--json", str(file)]
    result = invoked(*command, "--peers", "sklearn,mclust,spark")
    (rows,) = tables_of(file)
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in rows] == ["daskgmm", "sklearn", "mclust", "spark"]
    for row in rows:
        assert (row.get("seconds") is None) != (row["why_not"] is None), row
    ours, theirs = rows[:2]
    assert ours["seconds"] > 0
    assert (theirs["agrees"], theirs["why_not"]) == ("yes", None)


# -- pass ----------------------------------------------------------------------


def test_pass_agrees_with_scikit_learn_and_with_weights_of_1_in_every_family(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pass.json"
    command = ["pass", "--quick", "--here", "--peers", "sklearn,weighted,blocks", "--rounds", "1"]
    result = invoked(*command, "--rows", "5000", "--dtype", "float64", "--json", str(file))
    points, summary = tables_of(file)
    assert result.exit_code == 0, result.output
    assert {row["covariance"] for row in points} == {"full", "tied", "diag", "spherical"}
    for row in points:
        assert row["failed"] == {}
        assert row["disagree"] == []
        assert row["differences"]["sklearn"] <= 1e-6
        assert row["differences"]["weighted"] <= 1e-13
        assert row["differences"]["blocks"] <= 1e-13
        assert {*row["rounds"]} == {"daskgmm", "sklearn", "weighted", "blocks"}
        assert row["daskgmm_seconds"] > 0
        assert "sklearn_ratio" in row
    assert {row["contestant"] for row in summary} == {"sklearn", "weighted", "blocks"}
    assert "DISAGREES" not in result.output


def test_default_fits_of_small_tables_are_no_worse_than_scikit_learns(tmp_path: Path) -> None:
    file = tmp_path / "shapes.json"
    result = invoked("shapes", "--most-rows", "100", "--rounds", "2", "--json", str(file))
    assert result.exit_code == 0, result.output
    (rows,) = tables_of(file)
    assert [row["n_rows"] for row in rows] == [3, 20, 100, 100]
    small = rows[2]  # the others have fewer rows than parameters
    assert small["default_gain"] > -1e-3
    assert small["default_gain"] > small["one_gain"] - 1e-3


def test_a_wrong_answer_is_reported(tmp_path: Path) -> None:
    right = start_of(truth(POINT.n_features, POINT.n_components), POINT.covariance)
    moved = replace(right.components, means=right.means + 0.5)
    wrong = replace(right, components=moved)
    write_start(tmp_path / "wrong.npz", wrong)
    ours, sklearn = contestants_of([PEERS["sklearn"]], HERE)
    contestants = [ours, replace(sklearn, start=tmp_path / "wrong.npz")]
    row = measured(contestants)
    assert row["failed"] == {}
    assert row["disagree"] == ["sklearn"]
    assert row["differences"]["sklearn"] > 1e-6
    shown = str(pass_tables([row], contestants, {})[0])
    assert "NO: sklearn" in shown
    assert "sklearn DISAGREES at full float64 D=3 K=4" in shown


def test_a_failure_is_reported_and_the_others_go_on() -> None:
    ours, sklearn = contestants_of([PEERS["sklearn"]], HERE)
    contestants = [ours, replace(sklearn, start=Path("nowhere.npz"))]
    row = measured(contestants)
    assert "nowhere.npz" in row["failed"]["sklearn"]
    assert row["daskgmm_seconds"] > 0
    shown = str(pass_tables([row], contestants, {})[0])
    assert "sklearn failed at full float64 D=3 K=4" in shown


def test_threads_hold_this_project_against_itself_on_fewer_cores() -> None:
    names = [c.name for c in contestants_of([], HERE, threads=[1, 2])]
    assert names == ["daskgmm", "daskgmm@1"]
    row = measured(contestants_of([], HERE, threads=[1]))
    assert row["failed"] == {}


def test_a_peer_whose_environment_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    peers = [THIS_PROJECT, PEERS["bob"]]
    pythons, reasons = environments.pythons_of(peers, tmp_path / "file", here=False)
    assert set(pythons) == {"daskgmm"}
    assert "venv" in reasons["bob"]
    shown = str(pass_tables([], contestants_of(peers[1:], pythons), reasons)[0])
    assert "bob is left out: -m venv" in shown


# -- passes --------------------------------------------------------------------

TINY = ("--rows", "5000", "--problems", "apart")
KEY = "apart rows=5000 seed=0"


def passes(folder: Path, *arguments: str) -> tuple[Result, list[list[dict[str, Any]]]]:
    """The command at a tiny size, all that it keeps in one folder, and its tables."""
    file = folder / "passes.json"
    where = ("--cache", str(folder), "--optima", str(folder / "optima.json"), "--json", str(file))
    result = invoked("passes", *TINY, *where, *arguments)
    assert result.exit_code == 0, result.output
    return result, tables_of(file)


def test_passes_are_counted_up_to_the_best_of_the_run(tmp_path: Path) -> None:
    _, (fits, (speed,), summary, _) = passes(tmp_path)
    ends = {row["contestant"]: row["below_best"] for row in fits}
    assert ends.keys() == {"default", "plain", "sklearn"}
    assert math.isclose(min(ends.values()), 0.0, abs_tol=1e-3)
    for row in fits:
        assert row["rows_read"] == 5_000 * row["n_passes"]
        assert (row["to_precision"] or math.inf) <= (row["to_fine"] or math.inf)
        assert row["to_precision"] or row["below_best"] > 1.0
    assert speed["same"] == (speed["higher_by"] >= -1e-4)
    assert {row["contestant"] for row in summary} == ends.keys()
    assert not (tmp_path / "optima.json").exists()  # it is for the suite's own sizes


def test_restarts_one_by_one_are_those_of_scikit_learn(tmp_path: Path) -> None:
    with suite.posed(suite.PROBLEMS["two-or-three"], 5_000, seed=0) as task:
        found = remembered_restarts(task, 3, patience=60.0, cache=tmp_path, fresh=False)
        again = remembered_restarts(task, 3, patience=60.0, cache=tmp_path, fresh=False)
        known = GaussianMixture(3, n_init=3, random_state=0).fit(task.x)
    assert again == found  # from the cache: seconds are not the same twice
    best = max(found.done, key=lambda restart: restart.log_likelihoods[-1])
    # Sums of 5,000 rows, carried on over the iterations, on other numbers of threads.
    np.testing.assert_allclose(best.log_likelihoods, known.lower_bounds_, rtol=1e-9)


def test_restarts_are_given_up_when_patience_ends(tmp_path: Path) -> None:
    with suite.posed(suite.PROBLEMS["crescents"], 20_000, seed=0) as task:
        found = restarts(task, n_restarts=1_000, patience=0.5)
    assert found.gave_up
    assert len(found.done) < 1_000
    assert found.seconds == 0.5


@pytest.mark.parametrize(("kept", "arrives"), [(0.0, False), (-1e3, True)])
def test_passes_are_counted_up_to_the_best_that_is_kept(
    kept: float, arrives: bool, tmp_path: Path
) -> None:
    file = tmp_path / "optima.json"
    file.write_text(json.dumps({KEY: {"log_likelihood": kept, "found_by": "hearsay"}}))
    result, tables = passes(tmp_path, "--contestants", "default", "--rounds", "0")
    ((row,), *_) = tables
    known = json.loads(file.read_text())[KEY]
    assert (row["to_precision"] is not None) == arrives
    assert (known["found_by"] == "default") == arrives
    assert known["log_likelihood"] == (row["log_likelihood"] if arrives else kept)
    assert ("the best known" in result.output) == arrives


def test_better_optima_are_looked_for_from_the_truth_and_elsewhere(tmp_path: Path) -> None:
    _, ((one, other),) = passes(
        *(tmp_path, "--update-optima", "--starts", "1", "--problems", "apart,faithful-2")
    )
    known = json.loads((tmp_path / "optima.json").read_text())
    assert (one["starts"], other["starts"]) == (3, 1)  # a real table has no known truth
    assert one["best"] == known["apart rows=5000 seed=0"]["log_likelihood"]
    # As tests/em/test_agreement.py has it, of 272 rows, and with reg_covar.
    assert math.isclose(other["best"], -1130.263960 / 272, rel_tol=1e-6)
    assert known["faithful-2 rows=272 seed=0"]["found_by"].startswith("plain EM from")


@pytest.mark.parametrize("name", suite.PROBLEMS)
def test_problems_are_the_same_each_time(name: str) -> None:
    problem = suite.PROBLEMS[name]
    rows = [problem.rows(1_000, seed=0) for _ in range(2)]
    np.testing.assert_array_equal(*rows)
    assert problem.is_real or len(rows[0]) == 1_000


# -- the grid and its floor ----------------------------------------------------


def test_the_floor_counts_what_each_family_needs() -> None:
    d, k = 7, 3
    products = sum(1 for i in range(d) for j in range(i, d))
    numbers = {"full": 1 + d + products, "tied": 1 + d, "diag": 1 + 2 * d, "spherical": 2 + d}
    assert {name: floor.flops(name, d, k) for name in numbers} == {
        name: 4 * p * k for name, p in numbers.items()
    }
    rates = floor.Rates(gemm=1e9, exp=1e8)
    assert math.isclose(rates.seconds("full", 1000, d, k), 1000 * (4 * 36 * 3 / 1e9 + 3 / 1e8))


def test_every_point_has_rows_that_fit_into_memory() -> None:
    for point in grid(FEATURES, [4, 64], ["full", "tied"], ["float64"]):
        assert point.n_rows == default_rows(point.covariance, point.n_features, point.n_components)
        assert point.n_rows >= 20_000
        assert point.n_rows * max(point.n_features, point.n_components) <= 2**25


# -- large-k -------------------------------------------------------------------


def test_large_k_measures_dense_and_truncated_passes(tmp_path: Path) -> None:
    file = tmp_path / "large-k.json"
    result = invoked(
        *("large-k", "--features", "2", "--components", "64", "--separations", "4,0.5"),
        *("--truncate", "8,64", "--rows", "3000", "--rounds", "1", "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    (rows,) = tables_of(file)
    assert [row["data"] for row in rows] == ["4 apart", "0.5 apart", "pixels"]
    for row in rows:
        assert row["gap_8"] >= 0
        assert row["ratio_8"] > 0
        assert "gap_64" not in row  # nothing is left out
    assert rows[0]["active"] < rows[1]["active"] <= 64


# -- read, driver, billion -----------------------------------------------------


def test_read_compares_a_pass_with_its_parts(tmp_path: Path) -> None:
    file = tmp_path / "read.json"
    result = invoked(
        *("read", "--size", "8MiB", "--memory-limit", "8GiB", "--rounds", "1"),
        *("--folder", str(tmp_path), "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    ((first, medians),) = tables_of(file)
    assert medians["round"] == "median"
    larger = max(first["decode_seconds"], first["arithmetic_seconds"])
    assert math.isclose(first["ratio"], first["pass_seconds"] / larger)


def test_parquet_is_read_beside_zarr_and_pyarrow(tmp_path: Path) -> None:
    file = tmp_path / "parquet.json"
    result = invoked(
        *("parquet", "--size", "8MiB", "--memory-limit", "8GiB", "--rounds", "1"),
        *("--folder", str(tmp_path), "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    ((first, medians),) = tables_of(file)
    assert medians["round"] == "median"
    assert math.isclose(first["share"], first["parquet_read"] / first["pyarrow_scan"])


def test_containers_are_held_against_the_bare_array(tmp_path: Path) -> None:
    file = tmp_path / "containers.json"
    result = invoked(
        *("containers", "--size", "4MiB", "--rounds", "1"),
        *("--folder", str(tmp_path), "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    (rows,) = tables_of(file)
    once, medians = rows[: len(CONTAINERS)], rows[len(CONTAINERS) :]
    assert [row["container"] for row in once] == [*CONTAINERS]
    assert [row["round"] for row in medians] == ["median"] * len(CONTAINERS)
    for row in once:
        assert math.isclose(row["pass_ratio"], row["pass"] / once[0]["pass"])


def test_additions_are_held_against_a_plain_pass(tmp_path: Path) -> None:
    file = tmp_path / "additions.json"
    result = invoked(
        *("additions", "--features", "2", "--components", "3", "--values", "4000"),
        *("--rounds", "1", "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    (rows,) = tables_of(file)
    assert [row["kind"] for row in rows] == ["full", "diag"]
    assert all(0.1 < row[name] < 100 for row in rows for name in ADDITIONS)


def test_peaks_are_of_a_fit_of_each_container(tmp_path: Path) -> None:
    file = tmp_path / "peaks.json"
    result = invoked(
        *("peaks", "--sizes", "1MiB,2MiB", "--containers", "Zarr array,Parquet"),
        *("--folder", str(tmp_path), "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    (rows,) = tables_of(file)
    assert [row["container"] for row in rows] == ["Zarr array", "Parquet"]
    for row in rows:
        assert 2**26 < row["peak_0"] < 2**30
        assert math.isclose(row["largest"], max(row["peak_0"], row["peak_1"]) / row["peak_0"])


@pytest.mark.parametrize(("stage", "kept"), [("disk", "disk_bytes"), ("auto", "memory_bytes")])
def test_read_compares_staged_passes_with_arithmetic(stage: str, kept: str, tmp_path: Path) -> None:
    file = tmp_path / "read.json"
    (tmp_path / "disk").mkdir()
    result = invoked(
        *("read", "--size", "8MiB", "--memory-limit", "2GiB", "--rounds", "1"),
        *("--stage", str(tmp_path / "disk") if stage == "disk" else stage),
        *("--folder", str(tmp_path), "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    ((first, medians),) = tables_of(file)
    assert medians["round"] == "median"
    assert min(first["first_staged_seconds"], first["staged_ratio"]) > 0
    assert first[kept] >= 8 * 2**20
    assert list((tmp_path / "disk").iterdir()) == []


def test_select_is_held_against_separate_fits(tmp_path: Path) -> None:
    file = tmp_path / "select.json"
    result = invoked(
        *("select", "--rows", "20000", "--components", "5,6", "--covariance", "full,diag"),
        *("--rounds", "1", "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    ((row,),) = tables_of(file)
    assert row["chosen"] == row["separate_chosen"] == "6 full"
    assert row["ratio"] == row["seconds"] / row["separate_seconds"] > 0


def test_checkpoint_reports_its_share_of_a_pass(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.json"
    result = invoked(
        *("checkpoint", "--size", "8MiB", "--memory-limit", "2GiB", "--rounds", "1"),
        *("--folder", str(tmp_path), "--json", str(file)),
    )
    assert result.exit_code == 0, result.output
    ((first, _),) = tables_of(file)
    assert first["share"] == first["checkpoint_seconds"] / first["pass_seconds"] > 0
    assert first["kept_bytes"] > 0


def test_driver_reports_every_number_of_partitions(tmp_path: Path) -> None:
    file = tmp_path / "driver.json"
    result = invoked("driver", "--partitions", "4,8", "--rounds", "1", "--json", str(file))
    assert result.exit_code == 0, result.output
    (rows,) = tables_of(file)
    assert [(row["scheduler"], row["partitions"]) for row in rows] == [
        ("threads", 4),
        ("threads", 8),
        ("distributed", 4),
        ("distributed", 8),
    ]


def test_driver_simulates_many_workers(tmp_path: Path) -> None:
    file = tmp_path / "workers.json"
    result = invoked("driver", "--workers", "8", "--numbers", "1000,100000", "--json", str(file))
    assert result.exit_code == 0, result.output
    (rows,) = tables_of(file)
    for row, least in zip(rows, (1_000, 99_000), strict=True):
        assert row["numbers"] >= least
        assert row["term_bytes"] >= 8 * least
        assert row["tasks"] == 8 * 32 + 16 + 1 + 1  # that fold, that sum, and the parameters
        assert row["levels"] == 2
        # Each term has one sum that it goes into, and that has some of its terms at hand.
        assert 0 < row["terms_fetched"] < 8 * 32 + 16
        assert row["parameters_fetched"] == 7
        parts = ("graph_seconds", "folds_seconds", "sums_seconds", "result_seconds")
        assert all(row[part] > 0 for part in parts)
        assert sum(row[part] for part in parts) == pytest.approx(row["seconds"], abs=1e-3)


def test_start_takes_the_seconds_of_each_command(tmp_path: Path) -> None:
    file = tmp_path / "start.json"
    invoked("start", "--rounds", "1", "--json", str(file))
    (rows,) = tables_of(file)
    assert rows[0]["command"] == "python alone"
    assert rows[-1]["command"] == "demo --small"
    assert all(0 < row["least"] <= row["seconds"] for row in rows)


def test_billion_fits_in_a_process_of_its_own(tmp_path: Path) -> None:
    store = stores.MadeStore(tmp_path, 20_000, 4, 2, "float32", "zstd", 4096)
    table = billion.billion_table(store, memory_limit=2**31, cores=1, options=["--max-iter", "3"])
    (row,) = table.rows
    assert row["n_rows"] == 20_000
    assert row["n_passes"] >= 2
    assert 2**20 < row["peak_memory_bytes"] < 2**31
    assert row["within_limit"]


def test_a_store_that_was_interrupted_goes_on_to_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "BLOCK_ROWS", 100)
    whole = stores.MadeStore(tmp_path / "whole", 1_000, 2, 2, "float32", "zstd", 100)
    broken = replace(whole, folder=tmp_path / "broken")
    draw, drawn = stores.draw, []

    def draw_three(*arguments: Any) -> Any:
        drawn.append(arguments)
        if len(drawn) > 3:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(stores, "draw", draw_three)
    with pytest.raises(KeyboardInterrupt):
        broken.made()
    assert not broken.path.exists()
    monkeypatch.setattr(stores, "draw", draw)
    rows = [zarr.open_array(store.made(), mode="r")[:] for store in (whole, broken)]
    np.testing.assert_array_equal(*rows)


# -- fits ----------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
TINY_FITS = ("--only", "one feature", "--only", "start whole, diag")

_ANOTHER_HOUSE = """
from pathlib import Path

__path__ = [{real!r}]
exec((Path(__path__[0]) / "__init__.py").read_text())
_Right = __getattr__("GaussianMixture")


class GaussianMixture(_Right):
    def fit(self, X, y=None):
        super().fit(X)
        self.lower_bound_ *= 1 + 1e-10
        return self
"""


def test_a_checkout_finds_the_same_as_itself(tmp_path: Path) -> None:
    file = tmp_path / "fits.json"
    result = invoked("fits", "--peer", str(ROOT), *TINY_FITS, "--json", str(file))
    assert result.exit_code == 0, result.output
    (rows,) = tables_of(file)
    assert {row["name"] for row in rows} == {"one feature", "start whole, diag"}
    for row in rows:
        assert row["verdict"] == "same"
        assert row["passes"] == row["peer_passes"] >= 2
        assert row["difference"] == row["parameters"] == 0.0


def test_a_checkout_that_finds_other_log_likelihoods_is_reported(tmp_path: Path) -> None:
    package = tmp_path / "daskgmm"
    package.mkdir()
    code = _ANOTHER_HOUSE.format(real=str(ROOT / "daskgmm"))
    (package / "__init__.py").write_text(code)
    file = tmp_path / "fits.json"
    result = invoked("fits", "--peer", str(tmp_path), *TINY_FITS, "--json", str(file))
    assert result.exit_code == 1
    (rows,) = tables_of(file)
    for row in rows:
        assert row["verdict"] == "differs"
        assert row["difference"] == pytest.approx(1e-10, rel=1e-3)
        assert row["parameters"] == 0.0
    assert "one feature: log-likelihoods differ by 1.0e-10" in result.output


def test_a_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    result = invoked("fits", "--peer", str(tmp_path), *TINY_FITS)
    assert result.exit_code == 1
    assert "has no package daskgmm" in result.output


RECORD: dict[str, Any] = {
    "name": "one",
    "seconds": 0.1,
    "passes": 3,
    "log_likelihoods": [-2.0, -2.5],
    "facts": {"n_iter": 2},
    "weights": [0.5, 0.5],
    "means": [[0.0], [1.0]],
    "covariances": [1.0, 1.0],
}


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({"log_likelihoods": [-2.0, -2.5 * (1 + 5e-13)]}, "same", None),
        ({"means": [[0.0], [1.1]]}, "same", None),
        ({"passes": 4}, "differs", "3 passes, peer's 4"),
        ({"log_likelihoods": [-2.0, -2.5 * (1 + 5e-12)]}, "differs", "by 5.0e-12"),
        ({"log_likelihoods": [-2.0]}, "differs", "by inf"),
        ({"log_likelihoods": [-2.0, math.nan]}, "differs", "by nan"),
        ({"facts": {"n_iter": 1}}, "differs", "n_iter is 2, peer's 1"),
        ({"error": "DataError: no rows"}, "failed", "peer's: DataError: no rows"),
    ],
)
def test_fits_differ_in_passes_choices_and_log_likelihoods(
    change: dict[str, Any], verdict: str, reason: str | None
) -> None:
    row = compared(RECORD, RECORD | change)
    assert row["verdict"] == verdict
    assert len(row["reasons"]) == (reason is not None)
    assert all(reason in found for found in row["reasons"])
