"""RemoteFileSystem: patient with a service that is away, silent about credentials.

Every call of an object store's file system that daskgmm makes goes through here: it is
tried again while the service may come back; what fails in the end is a StorageError
in one line; and what travels to workers has no secrets in it.
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import re
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from fsspec import AbstractFileSystem
from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from daskgmm.errors import DaskGMMError, StorageError
from daskgmm.redaction import cause_to_show, one_line, redacted
from daskgmm.storage.places.patience import Tries, storage_timeout, tell_again
from daskgmm.storage.places.services import service_of

__all__ = ["RemoteFileSystem", "patient_store"]

_CALLS = frozenset(
    {"_cat_file", "_cp_file", "_exists", "_find", "_info", "_ls", "_pipe_file", "_rm"}
    | {"_cat_ranges"}
)
_COPIES_AT_ONCE = 32
_ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""Not failures: what callers, Zarr among them, ask about."""

_TRANSIENT_STATUS = frozenset({408, 409, 425, 429, *range(500, 600)} - {501, 505})
_DENIED_STATUS = frozenset({401, 403})
_TRANSIENT = frozenset(
    {
        *("ConnectionError", "TimeoutError"),  # Python's own, botocore's and requests'
        *("HTTPClientError", "ResponseStreamingError", "ResponseParserError"),  # botocore
        *("ClientConnectionError", "ClientPayloadError"),  # aiohttp
        *("ServiceRequestError", "ServiceResponseError"),  # Azure
        *("IncompleteRead", "TransportError"),  # urllib3, google.auth
    }
)
"""Names of exceptions, or of their bases, after which the next try may work.

By name, because most of these libraries are not installed.
"""
_DENIED = frozenset(
    {"PermissionError", "NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError"}
    | {"CredentialRetrievalError", "DefaultCredentialsError", "ClientAuthenticationError"}
)
_SECRET_OPTION = re.compile(
    r"key|secret|token|passw|pwd|credential|sas|connection_string|conn_str|auth|cookie|header"
    r"|session|user",
    re.IGNORECASE,
)
T = TypeVar("T")


class RemoteFileSystem:
    """An asynchronous fsspec file system, behind patience and discretion.

    It has the coroutines of fsspec that daskgmm and zarr.storage.FsspecStore use, such
    as ``_cat_file``, and for each a function without the underscore that blocks. All
    else is the file system's own. Pickled, it is the class and the options that are no
    secrets: whoever opens it again takes credentials from the environment.

    Parameters
    ----------
    fs : fsspec.asyn.AsyncFileSystem
        Made with ``asynchronous=True``.
    timeout : float
        Seconds from the begin of a call until it is given up. One that is in progress
        then is not cut short; each is tried twice at least.
    is_own : bool
        Whether ``fs`` was made with daskgmm's own options, thus is nobody else's.

    Raises
    ------
    StorageError
        By each call that fails in the end. FileNotFoundError and FileExistsError come
        as they are.
    """

    def __init__(self, fs: Any, timeout: float, *, is_own: bool) -> None:
        self._fs = fs
        self._timeout = timeout
        self._is_own = is_own
        self._protocol = _protocol(fs)
        self.service = service_of(self._protocol)
        if self.service.close is not None:
            _to_close[fs] = self.service.close
        if is_own:
            for name, value in self.service.attributes.items():
                setattr(fs, name, value)

    def __repr__(self) -> str:
        return f"<RemoteFileSystem {self._protocol}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (_WithoutSecrets(self._fs), self._timeout, self._is_own)

    def __getattr__(self, name: str) -> Any:
        if name in _CALLS:

            async def patient(*args: Any, **options: Any) -> Any:
                return await self._call(name, args, options)

            return patient
        if f"_{name}" in _CALLS:
            return lambda *args, **options: _blocking(self._call(f"_{name}", args, options))
        return getattr(self._fs, name)

    def copy_all(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Copy objects, each from its first path to its second, many at a time.

        Where several fail, the error is the first one's.
        """
        _blocking(self._copy_all(pairs))

    async def _copy_all(self, pairs: Iterable[tuple[str, str]]) -> None:
        slots = asyncio.Semaphore(_COPIES_AT_ONCE)

        async def copy(source: str, target: str) -> None:
            async with slots:
                await self._call("_cp_file", (source, target), {})

        try:
            async with asyncio.TaskGroup() as group:
                for source, target in pairs:
                    group.create_task(copy(source, target))
        except ExceptionGroup as failed:
            # Whoever shows it has one line; all copies that failed did so for one reason.
            errors = failed.exceptions
            raise next((e for e in errors if isinstance(e, StorageError)), errors[0]) from failed

    async def _call(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        tries = Tries(self._protocol, self._timeout)
        while True:
            try:
                result = await getattr(self._fs, name)(*args, **options)
            except (*_ANSWERS, MemoryError, DaskGMMError):
                raise
            except Exception as error:
                if not _is_transient(error):
                    raise self._failure(args, error) from cause_to_show(error)
                wait = tries.failed(self._place(args), error)
            else:
                tries.worked()
                tell_again(self._protocol)
                return result
            await asyncio.sleep(wait)

    def _place(self, args: tuple[Any, ...]) -> str:
        path = args[0] if args and isinstance(args[0], str) else ""
        return redacted(str(self._fs.unstrip_protocol(path)))

    def _failure(self, args: tuple[Any, ...], error: Exception) -> StorageError:
        if _is_denied(error):
            return StorageError(
                f"{self._place(args)}: access denied ({one_line(error)}); check "
                f"{self.service.credentials} in the environment, on workers in theirs"
            )
        return StorageError(
            f"{self._place(args)} fails: {one_line(error)}; check the address and the service's "
            "limits - it was not tried again, as that would not help"
        )


def _protocol(fs: Any) -> str:
    return str(fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0])


def patient_store(store: Store) -> Store:
    """``store`` behind a :class:`RemoteFileSystem`, if it is one that a user made of fsspec."""
    if not isinstance(store, FsspecStore) or isinstance(store.fs, RemoteFileSystem):
        return store
    fs: Any = RemoteFileSystem(store.fs, storage_timeout(), is_own=False)
    return FsspecStore(fs, store.read_only, store.path, store.allowed_exceptions)


_to_close: weakref.WeakKeyDictionary[Any, Callable[[Any], Awaitable[None]]] = (
    weakref.WeakKeyDictionary()
)


@atexit.register
def _close() -> None:
    """Close connections while there is a loop to do it in; aiohttp would complain at exit."""

    async def close() -> None:
        await asyncio.gather(*(c(fs) for fs, c in _to_close.items()), return_exceptions=True)

    with suppress(TimeoutError):
        sync(close(), timeout=1)


def _blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; interrupted, nothing of it goes on behind the caller's back."""

    async def begun() -> asyncio.Task[T]:
        return asyncio.create_task(coroutine)

    async def result() -> T:
        return await task

    async def ended() -> None:
        task.cancel()
        await asyncio.wait([task])

    task = sync(begun())
    try:
        return sync(result())
    except BaseException:
        sync(ended())
        raise


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int | None:
    """HTTP status, as botocore, gcsfs, aiohttp and Azure keep it."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for name in ("status_code", "status", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int | str) and str(value).isdecimal():
            return int(value)
    return None


def _is_like(error: Exception, names: frozenset[str], statuses: frozenset[int]) -> bool:
    return any(
        _status(cause) in statuses or not names.isdisjoint(c.__name__ for c in type(cause).__mro__)
        for cause in _causes(error)
    )


def _is_transient(error: Exception) -> bool:
    return _is_like(error, _TRANSIENT, _TRANSIENT_STATUS)


def _is_denied(error: Exception) -> bool:
    return _is_like(error, _DENIED, _DENIED_STATUS)


class _WithoutSecrets:
    """A file system that pickles without the options that may be secrets."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self._fs)
        parameters: Callable[..., Any] = kind.__init__
        names = [*inspect.signature(parameters).parameters][1:]
        options = dict(zip(names, self._fs.storage_args, strict=False))
        return _made, (kind, _public(options | self._fs.storage_options))


def _public(value: Any) -> Any:
    if isinstance(value, AbstractFileSystem):
        return _WithoutSecrets(value)
    if isinstance(value, Mapping):
        return {k: _public(v) for k, v in value.items() if not _SECRET_OPTION.search(str(k))}
    if isinstance(value, list | tuple):
        return [_public(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


def _made(kind: type, options: dict[str, Any]) -> Any:
    return kind(**options)


def _reopened(fs: Any, timeout: float, is_own: bool) -> RemoteFileSystem:
    return RemoteFileSystem(fs, timeout, is_own=is_own)
