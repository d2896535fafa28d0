"""The one secret that a node needs: the password of its Wi-Fi. It goes into the image in a file of its own, and nowhere else."""

import os
from pathlib import Path

from twin.factory import Node

WIFI_KEY = "wifi.key"
"""The file on the node, beside node.json: the password on one line."""
NAMED_BY = "LOCKSTEP_WIFI_PASSWORD"


class SecretError(Exception):
    """A password that is not to be had; one line says where it was looked for."""


def wifi_key(node: Node) -> str | None:
    """The password of a node's Wi-Fi, out of its file or the environment; None where it has no Wi-Fi.

    Raises:
        SecretError: there is none, or WPA2 would not take it.
    """
    if node.network is None or node.network.kind != "wifi":
        return None
    file = node.network.password_file
    if file is None:
        found, where = os.environ.get(NAMED_BY, ""), NAMED_BY
    else:
        where = str(file)
        found = _of_file(file, f"nodes.{node.name}.network.password_file: {where}")
    if not found:
        raise SecretError(f"nodes.{node.name}.network: no password: name a password_file, or put it into {NAMED_BY}")
    if not 8 <= len(found.encode()) <= 63 or any(ord(c) < 32 or ord(c) == 127 for c in found):
        raise SecretError(f"{where}: a password of a Wi-Fi has 8 to 63 characters on one line")
    return found


def _of_file(file: Path, where: str) -> str:
    """Its only line. What is wrong with it is told without a byte of it."""
    try:
        if file.stat().st_mode & 0o077:
            raise SecretError(f"{where}: others may read it; chmod 600 {file}")
        return file.read_bytes().decode("utf-8").rstrip("\r\n")
    except OSError as failed:
        raise SecretError(f"{where}: cannot be read: {failed.strerror}") from None
    except UnicodeDecodeError:
        raise SecretError(f"{where}: cannot be read: it is not UTF-8") from None
