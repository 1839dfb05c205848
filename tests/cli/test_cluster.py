"""The same bits, and the same errors, wherever the tasks run."""

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from commands import forked, mixture_rows, started, tree, write_store
from distributed import LocalCluster
from forks import dask_process

from daskgmm import load_model

pytestmark = pytest.mark.slow  # clusters as commands start them

LOCAL = Path(__file__).parents[2] / "cluster_configs" / "local.yaml"
FIT = ("fit", "data.zarr", "--components", 4, "--max-iter", 8, "--tol", 0, "--no-progressive")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A folder with data of several partitions, and a model fitted with threads."""
    folder = tmp_path_factory.mktemp("cluster")
    write_store(folder / "data.zarr", mixture_rows(400_000, 4, 4, spread=1.0), rows=10_000)
    assert forked(*FIT, "--output", "threads.zarr", cwd=folder).status == 0
    return folder


@pytest.fixture(scope="module")
def scheduler():
    """The address of a running scheduler with two worker processes, which must survive."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        workers = set(cluster.scheduler.workers)
        yield cluster.scheduler_address
        assert set(cluster.scheduler.workers) == workers


def assert_same_model(one, other):
    one, other = load_model(one), load_model(other)
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.lower_bounds_ == other.lower_bounds_


@pytest.mark.slow
def test_local_cluster_gives_the_bits_of_threads_a_dashboard_and_a_report(rows):
    cluster = ("--cluster", LOCAL, "--dashboard", "--performance-report", "report.html")
    log = ("--log-format", "json", "--log", "log.jsonl")
    done = forked(*FIT, "--json", "--output", "local.zarr", *cluster, *log, cwd=rows)
    assert done.json["n_iter"] == 8
    assert_same_model(rows / "local.zarr", rows / "threads.zarr")
    # Of the file: worker processes may write to standard error what they like.
    first, *_ = (json.loads(line) for line in (rows / "log.jsonl").read_text().splitlines())
    assert re.search(r"http://127\.0\.0\.1:\d+/status", first["message"])
    assert "bokeh" in (rows / "report.html").read_text()
    assert not list(rows.glob("*.partial"))


def test_existing_scheduler_gives_the_bits_of_threads(rows, scheduler):
    assert scheduler.startswith("tcp://127.0.0.1:")
    done = forked(*FIT, "--json", "--output", "there.zarr", "--cluster", scheduler, cwd=rows)
    assert done.json["n_rows"] == 400_000
    assert_same_model(rows / "there.zarr", rows / "threads.zarr")


def test_existing_scheduler_predicts_the_same_bits(rows, scheduler):
    written = []
    for where, name in ((("--cluster", scheduler), "far.zarr"), ((), "near.zarr")):
        predict = ("predict", "data.zarr", "--model", "threads.zarr", "--output", name, "--json")
        assert forked(*predict, *where, cwd=rows).json["n_rows"] == 400_000
        chunks = tree(rows / name)
        written.append({key: value for key, value in chunks.items() if key != "zarr.json"})
    # Where memory differs, partitions do; chunks of the output are of the data alone.
    assert written[0] == written[1]


def test_bad_data_on_a_scheduler_is_the_same_error(rows, scheduler, tmp_path):
    """It crosses a process border and still is one line that names the place."""
    x = mixture_rows(400_000, 4, 4)
    x[123_456, 1] = np.nan
    bad = write_store(tmp_path / "bad.zarr", x, rows=10_000)
    before = tree(rows)
    command = ("predict", bad, "--model", "threads.zarr", "--output", "x.zarr")
    errors = [forked(*command, *w, cwd=rows).error for w in ((), ("--cluster", scheduler))]
    assert "row 123456, column 1" in errors[0]
    assert errors[0] == errors[1]
    assert tree(rows) == before


def test_lost_scheduler_ends_the_fit_soon_and_in_one_line(rows, tmp_path):
    file = tmp_path / "scheduler.json"
    common = ("--scheduler-file", file, "--no-dashboard")
    command = ("scheduler", "--host", "127.0.0.1", "--port", "0")
    fit = (*FIT[:4], "--max-iter", 10**6, "--tol", 0, "--no-progressive", "--output", "lost.zarr")
    config = tmp_path / "there.yaml"
    with dask_process(*command, *common) as scheduler:
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        config.write_text(f"cluster: scheduler\naddress: {address}\nclient: {{timeout: 5}}\n")
        before = tree(rows)
        worker = ("worker", "--nthreads", "1", "--no-nanny", "--local-directory", tmp_path)
        with dask_process(*worker, *common), started(*fit, "--cluster", config, cwd=rows) as run:
            run.wait_for("pass 3")
            scheduler.kill()
            done = run.finished()
    assert done.status == 1
    assert done.error.startswith("the connection to the cluster's scheduler is lost")
    assert tree(rows) == before
