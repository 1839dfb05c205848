"""Atomic output: a Zarr node appears under its name complete, or not at all.

It is a :class:`~daskgmm.storage.outputs.drafts.Draft`: a folder that is renamed on a local disk,
and objects that are copied behind a URL.
"""

from __future__ import annotations

import os
from pathlib import Path

from daskgmm.errors import ParameterError
from daskgmm.storage.outputs.drafts import Draft, LocalDraft, LocalKind
from daskgmm.storage.outputs.remote_drafts import RemoteDraft, RemoteKind
from daskgmm.storage.places.locations import Location
from daskgmm.storage.places.remote import RemoteFileSystem

__all__ = ["MARKERS", "atomic_output", "check_output"]

_OTHER_FORMATS = frozenset(
    {
        *(".csv", ".tsv", ".txt", ".json", ".xlsx", ".parquet", ".feather", ".arrow"),
        *(".npy", ".npz", ".h5", ".hdf5", ".nc", ".zip", ".pkl", ".pickle", ".joblib"),
    }
)
"""Endings that promise something else than a Zarr node."""

MARKERS = ("zarr.json", ".zarray", ".zgroup")
"""Names of files that make a folder a Zarr array or group."""
_METADATA = frozenset({*MARKERS, ".zattrs", ".zmetadata"})


def _is_node(path: Path) -> bool:
    return not path.is_symlink() and any((path / marker).is_file() for marker in MARKERS)


def _is_node_behind(fs: RemoteFileSystem, path: str) -> bool:
    return any(fs.exists(f"{path}/{marker}") for marker in MARKERS)


_SAID = "a Zarr array or group"
_LOCAL = LocalKind(_SAID, _is_node)
_REMOTE = RemoteKind(_SAID, _is_node_behind, _METADATA)
"""Zarr's readers see no node until its ``zarr.json`` is there, so metadata are written last and
removed first, those of the root last or first of all."""


def _check_name(target: Location) -> None:
    """Refuse a name that promises another format: outputs are Zarr.

    Raises
    ------
    ParameterError
    """
    stem, suffix = os.path.splitext(target.name)
    if suffix.lower() in _OTHER_FORMATS:
        raise ParameterError(
            f"{target.name}: what is written is Zarr, not {suffix}; name it {stem}.zarr, which xarray and "
            "zarr read"
        )


def atomic_output(target: Location, *, overwrite: bool) -> Draft:
    """Prepare to write a Zarr node.

    Parameters
    ----------
    target : Location
    overwrite : bool
        Whether a Zarr array or group that is there may be replaced. Anything else is never
        replaced.

    Raises
    ------
    OutputExistsError
        If something is there that must not be replaced; nothing was written.
    NotFoundError
        If the parent folder does not exist.
    StorageError
        If nothing can be written there.
    ParameterError
        If the name promises another format.
    """
    _check_name(target)
    if target.is_local:
        return LocalDraft(target, _LOCAL, overwrite=overwrite)
    return RemoteDraft(target, _REMOTE, overwrite=overwrite)


def check_output(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Refuse an output that could not be written later, before work starts.

    It raises what :func:`atomic_output` raises.
    """
    atomic_output(Location.parse(path), overwrite=overwrite).abort()
