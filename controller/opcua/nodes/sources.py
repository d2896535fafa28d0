"""Where the Foundation's XML is: the standard address space and the companion specifications that machines are shown in."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SPECIFICATIONS: Final = ("Di", "IA", "Machinery")
"""In the order in which they build on each other."""
STANDARD: Final = "http://opcfoundation.org/UA/"
DI: Final = "http://opcfoundation.org/UA/DI/"
MACHINERY: Final = "http://opcfoundation.org/UA/Machinery/"


class NodesetError(RuntimeError):
    """The nodesets cannot be had, and what to do about it."""


def cache_folder() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/lockstep or ~/.cache/lockstep."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lockstep"


def folders() -> tuple[Path, ...]:
    """Where nodesets are looked for, in this order; `LOCKSTEP_NODESETS` alone where it is set."""
    if named := os.environ.get("LOCKSTEP_NODESETS"):
        return (Path(named),)
    project = Path(__file__).resolve().parents[3]
    return (project / "tests/node_modules/node-opcua-nodesets/nodesets", cache_folder() / "nodesets")


def files(among: Iterable[Path] | None = None) -> tuple[Path, ...]:
    """The XML files of the standard and of our specifications, in the order in which they build on each other.

    Raises:
        NodesetError: no folder has them all.
    """
    looked = tuple(folders() if among is None else among)
    for folder in looked:
        found = (folder / "Opc.Ua.NodeSet2.xml", *(folder / f"Opc.Ua.{name}.NodeSet2.xml" for name in SPECIFICATIONS))
        if all(file.is_file() for file in found):
            return found
    where = " and ".join(str(folder) for folder in looked)
    raise NodesetError(f"the OPC UA nodesets are missing: run `make setup` (looked in {where})")
