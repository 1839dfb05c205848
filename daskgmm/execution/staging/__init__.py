"""Staging: rows that one pass has decoded, kept near for the passes after it.

A process keeps what it has read in spare memory, in a file on a local disk, or first in
one and then in the other, piece by piece as folds ask for them. The file has no name: it
is gone when the process ends, however it ends, and no other process can meet it. What
is kept is only ever a copy: a piece that is not there, or has changed, is read from the
source again.
"""

from daskgmm.execution.staging.keeping import Staging
from daskgmm.execution.staging.report import StagingReport
from daskgmm.execution.staging.staged_source import StagedSource

__all__ = ["StagedSource", "Staging", "StagingReport"]
