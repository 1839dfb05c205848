"""The wheel and the source distribution: how they are built, and what has to be in them."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from .requirements import ROOT

_IN_WHEEL = (
    *("kernel/loops/daskgmm_loops.so", "guides/data.md", "report/page.html", "py.typed"),
    "__main__.py",
)
_IN_SOURCES = (
    *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "daskgmm/kernel/loops/loops.cpp"),
    *("daskgmm/kernel/loops/CMakeLists.txt", "tests/conftest.py", "examples/wind_regimes.py"),
)
_RUBBISH = re.compile(r"__pycache__|\.pyc$|CMakeFiles|CMakeCache|\.cmake/|ninja|\.o$|\.venv|\.git/")


def versions() -> dict[str, str]:
    """The version by each file that says it."""
    read = {name: (ROOT / name).read_text(encoding="utf-8") for name in _SAYS_VERSION}
    return {name: _first(_SAYS_VERSION[name], text) for name, text in read.items()}


_SAYS_VERSION = {
    "daskgmm/_version.py": r'__version__ = "([^"]+)"',
    "CHANGELOG.md": r"(?m)^## (\S+)",
    "CITATION.cff": r'(?m)^version: "?([^"\s]+)',
    ".ci/conda/recipe.yaml": r'(?m)^  version: "(.+)"',
}


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else "not said"


def build(python: Path, folder: Path) -> tuple[Path, Path]:
    """Build sources, and from these a wheel, which is given the tag of its glibc.

    Parameters
    ----------
    python : Path
        An interpreter that has twine and auditwheel; uv is on the path.
    folder : Path

    Returns
    -------
    wheel, sources : Path
    """
    made = folder / "made"
    run("uv", "build", "--quiet", "--out-dir", made, ROOT)
    (wheel,), (sources,) = made.glob("*.whl"), made.glob("*.tar.gz")
    run(python, "-m", "twine", "check", "--strict", wheel, sources)
    if sys.platform == "linux":
        run(python, "-m", "auditwheel", "repair", "--only-plat", "-w", folder / "dist", wheel)
        (wheel,) = (folder / "dist").glob("*.whl")
    return wheel, sources


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What a command prints; where it fails, that is told with what it said."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        words = " ".join(map(str, command[:6]))
        raise SystemExit(f"FAILED: {words}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def faults(wheel: Path, sources: Path) -> list[str]:
    """What is missing from them, and what should not be there."""
    with zipfile.ZipFile(wheel) as opened:
        in_wheel = opened.namelist()
    with tarfile.open(sources) as opened:
        in_sources = [name.partition("/")[2] for name in opened.getnames()]
    guides = [f"guides/{path.name}" for path in (ROOT / "daskgmm/guides").glob("*.md")]
    foreign = [name for name in in_wheel if not re.match(r"daskgmm(-[^/]+\.dist-info)?/", name)]
    return [
        *(
            f"{wheel.name} lacks {n}"
            for n in (*_IN_WHEEL, *guides)
            if f"daskgmm/{n}" not in in_wheel
        ),
        *(f"{sources.name} lacks {n}" for n in _IN_SOURCES if n not in in_sources),
        *(f"{wheel.name} has {n}" for n in foreign),
        *(f"rubbish: {name}" for name in (*in_wheel, *in_sources) if _RUBBISH.search(name)),
    ]
