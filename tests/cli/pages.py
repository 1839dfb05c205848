"""Pages of Markdown, and what their blocks of code do where they are run in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from commands import forked

import daskgmm
from daskgmm.guides import GUIDES

ROOT = Path(daskgmm.__file__).parents[1]
README = ROOT / "README.md"
PAGES = {"README": README, **{name: ROOT / f"daskgmm/guides/{name}.md" for name in GUIDES}}


class Code(NamedTuple):
    """A block of code."""

    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Commands of a shell, each on one line."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line for line in joined if line.strip() and not line.startswith("#")]


def code_of(page: Path) -> list[Code]:
    """The blocks of a page, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [Code(*block) for block in found]


@dataclass
class Session:
    """A reader who does in a folder what a page says.

    Attributes
    ----------
    folder : Path
    places : mapping
        What stands on the page for a place that no test has, and the place that it has.
    """

    folder: Path
    places: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    names: dict[str, object] = field(default_factory=dict)

    def run(self, code: Code) -> None:
        """Run a block; what it raises, or a status that is not 0, is an error."""
        {"sh": self._shell, "python": self._python, "yaml": self._yaml}[code.language](code)

    def _shell(self, code: Code) -> None:
        for line in code.lines:
            for name, place in self.places.items():
                line = line.replace(name, place)
            program, *words = shlex.split(line, comments=True)
            if program == "daskgmm":
                done = forked(*words, cwd=self.folder, env=self.env)
                assert done.status == 0, f"{line}\n{done.stderr}"
            else:
                self._program(line)

    def _program(self, line: str) -> None:
        here = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env={**os.environ, "PATH": here, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"

    def _python(self, code: Code) -> None:
        exec(compile(code.text, "the page", "exec"), self.names)

    def _yaml(self, code: Code) -> None:
        """Write the file that the first line of the block names."""
        name = re.match(r"# (\w+\.yaml)\b", code.text)
        assert name, f"a block of YAML must begin with its name: {code.text}"
        (self.folder / name[1]).write_text(code.text)
