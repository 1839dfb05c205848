"""``daskgmm plot``: pictures as files.

Asserted: the file, whole and of the kind that its ending says; its JSON; that what cannot be drawn
is refused in one line before a read. What is in pictures is tested in tests/plot.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner
from commands import chunk, forked, tree

from daskgmm.cli import main
from daskgmm.errors import DamagedDataError, OutputExistsError, ParameterError
from daskgmm.report.pictures import write_plot


def test_a_picture_is_written(folder):
    done = forked(
        *("plot", "pairs", "model.zarr", "data.zarr", "--features", "0,2"),
        *("--output", "pairs.svg", "--json"),
        cwd=folder,
    )
    told = done.json
    assert (told["kind"], told["model"], told["output"]) == ("pairs", "model.zarr", "pairs.svg")
    assert told["alt"].startswith("Rows by pairs of features: x0, x2.")
    root = ET.parse(folder / "pairs.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_the_picture_of_a_model_alone_needs_no_data(folder):
    told = write_plot("components", str(folder / "model.zarr"), str(folder / "means.png"))
    assert (folder / "means.png").read_bytes().startswith(b"\x89PNG")
    assert "What makes each component" in told["alt"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pears", "model.zarr"), "'pears' is not one of"),
        (("pairs", "model.zarr"), "pairs shows rows, and none are given; name DATA"),
        (("convergence", "model.zarr", "data.zarr"), "shows the model alone; leave DATA out"),
        (("map", "model.zarr", "data.zarr", "--features", "0,1"), "map has no use for features"),
        (
            ("map", "model.zarr", "data.zarr", "--at", "3"),
            "such as depth=5.0, or DIM=DATE, such as time=2020-01-03; got '3'",
        ),
        (("map", "model.zarr", "data.zarr", "--at", "time=--3"), "got 'time=--3'"),
        (("map", "model.zarr", "data.zarr", "--at", "time=²"), "got 'time=²'"),
        (("map", "model.zarr", "data.zarr", "--at", "time=२०२०-०१"), "got 'time=२०२०-०१'"),
        (("map", "model.zarr", "data.zarr", "--at", f"time={'9' * 5000}"), "must be DIM=NUMBER"),
        (
            ("map", "model.zarr", "data.zarr", "--at", "time=3", "--at", "time=4"),
            "names a place along 'time' twice; name one",
        ),
        (("components", "model.zarr", "--features", "a\nb"), "no text of names"),
        (("components", "model.zarr", "--features", "²"), "there is no '²' among the features"),
        (("map", "model.zarr", "data.zarr"), "these are rows alone"),
        (("selection", "model.zarr"), "not chosen by a selection"),
        (("components", "model.zarr", "--features", "0,9"), "there is no feature 9"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_line(folder, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    before = tree(folder)
    done = CliRunner().invoke(main, ["plot", *words, "--output", "picture.svg"])
    assert done.exit_code == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert message in error
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["picture.pdf", "picture", "svg"])
def test_another_ending_is_refused(name):
    done = CliRunner().invoke(main, ["plot", "components", "model.zarr", "--output", name])
    assert done.exit_code == 2
    assert "end its name in .svg or .png" in done.stderr


def test_a_file_that_is_there_is_kept_unless_it_may_be_replaced(folder):
    (folder / "picture.svg").write_text("mine")
    words = "components", str(folder / "model.zarr"), str(folder / "picture.svg")
    with pytest.raises(OutputExistsError, match=r"picture\.svg"):
        write_plot(*words)
    assert (folder / "picture.svg").read_text() == "mine"
    write_plot(*words, overwrite=True)
    assert (folder / "picture.svg").read_text().rstrip().endswith("</svg>")


def test_nothing_is_left_of_a_picture_of_damaged_rows(folder):
    chunk(folder / "data.zarr").unlink()
    before = tree(folder)
    with pytest.raises(DamagedDataError, match=r"data\.zarr"):
        write_plot("pairs", *(str(folder / name) for name in ("model.zarr", "p.png", "data.zarr")))
    assert tree(folder) == before


def test_a_picture_never_lies_in_the_data(folder):
    with pytest.raises(ParameterError, match="overlap"):
        write_plot(
            "pairs",
            *(str(folder / name) for name in ("model.zarr", "data.zarr/picture.svg", "data.zarr")),
        )
