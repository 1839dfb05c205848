"""The commands: ``python -m tests.benchmarks COMMAND``, from the root of the repository."""

from __future__ import annotations

import signal
import sys

import click

from .commands import driver, fits, passes, starting, stores

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Measure starting, passes, many components, selection, reading, checkpoints and the driver.

    And compare the fits of two checkouts.

    \b
    Examples:
      python -m tests.benchmarks peers
      python -m tests.benchmarks pass --quick
      python -m tests.benchmarks pass --covariance full --dtype float64 --peers onedal,sklearn
      python -m tests.benchmarks pass --threads 1,2 --peers ""
      python -m tests.benchmarks passes --problems overlapping,fifty
      python -m tests.benchmarks large-k --features 8 --components 1024
      python -m tests.benchmarks read --size 4GiB --memory-limit 1GiB
      python -m tests.benchmarks parquet --size 2GiB
      python -m tests.benchmarks containers --size 512MiB
      python -m tests.benchmarks select --rounds 1
      python -m tests.benchmarks checkpoint --size 1GiB
      python -m tests.benchmarks driver --partitions 100,1000
      python -m tests.benchmarks driver --workers 1000
      python -m tests.benchmarks missing --rounds 3
      python -m tests.benchmarks additions --features 8
      python -m tests.benchmarks shapes
      python -m tests.benchmarks start
      python -m tests.benchmarks billion --rows 10000000 --folder /tmp/rows
      python -m tests.benchmarks fits --peer ../before
    """


for _command in (
    *passes.COMMANDS,
    *fits.COMMANDS,
    *stores.COMMANDS,
    *driver.COMMANDS,
    *starting.COMMANDS,
):
    main.add_command(_command)


if __name__ == "__main__":
    # As an exception, so that the processes of contestants are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(prog_name="python -m tests.benchmarks")
