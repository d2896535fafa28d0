"""Modbus/TCP Security: what a link with certificates believes and shows.

The frames in it are those of Modbus TCP, so that our own client speaks through asyncio's TLS with all its checks. pymodbus's TLS
client is not used: its framer takes whatever comes in one piece for one frame, without a look at the length or the protocol
number, so that a reply in two records, or two in one, is taken for what it is not (docs/reference/modbus.md).
"""

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin.devices import Tls


class TlsError(OSError):
    """Certificates that cannot be used; one line says which file, and why. An OSError, as that of a refused connection is."""


@dataclass(frozen=True, slots=True)
class Secured:
    """What a connection is made with.

    Attributes:
        context: certificates, and what is accepted.
        server: the name that the peer's certificate must have.
    """

    context: ssl.SSLContext
    server: str

    @property
    def options(self) -> dict[str, Any]:
        """For an event loop's create_connection."""
        return {"ssl": self.context, "server_hostname": self.server}


def secured(tls: Tls, host: str) -> Secured:
    """A device's TLS, read anew: certificates are renewed while a factory runs.

    Raises:
        TlsError: a file cannot be used, or others than its owner may read the key.
    """
    _private(tls.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the peer's certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_verify_locations(cafile=tls.authority)
    except (OSError, ValueError) as unusable:
        raise TlsError(f"{tls.authority}: no authority can be read from it: {_why(unusable)}") from unusable
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_nobody_asks)
    except (OSError, ValueError) as unusable:
        raise TlsError(f"{tls.certificate} and {tls.key}: no certificate with its key: {_why(unusable)}") from unusable
    return Secured(context, tls.server or host)


class Certificates:
    """A device's TLS for one attempt after another; the files are read when they have changed, not at each.

    Raises:
        TlsError: as `secured`.
    """

    def __init__(self, tls: Tls, host: str) -> None:
        self._tls, self._host = tls, host
        self._kept: tuple[list[tuple[int, int, int, int]], Secured] | None = None

    def __call__(self) -> Secured:
        stamps = []
        for file in (self._tls.certificate, self._tls.key, self._tls.authority):
            try:
                found = file.stat()
            except OSError as unusable:
                raise TlsError(f"{file}: cannot be read: {unusable.strerror}") from unusable
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode))
        if self._kept is None or self._kept[0] != stamps:
            self._kept = None
            self._kept = stamps, secured(self._tls, self._host)
        return self._kept[1]


def _private(key: Path) -> None:
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as unusable:
        raise TlsError(f"{key}: cannot be read: {unusable.strerror}") from unusable
    if mode & 0o077:
        raise TlsError(f"{key}: others may read or change this key (mode {mode:03o}): chmod 600 it")


def _nobody_asks() -> str:
    """A key with a password stops here, not at a question in the terminal."""
    raise ValueError("the key has a password, and there is nobody to ask for it")


def _why(unusable: Exception) -> str:
    reason = getattr(unusable, "reason", None) or getattr(unusable, "strerror", None)
    return str(reason or unusable)


def told(failed: OSError | ValueError) -> str:
    """Why a connection, or its handshake, did not succeed, in words."""
    if isinstance(failed, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {failed.verify_message}"
    if isinstance(failed, ssl.SSLError):
        return f"TLS failed: {str(failed.reason or failed).replace('_', ' ').lower()}"
    return getattr(failed, "strerror", None) or str(failed) or "it ended the connection"
