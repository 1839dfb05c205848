"""``python -m tests.release.requirements EXTRA``: what pyproject.toml asks for, to install or hold."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def project() -> dict:
    """The table [project] of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def of_extra(name: str) -> list[str]:
    """Requirements of an extra."""
    return project()["optional-dependencies"][name]


def floors(extras: Iterable[str] = ()) -> list[str]:
    """Constraints that hold each dependency, and those of some extras, at its least version."""
    lines = [*project()["dependencies"], *(line for name in extras for line in of_extra(name))]
    least: dict[str, str] = {}
    for requirement in map(Requirement, lines):
        for part in requirement.specifier:
            if part.operator == ">=":
                least[requirement.name] = part.version
    return [f"{name}=={version}" for name, version in sorted(least.items())]


if __name__ == "__main__":
    print("\n".join(of_extra(sys.argv[1])))
