"""Imports go downward only, and the kernel and EM stand without Dask."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import mixture_rows, write_store

import daskgmm

ROOT = Path(daskgmm.__file__).parent

FLOORS = (
    {"_version", "errors", "keywords", "lazily", "log_format", "redaction"},
    {"plain_json", "source", "telling"},
    {"history"},
    {"rules"},
    {"settings"},
    {"kernel"},
    {"em"},
    {"testing"},
    {"events"},
    {"configuration"},
    {"execution", "storage"},
    {"conversion", "jobfile", "tables"},
    {"checkpoints", "descriptions", "metrics", "record"},
    {"fitted", "fitting"},
    {"plot"},
    {"estimator"},
    {"selection"},
    {"apart", "row_results"},
    {"imputing", "job", "outliers", "report", "uncertainty"},
    {"job_places", "rounds"},
    {"batch"},
    {"demo", "guides"},
    {"cli"},
    {"__main__"},
)
"""From the ground up. Rooms of one floor do not import each other."""

FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
EVERYWHERE = {"_version"}
BELOW_DASK = {
    *("_version", "errors", "plain_json", "source", "telling", "history", "rules", "settings"),
    *("kernel", "em", "events"),
}
DASK = {"dask", "distributed", "zarr", "numcodecs", "fsspec"}

IMPORTERS = ("import_module", "Lazily")
"""Functions that are given the full name of a module."""

FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(source: str) -> list[tuple[int, str]]:
    """Line and full name of every import, also inside functions and TYPE_CHECKING."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports here are absolute"
            if node.module == "daskgmm":
                found += [(node.lineno, f"daskgmm.{alias.name}") for alias in node.names]
            else:
                found.append((node.lineno, node.module))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(IMPORTERS):
            named = node.args and isinstance(node.args[0], ast.Constant)
            found.append((node.lineno, node.args[0].value if named else "?"))
    return found


def upward(room: str, source: str) -> list[str]:
    """Imports that a room may not make."""
    wrong = []
    for line, name in imports_of(source):
        top, *rest = name.split(".")
        if top in DASK and room in BELOW_DASK:
            wrong.append(f"line {line}: {name} below execution/ and storage/")
        if top != "daskgmm":
            continue
        other = rest[0] if rest else "(the package)"
        if other in EVERYWHERE or other == room:
            continue
        if other not in FLOOR or FLOOR[other] >= FLOOR[room]:
            wrong.append(f"line {line}: {name} is not below {room}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path):
    room = _room(path)
    assert room in FLOOR, f"{room} has no floor: add it to FLOORS"
    assert upward(room, path.read_text()) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("kernel", "from daskgmm.em import run"),
        ("kernel", "def f():\n    import daskgmm.em.race"),
        ("em", "import dask.array as da"),
        ("em", "def f():\n    from zarr import open_array"),
        ("storage", "from daskgmm.execution import in_force"),
        ("execution", "from daskgmm import storage"),
        ("em", "from daskgmm import GaussianMixture"),
        ("kernel", "import daskgmm"),
        ("em", "from importlib import import_module\nimport_module('daskgmm.cli')"),
        ("job", "if TYPE_CHECKING:\n    from daskgmm.cli import main"),
    ],
)
def test_upward_imports_would_be_seen(room, source):
    assert upward(room, source) != []


def test_downward_imports_are_free():
    source = "import numpy\nfrom daskgmm.errors import DataError\nfrom daskgmm.kernel import e_step"
    assert upward("em", source) == []


HEAVY = {"dask", "distributed", "pandas", "scipy", "sklearn", "zarr", "fsspec", "numpy", "tqdm"}


def heavy_after(code: str) -> set[str]:
    """What a fresh interpreter has imported of ``HEAVY`` after the code, which may not raise."""
    code = f"{code}\nimport sys\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    return set(done.stdout.splitlines()[-1].split())


def heavy_after_command(*words: object) -> set[str]:
    """The same after the command, however it exits."""
    return heavy_after(
        "from daskgmm.cli import main\n"
        f"try:\n    main({[*map(str, words)]!r}, prog_name='daskgmm')\nexcept SystemExit:\n    pass"
    )


@pytest.mark.parametrize(
    "module", ["daskgmm", "daskgmm.errors", "daskgmm.kernel", "daskgmm.em", "daskgmm.events"]
)
def test_a_fresh_interpreter_stays_without_dask(module):
    assert not heavy_after(f"import {module}") & {"dask", "distributed", "zarr", "fsspec"}


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["fit", "--help"],
        ["run", "--help"],
        ["convert", "--help"],
        ["plot", "--help"],
        ["guide"],
        ["guide", "memory"],
        ["fit", "--nonsense"],
        ["nonsense"],
        ["select", "data.zarr", "--components", "x"],
    ],
    ids=" ".join,
)
def test_help_and_errors_of_usage_import_nothing_heavy(words):
    assert heavy_after_command(*words) == set()


def test_a_broken_module_is_named_and_not_taken_for_a_missing_name(tmp_path):
    """As by a script of the name of a module, which lies first on the path."""
    (tmp_path / "threadpoolctl.py").write_text("raise AttributeError('half of a module')")
    done = subprocess.run(
        [sys.executable, "-c", "from daskgmm import GaussianMixture"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT.parent)},
    )
    assert "a module that it needs is broken: half of a module" in done.stderr


def test_completion_imports_nothing_heavy():
    code = (
        "import os, sys\n"
        "os.environ |= {'_DASKGMM_COMPLETE': 'bash_complete', 'COMP_WORDS': 'daskgmm fi',"
        " 'COMP_CWORD': '1'}\n"
        "from daskgmm.cli import main\n"
        "try:\n    main(prog_name='daskgmm')\nexcept SystemExit as error:\n    assert not error.code"
    )
    assert heavy_after(code) == set()


FIT = "from daskgmm import GaussianMixture\nGaussianMixture(2, random_state=0, max_iter=2)"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A store and a model."""
    folder = tmp_path_factory.mktemp("places")
    data = write_store(folder / "data.zarr", mixture_rows(2000, 2, 2))
    model = daskgmm.GaussianMixture(2, random_state=0).fit(str(data))
    model.save(folder / "model.zarr")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import daskgmm.execution",
        "from daskgmm import GaussianMixture, load_model, open_rows, select",
        f"import numpy as np\n{FIT}.fit(np.random.default_rng(0).normal(size=(1000, 2)))",
        f"{FIT}.fit('data.zarr')",
        "from daskgmm.cli import main\n"
        "main('fit data.zarr --components 2 --output fitted.zarr'.split(), standalone_mode=False)",
        "from daskgmm.cli import main\n"
        "main('predict data.zarr --model model.zarr --output labels.zarr'.split(),"
        " standalone_mode=False)",
    ],
    ids=["execution", "names", "array", "store", "fit", "predict"],
)
def test_no_scheduler_is_imported_without_a_cluster(places, code):
    assert "distributed" not in heavy_after(f"import os\nos.chdir({str(places)!r})\n{code}")


@pytest.mark.parametrize(
    "words", [["info", "model.zarr"], ["info", "data.zarr"], ["check", "data.zarr"]]
)
def test_descriptions_import_neither_dask_nor_scikit_learn(places, words):
    command, name = words
    found = heavy_after_command(command, places / name)
    assert found <= {"numpy", "scipy", "zarr", "fsspec"}


def test_public_names_are_found_when_asked_for():
    for name in daskgmm.__all__:
        assert getattr(daskgmm, name) is not None
        assert name in dir(daskgmm)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = daskgmm.Nothing
