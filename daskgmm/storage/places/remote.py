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

_COPIES_AT_ONCE = 32
_ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""Errors that are answers and no failures: callers, Zarr among them, expect them."""

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

They are known by name, because most of the libraries that define them are not installed.
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


def _both_forms(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The coroutine ``name`` of a file system behind patience, and the same as a plain call."""

    async def patient(self: RemoteFileSystem, *args: Any, **options: Any) -> Any:
        return await self._call(name, args, options)

    def blocking(self: RemoteFileSystem, *args: Any, **options: Any) -> Any:
        return _blocking(self._call(name, args, options))

    return patient, blocking


class RemoteFileSystem:
    """An asynchronous fsspec file system, behind patience and discretion.

    It has the coroutines of fsspec that daskgmm and zarr.storage.FsspecStore call, such as
    ``_cat_file``, and each of them without the underscore as a function that blocks. All
    other attributes are those of the file system itself. Pickled, it is the class and the
    options that are no secrets: whoever opens it again takes credentials from the
    environment.

    Parameters
    ----------
    fs : fsspec.asyn.AsyncFileSystem
        Made with ``asynchronous=True``.
    timeout : float
        Seconds from the beginning of a call until it is given up. A try that is in progress
        then is not cut short, and at least two tries are made.
    is_own : bool
        Whether ``fs`` was made with daskgmm's own options, so that nobody else uses it.

    Raises
    ------
    StorageError
        Each call raises it that fails in the end. FileNotFoundError and FileExistsError are
        raised as they are.
    """

    _cat_file, cat_file = _both_forms("_cat_file")
    _cat_ranges, cat_ranges = _both_forms("_cat_ranges")
    _cp_file, cp_file = _both_forms("_cp_file")
    _exists, exists = _both_forms("_exists")
    _find, find = _both_forms("_find")
    _info, info = _both_forms("_info")
    _ls, ls = _both_forms("_ls")
    _pipe_file, pipe_file = _both_forms("_pipe_file")
    _put_file, put_file = _both_forms("_put_file")
    _rm, rm = _both_forms("_rm")

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
        # What FsspecStore asks of a file system beside its coroutines: async_impl, say.
        return getattr(self._fs, name)

    def copy_all(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Copy objects, each from its first path to its second, many at a time.

        Raises
        ------
        StorageError
            The error of one of those that failed.
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
            # An error is shown on one line, and copies that fail together do so for one reason.
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
    fs = RemoteFileSystem(store.fs, storage_timeout(), is_own=False)
    return FsspecStore(fs, store.read_only, store.path, store.allowed_exceptions)


_to_close: weakref.WeakKeyDictionary[Any, Callable[[Any], Awaitable[None]]] = (
    weakref.WeakKeyDictionary()
)


@atexit.register
def _close() -> None:
    """Close connections while there is an event loop; aiohttp would complain at exit."""

    async def close() -> None:
        await asyncio.gather(*(c(fs) for fs, c in _to_close.items()), return_exceptions=True)

    with suppress(TimeoutError):
        sync(close(), timeout=1)


def _blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; if the caller is interrupted, cancel it and wait for that."""

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
    """The HTTP status that an error of botocore, gcsfs, aiohttp or Azure has."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for name in ("status_code", "status", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int | str) and str(value).isdecimal():
            return int(value)
    return None


def _is_like(error: Exception, names: frozenset[str], statuses: frozenset[int]) -> bool:
    """Whether an error or one of its causes has such a status or such a class."""
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
