"""The sources of the pages: laid out from the package, the guides, the examples and the commands."""

from __future__ import annotations

import ast
import base64
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from daskgmm.cli import help
from daskgmm.cli import main as commands
from daskgmm.guides import GUIDES

from . import public

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(#[^)]*)?\)")
_TERMINAL = 96
"""Columns of help texts."""


def lay_out(folder: Path) -> None:
    """Write all sources into an empty folder."""
    here = Path(__file__).parent
    for name in ("_templates", "_static"):
        shutil.copytree(here / name, folder / name)
    shutil.copy(here / "conf.py", folder)
    for name, text in _pages(folder):
        page = folder / name
        page.parent.mkdir(exist_ok=True)
        page.write_text(text, encoding="utf-8")


def _pages(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each page."""
    yield "index.md", _index()
    yield "guides/index.md", _contents("Guides", [f"{name}.md" for name in GUIDES])
    for name in GUIDES:
        page = ROOT / "daskgmm/guides" / f"{name}.md"
        yield f"guides/{name}.md", _relinked(page, "../")
    yield "examples/index.md", _contents("Examples", [*map(_page_of, _examples())])
    for path in _examples():
        (folder / "examples").mkdir(exist_ok=True)
        of_kind = _notebook if path.suffix == ".ipynb" else _script
        yield f"examples/{_page_of(path)}", of_kind(path, folder / "examples")
    yield "reference.rst", _reference()
    yield "commands.md", _commands()
    yield "changelog.md", _relinked(ROOT / "CHANGELOG.md", "")
    yield "files.md", _files()
    yield "measured.md", _relinked(ROOT / "tests/benchmarks/NOTES.md", "")


def _contents(title: str, pages: list[str]) -> str:
    return f"# {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n" + "\n".join(pages) + "\n```\n"


def _index() -> str:
    """The README up to its list of guides, which the pages' own contents replace."""
    readme = ROOT / "README.md"
    text = _relinked(readme, "", readme.read_text(encoding="utf-8").partition("\n## Guides\n")[0])
    parts = ("guides/index", "examples/index", "reference", "commands", "changelog", "files")
    contents = "\n".join([*parts, "measured"])
    return f"{text}\n\n```{{toctree}}\n:hidden:\n\n{contents}\n```\n"


def _relinked(page: Path, up: str, text: str | None = None) -> str:
    """The text of a page, or a part of it, whose links to files of the checkout lead to pages that have these."""

    def link(match: re.Match[str]) -> str:
        target = (page.parent / match[1]).resolve().relative_to(ROOT)
        if target.suffix == ".png":
            return f"]({up}{target})"
        return f"]({up}{_home(target)})"

    text = _LINK.sub(link, page.read_text(encoding="utf-8") if text is None else text)
    return text.replace("```sh\n", "```bash\n")


def _home(target: Path) -> str:
    """The page that shows a file of the checkout."""
    first = target.parts[0]
    if first == "cluster_configs":
        anchor = re.sub(r"[^a-z0-9_-]", "", target.name.lower())
        return f"files.md#{anchor}" if len(target.parts) > 1 else "files.md"
    if first == "examples":
        return f"examples/{_page_of(target)}"
    if target.parts[:2] == ("daskgmm", "guides"):
        return f"guides/{target.name}"
    if target.parts[:2] == ("tests", "benchmarks"):
        return "measured.md"
    raise ValueError(f"no page shows {target}, to which a page links: name one in {__file__}")


def _examples() -> list[Path]:
    return sorted([*(ROOT / "examples").glob("*.ipynb"), *(ROOT / "examples").glob("*.py")])


def _page_of(example: Path) -> str:
    return f"{example.stem}.md"


def _script(path: Path, folder: Path) -> str:
    """A script: what its docstring says, its picture if it has one, and the code."""
    code = path.read_text(encoding="utf-8")
    tree = ast.parse(code)
    title, _, text = (ast.get_docstring(tree) or "").partition("\n")
    code = "\n".join(code.splitlines()[tree.body[0].end_lineno :]).strip()
    picture = path.with_suffix(".png")
    shown = ""
    if picture.exists():
        shutil.copy(picture, folder)
        shown = f"![{title}]({picture.name})\n\n"
    return f"# {title.rstrip('.')}\n\n{text.strip(chr(10))}\n\n{shown}```python\n{code}\n```\n"


def _notebook(path: Path, folder: Path) -> str:
    """A notebook: its text, code, and what the code printed and drew when it was kept."""
    parts = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts += _shown(output, folder, f"{path.stem}-{number}.png")
    return "\n\n".join(parts) + "\n"


def _shown(output: dict[str, object], folder: Path, name: str) -> Iterator[str]:
    """An output of a cell, as its richest form."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if picture := data.get("image/png"):
        (folder / name).write_bytes(base64.b64decode("".join(picture)))
        yield f"![What the code above draws]({name})"
    elif table := data.get("text/html"):
        yield f"```{{raw}} html\n{''.join(table)}\n```"
    elif text := "".join(data["text/plain"]).rstrip():
        yield f"```text\n{text}\n```"


def _reference() -> str:
    """The reference: a list of the objects of each section, each with a page of its own."""
    parts = [_heading("Reference", "=")]
    for section, names in public.SECTIONS.items():
        parts += [_heading(section, "-"), _list_of(names)]
    errors = [name for name in public.names() if name.startswith("daskgmm.errors.")]
    parts += [_heading("Errors and warnings", "-"), _list_of(errors)]
    return "\n".join(parts)


def _heading(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}\n"


def _list_of(names: list[str] | tuple[str, ...]) -> str:
    """Tables of names, in their order; records are shown without methods."""
    parts = []
    for is_record, run in itertools.groupby(names, public.is_record):
        listed = "\n".join(f"   ~{name}" for name in run)
        options = "   :toctree: generated\n   :nosignatures:\n"
        if is_record:
            options += "   :template: autosummary/record.rst\n"
        parts.append(f".. autosummary::\n{options}\n{listed}\n")
    return "\n".join(parts)


def _commands() -> str:
    """What ``--help-all`` prints, of every command."""
    parts = ["# Commands\n"]
    for name, command in sorted(commands.commands.items()):
        context = click.Context(
            command,
            info_name=f"daskgmm {name}",
            max_content_width=_TERMINAL,
            terminal_width=_TERMINAL,
        )
        context.meta[help.ALL] = True
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _files() -> str:
    """The files of ``cluster_configs/``, to which guides refer."""
    parts = ["# Files of clusters\n\nIn `cluster_configs/` of a checkout.\n"]
    for path in sorted((ROOT / "cluster_configs").iterdir()):
        language = "yaml" if path.suffix == ".yaml" else "text"
        parts.append(f"## {path.name}\n\n```{language}\n{path.read_text(encoding='utf-8')}```\n")
    return "\n".join(parts)
