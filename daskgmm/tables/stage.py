"""Stage: what a user asks of staging, and what it means for each process."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

from daskgmm.errors import ParameterError
from daskgmm.execution import MemoryPlan, Staging
from daskgmm.rules import bytes_of
from daskgmm.storage import Location, StoredSource

__all__ = ["Stage"]


@dataclass(frozen=True)
class Stage:
    """What a user asks of staging.

    Attributes
    ----------
    where : str, path or None
        Folder on a local disk; ``"auto"`` for memory that is spare, then the temporary
        folder; None for no staging.
    limit : int, str or None
        Most bytes that a process writes there.
    dtype : str or None
        Dtype that rows are rounded to.
    """

    where: str | os.PathLike[str] | None = None
    limit: int | str | None = None
    dtype: str | None = None

    @property
    def is_auto(self) -> bool:
        """Whether rows are kept in spare memory and in the temporary folder."""
        return self.where == "auto"

    def check(self, *, is_stored: bool) -> None:
        """Refuse options that have no meaning for the data.

        Raises
        ------
        ParameterError
            If a limit or dtype comes without a place, or if the rows are not stored.
        """
        if self.where is None and not (self.limit is None and self.dtype is None):
            name = "stage_dtype" if self.limit is None else "stage_limit"
            raise ParameterError(
                f"{name} needs stage: set stage='auto' or a folder, or drop it", name
            )
        bytes_of(self.limit, "stage_limit")
        if is_stored or ((self.where is None or self.is_auto) and self.dtype is None):
            return
        raise ParameterError(
            "stage and stage_dtype are for stored rows (a path, a URL, a Zarr array), which every "
            "pass would decode again; for data in memory or on Dask leave them out, or write the "
            "data to Zarr first"
        )

    def staging_of(self, source: StoredSource, plan: MemoryPlan) -> Staging:
        """What each process may keep of a source under a memory plan.

        Raises
        ------
        ParameterError
            If the place is not on a local disk.
        """
        if self.where is None:
            return Staging()
        folder = None
        if not self.is_auto:
            place = Location.parse(self.where)
            if not place.is_local:
                raise ParameterError(
                    f"stage must be a folder on a local disk; got {place.name}", "stage"
                )
            folder = place.address
        return Staging(
            memory_bytes=plan.kept,
            # A file of plain rows is read as fast as a staged copy of it would be.
            on_disk=not source.is_plain,
            folder=folder,
            disk_bytes=bytes_of(self.limit, "stage_limit"),
            key=f"{source.fingerprint()[:16]}-{uuid.uuid4().hex}",
        )
