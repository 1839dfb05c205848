"""Advice of errors in places: outputs, checkpoints and what is staged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from following import (
    Case,
    X,
    fit,
    follow,
    found_in,
    interrupted,
    stored,
)

from daskgmm import GaussianMixture, load_model
from daskgmm.em import Iteration
from daskgmm.errors import DaskGMMError
from daskgmm.events import listening
from daskgmm.kernel import gaussian_mixture
from daskgmm.storage import save_model

pytestmark = pytest.mark.slow  # a fit or two for each advice

MIXTURE = gaussian_mixture(np.ones(1), X[:1], np.eye(2)[None], "full")


def _within_a_fit(at: Path, checkpoint: Path) -> None:
    """A fit that begins while another one keeps its checkpoints under ``kept``."""
    refused, begun = list[DaskGMMError](), list[object]()

    def begin(event: object) -> None:
        if isinstance(event, Iteration) and not begun:
            begun.append(event)
            try:
                fit(stored(at), checkpoint=checkpoint)
            except DaskGMMError as error:
                refused.append(error)

    with listening(begin):
        fit(stored(at), checkpoint=at / "kept")
    assert begun
    for error in refused:
        raise error


def _rewritten(at: Path, **how: Any) -> Path:
    """A model whose means were written again by somebody else."""
    fit(X).save(at / "m.zarr", overwrite=True)
    group = zarr.open_group(at / "m.zarr")
    group.create_array("means", data=group["means"][...], overwrite=True, **how)
    return at / "m.zarr"


def _damaged(at: Path, damage: Callable[[Path], object]) -> GaussianMixture:
    fit(X).save(at / "m.zarr")
    shutil.copytree(at / "m.zarr", at / "copy.zarr")
    damage(at / "m.zarr" / "means" / "c" / "0" / "0")
    return load_model(at / "m.zarr")


def _restored(at: Path) -> Path:
    shutil.rmtree(at / "m.zarr" / "means")
    shutil.copytree(at / "copy.zarr" / "means", at / "m.zarr" / "means")
    return at / "m.zarr"


CASES = {
    "an output that is there": Case(
        lambda at: [fit(X).save(at / "m.zarr") for _ in range(2)],
        r"replace it with (\w+)=True",
        lambda at, said: fit(X).save(at / "m.zarr", **{said[1]: True}),
    ),
    "an output of another format": Case(
        lambda at: fit(X).save(at / "model.csv"),
        r"name it (\S+),",
        lambda at, said: fit(X).save(at / Path(said[1]).name),
    ),
    "an output in a folder that is not there": Case(
        lambda at: fit(X).save(at / "no" / "m.zarr"),
        r"create (\S+) first",
        lambda at, said: [Path(said[1]).mkdir(), fit(X).save(at / "no" / "m.zarr")],
    ),
    "an interrupted run, to go on": Case(
        lambda at: fit(stored(at), 2, **interrupted(at)),
        r"continue it with (\w+)=True",
        lambda at, said: fit(stored(at), 2, **interrupted(at), **{said[1]: True}),
    ),
    "an interrupted run, to begin anew": Case(
        lambda at: fit(stored(at), 2, **interrupted(at)),
        r"or remove the folder",
        lambda at, said: [
            shutil.rmtree(at / "kept"),
            fit(stored(at), 2, checkpoint=str(at / "kept")),
        ],
    ),
    "values beyond what is staged": Case(
        lambda at: fit(str(stored(at, X * 1e60, "big.zarr")), stage="auto", stage_dtype="float32"),
        r"leave out (stage_dtype)",
        lambda at, said: fit(str(stored(at, X * 1e60, "big.zarr")), stage="auto"),
    ),
    "stage_dtype without stage": Case(
        lambda at: fit(str(stored(at)), stage_dtype="float32"),
        r"set stage='(\w+)'",
        lambda at, said: fit(str(stored(at)), stage=said[1], stage_dtype="float32"),
    ),
    "checkpoints of a warm start": Case(
        lambda at: fit(stored(at), warm_start=True, checkpoint=str(at / "kept")),
        r"checkpoint does not hold the start of warm_start.*leave one out, or give .* as (\w+)",
        lambda at, said: [
            fit(stored(at), warm_start=True),
            fit(stored(at), checkpoint=str(at / "kept"), **{said[1]: X[:1]}),
        ],
    ),
    "checkpoints of rows in memory": Case(
        lambda at: fit(X, checkpoint=str(at / "kept")),
        r"checkpoint is for (stored) rows.*leave it out",
        lambda at, said: [fit(X), fit(stored(at), checkpoint=str(at / "kept"))],
    ),
    "checkpoints in a file": Case(
        lambda at: [(at / "kept").write_text(""), fit(stored(at), checkpoint=str(at / "kept"))],
        r"cannot be a folder.*check the path",
        lambda at, said: fit(stored(at), checkpoint=str(at / "another")),
    ),
    "checkpoints of another job": Case(
        lambda at: fit(stored(at), 1, **interrupted(at), resume=True),
        r"name another folder, or begin anew: remove this one",
        lambda at, said: [
            fit(stored(at), 1, checkpoint=str(at / "another")),
            shutil.rmtree(at / "kept"),
            fit(stored(at), 1, checkpoint=str(at / "kept")),
        ],
    ),
    "checkpoints that are damaged": Case(
        lambda at: [
            interrupted(at),
            [file.write_bytes(b"") for file in (at / "kept").rglob("*") if file.is_file()],
            fit(stored(at), 2, **interrupted(at), resume=True),
        ],
        r"remove (\S+) to begin anew",
        lambda at, said: [
            shutil.rmtree(said[1]),
            fit(stored(at), 2, checkpoint=str(at / "kept")),
        ],
    ),
    "a folder to stage in that is not there": Case(
        lambda at: fit(stored(at), stage=str(at / "fast")),
        r"the folder (\S+) does not exist; create it, or name another",
        lambda at, said: [Path(said[1]).mkdir(), fit(stored(at), stage=said[1])],
    ),
    "staging of rows in memory": Case(
        lambda at: fit(X, stage=str(at)),
        r"for data in memory or on Dask leave them out, or write the data to (Zarr) first",
        lambda at, said: [fit(X), fit(stored(at), stage="auto")],
    ),
    "a file in the place of the model": Case(
        lambda at: [(at / "m.zarr").write_text("mine"), fit(X).save(at / "m.zarr", overwrite=True)],
        r"is not a Zarr array or group, so it is never replaced; choose another name",
        lambda at, said: fit(X).save(at / "other.zarr", overwrite=True),
    ),
    "a fit that another one keeps its checkpoints beside": Case(
        lambda at: _within_a_fit(at, at / "kept"),
        r"let it end, or give each a folder of its own \((checkpoint)\)",
        lambda at, said: [
            fit(stored(at), **{said[1]: at / "kept"}),
            _within_a_fit(at, at / "another"),
        ],
    ),
    "resuming without checkpoints": Case(
        lambda at: fit(stored(at), resume=True),
        r"resume needs (\w+), the folder to continue from",
        lambda at, said: fit(stored(at), resume=True, **{said[1]: at / "kept"}),
    ),
    "staging behind a URL": Case(
        lambda at: fit(stored(at), stage="s3://bucket/stage"),
        r"stage must be a folder on a local disk",
        lambda at, said: fit(stored(at), stage=str(at)),
    ),
    "values beyond what is staged, rescaled": Case(
        lambda at: fit(stored(at, X * 1e60, "big.zarr"), stage="auto", stage_dtype="float32"),
        r"hold values beyond float32 \(([\d.e+]+)\); (rescale) the data",
        lambda at, said: fit(
            stored(at, X * 1e60 / float(said[1]), "small.zarr"), stage="auto", stage_dtype="float32"
        ),
    ),
    "stage_dtype without stage, dropped": Case(
        lambda at: fit(stored(at), stage_dtype="float32"),
        r"stage_dtype needs stage: set stage='auto' or a folder, or drop it",
        lambda at, said: [
            fit(stored(at)),
            fit(stored(at), stage=str(at), stage_dtype="float32"),
        ],
    ),
    "an array of a model": Case(
        lambda at: [fit(X).save(at / "m.zarr"), load_model(at / "m.zarr" / "means")],
        r"(\S+) is a Zarr array, not a model; name the model's group",
        lambda at, said: load_model(Path(said[1]).parent),
    ),
    "a model that is compressed": Case(
        lambda at: load_model(_rewritten(at)),
        r"write its arrays again with (zarr\.create_array)\(\.\.\., compressors=(None)\)",
        lambda at, said: load_model(_rewritten(at, compressors=eval(said[2]))),
    ),
    "a model in chunks beyond it": Case(
        lambda at: load_model(_rewritten(at, compressors=None, chunks=(5, 5))),
        r"more than its (\(\d+, \d+\)); write it again in one chunk",
        lambda at, said: load_model(_rewritten(at, compressors=None, chunks=eval(said[1]))),
    ),
    "a model that lacks a chunk": Case(
        lambda at: _damaged(at, lambda file: file.unlink()),
        r"is missing from the store; restore the array from a copy or write it anew$",
        lambda at, said: [load_model(_restored(at)), fit(X).save(at / "m.zarr", overwrite=True)],
    ),
    "a model with a chunk that is cut off": Case(
        lambda at: _damaged(at, lambda file: file.write_bytes(b"")),
        r"are expected; restore the array from a copy or write it anew$",
        lambda at, said: [load_model(_restored(at)), fit(X).save(at / "m.zarr", overwrite=True)],
    ),
    "a record that says what the model says": Case(
        lambda at: save_model(at / "m.zarr", MIXTURE, {"format": "mine", "rows": 5}),
        r"record\['(\w+)'\] is .*; leave it out",
        lambda at, said: save_model(
            at / "m.zarr",
            MIXTURE,
            {key: value for key, value in (("format", "mine"), ("rows", 5)) if key != said[1]},
        ),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_on_places_works(case, tmp_path):
    follow(case, tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", None])
@pytest.mark.parametrize("file", ["current.json", "scan-*/zarr.json", "scan-*/numbers/c/0"])
def test_checkpoints_begin_anew_where_what_is_named_is_removed(file, content, tmp_path):
    """Whichever file is damaged, or gone: what is named is one path, and all that is removed."""
    options = interrupted(tmp_path)
    (damaged,) = (tmp_path / "kept").glob(file)
    if content is None:
        damaged.unlink()
    else:
        damaged.write_bytes(content)
    try:
        fit(stored(tmp_path), 2, **options, resume=True)
    except DaskGMMError as error:
        said = found_in(str(error), r"(\S+) is not text .*; remove it|remove (\S+) to begin anew")
        place = Path(said[1] or said[2])
        place.unlink() if place.is_file() else shutil.rmtree(place)
        fit(stored(tmp_path), 2, **options)
    else:
        assert (file, content) == ("current.json", None)  # it began anew by itself
