"""Preflight: damage that a listing of stored rows shows before the first pass reads them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from daskgmm.errors import DamagedDataError, IntegrityWarning, warn
from daskgmm.source import Source
from daskgmm.storage.rows.checked_store import FILL_REMEDY, RESTORE_REMEDY, MissingChunks

__all__ = ["Preflight", "StoredSource", "preflight"]


_CHECKSUMS = {"parquet": "write_page_checksum=True of pyarrow"}
"""How data are written with checksums, by format; others as Zarr."""


@dataclass(frozen=True)
class Preflight:
    """What a listing of the store tells of rows, without reading any.

    Attributes
    ----------
    name, format : str
    shape : tuple of int
        ``(n_rows, n_features)``.
    dtype : str
    chunks, shards : tuple of int or None
        Rows and features of a chunk, and of a shard where there are some.
    codecs : tuple of str
        Names of the codecs in order of encoding, those inside shards included.
    n_chunks : int
        Stored objects (shards, or chunks without shards) of a complete array.
    stored_bytes : int
        Bytes of the stored objects that are there, as far as the store tells.
    n_missing_chunks, n_empty, n_wrong_size : int
        How many chunks are not in the store; have 0 bytes; have another size than the
        array's metadata imply, which is known only where nothing is compressed.
    missing, empty, wrong_size : tuple of str
        Keys of the first few of each.
    has_checksum : bool
        Whether a flipped bit makes a read fail.
    """

    name: str
    format: str
    shape: tuple[int, int]
    dtype: str
    chunks: tuple[int, ...] | None
    shards: tuple[int, ...] | None
    codecs: tuple[str, ...]
    n_chunks: int
    stored_bytes: int
    n_missing_chunks: int
    missing: tuple[str, ...]
    n_empty: int
    empty: tuple[str, ...]
    n_wrong_size: int
    wrong_size: tuple[str, ...]
    has_checksum: bool

    def as_dict(self) -> dict[str, Any]:
        """The attributes as plain JSON, in which tuples are lists."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    def is_damaged(self, missing_chunks: MissingChunks = "error") -> bool:
        """Whether :meth:`raise_for_damage` raises an error."""
        n_missing_chunks = self.n_missing_chunks if missing_chunks == "error" else 0
        return self.n_empty + self.n_wrong_size + n_missing_chunks > 0

    def raise_for_damage(self, missing_chunks: MissingChunks = "error") -> None:
        """Raise if the rows cannot be read whole.

        Parameters
        ----------
        missing_chunks : {"error", "fill"}
            Whether missing chunks are damage, or stand for the array's fill value.

        Raises
        ------
        DamagedDataError
            If chunks are empty, have the wrong size or are missing; the message says how
            many, and names the first.
        """
        for count, keys, what, remedy in (
            (self.n_empty, self.empty, "empty (0 bytes)", RESTORE_REMEDY),
            (self.n_wrong_size, self.wrong_size, "of the wrong size, truncated", RESTORE_REMEDY),
            (
                self.n_missing_chunks if missing_chunks == "error" else 0,
                self.missing,
                "missing from the store",
                FILL_REMEDY,
            ),
        ):
            if count:
                raise DamagedDataError(
                    f"array {self.name}: {count} of {self.n_chunks} chunks "
                    f"{'is' if count == 1 else 'are'} {what}, the first is {keys[0]!r}; {remedy}"
                )


class StoredSource(Source, Protocol):
    """A source of rows that knows its storage: what :func:`open_source` gives."""

    missing_chunks: MissingChunks
    """What a chunk that is not stored means."""
    is_plain: bool
    """Whether reading is copying from a local file, with nothing to decode."""
    is_remote: bool
    """Whether each read waits for a network."""

    def survey(self) -> Preflight:
        """What a listing of the store tells, without reading a row."""
        ...

    def fingerprint(self) -> str:
        """Hashes by which the rows are known again, whatever their name is.

        They are over shape, dtype, layout, stored sizes and a few rows, and over each stored
        object's checksum or else the time when it was written. So they are equal for a copy
        of the data that keeps times, and differ when any object was written anew. They are
        cheap and therefore no proof: most rows are not read.
        """
        ...

    def state(self) -> str | None:
        """Hash of the name, and of the size and version of each stored object, from a listing.

        No rows are read. It differs when any object was written anew, unless its time was put back.
        None where the store knows no versions, or nothing is stored.
        """
        ...


def preflight(source: StoredSource) -> Preflight:
    """Survey a source and warn if damage could go unseen.

    Warns
    -----
    IntegrityWarning
        If the store keeps no checksum of its data.
    """
    found = source.survey()
    if not found.has_checksum:
        warn(
            f"{found.name} has no checksum, so a flipped bit in it cannot be seen; write it with "
            f"{_CHECKSUMS.get(found.format, 'the crc32c codec')} to have every read verified",
            IntegrityWarning,
        )
    return found
