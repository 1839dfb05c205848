"""Rules for the values that only configurations of clusters have."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from daskgmm.configuration import TEXTS
from daskgmm.rules import TEXT, Rule

ENCRYPTED = {"tcp": False, "tls": True, "ws": False, "wss": True}
"""Schemes of an address, and whether they encrypt and authenticate."""


def is_address(value: Any) -> bool:
    """Whether ``value`` is the address of a scheduler: a scheme, a host and a port."""
    try:
        url = urlsplit(value)
        return url.scheme in ENCRYPTED and bool(url.hostname) and bool(url.port)
    except (AttributeError, TypeError, ValueError):
        return False


def _is_url(value: Any) -> bool:
    try:
        url = urlsplit(value)
        return url.scheme in ("http", "https") and bool(url.hostname)
    except (AttributeError, TypeError, ValueError):
        return False


HOSTS = Rule(
    "a list of host names: the scheduler's, then one for each worker",
    lambda value: TEXTS.accepts(value) and len(value) >= 2 and all(value),
    required=True,
)
URL = Rule("an http:// or https:// address", _is_url)
FILE = Rule("the name of a file", TEXT.accepts, required=True)
ADDRESS = Rule("an address such as tls://host:8786 (tcp, tls, ws or wss)", is_address, True)
