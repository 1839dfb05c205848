"""Commands that describe, check, convert and make data, and what helps people on."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

from daskgmm.cli import tables
from daskgmm.cli.help import Grouped
from daskgmm.cli.options import command, output_option, with_conversion, with_source
from daskgmm.guides import GUIDES, guide, summary_of
from daskgmm.lazily import Lazily

if TYPE_CHECKING:
    from daskgmm import demo, descriptions
    from daskgmm.conversion import convert as conversion
else:  # what help, completion and errors of usage do without
    demo, descriptions = (Lazily(f"daskgmm.{name}") for name in ("demo", "descriptions"))
    conversion = Lazily("daskgmm.conversion.convert")

__all__ = ["COMMANDS"]

_DEMO_SIZE = "2GB"
_SMALL_DEMO_SIZE = "16MB"


@click.command("info", cls=Grouped)
@command
@click.argument("path", metavar="MODEL_OR_DATA")
def _info(path: str) -> tuple[dict[str, Any], str]:
    """Describe a saved model, or stored rows, without reading the rows.

    Of files that are to be converted, such as CSV, the first rows tell the types.

    \b
    Example:
      daskgmm info model.zarr
    """  # noqa: D301
    result = descriptions.info(path)
    return result, tables.of_model(result) if result["kind"] == "model" else tables.of_facts(result)


@click.command("check", cls=Grouped)
@command
@with_source
def _check(source: Any) -> tuple[dict[str, Any], str]:
    """Look for missing, empty and truncated chunks of DATA, without reading the rows.

    \b
    Example:
      daskgmm check data.zarr
    """  # noqa: D301
    result = descriptions.check(source)
    return result, tables.of_facts(result | {"damage": result["damage"] or "none"})


@click.command("convert", cls=Grouped)
@command
@click.argument("source", metavar="SRC")
@with_conversion
@output_option
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
def _convert(source: str, output: str, **options: Any) -> tuple[dict[str, Any], str]:
    """Write CSV, Parquet, NetCDF or HDF5 as Zarr or Parquet, with names and units.

    SRC is a file, a folder, or a glob in quotes, here or behind a URL; CSV may be compressed. The
    output's ending, .zarr or .parquet, says what is written: rows, but NetCDF stays a grid in Zarr.

    \b
    Example:
      daskgmm convert data.csv --output data.zarr
      daskgmm convert "flights/*.csv.gz" --columns distance,air_time --missing drop --output f.zarr
    """  # noqa: D301
    result = conversion.convert(source, output, **options)
    return result, conversion.told(result)


@click.command("demo", cls=Grouped)
@command
@click.option("--size", metavar="SIZE", help=f"Bytes of rows to make.  [default: {_DEMO_SIZE}]")
@click.option("--small", is_flag=True, help=f"Make {_SMALL_DEMO_SIZE}, which takes seconds.")
@click.option(
    "--memory-limit", default="512MiB", show_default=True, metavar="SIZE", help="Most memory."
)
@click.option(
    "--keep", metavar="FOLDER", help="Keep data and model there, instead of a temporary folder."
)
def _demo(
    size: str | None, small: bool, memory_limit: str, keep: str | None
) -> tuple[dict[str, Any], str]:
    """Make a Zarr store, fit it within the memory limit, and compare with the truth.

    By default the store is four times as large as the limit.

    \b
    Example:
      daskgmm demo --size 500MB
      daskgmm demo --small
    """  # noqa: D301
    if small and size is not None:
        raise click.UsageError(f"--small is --size {_SMALL_DEMO_SIZE}: give one of the two")
    size = size or (_SMALL_DEMO_SIZE if small else _DEMO_SIZE)
    return demo.run_demo(size=size, memory_limit=memory_limit, folder=keep)


@click.command("guide", cls=Grouped)
@functools.partial(command, has_log=False)
@click.argument("name", required=False)
def _guide(name: str | None) -> tuple[dict[str, Any], str]:
    """Show the guide NAME, or list all guides with a line on each.

    \b
    Example:
      daskgmm guide memory
      daskgmm guide
    """  # noqa: D301
    if name is not None:
        text = guide(name)
        return {"name": name, "text": text}, text
    listed = {each: summary_of(each) for each in GUIDES}
    width = max(map(len, listed))
    lines = [f"{each:<{width}}  {line}" for each, line in listed.items()]
    return {"guides": listed}, "\n".join([*lines, "", "daskgmm guide NAME shows one."])


@click.command("completion", cls=Grouped)
@functools.partial(command, has_log=False)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def _completion(shell: str) -> tuple[dict[str, Any], str]:
    """Print a script by which SHELL completes commands, options and what they accept.

    \b
    Example:
      daskgmm completion bash > ~/.local/share/bash-completion/completions/daskgmm
      daskgmm completion zsh > ~/.zfunc/_daskgmm    # ~/.zfunc is to be in fpath
      daskgmm completion fish > ~/.config/fish/completions/daskgmm.fish
    """  # noqa: D301
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    script = kind(root, {}, "daskgmm", "_DASKGMM_COMPLETE").source()
    return {"shell": shell, "script": script}, script.strip()


COMMANDS = (_info, _check, _convert, _demo, _guide, _completion)
