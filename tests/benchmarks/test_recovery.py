"""The table of recovery: noise and t components find what outliers hide from the defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from .__main__ import main

pytestmark = pytest.mark.slow


def test_the_options_recover_what_the_defaults_lose(tmp_path: Path) -> None:
    file = tmp_path / "recovery.json"
    command = ["recovery", "--rows", "10000", "--repeats", "1", "--json", str(file)]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (table,) = json.loads(file.read_text())["tables"]
    rows = {row["case"]: row for row in table["rows"]}
    clean, lost = rows["clean"], rows["5% gross outliers, by defaults"]
    assert clean["gap"] == 0
    assert clean["error"] == clean["error_clean"]
    for case in ("5% gross outliers, noise=True", "5% gross outliers, tails='t'"):
        found = rows[case]
        assert found["agreement"] > found["agreement_clean"] - 0.05 > lost["agreement"] - 0.05
        assert found["error"] < 5 < lost["error"]
        assert 0 <= found["gap"] < lost["gap"]
    dropped, used = (rows[f"20% of values missing, missing='{how}'"] for how in ("drop", "em"))
    assert 0 <= used["gap"] < dropped["gap"]  # half of the rows are complete
    assert used["error"] < 5
    inflated, told = (
        rows[f"error bars as large as the widths, {how}"]
        for how in ("by defaults", "measurement_noise")
    )
    assert 0 <= told["gap"] < 0.1 * inflated["gap"]
    assert told["error"] < 10  # in standard errors of means of rows without noise
