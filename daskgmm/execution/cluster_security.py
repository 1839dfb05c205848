"""Who may talk to a cluster: its certificates, and a warning where it has none."""

from __future__ import annotations

import warnings
from enum import Enum
from pathlib import Path

from distributed import Security

from daskgmm.configuration import Configuration, Schema, one_line
from daskgmm.errors import DaskGMMWarning, MissingDependencyError
from daskgmm.execution.cluster_config import FILE

__all__ = ["TLS", "Protection", "certificates", "check_certificates", "warn_plain"]

TLS: Schema = {"ca": FILE, "cert": FILE, "key": FILE}
"""The section ``tls``: names of PEM files, relative to the configuration."""


class Protection(Enum):
    """What keeps others out: whoever reaches the port of a scheduler runs code there."""

    LOOPBACK = "its ports are on loopback only"
    CERTIFICATES = "TLS, by the certificates under tls: or by ones made for the run"
    BY_ITSELF = "its own class encrypts and authenticates"
    NONE = "plain tcp"


def certificates(config: Configuration, extra: str = "") -> Security:
    """Return TLS for all roles: by the files under ``tls:``, else made for this run.

    What the files hold is passed on, not their names, which mean nothing elsewhere.

    Parameters
    ----------
    config : Configuration
    extra : str
        The optional dependencies that bring what makes certificates.

    Raises
    ------
    MissingDependencyError
        There are no files, and no library that makes certificates.
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
    """Raise ClusterError for a file under ``tls:`` that is none."""
    for name, path in _files(config).items():
        if not path.is_file():
            raise config.error(f"tls.{name}", f"names {path}, which is no file")


def warn_plain(where: str) -> None:
    """Warn of ports that let anyone run code."""
    warnings.warn(
        f"{where}: plain tcp beyond this machine: whoever reaches the scheduler's port can run "
        f"code there; use TLS or close the network",
        DaskGMMWarning,
        stacklevel=2,
    )


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
