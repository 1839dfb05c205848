"""``python -m tests.peers sklearn``: a peer's own tests, with our class in place of theirs."""

from __future__ import annotations

import sys

import click

from . import scikit_learn


@click.group()
def main() -> None:
    """Run the tests of another package against this one."""


@main.command("sklearn")
def _sklearn() -> None:
    """Run scikit-learn's test_gaussian_mixture.py, and say why what fails does."""
    outcome = scikit_learn.run()
    for line in outcome.lines():
        click.echo(line)
    sys.exit(1 if outcome.unexplained else 0)


if __name__ == "__main__":
    main()
