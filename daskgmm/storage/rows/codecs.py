"""Codecs: whether an array's codecs have checksums, fixed sizes and no code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import zarr

__all__ = ["CodecChain"]

WholeCheck = Callable[[bytes], bool]

_CHECKSUM_BYTES = {"crc32c": 4, "crc32": 4, "adler32": 4, "fletcher32": 4, "jenkins_lookup3": 4}
_SAME_SIZE = frozenset({"bytes", "transpose", "shuffle", *_CHECKSUM_BYTES})

_ALWAYS: Callable[[Mapping[str, Any]], bool] = lambda configuration: True  # noqa: E731
_CHECKS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    **dict.fromkeys(_CHECKSUM_BYTES, _ALWAYS),
    # These formats have a checksum of their own, which their decoders verify.
    **dict.fromkeys(("gzip", "zlib", "bz2"), _ALWAYS),
    "zstd": lambda configuration: bool(configuration.get("checksum")),
    # LZMA's container is .xz (1) unless said otherwise, its check CRC64 unless none (0).
    "lzma": lambda c: c.get("format", 1) == 1 and c.get("check", -1) != 0,
}


def _blosc_is_whole(chunk: bytes) -> bool:
    """Whether a Blosc chunk is as long as its header (bytes 12 to 16) says.

    Numcodecs does not check it, and Blosc then reads beyond the end of the buffer.
    """
    return len(chunk) >= 16 and int.from_bytes(chunk[12:16], "little") == len(chunk)


def _shard_is_whole(n_inner: int, shard: bytes) -> bool:
    """Whether a shard that begins with its index is as long as the index says.

    A truncated shard that ends with its index cannot be read at all. One that begins with
    it can, and the decoder of an inner chunk may not notice.
    """
    index = np.frombuffer(shard[: 16 * n_inner], dtype="<u8")
    if len(index) < 2 * n_inner:
        return False
    offsets, sizes = index[::2], index[1::2]
    written = offsets != np.iinfo(np.uint64).max
    return len(shard) >= int((offsets + sizes)[written].max(initial=0))


_WHOLE_CHECKS: dict[str, WholeCheck] = {"blosc": _blosc_is_whole}


def _walk(specs: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and configurations of codecs in v2 or v3 form, those inside a shard after it."""
    for spec in specs or ():
        if "id" in spec:
            yield spec["id"], spec
            continue
        configuration = spec.get("configuration") or {}
        yield spec["name"].removeprefix("numcodecs."), configuration
        # The codecs of a shard's index (index_codecs) protect offsets, not data.
        yield from _walk(configuration.get("codecs"))


class CodecChain:
    """The codecs of an array, those inside its shards included.

    Attributes
    ----------
    names : tuple of str
        Names of the codecs in order of encoding, without the prefix ``numcodecs.``.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        stored: Any = array.metadata.to_dict()
        if array.metadata.zarr_format == 2:
            specs = [*(stored["filters"] or ()), stored["compressor"]]
            specs = [getattr(s, "get_config", lambda s=s: s)() for s in specs if s is not None]
        else:
            specs = stored["codecs"]
        self._codecs = tuple(_walk(specs))
        self._array = array
        self.names = tuple(name for name, _ in self._codecs)

    @property
    def has_checksum(self) -> bool:
        """Whether a flipped bit in a chunk makes its decoding fail."""
        return any(name in _CHECKS and _CHECKS[name](c) for name, c in self._codecs)

    @property
    def checksum_at_end(self) -> int:
        """Bytes at the end of a stored object that are a checksum of the bytes before them."""
        if self._array.metadata.zarr_format == 2 or "sharding_indexed" in self.names:
            return 0
        return _CHECKSUM_BYTES["crc32c"] if self.names[-1:] == ("crc32c",) else 0

    @property
    def is_whole(self) -> WholeCheck | None:
        """Test for truncation of stored bytes, for codecs whose decoder may miss it."""
        if not self._codecs:
            return None
        outer, configuration = self._codecs[0]
        if outer == "sharding_indexed":
            index_first = configuration.get("index_location") == "start"
            n_inner = math.prod(self._array.shards or ()) // math.prod(self._array.chunks)
            return partial(_shard_is_whole, n_inner) if index_first else None
        return _WHOLE_CHECKS.get(self.names[-1])

    @property
    def runs_code(self) -> bool:
        """Whether decoding may execute code that the data carry."""
        return any("pickle" in name for name in self.names)

    def fixed_size(self, cell: tuple[int, ...], itemsize: int) -> int | None:
        """Bytes of every stored chunk, or None where they depend on the values."""
        if not _SAME_SIZE.issuperset(self.names):
            return None
        return math.prod(cell) * itemsize + sum(_CHECKSUM_BYTES.get(n, 0) for n in self.names)
