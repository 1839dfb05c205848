"""Bad input: a clear error, nothing written, nothing lost.

Each case is run as a process, and all of them are held to the same: the exit status,
no traceback, one line of error that names what is wrong, where, and the way out, and a
folder in which every byte is as it was, names that start with a dot included.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import zarr
from commands import chunk, daskgmm, forked, mixture_rows, tree, write_store

X = mixture_rows(10_000, 3, 3)
FIT = ("--components", 3, "--output", "new.zarr")
PREDICT = ("--model", "model.zarr", "--output", "new.zarr")


@dataclass(frozen=True)
class Case:
    """A command that must fail.

    ``prepare`` makes what is bad in a folder that holds ``data.zarr`` (10,000 rows x 3)
    and ``model.zarr``; ``words`` must all be in the error.
    """

    name: str
    command: tuple[object, ...]
    words: tuple[str, ...]
    prepare: Callable[[Path], object] = field(default=lambda folder: None)
    status: int = 1


def spoiled(*values: tuple[int, int, float]) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        x = X.copy()
        for row, column, value in values:
            x[row, column] = value
        write_store(folder / "bad.zarr", x)

    return prepare


def store(x: np.ndarray, name: str = "bad.zarr") -> Callable[[Path], object]:
    return lambda folder: write_store(folder / name, x)


def damaged(damage: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: damage(chunk(folder / "data.zarr"))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0b100
    file.write_bytes(content)


def group(folder: Path) -> None:
    made = zarr.create_group(folder / "group.zarr")
    made.create_array("first", data=X[:10])
    made.create_array("second", data=X[:10, 0])


def newer_model(folder: Path) -> None:
    file = folder / "model.zarr" / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["attributes"]["format_version"] = 99
    file.write_text(json.dumps(metadata))


def linked(folder: Path) -> None:
    (folder / "link").symlink_to(folder, target_is_directory=True)


NON_FINITE = [
    Case(
        "nan",
        ("fit", "bad.zarr", *FIT),
        ("2 values", "row 4321", "column 1", "nan", "remove or impute"),
        spoiled((4321, 1, np.nan), (9000, 0, np.nan)),
    ),
    Case(
        "infinity",
        ("fit", "bad.zarr", *FIT),
        ("1 value,", "row 0", "column 2", "inf"),
        spoiled((0, 2, np.inf)),
    ),
    Case(
        "minus infinity in the last row",
        ("score", "bad.zarr", "--model", "model.zarr"),
        ("1 value,", "row 9999", "column 0", "-inf"),
        spoiled((9999, 0, -np.inf)),
    ),
    Case(
        "nan while predicting",
        ("predict", "bad.zarr", *PREDICT, "--probabilities", "p.zarr", "--log-density", "d.zarr"),
        ("row 7777", "column 2"),
        spoiled((7777, 2, np.nan)),
    ),
]

SHAPES_AND_DTYPES = [
    Case("1-D", ("fit", "bad.zarr", *FIT), ("bad.zarr", "(10000,)", "reshape"), store(X[:, 0])),
    Case(
        "3-D",
        ("fit", "bad.zarr", *FIT),
        ("bad.zarr", "(10, 10, 3)"),
        store(X[:100].reshape(10, 10, 3)),
    ),
    Case("no rows", ("fit", "bad.zarr", *FIT), ("no rows", "(0, 3)"), store(X[:0])),
    Case("no columns", ("fit", "bad.zarr", *FIT), ("no features", "(10000, 0)"), store(X[:, :0])),
    Case(
        "complex",
        ("fit", "bad.zarr", *FIT),
        ("bad.zarr", "complex128", "float64"),
        store(X.astype(complex)),
    ),
    Case(
        "text",
        ("fit", "bad.npy", *FIT),
        ("bad.npy", "<U", "float64"),
        lambda folder: np.save(folder / "bad.npy", X[:10].astype(str)),
    ),
    Case(
        "text in zarr",
        ("fit", "bad.zarr", *FIT),
        ("bad.zarr", "float64"),
        lambda folder: zarr.create_array(
            folder / "bad.zarr", data=X[:10].astype("S9"), zarr_format=2
        ),
    ),
    Case(
        "objects",
        ("fit", "bad.npy", *FIT),
        ("bad.npy", "object", "float64"),
        lambda folder: np.save(folder / "bad.npy", X[:10].astype(object), allow_pickle=True),
    ),
    Case(
        "other features than the model",
        ("predict", "bad.zarr", *PREDICT),
        ("bad.zarr has 2 features", "model.zarr", "3"),
        store(X[:, :2]),
    ),
    Case(
        "other features than the model, scored",
        ("score", "bad.zarr", "--model", "model.zarr"),
        ("bad.zarr has 2 features", "3"),
        store(X[:, :2]),
    ),
]

CONTENT = [
    Case(
        "fewer rows than components",
        ("fit", "bad.zarr", *FIT),
        ("3", "2", "lower"),
        store(X[:2]),
    ),
    Case(
        "fewer distinct rows than components",
        ("fit", "bad.zarr", *FIT, "--reg-covar", 0),
        ("2 of 10,000 rows are distinct", "raise reg_covar"),
        store(X[np.arange(10_000) % 2]),
    ),
    Case(
        "constant column",
        ("fit", "bad.zarr", *FIT),
        ("column 1", "constant", "7", "drop"),
        store(np.where([False, True, False], np.float32(7), X)),
    ),
    Case(
        "collapsing component",
        ("fit", "bad.zarr", "--components", 2, "--output", "new.zarr", "--reg-covar", 0),
        ("component", "reg_covar"),
        # The rows are two points: a component that takes one of them has no variance.
        store(np.repeat(X[:2], 5000, axis=0)),
    ),
]

DAMAGE = [
    Case(
        "missing chunk",
        ("fit", "data.zarr", *FIT),
        ("data.zarr", "1 of 10 chunks", "missing", "c/1/0", "--missing-chunks fill"),
        damaged(Path.unlink),
    ),
    Case(
        "empty chunk",
        ("fit", "data.zarr", *FIT),
        ("data.zarr", "1 of 10 chunks", "empty", "c/1/0", "restore"),
        damaged(lambda file: file.write_bytes(b"")),
    ),
    Case(
        "empty chunk is no fill value",
        ("fit", "data.zarr", *FIT, "--missing-chunks", "fill"),
        ("empty", "c/1/0"),
        damaged(lambda file: file.write_bytes(b"")),
    ),
    Case(
        "truncated chunk",
        ("fit", "data.zarr", *FIT),
        ("data.zarr", "c/1/0", "rows 1000:2000", "restore"),
        damaged(lambda file: file.write_bytes(file.read_bytes()[:-100])),
    ),
    Case(
        "truncated chunk, nothing compressed",
        ("fit", "plain.zarr", *FIT),
        ("plain.zarr", "c/1/0", "truncated"),
        lambda folder: chunk(write_store(folder / "plain.zarr", X, checksum=False)).write_bytes(
            b"1234"
        ),
    ),
    Case(
        "flipped bit",
        ("fit", "data.zarr", *FIT),
        ("data.zarr", "c/1/0", "rows 1000:2000", "restore"),
        damaged(flip),
    ),
    Case(
        "flipped bit while predicting",
        ("predict", "data.zarr", *PREDICT, "--probabilities", "p.zarr"),
        ("data.zarr", "c/1/0", "rows 1000:2000"),
        damaged(flip),
    ),
    Case(
        "flipped bit in the model",
        ("predict", "data.zarr", *PREDICT),
        ("model.zarr/means", "restore"),
        lambda folder: flip(folder / "model.zarr" / "means" / "c" / "0" / "0"),
    ),
    Case(
        "array of the model missing",
        ("score", "data.zarr", "--model", "model.zarr"),
        ("model.zarr", "means"),
        lambda folder: shutil.rmtree(folder / "model.zarr" / "means"),
    ),
    Case(
        "broken metadata",
        ("fit", "data.zarr", *FIT),
        ("metadata", "data.zarr"),
        lambda folder: (folder / "data.zarr" / "zarr.json").write_text("{"),
    ),
    Case(
        "truncated npy",
        ("fit", "data.npy", *FIT),
        ("data.npy", "truncated", "bytes"),
        lambda folder: (
            np.save(folder / "data.npy", X),
            (folder / "data.npy").write_bytes((folder / "data.npy").read_bytes()[:-1]),
        ),
    ),
]

PLACES = [
    Case("no such data", ("fit", "nowhere.zarr", *FIT), ("nowhere.zarr does not exist", "check")),
    Case("no such data for check", ("check", "nowhere.zarr"), ("nowhere.zarr does not exist",)),
    Case("no such data for info", ("info", "nowhere.zarr"), ("nowhere.zarr does not exist",)),
    Case(
        "no such model",
        ("predict", "data.zarr", "--model", "nowhere.zarr", "--output", "new.zarr"),
        ("nowhere.zarr does not exist",),
    ),
    Case(
        "group of several arrays",
        ("fit", "group.zarr", *FIT),
        ("group.zarr", "2 arrays", "first (10, 3) float32", "second (10,) float32"),
        group,
    ),
    Case(
        "no such member",
        ("fit", "group.zarr", "--member", "third", *FIT),
        ("group.zarr/third",),
        group,
    ),
    Case(
        "empty group",
        ("fit", "group.zarr", *FIT),
        ("group.zarr", "no array"),
        lambda folder: zarr.create_group(folder / "group.zarr"),
    ),
    Case("a folder that is not Zarr", ("fit", ".", *FIT), ("not a Zarr array or group",)),
    Case(
        "a file of columns without names",
        ("fit", "data.csv", *FIT),
        ("data.csv", "--no-header", "daskgmm convert data.csv"),
        lambda folder: (folder / "data.csv").write_text("1,2\n"),
    ),
    Case(
        "output exists",
        ("fit", "data.zarr", "--components", 3, "--output", "model.zarr"),
        ("model.zarr exists", "--overwrite"),
    ),
    Case(
        "a second output exists",
        ("predict", "data.zarr", *PREDICT, "--probabilities", "p.zarr"),
        ("p.zarr exists", "--overwrite"),
        store(X[:10], "p.zarr"),
    ),
    Case(
        "output is a file, never replaced",
        ("fit", "data.zarr", "--components", 3, "--output", "notes", "--overwrite"),
        ("notes exists", "not a Zarr"),
        lambda folder: (folder / "notes").write_text("dear diary"),
    ),
    Case(
        "output in a folder that does not exist",
        ("fit", "data.zarr", "--components", 3, "--output", "no/new.zarr"),
        ("no/new.zarr", "does not exist"),
    ),
    *(
        Case(
            f"output on the data: {output}",
            ("fit", "data.zarr", "--components", 3, "--output", output, "--overwrite"),
            ("data.zarr", "overlap"),
            linked,
            status=2,
        )
        for output in (
            "data.zarr",
            "./data.zarr/",
            "data.zarr/c",
            "data.zarr/new",
            "link/data.zarr",
        )
    ),
    Case(
        "output around the data",
        ("fit", "group.zarr/first", "--components", 3, "--output", "group.zarr", "--overwrite"),
        ("overlap",),
        group,
        status=2,
    ),
    Case(
        "output on the model",
        ("predict", "data.zarr", "--model", "model.zarr", "--output", "model.zarr", "--overwrite"),
        ("model.zarr", "overlap"),
        status=2,
    ),
    Case(
        "two outputs in one place",
        ("predict", "data.zarr", *PREDICT, "--probabilities", "new.zarr"),
        ("new.zarr", "overlap"),
        status=2,
    ),
]

MODELS = [
    Case(
        "model of a newer format",
        ("predict", "data.zarr", *PREDICT),
        ("model.zarr", "newer", "99", "upgrade"),
        newer_model,
    ),
    Case(
        "model of a newer format, shown",
        ("info", "model.zarr"),
        ("model.zarr", "newer", "99", "upgrade"),
        newer_model,
    ),
    Case(
        "data as model",
        ("predict", "data.zarr", "--model", "data.zarr", "--output", "new.zarr"),
        ("data.zarr is a Zarr array, not a model",),
    ),
    Case(
        "array as model",
        ("score", "data.zarr", "--model", "other.zarr"),
        ("other.zarr", "not a model"),
        store(X[:10], "other.zarr"),
    ),
    Case(
        "group as model",
        ("score", "data.zarr", "--model", "group.zarr"),
        ("group.zarr", "not a daskgmm model"),
        group,
    ),
    Case(
        "text as model",
        ("score", "data.zarr", "--model", "model.txt"),
        ("model.txt", "not a model"),
        lambda folder: (folder / "model.txt").write_text("weights: 1"),
    ),
]

MEMORY = [
    Case(
        "memory limit too small to fit",
        ("fit", "data.zarr", *FIT, "--memory-limit", "20MB"),
        ("19.07 MiB is too small", "in use or reserved", "rows x 3 features", "raise it to"),
    ),
    Case(
        "memory limit too small to predict",
        ("predict", "data.zarr", *PREDICT, "--memory-limit", "20MB"),
        ("19.07 MiB is too small", "raise it to"),
    ),
]

WRONG = {
    "fit": (
        ("--components", "0"),
        ("--components", "three"),
        ("--covariance", "round"),
        ("--restarts", "0"),
        ("--seed", "-1"),
        ("--max-iter", "-1"),
        ("--tol", "-1"),
        ("--tol", "nan"),
        ("--stopping", "now"),
        ("--reg-covar", "-1"),
        ("--reg-covar", "nan"),
        ("--reg-covar", "inf"),
        ("--init-params", "guess"),
        ("--memory-limit", "much"),
        ("--memory-limit", "0"),
        ("--memory-limit", "-1GB"),
        ("--missing-chunks", "ignore"),
        ("--output", ""),
        ("--componets", "3"),
    ),
    "predict": (
        ("--memory-limit", "much"),
        ("--missing-chunks", "ignore"),
        ("--output", ""),
        ("--model", ""),
        ("--labels", "x"),
    ),
    "score": (("--memory-limit", "much"), ("--output", "x")),
    "demo": (("--size", "big"), ("--size", "1kB"), ("--memory-limit", "much")),
    "info": (("--member", "x"),),
    "check": (("--model", "x"),),
}
BASE = {
    "fit": ("data.zarr", *FIT),
    "predict": ("data.zarr", *PREDICT),
    "score": ("data.zarr", "--model", "model.zarr"),
    "demo": ("--keep", "kept"),
    "info": ("data.zarr",),
    "check": ("data.zarr",),
}

USAGE = [
    *(
        # The last of two equal options counts.
        Case(
            f"{command} {option} {value!r}", (command, *BASE[command], option, value), (), status=2
        )
        for command, options in WRONG.items()
        for option, value in options
    ),
    Case("fit without data", ("fit", *FIT), ("DATA",), status=2),
    Case(
        "fit without components", ("fit", "data.zarr", "--output", "x"), ("--components",), status=2
    ),
    Case("fit without output", ("fit", "data.zarr", "--components", 2), ("--output",), status=2),
    Case("score without model", ("score", "data.zarr"), ("--model",), status=2),
    Case("demo of two sizes", ("demo", "--small", "--size", "1MB"), ("--size",), status=2),
    Case("two data", ("fit", "data.zarr", "b.zarr", *FIT), ("b.zarr",), status=2),
    Case("no such command", ("fits", "data.zarr"), ("fits",), status=2),
    Case(
        "no such cluster file",
        ("fit", "data.zarr", *FIT, "--cluster", "nowhere.yaml"),
        ("nowhere.yaml",),
    ),
    Case(
        "cluster address without a port",
        ("fit", "data.zarr", *FIT, "--cluster", "tcp://nowhere"),
        ("tcp://nowhere",),
    ),
]

CASES = [*NON_FINITE, *SHAPES_AND_DTYPES, *CONTENT, *DAMAGE, *PLACES, *MODELS, *MEMORY, *USAGE]


def check(case: Case, folder: Path, run: Callable[..., object]) -> None:
    case.prepare(folder)
    before = tree(folder)
    done = run(*case.command, cwd=folder)
    assert tree(folder) == before
    assert "Traceback" not in done.stderr
    assert done.status == case.status, done.stderr
    message = done.error
    missing = [words for words in case.words if words not in message]
    assert not missing, message
    if case in USAGE and case.status == 2:
        # Names the option, or the value, that is wrong.
        named = [str(part).strip("-") for part in case.command[-2:]] + list(case.words)
        assert any(name.replace("-", "_") in message.replace("-", "_") for name in named), message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_one_clear_error_and_changes_nothing(case, folder):
    check(case, folder, forked)


@pytest.mark.parametrize("case", [NON_FINITE[3], USAGE[0]], ids=lambda case: case.name)
def test_the_same_by_the_console_script(case, folder):
    check(case, folder, daskgmm)


def test_output_by_file_url_cannot_be_the_data_either(folder):
    """``file://`` once hid that it was the same place, and --overwrite lost the data."""
    before = tree(folder)
    url = (folder / "data.zarr").as_uri()
    done = forked(
        *("fit", "data.zarr", "--components", 3, "--output", url, "--overwrite"), cwd=folder
    )
    assert (done.status, tree(folder)) == (2, before)
    assert "overlap" in done.error


def test_secrets_of_urls_are_not_shown(folder):
    url = "s3://key:verysecret@bucket/data.zarr"
    for command in (("fit", url, *FIT), ("fit", "data.zarr", *FIT[:-1], url), ("info", url)):
        done = forked(*command, cwd=folder)
        assert done.status in (1, 2)
        assert "verysecret" not in done.stderr + done.stdout
