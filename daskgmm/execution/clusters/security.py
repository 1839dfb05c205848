"""Security of a cluster: its certificates, and a warning where it has none."""

from __future__ import annotations

from enum import Enum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from distributed import Security

from daskgmm.configuration import Configuration, Schema
from daskgmm.errors import MissingDependencyError, warn
from daskgmm.execution.clusters.config import FILE
from daskgmm.redaction import one_line

__all__ = [
    "TLS",
    "Protection",
    "certificates",
    "check_certificates",
    "is_loopback",
    "warn_clear",
    "warn_open_dashboard",
    "warn_plain",
]

TLS: Schema = {"ca": FILE, "cert": FILE, "key": FILE}
"""Schema of the section ``tls``: names of PEM files, relative to the configuration."""


class Protection(Enum):
    """What keeps others out: whoever reaches the port of a scheduler runs code there."""

    LOOPBACK = "its ports are on loopback only"
    CERTIFICATES = "TLS, by the certificates under tls: or by ones made for the run"
    BY_ITSELF = "its own class encrypts and authenticates"
    NONE = "plain tcp"


def certificates(config: Configuration, extra: str = "") -> Security:
    """Return TLS for all roles: by the files under ``tls:``, or by certificates for this run.

    The contents of the files are passed on, because their names mean nothing elsewhere.

    Parameters
    ----------
    config : Configuration
    extra : str
        Name of the optional dependencies that bring a library that makes certificates.

    Raises
    ------
    MissingDependencyError
        If there are no files, and no library that makes certificates.
    """
    files = _files(config)
    if not files:
        try:
            return Security.temporary()
        except ImportError as error:
            raise MissingDependencyError(
                f"{config.path}: TLS between the machines needs cryptography "
                f"({one_line(error)}); pip install 'daskgmm[{extra}]', or give files under tls:"
            ) from error
    ca, cert, key = (_pem(config, name, files[name]) for name in TLS)
    return Security(
        require_encryption=True,
        tls_ca_file=ca,
        **{
            f"tls_{role}_{name}": pem
            for role in ("client", "scheduler", "worker")
            for name, pem in (("cert", cert), ("key", key))
        },
    )


def check_certificates(config: Configuration) -> None:
    """Raise ClusterError if a name under ``tls:`` is not the name of a file."""
    for name, path in _files(config).items():
        if not path.is_file():
            raise config.error(f"tls.{name}", f"names {path}, which is no file")


def warn_plain(where: str) -> None:
    """Warn of ports that let anyone run code."""
    warn(
        f"{where}: plain tcp beyond this machine: whoever reaches the scheduler's port can run "
        f"code there; use TLS or close the network"
    )


def warn_clear(config: Configuration) -> None:
    """Warn of addresses of a gateway to which a token or password would go in clear."""
    for name, value in config.section("options").items():
        url = urlsplit(value) if isinstance(value, str) else None
        if url is not None and url.scheme == "http" and not is_loopback(str(url.hostname)):
            warn(
                f"{config.path}: options.{name} begins with http://: who listens on the way to "
                f"{url.hostname} learns the token by which you show who you are; use https://"
            )


def warn_open_dashboard(config: Configuration, protection: Protection) -> None:
    """Warn of a dashboard that other machines reach."""
    options = config.section("options")
    for prefix, section in (
        ("", options),
        ("scheduler_options.", options.get("scheduler_options")),
    ):
        value = (section or {}).get("dashboard_address")
        if value is None:
            continue
        host = value.rpartition(":")[0].strip("[]")
        # Without a host it listens where the scheduler does.
        if is_loopback(host) or (not host and protection is Protection.LOOPBACK):
            continue
        warn(
            f"{config.path}: options.{prefix}dashboard_address {value} is open to other machines, "
            f"and Dask's dashboard has no password: whoever reaches it sees what runs; use "
            f"127.0.0.1:0 and an SSH tunnel, or close the network"
        )


def is_loopback(host: str) -> bool:
    """Whether a host's name is an address that only this machine reaches."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _files(config: Configuration) -> dict[str, Path]:
    return {name: config.beside(value) for name, value in config.section("tls").items()}


def _pem(config: Configuration, name: str, path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise config.error(f"tls.{name}", f"cannot be read: {one_line(error)}") from error
    if "-----BEGIN " not in text:
        raise config.error(f"tls.{name}", f"names {path}, which is not in PEM format")
    return text
