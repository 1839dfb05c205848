"""Places of a job: whether it would write one over another, found before anything is read."""

from __future__ import annotations

from daskgmm.errors import ParameterError
from daskgmm.jobfile import Job
from daskgmm.storage import Location, enclosing_node, first_overlap, is_lasting

__all__ = ["check_places"]

_RECORDS = ("log", "metrics")
"""Outputs that every run of a job appends to."""


def check_places(job: Job) -> None:
    """Refuse a job that would write one of its places over another; nothing is read or written.

    Raises
    ------
    JobError
        The message names the key.
    """
    places = {key: place for key, place in job.places.items() if not _is_address(key, place)}
    parsed = {"the job file": Location.parse(job.name)}
    for key, place in places.items():
        try:
            parsed[key] = Location.parse(place)
        except ParameterError as error:
            raise job.error(key, f"cannot be used: {error}") from None
        if not is_lasting(parsed[key]):
            raise job.error(
                key,
                f"is {place}, memory of this process, and would go with it; name a folder, or a URL "
                "of a store that stays",
            )
    keys = list(parsed)
    found = first_overlap(list(parsed.values()))
    if found is not None:
        one, other = (keys[i] for i in found)
        raise job.error(
            other,
            f"is {parsed[other].name}, which overlaps with {one}, {parsed[one].name}; all places "
            "of a job must lie apart",
        )
    for key in (f"outputs.{name}" for name in _RECORDS):
        if key in parsed:
            _check_record(job, key, parsed[key])


def _check_record(job: Job, key: str, place: Location) -> None:
    if not place.is_local:
        raise job.error(key, f"is {place.name}; only a local file can be appended to")
    node = enclosing_node(place.address)
    if node is not None:
        raise job.error(key, f"is {place.name}, inside {node}, which is Zarr; name another file")


def _is_address(key: str, place: str) -> bool:
    """Whether a place is the address of a scheduler."""
    return key == "cluster" and "://" in place
