"""Every exception and warning of daskgmm.

Each message says what was wrong, where, and the way out. All exceptions derive
from :class:`DaskGMMError` and from the built-in that a caller would expect, and
all survive pickling, because they travel from workers to the driver.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Self

__all__ = [
    "CheckpointError",
    "ClusterError",
    "ColumnError",
    "ConversionWarning",
    "DamagedDataError",
    "DaskGMMError",
    "DaskGMMWarning",
    "DataError",
    "FeaturesError",
    "IntegrityWarning",
    "InterruptedFitError",
    "InvalidParameterError",
    "JobError",
    "JobRunningError",
    "MemoryLimitError",
    "MissingDependencyError",
    "ModelFormatError",
    "NonFiniteError",
    "NotFoundError",
    "OutputExistsError",
    "ParameterError",
    "PointerMovedError",
    "SingularComponentError",
    "StorageError",
    "UnreachableError",
    "WorkersDiedError",
    "warn",
]


class DaskGMMError(Exception):
    """Base of every error that daskgmm raises on purpose.

    Attributes
    ----------
    is_resumable : bool
        Whether what was done is kept and the cause may pass by itself, so that the same
        command, run again, goes on.
    """

    is_resumable = False


class ParameterError(DaskGMMError, ValueError):
    """An option or argument has a value that cannot be used.

    Attributes
    ----------
    parameter : str or None
        Its name in Python, where one parameter is to blame: whoever took the value from
        somewhere else, such as a file, can then say from where.
    """

    def __init__(self, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class InvalidParameterError(ParameterError, TypeError):
    """A parameter's value is none of those that the parameter accepts, whatever the others are."""


class DataError(DaskGMMError, ValueError):
    """The data cannot be used as rows of a mixture: shape, dtype or content."""


class ColumnError(DataError):
    """Columns of the data cannot be used.

    Parameters
    ----------
    *parts : str or int
        The message in parts. A number is the index of a column, in whose place there will be its
        name where the data have names: what finds the error knows none.
    """

    def __str__(self) -> str:
        return "".join(map(str, self.args))

    def named(self, names: Sequence[str]) -> Self:
        """The same error with names of columns in place of their indices."""
        return type(self)(
            *(repr(str(names[part])) if isinstance(part, int) else part for part in self.args)
        )


class FeaturesError(DataError):
    """Rows have other features than the model, by number or by name."""


class NonFiniteError(ColumnError):
    """The data hold NaN or infinity."""


class DamagedDataError(DataError):
    """Stored data are missing, empty, truncated or do not decode."""


class NotFoundError(DaskGMMError, FileNotFoundError):
    """A path or URL names nothing that can be opened."""


class StorageError(DaskGMMError, OSError):
    """A store could not be read or written."""


class PointerMovedError(StorageError):
    """Another writer has replaced a pointer meanwhile."""


class OutputExistsError(DaskGMMError, FileExistsError):
    """The output is there already and overwriting was not asked for."""


class ModelFormatError(DaskGMMError, ValueError):
    """A file is not a model that this version can read."""


class CheckpointError(DaskGMMError, ValueError):
    """A checkpoint cannot be used, or is of another job."""


class InterruptedFitError(KeyboardInterrupt):
    """A fit was interrupted, and its checkpoint lets it go on: the message says how."""


class JobError(DaskGMMError, ValueError):
    """A job file, or what was given in place of its keys, is wrong."""


class JobRunningError(DaskGMMError, RuntimeError):
    """Another process works with the same folder."""


class UnreachableError(StorageError):
    """A store gave no answer for as long as it may be away."""


class MemoryLimitError(DaskGMMError, MemoryError):
    """The work cannot be done within the memory limit."""


class ClusterError(DaskGMMError, RuntimeError):
    """A cluster configuration is wrong, or the cluster cannot be reached."""


class WorkersDiedError(ClusterError):
    """Worker after worker died of one task."""


class MissingDependencyError(DaskGMMError, ImportError):
    """An optional library is needed; the message names the extra to install."""


class SingularComponentError(DaskGMMError, ValueError):
    """The covariance of a component is not positive definite.

    Attributes
    ----------
    component : int
        Index of the component, 0-based; -1 where all components share it (tied).
    """

    def __init__(self, message: str, component: int = -1) -> None:
        super().__init__(message, component)
        self.component = component

    def __str__(self) -> str:
        return str(self.args[0])


class DaskGMMWarning(UserWarning):
    """Base of every warning of daskgmm."""


def warn(message: str, category: type[Warning] = DaskGMMWarning) -> None:
    """Warn, with the line outside of the package that led here as the place.

    A fixed level of the stack would be wrong for some callers: methods call each other.

    Parameters
    ----------
    message : str
    category : type
        Class of the warning.
    """
    frame: FrameType | None = sys._getframe()
    level = 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("daskgmm."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class ConversionWarning(DaskGMMWarning):
    """The data are used in another dtype than they are stored in."""


class IntegrityWarning(DaskGMMWarning):
    """Damage to the stored data could go unseen."""
