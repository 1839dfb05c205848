"""``python -m tests.chaos``: many faults, and their counts."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from .campaign import FAULTS, Campaign


@click.command()
@click.option("--faults", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(list(FAULTS)), help="Default: all."
)
def main(faults: int, seed: int, kinds: tuple[str, ...]) -> None:
    """Disturb jobs by so many faults; fail if one ends with other bits, or hangs."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="daskgmm-chaos-") as folder:
        campaign = Campaign(Path(folder), seed, lambda line: click.echo(line, err=True))
        campaign.run(faults, list(kinds or FAULTS))
    for kind, count in campaign.counts.items():
        click.echo(f"{kind:<24}{count:>5}")
    click.echo(f"{'faults':<24}{sum(campaign.counts.values()):>5}")
    click.echo(f"{'jobs':<24}{campaign.n_jobs:>5}, all with the bits of the undisturbed one")
    for end, count in sorted(campaign.ends.items()):
        click.echo(f"  attempts, {end:<40}{count:>5}")
    click.echo(
        f"in {time.perf_counter() - began:.0f} s; undisturbed {campaign.seconds:.1f} s a job"
    )


if __name__ == "__main__":
    main()
