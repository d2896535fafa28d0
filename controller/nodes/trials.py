"""What this factory's commands have put on trial on its nodes: a node is confirmed with what was sent to it, and nothing else.

A node tells its release, but not what of that release it runs. Its starts tell it: the one in which something was installed is its
start number less the starts on trial, and nothing else can have been installed in that one.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from controller.nodes.epochs import write_durably
from controller.nodes.reach import NodeError
from twin.node import NodeStatus

FILE = "trials.json"


@dataclass(frozen=True, slots=True)
class Trial:
    """Something that was sent to a node for its next start.

    Attributes:
        uid: of the node; boot_id: its start in which this was sent.
        digest: SHA-256 of the manifest or the configuration.
        map_hash: of the map that it is to have then.
    """

    uid: int
    boot_id: int
    digest: str
    map_hash: int


def trial(before: NodeStatus, content: bytes, map_hash: int) -> Trial:
    """What is to be sent to a node, on trial from its next start on."""
    return Trial(before.uid, before.boot_id, hashlib.sha256(content).hexdigest(), map_hash)


def keep(folder: Path, name: str, made: Trial) -> None:
    """Remember what a node is given, before it is.

    Raises:
        NodeError: the file cannot be written.
    """
    known = {**_read(folder), name: made}
    try:
        write_durably(folder / FILE, json.dumps({node: asdict(one) for node, one in known.items()}) + "\n")
    except OSError as failed:
        raise NodeError(f"{folder / FILE}: {failed.strerror}") from failed


def resumed(folder: Path, name: str, status: NodeStatus, content: bytes) -> Trial:
    """The trial that a node is in, which is of this content.

    Raises:
        NodeError: it is of something else, or of nothing that we know of.
    """
    began = (status.boot_id - status.boots) & 0xFFFFFFFF
    found = _read(folder).get(name)
    digest = hashlib.sha256(content).hexdigest()
    if found is None or (found.uid, found.boot_id, found.digest) != (status.uid, began, digest):
        raise NodeError(f"{name}: something else is on trial: do once more what sent it, or start the node until it falls back")
    return found


def _read(folder: Path) -> dict[str, Trial]:
    """By node; a file that cannot be read knows of none."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="ascii"))
        return {node: Trial(**one) for node, one in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
