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
