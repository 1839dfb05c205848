"""What ``info`` and ``check`` print for people: in groups, aligned, to sensible digits.

Asserted: nothing of a model's features is lost where they are few enough, no line is too long for a
terminal, and nothing that a terminal would obey is printed.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from daskgmm import GaussianMixture
from daskgmm.cli import tables
from daskgmm.descriptions import info


def described(tmp_path, k: int, d: int, **options: object) -> dict[str, object]:
    """Facts of a model of k components in d features of names of 20 letters."""
    rng = np.random.default_rng(0)
    names = [f"sea_water_variable_{j:02}" for j in range(d)]
    parameters = np.full(k, 1.0 / k), 1e4 * rng.normal(size=(k, d)), np.full((k, d), 1e5)
    model = GaussianMixture.from_parameters(*parameters, covariance_type="diag", names=names)
    model.set_params(**options).save(tmp_path / "m.zarr", overwrite=True)
    return info(str(tmp_path / "m.zarr"))


def cells_of(text: str) -> list[list[str]]:
    return [re.split(r"  +", line) for line in text.rpartition("\n\n")[2].splitlines()]


@pytest.mark.parametrize(("k", "d"), [(2, 3), (3, 30), (3, 100), (30, 4), (30, 100), (1, 1)])
def test_a_table_fits_into_a_line_and_says_what_it_leaves_out(k, d, tmp_path):
    result = described(tmp_path, k, d)
    text = tables.of_model(result)
    assert max(map(len, text.splitlines())) <= 100
    rows = cells_of(text)
    left_out = re.match(
        r"\.\.\. and (?:(\d+) components)?(?: and )?(?:(\d+) features)?", rows[-1][0]
    )
    n_left = [int(n or 0) for n in left_out.groups()] if left_out else [0, 0]
    table = rows[: -1 if left_out else None]
    if table[0][1] != "weight":
        table = [list(column) for column in zip(*table, strict=True)]
    header, *components = table
    assert header[:2] == ["component", "weight"]
    assert (len(components) + n_left[0], len(header) - 2 + n_left[1]) == (k, d)
    assert header[2:] == result["feature_names"][: len(header) - 2]
    for row, means in zip(components, result["means"], strict=False):
        found = [float(cell.split(" \u00b1 ")[0]) for cell in row[2:]]
        np.testing.assert_allclose(found, means[: len(found)], rtol=1e-3)
    assert k > 20 or d > 40 or not left_out


def test_facts_are_in_groups_and_settings_are_those_that_were_chosen(tmp_path):
    result = described(tmp_path, 2, 3, max_iter=7)
    result |= {"seconds": 83.0, "peak_memory_bytes": 1 << 30, "n_rows": 1_234_567}
    first, *_, last, _ = tables.of_model(result | {"remaining_gain": 1 / 3}).split("\n\n")
    assert re.search(r"^n_rows +1,234,567$", first, re.MULTILINE)
    for name, said in (
        ("settings", "max_iter 7"),
        ("seconds", "1 min 23 s"),
        ("peak_memory_bytes", "1.00 GiB"),
    ):
        assert re.search(rf"^{name} +{said}$", last, re.MULTILINE)


def test_nothing_that_a_terminal_obeys_is_printed(tmp_path):
    result = described(tmp_path, 2, 3)
    result |= {"feature_names": ["a\x1b[31m", "b\x9b", "c\nd"], "note": "\x1b]0;title\x07"}
    text = tables.of_model(result | {"any\x1b": {"thing\x1b": ["\x07"]}})
    assert all(c.isprintable() or c == "\n" for c in text)


def test_what_is_empty_is_not_said():
    facts = {"a": None, "b": [], "c": {}, "d": "", "e": 0, "f": False, "g": [0.5, 1e-9]}
    assert tables.of_facts(facts).split() == ["e", "0", "f", "no", "g", "0.5,", "1e-09"]


def test_names_are_wrapped_and_none_is_cut():
    columns = {f"column_of_the_table_{j}": "double" for j in range(60)}
    text = tables.of_facts({"columns": columns, "feature_names": list(columns), "n": 60})
    assert max(map(len, text.splitlines())) <= 100
    said = " ".join(text.split())
    every = ", ".join(f"{name} double" for name in columns)
    assert said == f"columns {every} feature_names {', '.join(columns)} n 60"
    assert {line[:24].strip() for line in text.splitlines()} == {
        "",
        "columns",
        "feature_names",
        "n",
    }


def test_a_list_without_end_has_one():
    text = tables.of_facts({"columns": {f"{'c' * 70}{j}": "double" for j in range(1000)}})
    assert len(text.splitlines()) == 201
    assert text.endswith("... and 800 more: --json has all")


def test_each_variable_has_a_line_with_its_facts_below_each_other():
    dims = ["time", "latitude", "longitude"]
    grid = {
        name: {
            "dims": dims[-n:],
            "shape": [4] * n,
            "chunks": [2] * n,
            "dtype": "float32",
            "shards": None,
        }
        for name, n in (("u10", 3), ("temperature_of_the_soil_at_a_depth", 3), ("sea", 2))
    }
    grid["u10"]["units"] = "m s-1"
    header, *rows = tables.of_facts({"variables": grid}).splitlines()
    starts = [m.start() for m in re.finditer(r"\S+", header)]
    cells = [
        [line[i:j].strip() for i, j in zip(starts, [*starts[1:], None], strict=True)]
        for line in [header, *rows]
    ]
    assert cells[0] == ["variables", "dims", "shape", "chunks", "dtype", "units"]
    assert cells[1] == ["u10", ", ".join(dims), "4, 4, 4", "2, 2, 2", "float32", "m s-1"]
    assert cells[3] == ["sea", ", ".join(dims[1:]), "4, 4", "2, 2", "float32", ""]
