"""CheckedStore: a Zarr store in which a lost chunk is an error, not fill values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, get_args

from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from daskgmm.errors import DamagedDataError, ParameterError
from daskgmm.storage.places.patience import patiently, patiently_async, storage_timeout
from daskgmm.storage.rows.traffic import count_read

__all__ = ["FILL_REMEDY", "RESTORE_REMEDY", "CheckedStore", "MissingChunks"]

MissingChunks = Literal["error", "fill"]
"""Meaning of a chunk that is not in the store: damage, or the array's fill value."""

RESTORE_REMEDY = "restore the array from a copy or write it anew"
FILL_REMEDY = (
    "restore the array from a copy; or, if its writer left out chunks that hold only the fill "
    "value, as zarr does by default (write_empty_chunks=False), pass missing_chunks='fill' "
    "(--missing-chunks fill)"
)

_METADATA = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})


class CheckedStore(WrapperStore[Store]):
    """Store that raises an error where zarr would silently read fill values.

    Zarr takes a chunk that is absent, or a shard of zero bytes, for one that was never
    written. Here an absent chunk is an error unless ``missing_chunks`` is ``"fill"``, and an
    empty one is always an error. So damage that happens while a fit runs is noticed in the
    pass that reads it. A store that is away for a moment is waited for.

    Parameters
    ----------
    store : zarr.abc.store.Store
    name : str
        Name of the array, for messages.
    missing_chunks : {"error", "fill"}
    is_whole : callable, optional
        Test of a chunk's bytes, for codecs that do not notice truncation. It travels with
        the store, so it must pickle.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        missing_chunks: MissingChunks = "error",
        is_whole: Callable[[bytes], bool] | None = None,
    ) -> None:
        if missing_chunks not in get_args(MissingChunks):
            raise ParameterError(
                f"missing_chunks must be 'error' or 'fill'; got {missing_chunks!r}"
            )
        super().__init__(store)
        self._name = name
        self._timeout = storage_timeout()
        self.missing_chunks = missing_chunks
        self._is_whole = is_whole

    @property
    def wrapped(self) -> Store:
        """The store itself."""
        return self._store

    def _with_store(self, store: Store) -> CheckedStore:
        return type(self)(store, self._name, self.missing_chunks, self._is_whole)

    def _checked(
        self, key: str, value: Buffer | None, byte_range: ByteRequest | None
    ) -> Buffer | None:
        if key.rpartition("/")[2] in _METADATA:
            return value
        if value is None:
            if self.missing_chunks == "fill":
                return None
            raise DamagedDataError(f"is missing from the store; {FILL_REMEDY}")
        count_read(len(value))
        if len(value) == 0:
            raise DamagedDataError(f"is empty (0 bytes); {RESTORE_REMEDY}")
        if isinstance(byte_range, RangeByteRequest):
            wanted = byte_range.end - byte_range.start
            if len(value) < wanted:
                raise DamagedDataError(
                    f"is truncated: {len(value)} of {wanted} bytes from byte {byte_range.start} "
                    f"on; {RESTORE_REMEDY}"
                )
        elif byte_range is None and self._is_whole and not self._is_whole(value.to_bytes()):
            raise DamagedDataError(
                f"is truncated: its {len(value)} bytes are fewer than their header says; "
                f"{RESTORE_REMEDY}"
            )
        return value

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The value under ``key``, checked if it is a chunk.

        Raises
        ------
        DamagedDataError
            If a chunk is missing, empty or truncated.
        """

        def read() -> Awaitable[Buffer | None]:
            return self._store.get(key, prototype, byte_range)

        shown = f"array {self._name}: {key!r}"
        value = await patiently_async(read, self._name, self._timeout, shown)
        return self._checked(key, value, byte_range)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Do as :meth:`get`, for codec pipelines that read without an event loop."""
        store: Any = self._store

        def read() -> Buffer | None:
            return store.get_sync(key, prototype=prototype, byte_range=byte_range)

        shown = f"array {self._name}: {key!r}"
        value = patiently(read, self._name, self._timeout, shown)
        return self._checked(key, value, byte_range)

    def get_ranges(self, *args: Any, **options: Any) -> Any:
        """Several ranges of one value, each read with :meth:`get` (zarr 3.2 and later)."""
        # WrapperStore would ask the wrapped store, which checks nothing.
        unwrapped: Any = super(WrapperStore, self)
        return unwrapped.get_ranges(*args, **options)
