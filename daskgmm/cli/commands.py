"""The group of commands, which are in files by what they are for.

To add one, write it beside those that it is like, and name it in ``COMMANDS`` there.
"""

from __future__ import annotations

import click

from daskgmm._version import __version__
from daskgmm.cli import data, make_models, pictures, use_models
from daskgmm.cli.errors import Main

__all__ = ["main"]


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="daskgmm")
def main() -> None:
    """Gaussian mixtures on data larger than memory.

    \b
    Example:
      daskgmm fit data.zarr --components 8 --output model.zarr
      daskgmm predict data.zarr --model model.zarr --output labels.zarr
      daskgmm guide
    """  # noqa: D301 (\b is click's mark for text that must not be wrapped)


for _command in (
    *make_models.COMMANDS,
    *use_models.COMMANDS,
    *pictures.COMMANDS,
    *data.COMMANDS,
):
    main.add_command(_command)
