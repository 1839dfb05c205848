"""Advice of errors in places: outputs, checkpoints and what is staged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from following import (
    Case,
    X,
    fit,
    follow,
    interrupted,
    stored,
)

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
        r"remove (?:the folder|it) to begin anew",
        lambda at, said: [
            shutil.rmtree(at / "kept"),
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
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_advice_on_places_works(case, tmp_path):
    follow(case, tmp_path)
