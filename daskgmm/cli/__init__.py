"""The command line: thin click commands over :mod:`daskgmm.job`.

Progress, notes and errors go to standard error; results go to standard output, as
one JSON document with ``--json``. Exit status: 0 done; 1 a clear one-line error; 2
wrong usage; 75 interrupted, but ``--resume`` goes on from the checkpoint.
"""

from daskgmm.cli.commands import main

__all__ = ["main"]
