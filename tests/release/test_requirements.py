"""What the release's checklist derives from pyproject.toml, and files that have to say the same."""

import platform
import struct
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from daskgmm.kernel.loops.library import LIBRARY

from .artifacts import versions
from .conda import RECIPE
from .cross import TARGETS, built_for, faults_on_macos
from .requirements import floors, project


def test_the_version_is_said_once_though_in_four_files():
    assert len(set(versions().values())) == 1


def test_floors_hold_every_dependency_at_the_least_that_it_allows():
    held = {Requirement(line).name: Requirement(line).specifier for line in floors()}
    for line in project()["dependencies"]:
        requirement = Requirement(line)
        (version,) = (part.version for part in held[requirement.name])
        assert requirement.specifier.contains(version)


def test_the_conda_recipe_asks_for_what_pyproject_does():
    """Of Dask without extras: those of the array are among the other dependencies."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    asked = {(r.name, r.specifier) for r in map(Requirement, recipe["requirements"]["run"])}
    wanted = {(r.name, r.specifier) for r in map(Requirement, project()["dependencies"])}
    renamed = {("dask-core" if name == "dask" else name, least) for name, least in wanted}
    assert asked == {("python", SpecifierSet(project()["requires-python"])), *renamed}
    assert recipe["about"]["summary"] == project()["description"]
    assert recipe["about"]["license"] == project()["license"]


def test_a_library_says_what_it_is_for():
    """The one that was built here; those for other platforms are looked into at a release."""
    if not LIBRARY:
        pytest.skip("no loops were built here")
    library = Path(LIBRARY._name).read_bytes()
    assert built_for(library) == (platform.system(), platform.machine())


def test_a_library_for_a_mac_is_held_against_what_is_promised():
    """Made by hand, as Apple's <mach-o/loader.h> has it: a header and three commands."""
    arm64, x86_64 = TARGETS[1:]
    system = b"/usr/lib/libSystem.B.dylib\0".ljust(32, b"\0")
    commands = struct.pack("<6I", 0xC, 24 + len(system), 24, 0, 0, 0) + system
    commands += struct.pack("<6I", 0x32, 24, 1, 11 << 16, 0, 0)
    signature = struct.pack("<4I", 0x1D, 16, 0, 0)
    assert mach_o(commands + signature, 3) == []
    assert mach_o(commands, 2) == ["is not signed, which a Mac of this processor asks for"]
    elsewhere = commands.replace(b"/usr/lib/libSystem", b"/opt/lib/libSystem")
    assert mach_o(elsewhere + signature, 3) == ["needs /opt/lib/libSystem.B.dylib"]
    assert mach_o(commands, 2, x86_64) == ["is for macOS 11.0, not 10.13"]
    assert built_for(header(arm64, 0)) == ("Darwin", "arm64")


def header(target, n_commands):
    processor = {"arm64": 0x0100000C, "x86_64": 0x01000007}[target.processor]
    return struct.pack("<8I", 0xFEEDFACF, processor, 0, 6, n_commands, 0, 0, 0)


def mach_o(commands, n_commands, target=TARGETS[1]):
    return faults_on_macos(header(target, n_commands) + commands, target)
