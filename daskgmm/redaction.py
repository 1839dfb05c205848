"""Redaction: addresses without the secrets in them, and messages on one line."""

from __future__ import annotations

import re

__all__ = ["cause_to_show", "on_one_line", "one_line", "redacted"]

# A scheme is a whole word: to look for one from every letter on would take quadratic time.
_SCHEME = r"(?<![A-Za-z0-9+.\-])[A-Za-z0-9+.\-]+"
# A URL ends at a blank or quote, or where the next one of a chain begins.
_URL = re.compile(rf"(?P<scheme>{_SCHEME})://(?P<rest>(?:(?!::{_SCHEME}://)[^\s'\"<>])+)")
_HOST_AND_PORT = re.compile(r"[^:]*:\d{1,5}")
_CONTAINERS = frozenset({"abfs", "abfss"})
"""Schemes of Azure, in whose URLs CONTAINER@ACCOUNT is an address."""
_LONGEST = 300
"""Characters of an error's message that are shown."""


def _without_secrets(match: re.Match[str]) -> str:
    rest, query, _ = match["rest"].partition("?")
    authority, slash, path = rest.partition("/")
    if match["scheme"] in _CONTAINERS and ":" not in authority:
        pass
    elif "@" in authority:
        rest = "***@" + authority.rpartition("@")[2] + slash + path
    elif ":" in authority and "@" in path and not _HOST_AND_PORT.fullmatch(authority):
        # A secret key may hold a slash: user:se/cret@host.
        rest = "***@" + rest.rpartition("@")[2]
    return f"{match['scheme']}://{rest}" + ("?***" if query else "")


def redacted(text: str) -> str:
    """``text`` with user, password and query removed from every URL in it.

    Parameters
    ----------
    text : str
        A URL, a chain of URLs (``simplecache::s3://...``), or a message that holds some.

    Examples
    --------
    >>> redacted("s3://key:secret@bucket/data.zarr?token=1")
    's3://***@bucket/data.zarr?***'
    """
    return _URL.sub(_without_secrets, text)


def on_one_line(text: object) -> str:
    r"""The text of an object, redacted and without line breaks.

    Examples
    --------
    >>> on_one_line(ValueError("s3://key:secret@bucket/x\n  is gone"))
    's3://***@bucket/x is gone'
    """
    return " ".join(redacted(str(text)).split())


def one_line(error: BaseException) -> str:
    """Class and message of an error: redacted, on one line, at most some 300 characters."""
    message = on_one_line(error)
    if len(message) > _LONGEST:
        message = message[:_LONGEST] + "..."
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def cause_to_show(error: BaseException) -> BaseException | None:
    """The error, for ``raise ... from``; None if its message holds a secret."""
    return error if redacted(str(error)) == str(error) else None
