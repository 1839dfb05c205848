"""Wheels for other platforms than this one, by a cross-compiler from PyPI."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

from .artifacts import run

LIBRARY = "daskgmm/kernel/loops/daskgmm_loops.so"


class Target(NamedTuple):
    """A platform: what the compiler, CMake and pip call it."""

    triple: str
    system: str
    processor: str
    tag: str


TARGETS = (
    Target("aarch64-linux-gnu.2.17", "Linux", "aarch64", "manylinux_2_17_aarch64"),
    Target("aarch64-macos.11.0", "Darwin", "arm64", "macosx_11_0_arm64"),
    Target("x86_64-macos.10.13", "Darwin", "x86_64", "macosx_10_13_x86_64"),
)


def build_for(target: Target, python: Path, sources: Path, folder: Path) -> Path:
    """A wheel for a platform.

    Parameters
    ----------
    target : Target
    python : Path
        An interpreter that has the package wheel; uv is on the path.
    sources : Path
        A source distribution.
    folder : Path
        Where the wheel is written.
    """
    defined = {
        "CMAKE_SYSTEM_NAME": target.system,
        "CMAKE_SYSTEM_PROCESSOR": target.processor,
        "CMAKE_C_COMPILER_TARGET": target.triple,
        "CMAKE_CXX_COMPILER_TARGET": target.triple,
        # Asked for on Darwin: nothing here comes from an SDK, or has its name changed.
        "CMAKE_OSX_SYSROOT": "",
        "CMAKE_INSTALL_NAME_TOOL": "install_name_tool",
    }
    made = folder / f"{target.system}-{target.processor}"
    options = [f"--config-setting=cmake.define.{name}={value}" for name, value in defined.items()]
    env = {**os.environ, "DASKGMM_COMPILER": "zig"}
    run("uv", "build", "--quiet", "--wheel", "--out-dir", made, sources, *options, env=env)
    (wheel,) = made.glob("*.whl")
    run(python, "-m", "wheel", "tags", "--remove", "--platform-tag", target.tag, wheel)
    (wheel,) = made.glob("*.whl")
    return wheel.rename(folder / wheel.name)


def faults_of(wheel: Path, target: Target) -> list[str]:
    """What is wrong with the library of a wheel, by its header."""
    with zipfile.ZipFile(wheel) as opened:
        if LIBRARY not in opened.namelist():
            return [f"{wheel.name} lacks {LIBRARY}: its compiler failed"]
        library = opened.read(LIBRARY)
    if (found := built_for(library)) != (target.system, target.processor):
        return [f"{wheel.name}: its library is for {' '.join(found)}"]
    faults = faults_on_macos if target.system == "Darwin" else faults_on_linux
    return [f"{wheel.name}: {one}" for one in faults(library, target)]


def built_for(library: bytes) -> tuple[str, str]:
    """System and processor of a shared library."""
    if library.startswith(b"\x7fELF"):
        (machine,) = struct.unpack_from("<H", library, 18)
        return "Linux", {62: "x86_64", 183: "aarch64"}.get(machine, f"processor {machine}")
    magic, processor, _, kind = struct.unpack_from("<4I", library)
    if (magic, kind) != (0xFEEDFACF, 6):  # 64 bits, dynamic library
        return "no system", f"magic number {magic:#x} and kind {kind}"
    names = {0x0100000C: "arm64", 0x01000007: "x86_64"}
    return "Darwin", names.get(processor, f"processor {processor:#x}")


def faults_on_linux(library: bytes, target: Target) -> list[str]:
    """A later C library than promised. auditwheel, which looks for this, knows its own platform alone."""
    promised = tuple(int(part) for part in target.triple.partition("gnu.")[2].split("."))
    found = {tuple(map(int, one)) for one in re.findall(rb"GLIBC_(\d+)\.(\d+)", library)}
    return [f"needs glibc {a}.{b}" for a, b in sorted(found) if (a, b) > promised]


def faults_on_macos(library: bytes, target: Target) -> list[str]:
    """Libraries that not every Mac has, a later macOS than promised, a missing signature."""
    (n_commands,) = struct.unpack_from("<I", library, 16)
    at, loaded, kinds, least = 32, [], set(), ""
    for _ in range(n_commands):
        kind, size = struct.unpack_from("<2I", library, at)
        kinds.add(kind)
        if kind == 0xC:  # LC_LOAD_DYLIB
            (begin,) = struct.unpack_from("<I", library, at + 8)
            loaded.append(library[at + begin : at + size].rstrip(b"\0").decode())
        if kind in (0x32, 0x24):  # LC_BUILD_VERSION, or before macOS 10.14 LC_VERSION_MIN_MACOSX
            (version,) = struct.unpack_from("<I", library, at + (12 if kind == 0x32 else 8))
            least = f"{version >> 16}.{version >> 8 & 255}"
        at += size
    promised = target.triple.partition("macos.")[2]
    faults = [f"needs {name}" for name in loaded if name != "/usr/lib/libSystem.B.dylib"]
    if least != promised:
        faults.append(f"is for macOS {least or 'of no version'}, not {promised}")
    if target.processor == "arm64" and 0x1D not in kinds:  # LC_CODE_SIGNATURE
        faults.append("is not signed, which a Mac of this processor asks for")
    return faults
