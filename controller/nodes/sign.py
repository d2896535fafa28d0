"""What a node believes before it runs it: a manifest of every file, signed with RSA-2048 (PKCS #1 v1.5, SHA-256).

That is the one signature that stock MicroPython can check: a power and a hash. The private key stays with whoever releases.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

KEY = "update.key"
"""The file of the private key in a factory's state."""
BITS, EXPONENT = 2048, 65537
SECURE = 1
"""The secure version of what is released now: raised when an older release must not run any more."""
LOADER = 1
"""The oldest loader that can run what is signed here."""


class SignError(Exception):
    """A key that cannot be made or used; one line says why."""


def make_key(path: Path) -> rsa.RSAPrivateKey:
    """A new private key in a file of its own, mode 0600.

    Raises:
        SignError: there is one already, or it cannot be written.
    """
    key = rsa.generate_private_key(public_exponent=EXPONENT, key_size=BITS)
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SignError(f"{path}: there is a key already; nodes that know it could not be updated with another one") from None
    except OSError as failed:
        raise SignError(f"{path}: {failed.strerror}") from failed
    with os.fdopen(handle, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return key


def load_key(path: Path) -> rsa.RSAPrivateKey:
    """The private key of a file.

    Raises:
        SignError: it cannot be read, is no RSA key of 2048 bits, or others may read it.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise SignError(f"{path}: others may read it; chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        raise SignError(f"{path}: there is no key; make one with `lockstep node keys`") from None
    except OSError as failed:
        raise SignError(f"{path}: {failed.strerror}") from failed
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SignError(f"{path}: not a private key in PEM without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != BITS or key.public_key().public_numbers().e != EXPONENT:
        raise SignError(f"{path}: not an RSA key of {BITS} bits with exponent {EXPONENT}")
    return key


def public_keys(path: Path) -> list[str]:
    """The lines of a file of public keys, each as `public_line` makes it.

    Raises:
        SignError: it cannot be read, or one is no such line.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="ascii", errors="replace").splitlines() if line.strip()]
    except OSError as failed:
        raise SignError(f"{path}: {failed.strerror}") from failed
    if not lines or not all(re.fullmatch("[89a-f][0-9a-f]{510}[13579bdf]", line) for line in lines):
        raise SignError(f"{path}: no line of `lockstep node keys --public`")
    return [f"{line}\n" for line in lines]


def public_line(key: rsa.RSAPrivateKey) -> str:
    """What a node's `update.keys` holds of a key: its modulus in hex, on a line."""
    return f"{key.public_key().public_numbers().n:0512x}\n"


def manifest(files: Mapping[str, bytes], release: str, secure: int, board: str) -> bytes:
    """The text that is signed: release, secure version, board, and each file with its size and SHA-256, by path.

    Args:
        board: the architecture that the files were compiled for, or "any".
    """
    lines = ["lockstep 1", f"release {release}", f"secure {secure}", f"board {board}", f"loader {LOADER}"]
    lines += [f"file {len(files[path])} {hashlib.sha256(files[path]).hexdigest()} {path}" for path in sorted(files)]
    return ("\n".join(lines) + "\n").encode("ascii")


def packed(text: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """A slot's `manifest` file: the signature, then the text."""
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256()) + text
