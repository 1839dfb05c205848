"""``python -m tests.chaos``: many faults, and their counts; ``killing``: what deaths cost."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click

from .campaign import Campaign
from .faults import FAULTS
from .killing import killing


@click.group(invoke_without_command=True)
@click.option("--faults", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(list(FAULTS)), help="Default: all."
)
@click.pass_context
def main(context: click.Context, faults: int, seed: int, kinds: tuple[str, ...]) -> None:
    """Disturb jobs by so many faults; fail if one ends with other bits, or hangs."""
    if context.invoked_subcommand is not None:
        return
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="daskgmm-chaos-") as folder,
        Campaign(Path(folder), seed, lambda line: click.echo(line, err=True)) as campaign,
    ):
        campaign.run(faults, list(kinds or FAULTS))
    for kind, count in campaign.counts.items():
        click.echo(f"{kind:<28}{count:>5}")
    click.echo(f"{'faults':<28}{sum(campaign.counts.values()):>5}")
    n_right = campaign.n_jobs - len(campaign.failures)
    click.echo(f"{'jobs':<28}{campaign.n_jobs:>5}, {n_right} with the bits of the undisturbed one")
    for end, count in sorted(campaign.ends.items()):
        click.echo(f"  attempts, {end:<44}{count:>5}")
    for site, seconds in campaign.seconds.items():
        click.echo(f"  undisturbed, {site:<12}{seconds:>6.1f} s")
    click.echo(f"in {time.perf_counter() - began:.0f} s")
    if campaign.failures:
        raise click.ClickException("\n\n".join(campaign.failures))


@main.command("killing")
@click.option("--every", type=click.FloatRange(0.1), default=8.0, show_default=True)
@click.option("--rows", type=click.IntRange(1), default=1_000_000, show_default=True)
@click.option("--passes", type=click.IntRange(1), default=30, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def killing_command(every: float, rows: int, passes: int, seed: int) -> None:
    """Kill one of two workers every so many seconds; fail if the fit takes too long for that."""
    with tempfile.TemporaryDirectory(prefix="daskgmm-chaos-") as folder:
        for line in killing(Path(folder), every, rows, passes, seed):
            click.echo(line)


if __name__ == "__main__":
    main()
