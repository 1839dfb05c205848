"""The notebooks run from their first cell to their last, and print what they were kept with."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
NUMBER = re.compile(r"[-+]?\d+\.?\d*")


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def pictures(notebook: nbformat.NotebookNode) -> list[int]:
    """Cells that draw."""
    return [
        number
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_kept_whole_and_small(name):
    """They are read on the web as they are kept: with their pictures, and no error or warning."""
    kept = nbformat.read(EXAMPLES / name, 4)
    nbformat.validate(kept)
    outputs = [output for cell in kept.cells for output in cell.get("outputs", [])]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert all(output.output_type != "error" for output in outputs)
    assert pictures(kept)
    assert (EXAMPLES / name).stat().st_size < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_give_what_they_were_kept_with(name, tmp_path):
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    run = "import sys; from nbclient.cli import main; sys.argv[0] = 'nbclient'; main()"
    command = [sys.executable, "-c", run, "--inplace", "--timeout=600", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept, found = (nbformat.read(folder / name, 4) for folder in (EXAMPLES, tmp_path))
    assert pictures(found) == pictures(kept)
    assert NUMBER.sub("#", printed(found)) == NUMBER.sub("#", printed(kept))
    words = [NUMBER.findall(printed(notebook)) for notebook in (found, kept)]
    # Each is rounded where it is printed, and may be rounded the other way: by one in its last place.
    places = [10.0 ** -len(word.partition(".")[2]) for word in words[1]]
    gaps = np.abs(np.array(words[0], float) - np.array(words[1], float))
    assert (gaps <= 1.01 * np.array(places)).all()
