"""Standard input, output and error that are closed, full or broken lose no model and no status."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from daskgmm import load_model

pytestmark = pytest.mark.slow  # each starts an interpreter, imports and all

FIT = "fit x.npy --components 1 --output m.zarr --log log.txt"


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(300, 2))


@pytest.fixture
def folder(tmp_path, rows):
    np.save(tmp_path / "x.npy", rows)
    return tmp_path


def run(folder, arguments, redirect):
    """What the shell's last command, daskgmm, ended with."""
    line = f"{sys.executable} -m daskgmm {arguments} {redirect}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=folder, capture_output=True, text=True
    )


def _is_whole(folder, rows):
    np.testing.assert_array_equal(np.load(folder / "x.npy"), rows)  # no message went into it
    np.testing.assert_allclose(load_model(folder / "m.zarr").means_[0], rows.mean(axis=0))
    assert "pass" in (folder / "log.txt").read_text()


@pytest.mark.parametrize(
    "redirect",
    [
        *("2>&-", "2>/dev/full", ">&-", "<&- >&- 2>&-"),
        "2> >(exec 0<&-; sleep 0.1)",
    ],
)
def test_a_fit_needs_none_of_them(folder, rows, redirect):
    done = run(folder, FIT, redirect)
    assert done.returncode == 0, done.stderr
    _is_whole(folder, rows)


@pytest.mark.parametrize("redirect", [">/dev/full", "| true"])
def test_a_result_that_cannot_be_printed_is_one_line_and_a_status(folder, rows, redirect):
    done = run(folder, FIT, redirect)
    assert done.returncode == 1, done.stderr
    _is_whole(folder, rows)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: standard output does not take the result (")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("redirect", ["2>/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_error_that_cannot_be_shown_has_its_status(folder, redirect, log_format):
    for arguments, status in (("fit none.npy --components 1 --output m.zarr", 1), ("fit", 2)):
        done = run(folder, f"{arguments} --log-format {log_format}", redirect)
        assert done.returncode == status
    assert not (folder / "m.zarr").exists()


def test_python_without_standard_error_fits_with_verbose(rows):
    code = (
        "import numpy as np, daskgmm; x = np.random.default_rng(0).normal(size=(99, 2)); "
        "print(daskgmm.GaussianMixture(1, verbose=1).fit(x).n_iter_)"
    )
    for redirect in ("2>&-", "2>/dev/full"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -c '{code}' {redirect}"],
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip().isdecimal()
