"""Services: what differs between object stores.

To support another store, add an entry to ``_SERVICES``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

__all__ = ["Service", "service_of"]


@dataclass(frozen=True)
class Service:
    """An object store, or any other place behind a URL.

    Attributes
    ----------
    extra : str or None
        Name of the optional dependencies that bring its library.
    credentials : str
        Text for messages: where it looks for credentials.
    options : callable
        Called with the total seconds to wait for an answer; returns options of the fsspec file
        system, which hold no secrets.
    attributes : mapping
        Attributes that are set on a file system made with these options.
    condition : callable, optional
        Called with what ``info`` says of an object; returns arguments by which a put fails if the
        object has been replaced since. None where the file system has no such arguments.
    put : mapping
        Options for uploading a file that keep only a few MiB of it in memory.
    close : callable, optional
        Gives a coroutine that closes the connections of a file system, where nobody else
        closes them.
    """

    extra: str | None = None
    credentials: str = "the credentials that its fsspec library looks for"
    options: Callable[[float], dict[str, Any]] = lambda seconds: {}
    attributes: Mapping[str, Any] = field(default_factory=dict)
    condition: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    put: Mapping[str, Any] = field(default_factory=dict)
    close: Callable[[Any], Awaitable[None]] | None = None


async def _s3_close(fs: Any) -> None:
    if fs._s3 is not None:
        await fs._s3.close()


def _s3_options(seconds: float) -> dict[str, Any]:
    return {
        # With more, each read first asks how long the object is.
        "max_concurrency": 1,
        # Others write as well, so a listing that is kept is soon out of date.
        "use_listings_cache": False,
        "config_kwargs": {
            "connect_timeout": seconds / 12,
            "read_timeout": seconds / 4,
            # Only RemoteFileSystem tries again, because it knows how long that may take.
            "retries": {"mode": "standard", "total_max_attempts": 1},
            # All threads of a process share the connections; 10 is the default.
            "max_pool_connections": 64,
        },
    }


_S3 = Service(
    extra="s3",
    credentials="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    options=_s3_options,
    attributes={"retries": 1},
    condition=lambda info: {"IfMatch": info["ETag"]},
    put={"chunksize": 1 << 24},
    close=_s3_close,
)
_GCS = Service(
    extra="gs",
    credentials="GOOGLE_APPLICATION_CREDENTIALS",
    options=lambda seconds: {"use_listings_cache": False},
    put={"chunksize": 1 << 24},
)


def _azure_condition(info: Mapping[str, Any]) -> dict[str, Any]:
    conditions = import_module("azure.core").MatchConditions
    return {"etag": info["etag"], "match_condition": conditions.IfNotModified}


_AZURE = Service(
    extra="az",
    credentials="AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or another of adlfs's",
    condition=_azure_condition,
)
# No other process sees this store, so nobody can replace anything in between.
_MEMORY = Service(condition=lambda info: {})
_OTHER = Service()

_SERVICES = {
    "memory": _MEMORY,
    **dict.fromkeys(("s3", "s3a"), _S3),
    **dict.fromkeys(("gs", "gcs"), _GCS),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), _AZURE),
}
"""Services by the protocol that a URL begins with."""


def service_of(protocol: str) -> Service:
    """The service behind a protocol."""
    return _SERVICES.get(protocol, _OTHER)
