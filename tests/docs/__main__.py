"""``python -m tests.docs``: the pages, built without a warning or not at all (``.[docs]``)."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import click
from sphinx.cmd.build import build_main

from .docstrings import faults
from .sources import ROOT, lay_out


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default="build/docs", show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True)
def main(output: Path, jobs: int) -> None:
    """Hold public docstrings against signatures, and build the pages."""
    said = faults()
    for line in said:
        click.echo(line, err=True)
    with tempfile.TemporaryDirectory(prefix="daskgmm-docs-") as folder:
        sources, made = Path(folder) / "sources", Path(folder) / "html"
        sources.mkdir()
        lay_out(sources)
        how = ["-W", "--keep-going", "-q", "-j", str(jobs), "-b", "html"]
        status = build_main([*how, "-d", f"{folder}/doctrees", str(sources), str(made)])
        if status == 0:
            status = _paths_in(made, (str(ROOT), folder, str(Path.home()) + "/"))
        if status or said:
            sys.exit(1)
        (made / ".buildinfo").unlink(missing_ok=True)
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(made, output)
    click.echo(f"{len(list(output.rglob('*.html')))} pages: {output / 'index.html'}")


def _paths_in(folder: Path, paths: tuple[str, ...]) -> int:
    """How many pages name a path of the machine that they were built on; each is told."""
    n_found = 0
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for path in paths:
            if path in text:
                click.echo(f"{page.relative_to(folder)} has the path {path}", err=True)
                n_found += 1
    return n_found


if __name__ == "__main__":
    main()
