"""The trust list's folders and files. A file is named `NAME [THUMBPRINT].der` and written in one go; PEM is read, too."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from controller.opcua.trust.certificates import certificates_in, common_name, revoked_in, thumbprint

TRUSTED, TRUSTED_CRL, ISSUERS, ISSUER_CRL, REJECTED = "trusted/certs", "trusted/crl", "issuers/certs", "issuers/crl", "rejected"
LISTS = (TRUSTED, TRUSTED_CRL, ISSUERS, ISSUER_CRL)
ENDINGS = frozenset((".der", ".pem", ".cer", ".crt", ".crl"))
MOST_CERTIFICATE, MOST_CRL = 64 * 1024, 1024 * 1024
LONGEST_NAME = 40

Listed = x509.Certificate | x509.CertificateRevocationList


@dataclass(frozen=True, slots=True)
class Kept:
    """A file and what is in it."""

    path: Path
    holds: tuple[Listed, ...]


def file_name(listed: Listed) -> str:
    """NAME [THUMBPRINT].der: the name is to be read by people, and safe whatever stands in the certificate."""
    name = common_name(listed.subject if isinstance(listed, x509.Certificate) else listed.issuer)
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in " -_.") else "_" for letter in name)
    ending = "der" if isinstance(listed, x509.Certificate) else "crl"
    return f"{safe[:LONGEST_NAME].strip(' .') or 'unnamed'} [{thumbprint(listed)}].{ending}"


def files(folder: Path) -> list[Path]:
    """A folder's files, the oldest first."""
    found = [path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix.lower() in ENDINGS]
    about = {}
    for path in found:
        try:
            about[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return sorted(about, key=lambda path: (about[path], path.name))


def read(path: Path, name: str) -> tuple[Listed, ...]:
    """What a file in one of the folders holds. Of several certificates in a file among the trusted the first alone is.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    crl = name in (TRUSTED_CRL, ISSUER_CRL)
    most = MOST_CRL if crl else MOST_CERTIFICATE
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"more than {most} bytes")
    if crl:
        return tuple(revoked_in(content))
    return tuple(certificates_in(content)[: None if name == ISSUERS else 1])


def write(path: Path, content: bytes, durably: bool = True) -> None:
    """Replace a file by one that only we can read: it is the old one or the new one, whatever happens.

    Args:
        durably: on return it is safe from a power cut; what is worth no stall is not.

    Raises:
        OSError: the disk refuses.
    """
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if durably:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        os.unlink(beside)
        raise
    if durably:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
