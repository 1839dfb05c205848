"""Ctrl-C, as a real SIGINT to the real process, at a moment that its own doings tell.

Asserted: exit status 1, one line of error, and a folder in which every byte is as it was
before. The moment is never a matter of sleeping: of a fit it is a line of progress, of a
predict the first chunk of its unfinished output.
"""

import signal
from collections.abc import Callable

import click
import pytest
from commands import Running, forked, mixture_rows, started, tree, write_store

from daskgmm.cli.errors import reported

pytestmark = pytest.mark.slow  # whole commands, signals on the way


def wait_for_file(process: Running, found: Callable[[], object]) -> None:
    while process.poll() is None:
        if found():
            return
    pytest.fail(f"ended before it could be interrupted: {process.finished().stderr}")


def interrupted(process: Running) -> None:
    """Send SIGINT and hold what follows to the promise."""
    process.send_signal(signal.SIGINT)
    done = process.finished()
    assert done.status == 1, done.stderr
    assert done.error.startswith("interrupted")


@pytest.mark.parametrize(
    ("line", "overwrite", "script"),
    [
        ("scan: ", (), False),
        ("scan: ", ("--overwrite",), False),
        ("pass 3: ", (), False),
        ("pass 3: ", ("--overwrite",), True),
    ],
)
def test_interrupted_fit_leaves_everything_as_it_was(folder, line, overwrite, script):
    output = "model.zarr" if overwrite else "new.zarr"
    before = tree(folder)
    with started(
        *("fit", "data.zarr", "--components", 3, "--output", output, *overwrite),
        *("--tol", 0, "--max-iter", 10**6),
        cwd=folder,
        script=script,
    ) as process:
        process.wait_for(line)
        interrupted(process)
    assert tree(folder) == before


@pytest.mark.parametrize(
    ("way_on", "status", "message"),
    [
        (None, 1, "interrupted; no output was left half written"),
        ("run the same command again", 75, "interrupted; run the same command again"),
    ],
)
def test_interruption_that_a_library_turns_into_an_error_of_its_own(way_on, status, message):
    """As numpy does, where the signal comes while it compares rows of structured dtype."""

    def compare() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise TypeError("Cannot compare structured arrays") from None

    with pytest.raises(click.ClickException) as caught, reported("text", None, way_on):
        compare()
    assert (caught.value.exit_code, caught.value.message) == (status, message)


def test_error_without_interruption_stays_what_it_is():
    with pytest.raises(TypeError, match="of another cause"), reported("text", None, None):
        raise TypeError("of another cause")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder whose data take a predict some seconds to label."""
    folder = tmp_path_factory.mktemp("large")
    write_store(folder / "data.zarr", mixture_rows(1_000_000, 8, 5), rows=50_000)
    write_store(folder / "some.zarr", mixture_rows(20_000, 8, 5))
    fitted = forked(
        *("fit", "some.zarr", "--components", 20, "--max-iter", 1, "--output", "model.zarr"),
        "--no-progressive",
        cwd=folder,
    )
    assert fitted.status == 0, fitted.stderr
    return folder


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["new", "overwrite"])
def test_interrupted_predict_leaves_everything_as_it_was(large, overwrite):
    predict = ("predict", "--model", "model.zarr", "--output", "labels.zarr")
    if overwrite:
        assert forked(*predict, "some.zarr", cwd=large).status == 0
    before = tree(large)
    with started(
        *(*predict, "data.zarr", *overwrite),
        *("--probabilities", "probabilities.zarr", "--log-density", "density.zarr"),
        cwd=large,
    ) as process:
        wait_for_file(process, lambda: list(large.glob(".density.zarr.partial-*/log_density/c/*")))
        interrupted(process)
    assert tree(large) == before


def test_error_in_one_task_leaves_nothing_of_the_others(large, tmp_path):
    """While one task meets NaN, others are writing: they end before the output goes."""
    x = mixture_rows(1_000_000, 8, 5)
    x[500_000, 2] = float("nan")
    bad = write_store(tmp_path / "bad.zarr", x, rows=50_000)
    before = tree(large)
    for _ in range(3):
        done = forked(
            *("predict", bad, "--model", "model.zarr", "--output", "l.zarr"),
            *("--probabilities", "p.zarr", "--log-density", "d.zarr"),
            cwd=large,
        )
        assert "row 500000, column 2" in done.error
        assert tree(large) == before
