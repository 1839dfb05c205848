"""Checkpoints: a fit that is interrupted anywhere ends with the bits of one that is not."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from made_data import assert_same_bits, made_mixture, rows_of
from sklearn.exceptions import ConvergenceWarning

from daskgmm import GaussianMixture, load_model
from daskgmm.em import STEPPERS, Iteration, Resumed, ScanDone, StartsFitted
from daskgmm.errors import (
    CheckpointError,
    ClusterError,
    DaskGMMWarning,
    InterruptedFitError,
    JobRunningError,
    ParameterError,
    PointerMovedError,
)
from daskgmm.events import listening

pytestmark = pytest.mark.filterwarnings("ignore:not converged")
SETTINGS = {"n_components": 3, "random_state": 0, "tol": 1e-9, "max_iter": 6}
SETTINGS |= {"progressive": False}  # or nothing is left to do after the sample, which is all


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Rows of overlapping components in a Zarr array, so that no fit ends at once."""
    path = tmp_path_factory.mktemp("stored") / "rows.zarr"
    zarr.save_array(path, rows_of(made_mixture("full", 3, 2, separation=1.2), 6000, seed=1))
    return path


def interrupted(after: int, stored: Path, folder: Path, **settings: object) -> None:
    """Fit, as by Ctrl-C when a pass has ended; 0 is the scan."""

    def stop(event: object) -> None:
        n_passes = event.n_iter if isinstance(event, Iteration) else 0
        if isinstance(event, ScanDone | Iteration) and n_passes == after:
            raise KeyboardInterrupt

    error = InterruptedFitError if after else KeyboardInterrupt
    with listening(stop), pytest.raises(error):
        fitted(stored, folder, resume=True, **settings)


@pytest.mark.parametrize("after", [1, 2, 4])
def test_no_pass_before_an_interruption_is_lost(stored, tmp_path, after):
    interrupted(after, stored, tmp_path / "kept", checkpoint_every=5)
    told: list[object] = []
    with listening(told.append):
        resumed = fitted(stored, tmp_path / "kept", resume=True)
    (event,) = (one for one in told if isinstance(one, Resumed))
    assert event.n_iter == after
    assert_same_fit(resumed, fitted(stored))


def fitted(stored: Path, folder: Path | None = None, **settings: object) -> GaussianMixture:
    return GaussianMixture(**(SETTINGS | settings), checkpoint=folder).fit(stored)


def assert_same_fit(a: GaussianMixture, b: GaussianMixture) -> None:
    assert_same_bits(a._mixture, b._mixture)
    assert a.lower_bounds_ == b.lower_bounds_
    assert (a.n_passes_, a.rows_read_, a.stop_reason_) == (
        b.n_passes_,
        b.rows_read_,
        b.stop_reason_,
    )


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="one"),
        pytest.param({"n_init": 3}, id="three", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("stepper", STEPPERS)
def test_interrupted_after_every_pass_in_turn_it_ends_with_the_same_bits(
    stored, tmp_path, stepper, settings
):
    undisturbed = fitted(stored, stepper=stepper, **settings)
    n_iter = undisturbed.n_passes_ - 1
    assert n_iter > 3
    for after in range(1, n_iter):
        interrupted(after, stored, tmp_path / "kept", stepper=stepper, **settings)
    resumed = fitted(stored, tmp_path / "kept", stepper=stepper, resume=True, **settings)
    assert_same_fit(resumed, undisturbed)


def test_truncated_passes_go_on_in_their_neighbourhoods(tmp_path):
    path = tmp_path / "rows.zarr"
    zarr.save_array(path, np.random.default_rng(0).normal(size=(4000, 2)))
    settings = {"n_components": 200, "truncate": 20, "max_iter": 4, "tol": 0.0}
    settings["init_params"] = "random_from_data"
    for after in range(1, 4):
        interrupted(after, path, tmp_path / "kept", **settings)
    resumed = fitted(path, tmp_path / "kept", resume=True, **settings)
    assert_same_fit(resumed, fitted(path, **settings))


def test_random_numbers_go_on_after_the_scan(stored, tmp_path):
    """Interrupted while starts compete on the sample, and before any of them steps."""
    settings = {"progressive": True, "init_params": "random"}

    def interrupt(event: object) -> None:
        if isinstance(event, StartsFitted):
            raise KeyboardInterrupt

    with listening(interrupt), pytest.raises(InterruptedFitError, match="after 1 pass;"):
        fitted(stored, tmp_path / "kept", **settings)
    resumed = fitted(stored, tmp_path / "kept", resume=True, **settings)
    assert_same_fit(resumed, fitted(stored, **settings))


def test_a_fit_that_came_to_its_end_is_read_and_not_made_again(stored, tmp_path, monkeypatch):
    first = fitted(stored, tmp_path / "kept")
    monkeypatch.setattr("daskgmm.execution.DaskRows.fold", None)
    again = fitted(stored, tmp_path / "kept", resume=True)
    assert_same_fit(again, first)
    monkeypatch.undo()
    assert_same_fit(fitted(stored, tmp_path / "kept"), first)  # without resume: made anew


def test_few_are_kept_and_the_newest_is_a_model(stored, tmp_path):
    folder = tmp_path / "kept"
    fit = fitted(stored, folder)
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert [name.partition("-")[0] for name in names] == ["current.json", "pass", "pass", "scan"]
    assert names[2].startswith(f"pass-{fit.n_passes_:06d}-")
    assert_same_bits(load_model(folder / names[2])._mixture, fit._mixture)


def test_an_error_of_the_place_says_how_to_go_on(stored, tmp_path):
    def lose(event: object) -> None:
        if isinstance(event, Iteration) and event.n_iter == 2:
            raise ClusterError("the scheduler is lost")

    folder = tmp_path / "kept"
    lost = pytest.raises(ClusterError, match=r"is lost; .*kept holds .*--resume")
    with listening(lose), lost as caught:
        fitted(stored, folder)
    assert caught.value.is_resumable
    assert_same_fit(fitted(stored, folder, resume=True), fitted(stored))


def test_an_interrupted_fit_is_not_lost_by_beginning_anew(stored, tmp_path):
    interrupted(2, stored, tmp_path / "kept")
    with pytest.raises(CheckpointError, match=r"holds an interrupted run.*--resume"):
        fitted(stored, tmp_path / "kept")
    with pytest.raises(ParameterError, match="resume needs checkpoint"):
        fitted(stored, None, resume=True)


def test_a_start_that_is_not_kept_is_refused(stored, tmp_path):
    with pytest.raises(ParameterError, match="warm_start"):
        fitted(stored, tmp_path / "kept", warm_start=True)
    assert not (tmp_path / "kept").exists()


def test_numbers_of_numpy_are_the_same_job(stored, tmp_path):
    interrupted(2, stored, tmp_path / "kept", random_state=np.int64(0), tol=np.float64(1e-9))
    assert_same_fit(fitted(stored, tmp_path / "kept", resume=True), fitted(stored))


def test_another_job_is_refused_and_what_changed_is_said(stored, tmp_path):
    interrupted(2, stored, tmp_path / "kept")
    with pytest.raises(CheckpointError, match=r"settings\.n_components was 3, is 4"):
        fitted(stored, tmp_path / "kept", resume=True, n_components=4)
    other = tmp_path / "other.zarr"
    zarr.save_array(other, zarr.load(stored) + 1.0)
    with pytest.raises(CheckpointError, match=r"data\.fingerprint was"):
        fitted(other, tmp_path / "kept", resume=True)
    # What does not change the result may change: here, where rows are kept meanwhile.
    shutil.copytree(stored, tmp_path / "copy.zarr")
    moved = fitted(tmp_path / "copy.zarr", tmp_path / "kept", resume=True, memory_limit="8GiB")
    assert_same_fit(moved, fitted(stored))


def test_rows_that_were_rewritten_in_place_are_another_job(stored, tmp_path):
    """Of the same sizes: a fit that went on would mix old rows and new ones."""
    path = tmp_path / "rows.npy"
    np.save(path, zarr.load(stored))
    interrupted(2, path, tmp_path / "kept")
    time.sleep(0.02)  # a clock of files can stand still for a few ms
    with path.open("r+b") as file:  # a file in memory keeps its time when it is mapped and changed
        file.seek(path.stat().st_size // 4)  # where fingerprints do not look
        file.write(bytes(1000))
    with pytest.raises(CheckpointError, match=r"data\.fingerprint was '(\w+) written .* is '\1 "):
        fitted(path, tmp_path / "kept", resume=True)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(stored, tmp_path):
    folder = tmp_path / "kept"
    interrupted(3, stored, folder)
    newest = max(folder.glob("pass-*"))
    (newest / "numbers" / "c" / "0").write_bytes(b"")
    with pytest.warns(DaskGMMWarning, match="using the one before it"):
        resumed = fitted(stored, folder, resume=True)
    assert_same_fit(resumed, fitted(stored))


def test_where_all_are_damaged_the_error_says_so(stored, tmp_path):
    folder = tmp_path / "kept"
    interrupted(1, stored, folder)
    (only,) = folder.glob("pass-*")
    metadata = only / "zarr.json"
    metadata.write_text(metadata.read_text().replace("is_active", "is_passive"))
    with pytest.raises(CheckpointError, match=r"digest.*remove \S+kept to begin anew"):
        fitted(stored, folder, resume=True)


def test_the_scan_is_needed(stored, tmp_path):
    folder = tmp_path / "kept"
    interrupted(1, stored, folder)
    pointer = json.loads((folder / "current.json").read_text())
    state = json.loads(pointer["state"]) | {"scan": None}
    (folder / "current.json").write_text(json.dumps(pointer | {"state": json.dumps(state)}))
    with pytest.raises(CheckpointError, match="lacks the scan"):
        fitted(stored, folder, resume=True)


def test_of_two_fits_with_one_folder_the_second_is_refused(stored, tmp_path):
    folder = tmp_path / "kept"
    refused = []

    def meanwhile(event: object) -> None:
        if isinstance(event, Iteration) and not refused:
            for resume in (False, True):
                refused.append(resume)
                with pytest.raises(JobRunningError, match="another process"):
                    fitted(stored, folder, resume=resume)

    with listening(meanwhile):
        first = fitted(stored, folder)
    assert refused == [False, True]
    assert_same_fit(fitted(stored, folder, resume=True), first)


def test_a_fit_whose_folder_another_has_taken_ends(stored, tmp_path):
    folder = tmp_path / "kept"

    def intrude(event: object) -> None:
        if isinstance(event, Iteration) and event.n_iter == 1:
            (folder / "current.json").write_text("{}")

    with listening(intrude), pytest.raises(PointerMovedError, match="another process"):
        fitted(stored, folder)


def test_only_stored_rows_can_be_known_again(tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 2))
    with pytest.raises(ParameterError, match="checkpoint is for stored rows"):
        fitted(x, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_at_max_iter_the_fit_has_ended(stored, tmp_path):
    with pytest.warns(ConvergenceWarning):
        first = fitted(stored, tmp_path / "kept", max_iter=1, tol=0.0)
    with pytest.warns(ConvergenceWarning):
        again = fitted(stored, tmp_path / "kept", max_iter=1, tol=0.0, resume=True)
    assert_same_fit(again, first)
